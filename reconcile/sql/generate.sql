-- What `config generate` reads: the tables there are, their foreign keys, and some values of a status.

-- name: tables
-- Every table that we may see and that is nobody's own business, as it is written without or with its schema.
SELECT n.nspname::text, c.relname::text, pg_table_is_visible(c.oid), greatest(c.reltuples, 0)::bigint
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT IN ('information_schema', 'reconciler')
  AND n.nspname NOT LIKE 'pg\_%' AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
ORDER BY 1, 2

-- name: references
-- Foreign keys of one column.
SELECT n.nspname::text, c.relname::text, a.attname::text, rn.nspname::text, r.relname::text, ra.attname::text
FROM pg_constraint AS k
JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_class AS r ON r.oid = k.confrelid JOIN pg_namespace AS rn ON rn.oid = r.relnamespace
JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
JOIN pg_attribute AS ra ON ra.attrelid = k.confrelid AND ra.attnum = k.confkey[1]
WHERE k.contype = 'f' AND cardinality(k.conkey) = 1
