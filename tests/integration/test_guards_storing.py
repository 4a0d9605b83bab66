"""What an application stores through the guard: rows, object and commit, and what a failure at each step leaves."""

import io
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig
from psycopg import errors
from sqlalchemy.orm import Session

from reconcile.guards import StorageUnavailable, UploadFailed, VersionNotFound
from reconcile.store.storing import PARTS
from tests.support import proxy
from tests.support.guarding import CONTENT, POINTS

DEFERRED = """
ALTER TABLE file_versions ADD CONSTRAINT late
    FOREIGN KEY (file_id) REFERENCES storage_files DEFERRABLE INITIALLY DEFERRED
"""
NO_FILE = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def theirs(app):
    return app.other()


class Slow:
    """A stream of unknown size that can neither seek nor tell, as a request's body."""

    def __init__(self, size: int, *, breaks: bool = False) -> None:
        self._left = size
        self._breaks = breaks

    def read(self, most: int) -> bytes:
        """Return a little."""
        if self._breaks and self._left == 1:
            raise ConnectionResetError("the client hung up")
        piece = b"x" * min(most, self._left - self._breaks, 100_000)
        self._left -= len(piece)
        return piece


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (b"", None),
        (CONTENT, None),
        (io.BytesIO(CONTENT), 3),
        (io.BytesIO(CONTENT), None),
        ([b"A", b"", b"AA"], None),
        ((b"A" * n for n in (1, 2)), 3),
        (Slow(500_000), None),
        (Slow(500_000), 500_000),
    ],
    ids=["empty", "bytes", "file", "file, no size", "list", "generator", "stream, no size", "stream"],
)
def test_content_of_every_kind_is_stored(app, storage, theirs, content, size):
    """Bytes, files, streams and iterables are stored, of a known size or not, with their media type."""
    stored = storage.store_version(theirs, lambda: app.row("a/ü b", on=theirs), content, size, "text/plain")
    assert (stored.bucket, stored.key, stored.row.key) == (app.bucket, "a/ü b", "a/ü b")
    with storage.open_version(stored.version_id) as file:
        assert (file.size, file.etag, file.media_type) == (stored.size, stored.etag, "text/plain")
        assert len(file.read()) == stored.size
    assert (app.findings(), app.looks()) == ([], [])


def test_what_is_large_is_sent_in_parts(app, storage, theirs):
    """More than one part is stored whole, and its ETag is the one that a look sees."""
    stored = storage.store_version(theirs, lambda: app.row("large", on=theirs), Slow(PARTS + 1), PARTS + 1)
    seen = app.objects.stat_object(bucket_name=app.bucket, object_name="large")
    assert (stored.size, stored.etag) == (seen.size, seen.etag) == (PARTS + 1, stored.etag)


def test_a_session_flushes_uploads_and_commits(app, storage):
    """A SQLAlchemy session's rows are flushed first, read by the mapping, and committed with what the upload told."""
    engine = sqlalchemy.create_engine(app.database.replace("postgresql://", "postgresql+psycopg://"))
    table = sqlalchemy.Table("file_versions", sqlalchemy.MetaData(), autoload_with=engine)

    class Base(sqlalchemy.orm.DeclarativeBase):
        pass

    class Version(Base):
        __table__ = table

    with Session(engine) as session:
        version = Version(id=NO_FILE, version_number=1, object_key="by session", status="pending")

        def write_row():
            session.add(version)
            return version.id

        def uploaded(stored):
            version.etag, version.status = stored.etag, "active"

        stored = storage.store_version(session, write_row, CONTENT, uploaded=uploaded)
    engine.dispose()
    assert app.sql("SELECT etag, status FROM file_versions") == [(stored.etag, "active")]


def test_in_a_versioned_bucket_the_version_is_told(app, storage, theirs):
    """The S3 version is there to be written into the row before the commit."""
    app.objects.set_bucket_versioning(bucket_name=app.bucket, config=VersioningConfig(ENABLED))
    told = []
    stored = storage.store_version(theirs, lambda: app.row("key", on=theirs), CONTENT, uploaded=told.append)
    assert told == [stored]
    assert stored.s3_version == app.objects.stat_object(bucket_name=app.bucket, object_name="key").version_id


def test_a_failure_of_the_callers_rows_uploads_nothing(app, storage, theirs):
    """What writing the rows raises is raised, and rolled back."""

    def write_row():
        app.row("key", on=theirs)
        app.row("key", on=theirs)

    with pytest.raises(errors.UniqueViolation):
        storage.store_version(theirs, write_row, CONTENT, intent=True)
    assert (app.keys(), app.there(), app.looks()) == ([], [], [])


def test_rows_that_name_no_object_upload_nothing(app, storage, theirs):
    """A version that is not there, or no connection by which it could be read, is said before anything is sent."""
    with pytest.raises(VersionNotFound):
        storage.store_version(theirs, lambda: app.row("key", on=theirs) and NO_FILE, CONTENT)
    with pytest.raises(TypeError, match="give bucket= and key="):
        storage.store_version(Foreign(theirs), lambda: app.row("key", on=theirs), CONTENT)
    with pytest.raises(ValueError, match="autocommit"):
        storage.store_version(app.connection, lambda: app.row("key"), CONTENT)
    assert (app.keys(), app.there()) == ([], [])


class Foreign:
    """A connection of another driver."""

    def __init__(self, real: psycopg.Connection) -> None:
        self.commit = real.commit
        self.rollback = real.rollback


def test_another_driver_says_where_to_store(app, storage, theirs):
    """With bucket and key given, the caller's connection is committed and rolled back, and never read."""
    place = {"bucket": app.bucket, "key": "key"}
    stored = storage.store_version(Foreign(theirs), lambda: app.row("key", on=theirs), CONTENT, **place)
    assert (app.keys(), app.there(), stored.row) == (["key"], ["key"], None)


UPLOADS = [proxy.FORBIDDEN, proxy.BUSY, proxy.Cut()]


@pytest.mark.parametrize("intent", [False, True])
@pytest.mark.parametrize("fault", UPLOADS, ids=str)
def test_a_failed_upload_leaves_no_row(app, theirs, behind, fault, intent):
    """An upload that is refused or breaks off is rolled back; the object may be there, so a look is asked for."""
    storage = app.storage(minio=replace(app.settings.minio, endpoint=behind.url))
    behind.set(fault)
    with pytest.raises(UploadFailed) as raised:
        storage.store_version(theirs, lambda: app.row("key", on=theirs), CONTENT, intent=intent)
    assert (raised.value.key, raised.value.status_code) == ("key", 503)
    assert (app.keys(), [key for key, _ in app.looks()]) == ([], ["key"])
    app.serve()
    assert (app.looks(), app.findings(), app.there()) == ([], [], [])


def test_content_that_breaks_off_leaves_nothing(app, storage, theirs):
    """A client that hangs up while it sends, or sends too little, has stored nothing."""
    for content, size in ((Slow(300_000, breaks=True), None), (Slow(300_000), 400_000), ([b"A", "A"], 2)):
        with pytest.raises(UploadFailed):
            storage.store_version(theirs, lambda: app.row("key", on=theirs), content, size)
    assert (app.keys(), app.there()) == ([], [])


@pytest.mark.parametrize("key", ["/k", "a//k", "a/../k", "."])
def test_a_key_that_minio_would_take_for_another_is_refused(app, storage, theirs, key):
    """Else the row would name what is never found, and its upload take the place of another row's object."""
    app.row("k")
    app.put("k", b"of another row")
    with pytest.raises(UploadFailed):
        storage.store_version(theirs, lambda: app.row(key, on=theirs), CONTENT)
    assert (app.keys(), app.there()) == (["k"], ["k"])
    assert app.objects.stat_object(bucket_name=app.bucket, object_name="k").size == len(b"of another row")


def test_content_that_is_longer_than_announced_leaves_an_orphan_that_is_found(app, storage, theirs):
    """What would be cut off is no upload: the rows are rolled back, and the object's look says why."""
    for content, size in ((Slow(300_000), 200_000), (io.BytesIO(b"AAA"), 0), ([b"A", b"A"], 1)):
        with pytest.raises(UploadFailed, match=f"{size} bytes were announced"):
            storage.store_version(theirs, lambda: app.row("key", on=theirs), content, size)
    assert app.keys() == []
    app.serve()
    assert app.findings() == [("orphan", "suspected", "key", None, None)]
    assert app.evidence("key")["upload"]["failed"] == "upload"


def test_an_answer_that_is_lost_after_the_upload_leaves_an_orphan_that_is_found(app, theirs, behind):
    """The object is there and its answer is not: the rows are rolled back, and the look finds the orphan and why."""
    storage = app.storage(minio=replace(app.settings.minio, endpoint=behind.url))
    behind.set(proxy.Deaf())
    with pytest.raises(UploadFailed):
        storage.store_version(theirs, lambda: app.row("key", on=theirs), CONTENT)
    app.serve()
    assert (app.keys(), app.findings()) == ([], [("orphan", "suspected", "key", None, None)])
    assert app.evidence("key")["upload"]["failed"] == "upload"


@pytest.mark.parametrize("intent", [False, True])
def test_a_failed_commit_leaves_an_orphan_that_is_found_with_its_cause(app, storage, theirs, intent):
    """What the database refuses at the commit is raised as it is; the look finds the object, and says why."""
    app.sql("ALTER TABLE file_versions DROP CONSTRAINT file_versions_file_id_fkey")
    app.sql(DEFERRED)

    def write_row():
        version = app.row("key", on=theirs)
        theirs.execute("UPDATE file_versions SET file_id = %s WHERE id = %s", [NO_FILE, version])
        return version

    with pytest.raises(errors.ForeignKeyViolation):
        storage.store_version(theirs, write_row, CONTENT, intent=intent)
    assert (app.keys(), app.there()) == ([], ["key"])
    [(due,)] = app.sql("SELECT due_at <= now() FROM reconciler.look")
    assert due, "the orphan is looked at at once"
    app.serve()
    assert app.findings() == [("orphan", "suspected", "key", None, None)]
    told = app.evidence("key")
    assert (told["named_by"], told["upload"]["failed"]) == ("upload", "commit")
    assert "late" in told["upload"]["error"]
    assert ("intent" in told) is intent


def test_a_failure_before_the_commit_is_the_callers(app, storage, theirs):
    """What `uploaded` raises is raised; a connection that broke meanwhile has committed nothing."""

    def broken(_):
        app.sql("SELECT pg_terminate_backend(%s)", theirs.info.backend_pid)
        theirs.execute("SELECT 1")

    with pytest.raises(psycopg.OperationalError):
        storage.store_version(theirs, lambda: app.row("key", on=theirs), CONTENT, uploaded=broken)
    app.serve()
    assert (app.keys(), app.findings()) == ([], [("orphan", "suspected", "key", None, None)])


def test_an_intent_leaves_nothing_where_all_is_well(app, storage, theirs):
    """While it lasts the intent is kept, with who and what; after the commit it is gone."""
    seen = []

    def uploaded(_):
        seen.extend(app.sql("SELECT evidence FROM reconciler.look WHERE due_at > now() + interval '30 seconds'"))

    stored = storage.store_version(theirs, lambda: app.row("key", on=theirs), CONTENT, intent=True, uploaded=uploaded)
    [(evidence,)] = seen
    assert evidence["intent"]["version_id"] == stored.version_id
    assert evidence["intent"]["at"]
    assert evidence["intent"]["source"]
    assert (app.looks(), app.findings()) == ([], [])


def test_a_look_that_others_asked_for_is_not_lost_with_the_intent(app, storage, theirs):
    """Who asks for the same key meanwhile gets the look, at once and without the intent."""

    def uploaded(_):
        app.sql("UPDATE reconciler.look SET asks = asks + 1")

    storage.store_version(theirs, lambda: app.row("key", on=theirs), CONTENT, intent=True, uploaded=uploaded)
    [(evidence, due)] = app.sql("SELECT evidence, due_at <= now() FROM reconciler.look")
    assert due
    assert "intent" not in evidence
    app.serve()
    assert (app.looks(), app.findings()) == ([], [])


@pytest.mark.parametrize("broken", ["DROP SCHEMA reconciler CASCADE", "ALTER TABLE reconciler.look RENAME TO lost"])
def test_without_our_schema_storing_works(app, storage, theirs, broken):
    """Our own part may fail and storing goes on; only an intent that was asked for must be kept."""
    app.sql(broken)
    storage.store_version(theirs, lambda: app.row("key", on=theirs), CONTENT)
    with pytest.raises(UploadFailed):
        storage.store_version(theirs, lambda: app.row("broken", on=theirs), Slow(10, breaks=True), 10)
    with pytest.raises(StorageUnavailable):
        storage.store_version(theirs, lambda: app.row("intended", on=theirs), CONTENT, intent=True)
    assert (app.keys(), app.there()) == (["key"], ["key"])


LEFT = {  # after a crash at each point: keys of rows, keys of objects, findings after a look
    "rows written": ([], [], []),
    "reading": ([], [], []),
    "uploaded": ([], ["key"], [("orphan", "suspected", "key", None, None)]),
    "committed": (["key"], ["key"], []),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_each_point_is_found_with_its_cause(app, point):
    """Killed between any two steps: what is left over is found by the intent, without any event."""
    app.killed_at(point, "key")
    rows, objects, findings = LEFT[point]
    assert (app.keys(), app.there()) == (rows, objects)
    assert [reason for _, reason in app.looks()] == (["upload intended"] if point in {"reading", "uploaded"} else [])
    [(late,)] = app.sql("SELECT count(*) FROM reconciler.look WHERE due_at > now() + interval '1 minute'")
    assert late == 0, "found within a minute"
    app.serve()
    assert app.findings() == findings
    if findings:
        told = app.evidence("key")
        assert told["intent"]["version_id"]
        app.serve(after=timedelta(hours=1))
        assert app.findings() == [("orphan", "open", "key", None, None)]
        assert app.evidence("key")["intent"] == told["intent"]
    else:
        assert app.looks() == []
