-- owner: makes and brings up to date (init, migrate, uninstall)
DO $role$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reconciler_owner') THEN CREATE ROLE "reconciler_owner" LOGIN; END IF; END $role$;

-- reader: sees, and changes nothing (sweep (nothing is kept), explain, status, report, doctor, config check and generate, every list and show)
DO $role$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reconciler_reader') THEN CREATE ROLE "reconciler_reader" LOGIN; END IF; END $role$;

-- consumer: keeps findings and marks versions, and can delete nothing (consume, sweep (kept; --baseline, --fix), scrub, replay, dead-letters, findings, orphans approve, suppress, brake)
DO $role$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reconciler_consumer') THEN CREATE ROLE "reconciler_consumer" LOGIN; END IF; END $role$;

-- purger: gives up versions that stayed flagged (purge)
DO $role$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reconciler_purger') THEN CREATE ROLE "reconciler_purger" LOGIN; END IF; END $role$;

-- deleter: deletes what was approved (orphans delete, orphans undo)
DO $role$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reconciler_deleter') THEN CREATE ROLE "reconciler_deleter" LOGIN; END IF; END $role$;

-- restorer: brings objects back (restore)
DO $role$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reconciler_restorer') THEN CREATE ROLE "reconciler_restorer" LOGIN; END IF; END $role$;

-- before the grants: our schema, which the owner's init fills
GRANT CREATE ON DATABASE "application" TO "reconciler_owner";
CREATE SCHEMA IF NOT EXISTS reconciler AUTHORIZATION "reconciler_owner";

GRANT SELECT ("id", "file_id", "size", "status", "created_at", "version_number", "object_key") ON "file_versions" TO "reconciler_owner";
GRANT SELECT ("id", "bucket_type", "owner_id") ON "storage_files" TO "reconciler_owner";

GRANT USAGE ON SCHEMA reconciler TO "reconciler_reader";
GRANT SELECT ON ALL TABLES IN SCHEMA reconciler TO "reconciler_reader";
ALTER DEFAULT PRIVILEGES FOR ROLE "reconciler_owner" IN SCHEMA reconciler GRANT SELECT ON TABLES TO "reconciler_reader";
GRANT SELECT ("id", "file_id", "size", "status", "created_at", "version_number", "object_key") ON "file_versions" TO "reconciler_reader";
GRANT SELECT ("id", "bucket_type", "owner_id") ON "storage_files" TO "reconciler_reader";

GRANT USAGE ON SCHEMA reconciler TO "reconciler_consumer";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA reconciler TO "reconciler_consumer";
ALTER DEFAULT PRIVILEGES FOR ROLE "reconciler_owner" IN SCHEMA reconciler GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO "reconciler_consumer";
GRANT SELECT ("id", "file_id", "size", "status", "created_at", "version_number", "object_key") ON "file_versions" TO "reconciler_consumer";
GRANT UPDATE ("status") ON "file_versions" TO "reconciler_consumer";
GRANT SELECT ("id", "bucket_type", "owner_id") ON "storage_files" TO "reconciler_consumer";

GRANT USAGE ON SCHEMA reconciler TO "reconciler_purger";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA reconciler TO "reconciler_purger";
ALTER DEFAULT PRIVILEGES FOR ROLE "reconciler_owner" IN SCHEMA reconciler GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO "reconciler_purger";
GRANT SELECT ("id", "file_id", "size", "status", "created_at", "version_number", "object_key") ON "file_versions" TO "reconciler_purger";
GRANT UPDATE ("status") ON "file_versions" TO "reconciler_purger";
GRANT DELETE ON "file_versions" TO "reconciler_purger";
GRANT SELECT ("id", "bucket_type", "owner_id") ON "storage_files" TO "reconciler_purger";

GRANT USAGE ON SCHEMA reconciler TO "reconciler_deleter";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA reconciler TO "reconciler_deleter";
ALTER DEFAULT PRIVILEGES FOR ROLE "reconciler_owner" IN SCHEMA reconciler GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO "reconciler_deleter";
GRANT SELECT ("id", "file_id", "size", "status", "created_at", "version_number", "object_key") ON "file_versions" TO "reconciler_deleter";
GRANT UPDATE ("status") ON "file_versions" TO "reconciler_deleter";
GRANT SELECT ("id", "bucket_type", "owner_id") ON "storage_files" TO "reconciler_deleter";

GRANT USAGE ON SCHEMA reconciler TO "reconciler_restorer";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA reconciler TO "reconciler_restorer";
ALTER DEFAULT PRIVILEGES FOR ROLE "reconciler_owner" IN SCHEMA reconciler GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO "reconciler_restorer";
GRANT SELECT ("id", "file_id", "size", "status", "created_at", "version_number", "object_key") ON "file_versions" TO "reconciler_restorer";
GRANT UPDATE ("status") ON "file_versions" TO "reconciler_restorer";
GRANT SELECT ("id", "bucket_type", "owner_id") ON "storage_files" TO "reconciler_restorer";
