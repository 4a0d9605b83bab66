-- What `doctor` asks of the database beyond what the mapping needs. Reads no row of the application.

-- name: server
SELECT current_setting('server_version'), current_database()::text, current_user::text

-- name: triggers
-- Those that an UPDATE of the status would fire; neither a column list that leaves the status out does, nor the
-- condition that doctor proposes.
SELECT tgname::text
FROM pg_trigger
WHERE tgrelid = %(table)s::text::regclass AND NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgtype & 16 <> 0
  AND (tgattr::text = '' OR (SELECT attnum FROM pg_attribute WHERE attrelid = tgrelid AND attname = %(column)s)
                            = ANY (tgattr))
  AND strpos(pg_get_triggerdef(oid), format('NOT (old.%%1$I IS DISTINCT FROM new.%%1$I)', %(column)s::text)) = 0
ORDER BY 1

-- name: is_reader
-- Whether this role may read each of our tables, and write none.
SELECT coalesce(bool_and(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
                         AND NOT has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE')), false)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'reconciler' AND c.relkind IN ('r', 'p')

-- name: unwritable
-- Our own tables that this role cannot work with.
SELECT c.relname::text
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'reconciler' AND c.relkind IN ('r', 'p')
  AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
           AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
ORDER BY 1
