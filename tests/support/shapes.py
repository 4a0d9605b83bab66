"""The tables of many applications, each with the mapping that reads them: what must be served without code.

`insert` puts one version, with its parent where there is one, and returns its id and the key that the application
itself would compute. It is given `name`, `n`, `at` (when it was created) and a `state`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import datetime

import psycopg

from reconcile.config.settings import MappingSettings, load

REST = {"database": {"url": "postgresql://x"}, "minio": {"endpoint": "http://x", "access_key": "x", "secret_key": "x"}}


@dataclass(frozen=True)
class Shape:
    """One application."""

    name: str
    tables: str
    mapping: str
    insert: str
    states: tuple[str, ...] = ("live", "flagged", "deleted", "pending")
    bucket: str = "files"

    def settings(self) -> MappingSettings:
        """Return its mapping, read as from a file."""
        return load(REST | {"mapping": tomllib.loads(self.mapping)}, {}, str).mapping

    def create(self, connection: psycopg.Connection) -> None:
        """Create its tables."""
        connection.execute("CREATE SCHEMA app; SET search_path = app, public")
        connection.execute(self.tables.encode())

    def put(self, connection: psycopg.Connection, name: str, n: int, state: str, at: datetime) -> tuple[str, str]:
        """Insert one version; return its id and its key."""
        given = {"name": name, "n": n, "state": state, "at": at}
        return connection.execute(self.insert.encode(), given).fetchone()


SEED = Shape(
    name="the seed's tables, a bucket by a map",
    tables="",
    mapping="""
        group = "file.bucket_type"
        owner = "file.owner_id"
        [version]
        table = "file_versions"
        file_id = "file_id"
        key = "object_key"
        size = "size"
        etag = "etag"
        status = "status"
        created_at = "created_at"
        [file]
        table = "storage_files"
        deleted = "deleted_at"
        [status]
        expects_absence = ["pending"]
        [bucket]
        column = "file.bucket_type"
        map = { user = "files" }
    """,
    insert="""
        WITH f AS (INSERT INTO storage_files (bucket_type, owner_id, deleted_at)
                   VALUES ('user', gen_random_uuid(), CASE WHEN %(state)s = 'deleted' THEN now() END) RETURNING id)
        INSERT INTO file_versions (file_id, version_number, object_key, size, etag, status, created_at)
        SELECT f.id, %(n)s, %(name)s, 10, '"abc"',
               CASE %(state)s WHEN 'flagged' THEN 'corrupted' WHEN 'pending' THEN 'pending' ELSE 'active' END, %(at)s
        FROM f RETURNING id::text, object_key
    """,
)

QUOTED = Shape(
    name="names that need quoting, in a schema of their own",
    tables="""
        CREATE SCHEMA "App. Schema";
        CREATE TABLE "App. Schema"."Datei%s ""x"" y" (
            "Id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "parent's" bigint, "Object Key" text UNIQUE,
            "Größe%" bigint, "%(status)s" text, "select" timestamptz, "bucket.name" text);
        CREATE TABLE "Parent{}" ("Id" bigint PRIMARY KEY, "deleted at" timestamptz, "group" text);
    """,
    mapping="""
        group = "file.group"
        [version]
        table = '"App. Schema"."Datei%s ""x"" y"'
        id = "Id"
        file_id = "parent's"
        key = "Object Key"
        size = "Größe%"
        status = "%(status)s"
        created_at = "select"
        [file]
        table = "app.Parent{}"
        id = "Id"
        deleted = "deleted at"
        [status]
        flag = "100% 'gone' \\\\"
        expects_absence = ['pen"ding']
        [bucket]
        column = "bucket.name"
    """,
    insert="""
        WITH f AS (INSERT INTO "Parent{}"
                   VALUES (%(n)s, CASE WHEN %(state)s = 'deleted' THEN now() END, 'g') RETURNING "Id")
        INSERT INTO "App. Schema"."Datei%%s ""x"" y"
            ("parent's", "Object Key", "Größe%%", "%%(status)s", "select", "bucket.name")
        SELECT f."Id", %(name)s, 10,
               CASE %(state)s WHEN 'flagged' THEN '100%% ''gone'' \\' WHEN 'pending' THEN 'pen"ding' ELSE 'ok' END,
               %(at)s, 'files' FROM f RETURNING "Id"::text, "Object Key"
    """,
)

ENUM = Shape(
    name="a status that is an enum, ids that are bigint, times without a zone, a boolean that deletes",
    tables="""
        CREATE SCHEMA "Types"; CREATE TYPE "Types"."Status" AS ENUM ('ready', 'uploading', 'corrupted');
        CREATE TABLE upload (id bigserial PRIMARY KEY, file bigint, path text UNIQUE, size int, is_deleted boolean,
            status "Types"."Status" NOT NULL, created_at timestamp, bucket text);
    """,
    mapping="""
        timezone = "Europe/Paris"
        [version]
        table = "upload"
        file_id = "file"
        key = "path"
        size = "size"
        status = "status"
        created_at = "created_at"
        deleted = "is_deleted"
        [status]
        expects_absence = ["uploading"]
        live = ["ready"]
        [bucket]
        column = "bucket"
    """,
    insert="""
        INSERT INTO upload (file, path, size, is_deleted, status, created_at, bucket)
        SELECT 1, %(name)s, 10, %(state)s = 'deleted',
               (CASE %(state)s WHEN 'flagged' THEN 'corrupted' WHEN 'pending' THEN 'uploading' ELSE 'ready' END)
                   ::"Types"."Status", %(at)s AT TIME ZONE 'Europe/Paris', 'files'
        RETURNING id::text, path
    """,
)

NO_STATUS = Shape(
    name="no status at all, ids that are text, domains",
    tables="""
        CREATE DOMAIN object_name AS text CHECK (length(VALUE) > 0);
        CREATE DOMAIN name_of_ours AS object_name;
        CREATE TABLE thing (id varchar(40) PRIMARY KEY, key name_of_ours UNIQUE, deleted_at timestamp);
    """,
    mapping="""
        [version]
        table = "thing"
        key = "key"
        deleted = "deleted_at"
        [bucket]
        name = "files"
    """,
    insert="""
        INSERT INTO thing VALUES ('thing ' || %(n)s, %(name)s, CASE WHEN %(state)s = 'deleted' THEN now() END)
        RETURNING id, key
    """,
    states=("live", "deleted"),
)

S3_VERSIONS = Shape(
    name="an S3 version a row, several rows a key, a bucket in a column of the parent, a status that is a number",
    tables="""
        CREATE TABLE file (id uuid PRIMARY KEY, bucket text NOT NULL);
        CREATE TABLE file_object (
            id uuid PRIMARY KEY, file_id uuid REFERENCES file, key text NOT NULL, s3_version_id text,
            size bigint, md5 char(32), status smallint, created_at timestamptz);
        CREATE INDEX ON file_object USING hash (key);
    """,
    mapping="""
        [version]
        table = "file_object"
        file_id = "file_id"
        key = "key"
        s3_version = "s3_version_id"
        size = "size"
        etag = "md5"
        status = "status"
        created_at = "created_at"
        [file]
        table = "file"
        [status]
        flag = "9"
        expects_absence = [2, 3]
        [bucket]
        column = "file.bucket"
    """,
    insert="""
        WITH f AS (INSERT INTO file VALUES (gen_random_uuid(), 'files') RETURNING id)
        INSERT INTO file_object
        SELECT gen_random_uuid(), id, %(name)s, 'v' || %(n)s, 10, 'abc',
               CASE %(state)s WHEN 'flagged' THEN 9 WHEN 'pending' THEN 2 WHEN 'deleted' THEN 3 ELSE 1 END, %(at)s
        FROM f RETURNING id::text, key
    """,
)

PARTITIONED = Shape(
    name="a partitioned table",
    tables="""
        CREATE TABLE archive (id bigint, key text, status text, created_at timestamptz) PARTITION BY HASH (id);
        CREATE TABLE archive_0 PARTITION OF archive FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE archive_1 PARTITION OF archive FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE INDEX ON archive (key); CREATE INDEX ON archive (id);
    """,
    mapping="""
        [version]
        table = "archive"
        key = "key"
        status = "status"
        created_at = "created_at"
        [status]
        expects_absence = ["pending", "deleted"]
        [bucket]
        name = "files"
    """,
    insert="""
        INSERT INTO archive VALUES (
            %(n)s, %(name)s, CASE %(state)s WHEN 'flagged' THEN 'corrupted' WHEN 'live' THEN 'ok' ELSE %(state)s END,
            %(at)s) RETURNING id::text, key
    """,
)

VIEW = Shape(
    name="a view over indexed tables",
    tables="""
        CREATE TABLE base (id int PRIMARY KEY, path text UNIQUE, status text, created_at timestamptz);
        CREATE VIEW seen AS SELECT id, path AS key, status, created_at FROM base;
    """,
    mapping="""
        [version]
        table = "seen"
        key = "key"
        status = "status"
        created_at = "created_at"
        [status]
        expects_absence = ["pending", "deleted"]
        [bucket]
        name = "files"
    """,
    insert=PARTITIONED.insert.replace("archive", "seen"),
)

SHAPES = (SEED, QUOTED, ENUM, NO_STATUS, S3_VERSIONS, PARTITIONED, VIEW)
