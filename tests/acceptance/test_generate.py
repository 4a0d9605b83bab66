"""`config generate` over real tables of many shapes: its proposal passes `config check`, and says what is unsure."""

from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import command
from tests.support.shapes import ENUM, NO_STATUS, PARTITIONED, QUOTED, S3_VERSIONS

UUIDS = """
    CREATE TYPE life AS ENUM ('draft', 'ready', 'missing', 'removed');
    CREATE TABLE users (id uuid PRIMARY KEY, name text);
    CREATE TABLE documents (id uuid PRIMARY KEY, "ownerId" uuid REFERENCES users, "deletedAt" timestamptz);
    CREATE TABLE document_revisions (
        id uuid PRIMARY KEY, document_id uuid NOT NULL REFERENCES documents, revision int NOT NULL,
        storage_key varchar(500) NOT NULL UNIQUE, content_length bigint, status life NOT NULL, "createdAt" timestamp,
        UNIQUE (document_id, revision));
"""
NARROW = """
    CREATE TABLE attachments (id bigserial PRIMARY KEY, s3_bucket text NOT NULL, s3_key text NOT NULL, state varchar(8),
                              size int, sha256 char(64));
    CREATE UNIQUE INDEX ON attachments (s3_key, s3_bucket);
"""
POOR_ENUM = """
    CREATE TYPE mood AS ENUM ('ok', 'deleted');
    CREATE TABLE uploads (upload_uuid uuid PRIMARY KEY, object_key text NOT NULL UNIQUE, status mood, bucket text);
"""
CHECKED = """
    CREATE TABLE files (id text PRIMARY KEY, path text, status text CHECK (status IN ('ok', 'deleted')), deleted bool);
    INSERT INTO files VALUES ('a', 'a/b', 'ok', false), ('b', 'b/c', 'deleted', true);
"""
NOTHING = "CREATE TABLE people (id int PRIMARY KEY, name text); CREATE TABLE pets (id int, picture bytea);"


class Generated:
    """What came of it: the text, the document, and the check of it."""

    def __init__(self, program: command.Program, directory: Path, *words: str) -> None:
        empty = replace(program, environ=program.environ | {"RECONCILER_CONFIG": os.devnull})
        ended = empty.run("config", "generate", *words)
        assert ended.returncode == 0, ended.stderr
        self.text = ended.stdout
        self.mapping = tomllib.loads(self.text)["mapping"]
        file = directory / "generated.toml"
        file.write_text(self.text, "utf-8")
        self.check = replace(program, environ=program.environ | {"RECONCILER_CONFIG": str(file)}).run("config", "check")

    def line(self, start: str) -> str:
        """Return the line that begins so."""
        [line] = [line for line in self.text.splitlines() if line.removeprefix("# ").startswith(start)]
        return line


@pytest.fixture
def generate(program, connection, tmp_path):
    """Give what proposes a configuration for tables that replace the seed's."""

    def made(tables: str, *words: str) -> Generated:
        if tables:
            connection.execute("DROP TABLE file_versions, storage_files")
            connection.execute(tables.encode())
        return Generated(program, tmp_path, *words)

    return made


def test_the_seeds_tables_are_mapped_as_a_person_would(generate, connection):
    """Every column that the example maps, but the bucket, which no column names."""
    connection.execute(
        "WITH f AS (INSERT INTO storage_files (bucket_type) VALUES ('user') RETURNING id)"
        " INSERT INTO file_versions (file_id, version_number, object_key, status)"
        " SELECT id, n, 'k' || n, status FROM f, unnest(ARRAY['active', 'pending']) WITH ORDINALITY AS s (status, n)"
    )
    found = generate("")
    assert found.check.returncode == 0, found.check.stderr + found.text
    assert found.mapping == {
        "group": "file.bucket_type",
        "owner": "file.owner_id",
        "version": {
            "table": "file_versions",
            "id": "id",
            "key": "object_key",
            "file_id": "file_id",
            "size": "size",
            "etag": "etag",
            "status": "status",
            "created_at": "created_at",
            "number": "version_number",
        },
        "file": {"table": "storage_files", "id": "id", "deleted": "deleted_at"},
        "status": {"flag": "corrupted", "expects_absence": ["pending"]},
        "bucket": {"name": "files"},
    }
    assert "UNCERTAIN: no column names the bucket" in found.line("name =")
    assert found.line("endpoint =").endswith("# UNCERTAIN: where MinIO is")
    assert found.line("access_key =").endswith("# UNCERTAIN: which user of MinIO we are")
    assert generate("", "--bucket", "mine").mapping["bucket"] == {"name": "mine"}


def test_no_secret_is_in_what_is_printed(program, generate):
    """The password comes from elsewhere, as the line says; how TLS is spoken is no secret."""
    url = program.environ["RECONCILER_DATABASE__URL"]
    text = generate("", "--database", f"{url}?sslmode=prefer&sslpassword=hush").text
    assert "sslmode=prefer" in text
    assert "hush" not in text
    assert "reconciler-local" not in text
    assert program.environ["RECONCILER_MINIO__SECRET_KEY"] not in text
    assert "RECONCILER_DATABASE__URL" in text


def test_ids_that_are_uuids_a_status_that_is_an_enum_and_names_with_humps(generate):
    """The enum has a word for what is gone; values that may mean two things are for a person to decide."""
    found = generate(UUIDS, "--bucket", "files")
    assert found.check.returncode == 0, found.check.stderr + found.text
    version = found.mapping["version"]
    assert (version["table"], version["key"], version["file_id"]) == (
        "document_revisions",
        "storage_key",
        "document_id",
    )
    assert (version["size"], version["created_at"], version["number"]) == ("content_length", "createdAt", "revision")
    assert found.mapping["file"] == {"table": "documents", "id": "id", "deleted": "deletedAt"}
    assert found.mapping["owner"] == "file.ownerId"
    assert found.mapping["status"] == {"flag": "missing", "expects_absence": ["draft", "removed"]}
    assert "UNCERTAIN" in found.line("expects_absence")
    assert "without a zone" in found.line("created_at")


def test_a_bucket_in_a_column_and_a_status_that_cannot_hold_the_flag(generate):
    """The status stays out, with what would let it in; the key's index is one of two columns."""
    found = generate(NARROW)
    assert found.check.returncode == 0, found.check.stderr + found.text
    assert found.mapping["bucket"] == {"column": "s3_bucket"}
    assert (found.mapping["version"]["key"], "status" in found.mapping["version"]) == ("s3_key", False)
    assert found.mapping["version"]["sha256"] == "sha256"
    assert found.line("status =").startswith("# status")
    assert "holds 8 characters only" in found.line("status =")


def test_an_enum_without_a_word_for_what_is_gone(generate):
    """Only findings are written until it has one; an id that is called otherwise is found by its index."""
    found = generate(POOR_ENUM)
    assert found.check.returncode == 0, found.check.stderr + found.text
    assert found.mapping["version"] == {"table": "uploads", "id": "upload_uuid", "key": "object_key"}
    assert "ALTER TYPE public.mood ADD VALUE 'corrupted'" in found.line("status =")


def test_a_key_without_an_index(generate, connection):
    """A small table may be read as a whole; of a large one the index that lacks is told."""
    found = generate(CHECKED, "--bucket", "files")
    assert found.check.returncode == 0, found.check.stderr + found.text
    assert found.mapping["allow_scan"] is True
    assert "CREATE INDEX" in found.line("allow_scan")
    assert "the constraint files_status_check of status refuses it" in found.line("Before flagging")
    connection.execute("UPDATE pg_class SET reltuples = 1e7 WHERE oid = 'files'::regclass")
    large = generate("", "--bucket", "files")
    assert "allow_scan" not in large.mapping
    assert "CREATE INDEX" in large.line("TO DO")
    assert large.check.returncode == 2


@pytest.mark.parametrize("shape", [QUOTED, ENUM, NO_STATUS, S3_VERSIONS, PARTITIONED], ids=lambda shape: shape.name)
def test_other_shapes_in_a_schema_of_their_own(generate, connection, shape):
    """Names that need quoting, partitions, numbers as a status, S3 versions: each passes the check."""
    shape.create(connection)
    connection.execute("SET search_path = public; DROP TABLE file_versions, storage_files")
    found = generate("", "--bucket", "files")
    assert found.check.returncode == 0, found.check.stderr + found.text


def test_another_table_is_chosen_by_name(generate):
    """The others are told; one that is not there is refused with those that are."""
    found = generate(UUIDS + NARROW + "CREATE TABLE icons (id int PRIMARY KEY, path text UNIQUE);")
    assert "icons (path)" in found.text
    assert generate("", "--table", "icons").mapping["version"]["table"] == "icons"


def test_nothing_that_fits_is_refused_with_what_was_looked_at(program, connection):
    """No mapping is made up."""
    connection.execute("DROP TABLE file_versions, storage_files")
    connection.execute(NOTHING)
    empty = replace(program, environ=program.environ | {"RECONCILER_CONFIG": os.devnull})
    ended = empty.run("config", "generate")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "looked at: people, pets" in ended.stderr
    assert "template" in ended.stderr
    ended = empty.run("config", "generate", "--table", "nothing")
    assert "there are people, pets" in ended.stderr
