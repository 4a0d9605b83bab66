"""What an application reads through the guard, and what becomes of a version whose file is missing."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import psycopg
import pytest
import sqlalchemy
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig
from psycopg.rows import dict_row, tuple_row
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from reconcile import acts
from reconcile.config.settings import Filters
from reconcile.database import Database
from reconcile.guards import FileMissing, Storage, StorageUnavailable, VersionNotFound
from tests.support import proxy
from tests.support.guarding import CONTENT, application
from tests.support.proxy import Cut
from tests.support.waiting import until

BLOCKED = """
import sys
for name in ("confluent_kafka", "prometheus_client", "sqlalchemy", "flask", "django"):
    sys.modules[name] = None
import reconcile.guards
sys.exit(any(name.split(".")[0] == "consumer" for name in sys.modules))
"""
YOUNG = timedelta(0)


def through(app, between):
    return app.storage(minio=replace(app.settings.minio, endpoint=between.url))


@pytest.fixture
def engine(app):
    engine = sqlalchemy.create_engine(app.database.replace("postgresql://", "postgresql+psycopg://"))
    yield engine
    engine.dispose()


def missing(storage, version, connection=None, **options):
    with pytest.raises(FileMissing) as raised:
        storage.open_version(version, connection, **options)
    return raised.value


def test_it_needs_neither_kafka_nor_a_framework():
    """The guards are imported where Kafka's client, Prometheus' and every framework are absent."""
    ended = subprocess.run([sys.executable, "-c", BLOCKED], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("key", ["plain.txt", "a b/ü+%41&?.txt", "deep/er/x" * 20, "日本/é.bin"])
def test_a_file_is_read(app, storage, key):
    """A file is read by the piece, or iterated over, whatever its name."""
    version = app.row(key)
    app.put(key)
    with storage.open_version(version) as file:
        assert (file.read(2), file.read(), file.read(), file.size) == (b"AA", b"A", b"", 3)
        assert (file.row.key, file.row.row_id, len(file.etag)) == (key, version, 32)
    assert list(storage.open_version(version)) == [CONTENT]


def test_a_reading_costs_one_get(app, behind):
    """A file that is there costs one question to MinIO, and nothing is kept."""
    app.put("there")
    version = app.row("there")
    with through(app, behind).open_version(version, app.connection) as file:
        assert file.read() == CONTENT
    assert behind.requests == 1
    assert (app.findings(), app.looks()) == ([], [])


def test_a_client_that_hangs_up_while_it_reads_leaves_nothing_behind(app, behind):
    """Closed half-way, as often as one likes: nothing is marked, no connection is kept, and the next read is whole."""
    version = app.row("large", size=2**22)
    app.put("large", b"A" * 2**22)
    storage = through(app, behind)
    for _ in range(20):
        with storage.open_version(version) as file:
            assert file.read(10) == b"A" * 10
    with storage.open_version(version) as file:
        assert len(file.read()) == 2**22
    assert (app.findings(), app.looks(), app.status(version)) == ([], [], "active")
    storage.close()
    until(lambda: behind.open == 0)


def test_an_object_that_breaks_off_while_it_is_read_is_an_outage_and_no_mark(app, behind):
    """The caller learns of it in the middle; nothing is said of the version."""
    version = app.row("large", size=2**22)
    app.put("large", b"A" * 2**22)
    with through(app, behind).open_version(version) as file:
        assert file.read(10) == b"A" * 10
        behind.set(Cut())
        with pytest.raises(StorageUnavailable):
            file.read()
    assert (app.findings(), app.status(version)) == ([], "active")


def test_bytes_come_as_they_are_stored(app, storage):
    """A Content-Encoding is told, and not undone: the size of the row is that of what is stored."""
    version = app.row("packed")
    app.objects.put_object(
        bucket_name=app.bucket,
        object_name="packed",
        data=BytesIO(b"not gzip"),
        length=8,
        metadata={"Content-Encoding": "gzip"},
        content_type="text/plain",
    )
    with storage.open_version(version) as file:
        assert (file.read(), file.media_type) == (b"not gzip", "text/plain")


@pytest.mark.invariant(9)
def test_a_missing_file_is_marked_at_once(app, storage):
    """A guard's mark is consent, although the service observes: an older row is looked at twice and marked."""
    assert not app.settings.flagging
    version = app.row("gone")
    error = missing(storage, version)
    assert (error.version_id, error.bucket, error.key, error.code, error.status_code) == (
        version,
        app.bucket,
        "gone",
        404,
        404,
    )
    assert error.file_id
    assert version in str(error)
    assert app.status(version) == "corrupted"
    assert app.findings() == [("missing", "open", "gone", "active", None)]
    assert ("read", version, "gone") in app.warned()
    told = app.evidence("gone")
    assert (told["named_by"], told["read"]["version_id"]) == ("read", version)


def test_a_file_that_is_back_is_read_and_given_back(app, storage):
    """A version that is marked is tried all the same; once its object is there it gets its status back."""
    version = app.row("gone")
    missing(storage, version)
    missing(storage, version)
    app.put("gone")
    with storage.open_version(version) as file:
        assert file.read() == CONTENT
    assert app.status(version) == "active"
    assert app.findings() == []


def test_without_its_mark_a_read_writes_nothing(app, storage):
    """With mark=False nothing is kept, neither of what is missing nor of what is back."""
    version = app.row("gone")
    missing(storage, version, mark=False)
    assert (app.status(version), app.findings(), app.looks()) == ("active", [], [])
    missing(storage, version)
    app.put("gone")
    with storage.open_version(version, mark=False) as file:
        assert file.read() == CONTENT
    assert app.status(version) == "corrupted"


def test_a_young_row_waits_for_its_grace(app, storage):
    """The object of a young row may be on its way: a look is left, and once the grace is over a read marks."""
    version = app.row("young", age=YOUNG)
    missing(storage, version)
    assert app.status(version) == "active"
    assert app.findings() == [("missing", "suspected", "young", None, None)]
    assert app.looks() == [("young", "grace")]
    app.serve(after=timedelta(minutes=1))
    assert (app.status(version), app.findings()[0][1]) == ("active", "open"), "the service observes"
    missing(storage, version)
    assert app.status(version) == "corrupted"


def test_a_callers_uncommitted_row_is_read_and_not_marked(app, storage):
    """The caller sees its own rows; nobody else does, and so nothing is marked of them."""
    theirs = app.other()
    version = app.row("new", on=theirs)
    missing(storage, version, theirs)
    app.put("new")
    with storage.open_version(version, theirs) as file:
        assert file.read() == CONTENT
    with pytest.raises(VersionNotFound):
        storage.open_version(version)
    assert app.findings() == []


def test_a_rollback_does_not_undo_the_mark(app, storage, engine):
    """What a framework rolls back after the exception is its own transaction, not the mark."""
    version = app.row("gone")
    with Session(engine) as session:
        session.execute(sqlalchemy.text("UPDATE file_versions SET size = 4 WHERE object_key = 'other'"))
        missing(storage, version, session)
        session.rollback()
    assert app.status(version) == "corrupted"


def test_a_row_that_the_caller_holds_is_not_waited_for(app, storage):
    """A caller that holds the row itself is answered at once; the mark is left to a look."""
    version = app.row("held")
    theirs = app.other()
    theirs.execute("UPDATE file_versions SET size = 3 WHERE id = %s", [version])
    missing(storage, version, theirs)
    theirs.rollback()
    assert app.status(version) == "active"
    assert [key for key, _ in app.looks()] == ["held"]
    missing(storage, version)
    assert app.status(version) == "corrupted"


class Django:
    """What Django's connection is to us: it connects when asked to, and has the driver's connection."""

    def __init__(self, driver: psycopg.Connection) -> None:
        self._driver = driver
        self.connection: psycopg.Connection | None = None

    def ensure_connection(self) -> None:
        """Connect."""
        self.connection = self._driver


INSERT = "INSERT INTO file_versions (version_number, object_key) VALUES (1, 'new') RETURNING id"


@pytest.mark.parametrize(
    "options",
    [{}, {"row_factory": dict_row}, {"cursor_factory": psycopg.ClientCursor}],
    ids=["as it is", "its rows", "its cursor"],
)
@pytest.mark.parametrize("wrap", [lambda driver: driver, Django], ids=["psycopg", "django"])
def test_the_row_is_read_by_the_callers_connection(app, storage, wrap, options):
    """The caller's own rows are seen, whatever its connection makes of rows and cursors."""
    app.put("new")
    with psycopg.connect(app.database, **options) as theirs:
        version = app.row("new", on=psycopg.Cursor(theirs, row_factory=tuple_row))
        with storage.open_version(version, wrap(theirs)) as file:
            assert file.read() == CONTENT
        theirs.rollback()


def test_the_row_is_read_beneath_sqlalchemy(app, storage, engine):
    """A connection, a session, a scoped session: the psycopg connection is beneath each."""
    app.put("new")
    sessions = scoped_session(sessionmaker(engine))
    with engine.connect() as connection, Session(engine) as session:
        for theirs in (connection, session, sessions):
            [version] = theirs.execute(sqlalchemy.text(INSERT)).fetchone()
            with storage.open_version(version, theirs) as file:
                assert file.read() == CONTENT
            theirs.rollback()
    sessions.remove()


def test_another_driver_has_the_row_read_beside_it(app, storage):
    """Where no psycopg connection is beneath, the row is read as everybody sees it."""
    version = app.row("there")
    app.put("there")
    with storage.open_version(version, object()) as file:
        assert file.read() == CONTENT


@pytest.mark.parametrize("status", ["deleted", "pending"])
def test_a_version_that_claims_no_file_is_not_found(app, storage, status):
    """No row, a row that expects absence, an id that cannot be: each is a 404 of its own, and nothing is kept."""
    version = app.row("of no object", status=status)
    for named in (version, "00000000-0000-0000-0000-000000000000", "no uuid", 7):
        with pytest.raises(VersionNotFound) as raised:
            storage.open_version(named)
        assert raised.value.status_code == 404
    assert (app.findings(), app.warned()) == ([], [])


FAULTS = [proxy.FORBIDDEN, proxy.NOT_FOUND, proxy.BUSY, proxy.Cut(), proxy.Answer("405 Method Not Allowed")]


@pytest.mark.invariant(1)
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_an_unproven_absence_is_unavailable_and_never_a_mark(app, behind, fault):
    """A 404 that is not MinIO's, a 403, a 503, a broken connection prove nothing."""
    version = app.row("gone")
    behind.set(fault)
    with pytest.raises(StorageUnavailable) as raised:
        through(app, behind).open_version(version)
    assert raised.value.status_code == 503
    assert (app.status(version), app.findings(), app.looks(), app.warned()) == ("active", [], [], [])


@pytest.mark.invariant(1)
def test_a_missing_bucket_and_an_impossible_name_prove_nothing(app):
    """A bucket that is not there is no proof, nor is a name that a server would read as another."""
    app.put("b")
    for key in ("a/../b", "a//b", "/b"):
        with pytest.raises(StorageUnavailable):
            app.storage().open_version(app.row(key))
    bucket = replace(app.settings.mapping.bucket, name="no-such-bucket")
    lost = app.storage(mapping=replace(app.settings.mapping, bucket=bucket))
    with pytest.raises(StorageUnavailable):
        lost.open_version(app.row("c"))
    assert app.findings() == []


def test_a_database_that_does_not_answer_is_unavailable(app):
    """Without its row nothing can be said of a version."""
    away = replace(app.settings.database, url="postgresql://127.0.0.1:1/none")
    with pytest.raises(StorageUnavailable):
        app.storage(database=away).open_version(app.row("a"))


@pytest.mark.parametrize("broken", ["not installed", "no right", "no right to ours", "brake", "unwatched"])
def test_a_mark_that_fails_never_breaks_the_read(app, broken):
    """Whatever keeps a version from being marked, the caller learns that its file is missing."""
    version = app.row("gone")
    storage, marked = app.storage(), None
    if broken == "not installed":
        app.sql("DROP SCHEMA reconciler CASCADE")
    if broken == "no right":
        app.sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$")
        app.sql("CREATE TRIGGER refuse BEFORE UPDATE ON file_versions FOR EACH ROW EXECUTE FUNCTION refuse()")
        marked = ("missing", "open", "gone", None, "refused")
    if broken == "no right to ours":
        app.sql("ALTER TABLE reconciler.finding RENAME TO lost")
    if broken == "brake":
        app.sql("INSERT INTO reconciler.restraint (effect, kind, actor) VALUES ('brake', 'missing', 'test')")
        marked = ("missing", "suspected", "gone", None, "brake")
    if broken == "unwatched":
        storage = app.storage(filters=Filters(exclude=("gone",)))
    missing(storage, version)
    assert app.status(version) == "active"
    if broken not in {"not installed", "no right to ours"}:
        assert app.findings() == ([marked] if marked else [])
    assert ("read", version, "gone") in app.warned()


def test_what_the_brake_held_is_marked_by_a_read_after_the_release(app, storage):
    """A release frees what was held; the next read marks it."""
    version = app.row("gone")
    app.sql("INSERT INTO reconciler.restraint (effect, kind, actor) VALUES ('brake', 'missing', 'test')")
    missing(storage, version)
    missing(storage, version)
    database = Database(app.database)
    acts.release(database, acts.Who("person"), ["missing"])
    database.close()
    missing(storage, version)
    assert app.status(version) == "corrupted"


def test_many_readers_of_one_missing_version_make_one_finding(app, storage):
    """Readers at the same moment neither wait for each other for long nor find it twice."""
    version = app.row("gone")
    start = threading.Barrier(12)

    def read(_):
        start.wait()
        return missing(storage, version).code

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(read, range(12))) == {404}
    missing(storage, version)
    assert app.status(version) == "corrupted"
    assert app.findings() == [("missing", "open", "gone", "active", None)]
    [(flags,)] = app.sql("SELECT count(*) FROM reconciler.history WHERE act = 'flagged'")
    assert flags == 1


def test_of_a_versioned_bucket_the_rows_own_version_is_read(tmp_path, database, minio, bucket):
    """A row names its S3 version: that is read below a newer one and a delete marker, and missed when it is gone."""
    with application(tmp_path, database, minio, bucket) as app:
        app.objects.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))
        app.sql("ALTER TABLE file_versions ADD s3_version text, DROP CONSTRAINT file_versions_object_key_key")
        app.sql("CREATE INDEX ON file_versions (object_key)")
        mapped = replace(app.settings.mapping, version=replace(app.settings.mapping.version, s3_version="s3_version"))
        storage, first, second = app.storage(mapping=mapped), app.row("key"), app.row("key")
        names = [app.put("key", b"AAA"), app.put("key", b"BBB")]
        for row_id, name in zip((first, second), names, strict=True):
            app.sql("UPDATE file_versions SET s3_version = %s WHERE id = %s", name, row_id)
        app.objects.remove_object(bucket_name=bucket, object_name="key")
        with storage.open_version(first) as file:
            assert (file.read(), file.s3_version) == (b"AAA", names[0])
        app.objects.remove_object(bucket_name=bucket, object_name="key", version_id=names[0])
        assert missing(storage, first).key == "key"
        assert (app.status(first), app.status(second)) == ("corrupted", "active")


def test_a_file_hidden_by_a_delete_marker_is_missing(app, storage):
    """Where rows name no S3 version the latest counts, and a marker hides it."""
    app.objects.set_bucket_versioning(bucket_name=app.bucket, config=VersioningConfig(ENABLED))
    app.put("key")
    version = app.row("key")
    app.objects.remove_object(bucket_name=app.bucket, object_name="key")
    assert "delete marker" in str(missing(storage, version))
    assert app.status(version) == "corrupted"


def test_a_connection_that_broke_while_idle_is_opened_again(app, storage):
    """A database that was restarted between two reads costs neither of them."""
    version = app.row("gone")
    app.put("there")
    there = app.row("there")
    storage.open_version(there).close()
    app.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'guard'")
    storage.open_version(there).close()
    app.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'guard'")
    missing(storage, version, app.connection)
    assert app.status(version) == "corrupted"


def test_closing_leaves_no_connection(app):
    """A closed storage leaves nothing in the database."""
    storage = Storage(app.settings)
    missing(storage, app.row("gone"))
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'guard' AND datname = current_database()"
    assert app.sql(count) == [(1,)]
    storage.close()
    until(lambda: app.sql(count) == [(0,)])
