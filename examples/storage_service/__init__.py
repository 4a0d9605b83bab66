"""A storage service: files as objects in MinIO and as rows in PostgreSQL, kept together by storage-reconciler."""
