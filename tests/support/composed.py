"""Applications whose keys are composed of columns; see shapes.py."""

from __future__ import annotations

from tests.support.shapes import Shape

TEMPLATE_OF_TWO = Shape(
    name="a key of columns in two tables, a version's uuid among them",
    tables="""
        CREATE TABLE document (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), owner_id bigint, removed boolean);
        CREATE TABLE document_version (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(), document_id uuid REFERENCES document, name text,
            bytes int, state text NOT NULL, created timestamptz);
    """,
    mapping="""
        owner = "file.owner_id"
        [version]
        table = "document_version"
        file_id = "document_id"
        size = "bytes"
        status = "state"
        key = "users/{file.owner_id}/{version.id}/{version.name}"
        created_at = "created"
        [file]
        table = "document"
        deleted = "removed"
        [status]
        flag = "lost"
        expects_absence = ["pending"]
        [bucket]
        name = "files"
    """,
    insert="""
        WITH f AS (INSERT INTO document (owner_id, removed)
                   VALUES (%(n)s, NULLIF(%(state)s = 'deleted', false)) RETURNING *),
        v AS (INSERT INTO document_version (document_id, name, bytes, state, created)
              SELECT id, %(name)s, 10,
                     CASE %(state)s WHEN 'flagged' THEN 'lost' WHEN 'pending' THEN 'pending' ELSE 'ok' END, %(at)s
              FROM f RETURNING *)
        SELECT v.id::text, format('users/%%s/%%s/%%s', f.owner_id, v.id, v.name) FROM v, f
    """,
)

TEMPLATE_OF_TEXTS = Shape(
    name="a key of two texts that may both hold the separator, in one table",
    tables="""
        CREATE TABLE blob (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, folder varchar(1100) NOT NULL,
            name text NOT NULL, size bigint, status varchar(20), at timestamptz, deleted_at date,
            UNIQUE (folder, name));
    """,
    mapping="""
        [version]
        table = "blob"
        key = "{{x}}/{version.folder}/{version.name}"
        size = "size"
        status = "status"
        created_at = "at"
        deleted = "deleted_at"
        [status]
        expects_absence = ["pending"]
        [bucket]
        name = "files"
    """,
    insert="""
        INSERT INTO blob (folder, name, size, status, at, deleted_at)
        SELECT 'a/b' || %(n)s, %(name)s, 10,
               CASE %(state)s WHEN 'flagged' THEN 'corrupted' WHEN 'pending' THEN 'pending' END, %(at)s,
               CASE WHEN %(state)s = 'deleted' THEN current_date END
        RETURNING id::text, '{x}/' || folder || '/' || name
    """,
)

TEMPLATE_OF_PARENT = Shape(
    name="a key found by the parent's unique column, its rows by the parent",
    tables="""
        CREATE TABLE album (id int PRIMARY KEY, slug text UNIQUE, state text);
        CREATE TABLE photo (id text PRIMARY KEY, album_id bigint, number smallint, bytes bigint, etag varchar(64),
            status text DEFAULT '', at timestamp, UNIQUE (album_id, number));
    """,
    mapping="""
        group = "file.slug"
        timezone = "Asia/Tokyo"
        [version]
        table = "photo"
        file_id = "album_id"
        key = "{file.slug}-{version.number}"
        size = "bytes"
        etag = "etag"
        status = "status"
        created_at = "at"
        [file]
        table = "album"
        status = "state"
        expects_absence = ["gone"]
        [status]
        expects_absence = ["pending"]
        [bucket]
        name = "files"
    """,
    insert="""
        WITH f AS (INSERT INTO album
                   VALUES (%(n)s, %(name)s, CASE WHEN %(state)s = 'deleted' THEN 'gone' END) RETURNING *),
        v AS (INSERT INTO photo
              SELECT 'photo ' || id, id, 7, 10, 'abc',
                     CASE %(state)s WHEN 'flagged' THEN 'corrupted' WHEN 'pending' THEN 'pending' ELSE '' END,
                     %(at)s AT TIME ZONE 'Asia/Tokyo' FROM f RETURNING *)
        SELECT v.id, f.slug || '-7' FROM v, f
    """,
)

COMPOSED = (TEMPLATE_OF_TWO, TEMPLATE_OF_TEXTS, TEMPLATE_OF_PARENT)
