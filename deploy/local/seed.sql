-- The tables of the application that the demo and the tests look after.
CREATE TABLE storage_files (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    bucket_type text NOT NULL,
    owner_id    uuid,
    name        text,
    deleted_at  timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE file_versions (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    file_id        uuid REFERENCES storage_files,
    version_number int NOT NULL,
    object_key     text NOT NULL UNIQUE,
    size           bigint,
    etag           text,
    status         text NOT NULL DEFAULT 'active',
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (file_id, version_number)
);
