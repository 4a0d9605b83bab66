-- For trying it out only: every role of deploy/roles/postgresql.sql with the same password.
SELECT format('ALTER ROLE %I PASSWORD %L', rolname, 'reconciler-local') FROM pg_roles WHERE rolname ^@ 'reconciler_'
\gexec
