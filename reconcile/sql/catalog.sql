-- What the system catalog says of the application's tables: read before the mapping is compiled, by name.

-- name: server
SELECT current_setting('server_encoding'),
       EXISTS (SELECT FROM pg_timezone_names WHERE lower(name) = lower(%(timezone)s)),
       ARRAY(SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END::text
             FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema'
               AND n.nspname NOT LIKE 'pg\_%%'
             ORDER BY 1 LIMIT 1000)

-- name: table
-- Without a schema it is the table that the search path finds.
SELECT c.oid, n.nspname::text, c.relname::text, row_security_active(c.oid), has_schema_privilege(n.oid, 'USAGE')
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = %(name)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND CASE WHEN %(schema)s::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = %(schema)s END

-- name: columns
-- A domain counts as what it is made of. A view's column may always be NULL.
WITH RECURSIVE made_of AS (
    SELECT a.attnum, a.attname, a.attnotnull, a.atttypid AS type, a.atttypmod AS modifier
    FROM pg_attribute AS a WHERE a.attrelid = %(table)s AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT m.attnum, m.attname, m.attnotnull OR t.typnotnull, t.typbasetype,
           CASE WHEN t.typtypmod >= 0 THEN t.typtypmod ELSE m.modifier END
    FROM made_of AS m JOIN pg_type AS t ON t.oid = m.type AND t.typtype = 'd'
)
SELECT m.attname::text, n.nspname::text, t.typname::text,
       CASE WHEN t.typtype = 'e'
            THEN ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder) END,
       CASE WHEN t.typname IN ('varchar', 'bpchar') AND m.modifier > 4 THEN m.modifier - 4 END,
       NOT m.attnotnull,
       has_column_privilege(%(table)s::oid, m.attnum, 'SELECT'),
       has_column_privilege(%(table)s::oid, m.attnum, 'UPDATE')
FROM made_of AS m JOIN pg_type AS t ON t.oid = m.type JOIN pg_namespace AS n ON n.oid = t.typnamespace
WHERE t.typtype <> 'd'
ORDER BY m.attnum

-- name: indexes
-- Valid ones whose leading columns are plain columns in their own collation: what equality can use, and of which rows.
SELECT ARRAY(SELECT a.attname::text
             FROM generate_series(0, i.indnkeyatts - 1) AS place
             JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[place]
             WHERE i.indcollation[place] = a.attcollation
             ORDER BY place),
       i.indisunique AND 0 <> ALL (i.indkey),  -- an expression among its columns: unique is something else
       coalesce(pg_get_expr(i.indpred, i.indrelid), '')
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS m ON m.oid = c.relam
WHERE i.indrelid = %(table)s AND i.indisvalid AND i.indisready AND m.amname IN ('btree', 'hash')
ORDER BY c.relname

-- name: checks
-- CHECK constraints over one column alone, as expressions that call the column by its name.
SELECT conname::text, pg_get_expr(conbin, conrelid)
FROM pg_constraint
WHERE conrelid = %(table)s::text::regclass AND contype = 'c'
  AND conkey = ARRAY[(SELECT attnum FROM pg_attribute WHERE attrelid = conrelid AND attname = %(column)s)]

-- name: plan_for_use
-- With these a plan reads a whole table, or sorts, only where no index could serve, however small the table is.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true), set_config('enable_sort', 'off', true)
