-- For trying it out only: every role of deploy/roles/postgresql.sql with the same password.
DO $$
DECLARE
    role text;
BEGIN
    FOR role IN SELECT rolname FROM pg_roles WHERE rolname ^@ 'reconciler_' LOOP
        EXECUTE format('ALTER ROLE %I PASSWORD %L', role, 'reconciler-local');
    END LOOP;
END
$$;
