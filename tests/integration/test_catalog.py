"""The check of the mapping against real tables: each fault names its key and the way out."""

from __future__ import annotations

import psycopg
import pytest

from reconcile.config.settings import MappingSettings, load
from reconcile.model import Misconfigured
from reconcile.tables import catalog
from tests.support.shapes import NO_STATUS, REST, SEED

TABLES = """
    CREATE TYPE mood AS ENUM ('ok', 'sad');
    CREATE TABLE parent (id int PRIMARY KEY, deleted_at timestamptz NOT NULL, kind text);
    CREATE TABLE child (id uuid PRIMARY KEY, parent_id int, other_id text, path text, size text, etag bytea, mood mood,
        status varchar(5), state text CHECK (state IN ('ok', 'deleted', '100%')), level smallint, created_at date,
        changed_at timestamp NOT NULL);
    CREATE INDEX ON child (path COLLATE "C");
    CREATE INDEX ON child (path) WHERE size IS NULL;
"""
VERSION = {"table": "child", "key": "path"}


@pytest.fixture
def tables(connection) -> psycopg.Connection:
    """Create tables with something amiss."""
    connection.execute(TABLES)
    return connection


def mapping(version: dict[str, object], **rest: object) -> MappingSettings:
    """Return the mapping of a child table, and whatever else is given."""
    sections = {"bucket": {"name": "files"}, "version": VERSION | version} | rest
    return load(REST | {"mapping": sections}, {}, str).mapping


def test_all_faults_are_told_at_once(tables):
    """Tables, columns and types: none hides another."""
    version = {"id": "identity", "size": "size", "etag": "etag", "created_at": "created_at", "s3_version": "level"}
    found = catalog.check(tables, mapping(version | {"deleted": "level"}, group="kid"))
    assert [fault.split(":")[0] for fault in found] == [
        "mapping.version.id = 'identity'",
        "mapping.version.size = 'size'",
        "mapping.version.etag = 'etag'",
        "mapping.version.s3_version = 'level'",
        "mapping.version.created_at = 'created_at'",
        "mapping.version.deleted = 'level'",
        "mapping.group = 'kid'",
    ]
    with pytest.raises(Misconfigured) as raised:
        catalog.compiled(tables, mapping(version | {"deleted": "level"}, group="kid"))
    assert list(raised.value.faults) == found


@pytest.mark.parametrize(
    ("version", "rest", "told"),
    [
        ({"table": "childs"}, {}, "did you mean child?"),
        ({"table": "nowhere.child"}, {}, "there is no such table"),
        ({"key": "pth"}, {}, "did you mean path?"),
        (
            {"key": "{version.mood}/{version.created_at}"},
            {},
            "is of type date and must be text, uuid, an enum or an integer",
        ),
        ({"deleted": "changed_at"}, {}, "is never NULL, so every row would count as deleted"),
        ({"status": "mood"}, {}, "ALTER TYPE public.mood ADD VALUE 'corrupted'"),
        ({"status": "mood"}, {"status": {"flag": "sad", "live": ["good"]}}, "mapping.status.live = 'good': the enum"),
        ({"status": "status"}, {}, "holds 5 characters only"),
        ({"status": "level"}, {}, "is an integer; write the number"),
        ({"file_id": "other_id"}, {"file": {"table": "parent"}}, "must be of one type"),
        ({"created_at": "changed_at"}, {"timezone": "Europe/Pariss"}, "PostgreSQL knows no such zone"),
    ],
)
def test_a_fault_says_what_to_write(tables, version, rest, told):
    """One fault, and the way out in it."""
    [fault] = catalog.check(tables, mapping(version, **rest), scanning=True)
    assert told in fault


def test_a_key_without_an_index_is_refused_with_the_index_to_create(tables):
    """An index of another collation, or over some rows only, serves no lookup; the one that is named does."""
    [fault] = catalog.check(tables, mapping({}))
    assert 'CREATE INDEX CONCURRENTLY ON "public"."child" ("path")' in fault
    assert catalog.check(tables, mapping({}, allow_scan=True)) == []
    assert catalog.check(tables, mapping({}), scanning=True) == []
    tables.execute('CREATE INDEX CONCURRENTLY ON "public"."child" ("path")')
    assert catalog.check(tables, mapping({})) == []


def test_a_composed_key_needs_the_index_of_one_of_its_parts_and_the_way_to_it(tables):
    """Whichever index is lacking is named: that of the parts, or that from the parent to its rows."""
    of_version = mapping({"key": "{version.other_id}/{version.path}"})
    [fault] = catalog.check(tables, of_version)
    assert 'ON "public"."child" ("other_id", "path")' in fault
    of_file = mapping({"key": "{file.kind}.{version.mood}", "file_id": "parent_id"}, file={"table": "parent"})
    of_parts, of_parent = catalog.check(tables, of_file)
    assert 'ON "public"."parent" ("kind")' in of_parts
    assert 'ON "public"."child" ("parent_id")' in of_parent
    tables.execute("CREATE INDEX ON parent (kind); CREATE INDEX ON child (parent_id)")
    assert catalog.check(tables, of_file) == []


def test_an_id_without_an_index_is_refused(tables):
    """Rows are locked and flagged by id."""
    tables.execute("ALTER TABLE child DROP CONSTRAINT child_pkey; CREATE INDEX ON child USING hash (path)")
    [fault] = catalog.check(tables, mapping({}))
    assert 'ON "public"."child" ("id")' in fault


def test_a_constraint_that_refuses_the_flag_is_found_before_the_first_flag(tables):
    """A CHECK is tried with the flag itself; observing needs none of it."""
    refused = mapping({"status": "state"}, allow_scan=True)
    [fault] = catalog.check(tables, refused, flagging=True)
    assert "the constraint child_state_check of state refuses it" in fault
    assert catalog.check(tables, refused) == []
    fine = mapping({"status": "state"}, allow_scan=True, status={"flag": "100%"})
    assert catalog.check(tables, fine, flagging=True) == []


def test_privileges_are_asked_for_only_where_they_are_needed(tables):
    """SELECT on the mapped columns for all, UPDATE of the status for who flags, USAGE of the schema."""
    tables.execute("DROP ROLE IF EXISTS watcher; CREATE ROLE watcher; GRANT SELECT (id, path) ON child TO watcher")
    settings = mapping({"status": "state"}, allow_scan=True, status={"flag": "deleted"})
    try:
        tables.execute("SET ROLE watcher")
        [fault] = catalog.check(tables, settings)
        assert 'GRANT SELECT ("state") ON "public"."child"' in fault
        tables.execute("RESET ROLE; GRANT SELECT (state) ON child TO watcher; SET ROLE watcher")
        assert catalog.check(tables, settings) == []
        [fault] = catalog.check(tables, settings, flagging=True)
        assert 'GRANT UPDATE ("state") ON "public"."child"' in fault
        tables.execute("RESET ROLE; GRANT UPDATE (state) ON child TO watcher; SET ROLE watcher")
        assert catalog.check(tables, settings, flagging=True) == []
        tables.execute("RESET ROLE; REVOKE USAGE ON SCHEMA public FROM public; SET ROLE watcher")
        faults = catalog.check(tables, mapping({"table": "public.child"}, allow_scan=True))
        assert any('GRANT USAGE ON SCHEMA "public"' in fault for fault in faults)
    finally:
        tables.execute("RESET ROLE; DROP OWNED BY watcher; DROP ROLE watcher")


def test_hidden_rows_are_refused(tables):
    """Row level security would make the objects of hidden rows look like orphans."""
    tables.execute("ALTER TABLE child ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    tables.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader; GRANT SELECT ON child TO reader")
    try:
        tables.execute("SET ROLE reader")
        [fault] = catalog.check(tables, mapping({}, allow_scan=True))
        assert "row level security" in fault
        assert catalog.check(tables, mapping({}, allow_scan=True, allow_row_security=True)) == []
    finally:
        tables.execute("RESET ROLE; DROP OWNED BY reader; DROP ROLE reader")


def test_the_check_changes_no_planner_setting(tables):
    """What it asks the planner to avoid lasts no longer than the question."""
    catalog.check(tables, mapping({}))
    assert tables.execute("SHOW enable_seqscan").fetchone() == ("on",)


def test_another_encoding_is_refused(postgres):
    """A key that the database cannot hold would spoil its batch."""
    name = "latin1_database"
    with psycopg.connect(postgres.url, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name}")
        server.execute(f"CREATE DATABASE {name} ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
        try:
            with psycopg.connect(postgres.database_url(name), autocommit=True) as connection:
                connection.execute("CREATE TABLE child (id int PRIMARY KEY, path text UNIQUE)")
                [fault] = catalog.check(connection, mapping({}))
            assert "encoded in LATIN1" in fault
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_the_seeds_lookup_is_an_index_scan(connection):
    """On a filled table the planner goes by the key's index and the parent's, whatever the batch."""
    connection.execute(
        "INSERT INTO storage_files (bucket_type) SELECT 'user' FROM generate_series(1, 100000);"
        "INSERT INTO file_versions (file_id, version_number, object_key)"
        " SELECT id, 1, 'users/' || id FROM storage_files; ANALYZE storage_files, file_versions"
    )
    mapped = catalog.compiled(connection, SEED.settings())
    keys = [key for (key,) in connection.execute("SELECT object_key FROM file_versions LIMIT 200")]
    explain = psycopg.sql.SQL("EXPLAIN ") + mapped.lookup
    plan = "\n".join(line for (line,) in connection.execute(explain, mapped.parameters(keys)))
    assert "file_versions_object_key_key" in plan
    assert "Seq Scan on file_versions" not in plan


def test_byte_order_is_served_by_an_index_of_that_collation_alone(connection):
    """The seed's unique index does not yield keys in byte order; one COLLATE "C" does, and spares the sort."""
    mapped = catalog.compiled(connection, SEED.settings())
    assert not catalog.in_order(connection, mapped, SEED.bucket).indexed
    connection.execute('CREATE INDEX ON file_versions (object_key COLLATE "C")')
    assert catalog.in_order(connection, mapped, SEED.bucket).indexed


def test_byte_order_is_served_where_the_bucket_is_a_name(connection):
    """All rows are of the one configured bucket, and the index is found for it; how many there are is estimated."""
    NO_STATUS.create(connection)
    connection.execute("INSERT INTO thing SELECT n, 'k' || n FROM generate_series(1, 1000) AS n; ANALYZE thing")
    mapped = catalog.compiled(connection, NO_STATUS.settings())
    assert not catalog.in_order(connection, mapped, NO_STATUS.bucket).indexed
    connection.execute('CREATE INDEX ON thing (key COLLATE "C")')
    indexed, rows = catalog.in_order(connection, mapped, NO_STATUS.bucket)
    assert indexed
    assert 900 < rows < 1100


def test_an_index_that_would_spare_work_is_advised(connection):
    """Looking for young rows works without one."""
    [advice] = catalog.advice(catalog.compiled(connection, SEED.settings()))
    assert 'ON "public"."file_versions" ("created_at")' in advice
    connection.execute('CREATE INDEX ON file_versions ("created_at")')
    assert catalog.advice(catalog.compiled(connection, SEED.settings())) == []
