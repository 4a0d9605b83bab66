# ruff: noqa: D401 - a scenario's docstring says what must hold in it
"""Scenarios: what an application, a person or an accident does to rows and objects, and what must hold then.

Each is a generator that does something, yields what it waits for, and goes on when that is true.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO

import minio as minio_py
import psycopg
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from reconcile.config.settings import BucketOf, FileTable, MappingSettings, StatusWords, VersionTable
from reconcile.database import Database, migrate
from reconcile.model import Action, Brake, Hint, ObjectRef, Policy, Told
from reconcile.reconciler import reconcile
from reconcile.store.objects import Objects
from reconcile.store.server import Server
from reconcile.tables.catalog import compiled
from reconcile.world import LiveWorld
from tests.support import storage
from tests.support.waiting import until

SOON = timedelta(seconds=0.3)
QUICK = Policy(flagging=True, missing_grace=SOON, orphan_grace=SOON, look_again=SOON, look_again_most=SOON)
MANY = Brake(floor=10_000, most=10_000, bucket_floor=10_000)
MAPPING = MappingSettings(
    version=VersionTable(
        table="file_versions",
        key="object_key",
        file_id="file_id",
        size="size",
        etag="etag",
        status="status",
        created_at="created_at",
    ),
    file=FileTable(table="storage_files", deleted="deleted_at"),
    status=StatusWords(expects_absence=("pending", "deleted")),
    bucket=BucketOf(column="file.bucket_type"),
)
INSERT = """
WITH f AS (INSERT INTO storage_files (bucket_type) VALUES (%s) RETURNING id)
INSERT INTO file_versions (file_id, version_number, object_key, size, status) SELECT id, 1, %s, %s, %s FROM f
"""
Scenario = Callable[["Scene", str], Iterator[Callable[[], bool]]]


@dataclass
class Scene:
    """An application with its rows and objects, and the events that these make, as hints."""

    url: str
    bucket: str
    server: Server
    client: minio_py.Minio
    connection: psycopg.Connection
    opened: ExitStack
    events: list[Hint] = field(default_factory=list)

    def world(self, policy=QUICK, brake=MANY, actor="test", server=None) -> LiveWorld:
        """Start a process that reconciles."""
        database = self.opened.enter_context(closing(Database(self.url, name=actor)))
        store = self.opened.enter_context(Objects(server or self.server))
        return LiveWorld(database, compiled(self.connection, MAPPING), store, policy, brake, actor, look_deadline_s=2.0)

    def sql(self, query, *values, on=None) -> list[tuple]:
        """Do something as the application, or look at what is kept."""
        cursor = (on or self.connection).execute(query, values)
        return [] if cursor.description is None else cursor.fetchall()

    def row(self, key, status="active", size=3, bucket=None, on=None) -> None:
        """Insert a version and its parent."""
        self.sql(INSERT, bucket or self.bucket, key, size, status, on=on)

    def put(self, key, content=b"AAA", *, told=True, bucket=None) -> None:
        """Put an object; its event is told."""
        bucket = bucket or self.bucket
        self.client.put_object(bucket_name=bucket, object_name=key, data=BytesIO(content), length=len(content))
        if told:
            self.tell(key, Action.CREATED, bucket, len(content))

    def remove(self, key, *, told=True, bucket=None, version=None) -> None:
        """Remove an object; its event is told."""
        bucket = bucket or self.bucket
        self.client.remove_object(bucket_name=bucket, object_name=key, version_id=version)
        if told:
            self.tell(key, Action.REMOVED, bucket)

    def tell(self, key, action=Action.LOOK, bucket=None, size=None, named_by="event") -> None:
        """Name a key."""
        facts = Told({"principal": "somebody"})
        self.events.append(Hint(ObjectRef(bucket or self.bucket, key), action, named_by, size, None, facts))

    def store(self, key, content=b"AAA") -> None:
        """Upload in the recommended order: row, object, commit."""
        with psycopg.connect(self.url) as application:
            self.row(key, size=len(content), on=application)
            self.put(key, content)

    def status(self, key) -> str:
        """Return the status of a version."""
        [(status,)] = self.sql("SELECT status FROM file_versions WHERE object_key = %s", key)
        return status

    def set_status(self, key, status) -> None:
        """Change the status of a version."""
        self.sql("UPDATE file_versions SET status = %s WHERE object_key = %s", status, key)

    def soft_delete(self, key) -> None:
        """Delete a version's parent as the application does."""
        self.sql(
            "UPDATE storage_files SET deleted_at = now() FROM file_versions AS v"
            " WHERE v.file_id = storage_files.id AND v.object_key = %s",
            key,
        )

    def findings(self, key) -> list[tuple[str, str]]:
        """Return (kind, state) of what is not closed."""
        return self.sql(
            "SELECT kind, state FROM reconciler.finding WHERE key = %s AND closed_at IS NULL ORDER BY 1", key
        )

    def acts(self, key) -> list[str]:
        """Return all that was done to findings of a key."""
        history = "SELECT act FROM reconciler.history WHERE subject LIKE '%%/' || %s ORDER BY id"
        return [act for (act,) in self.sql(history, key)]

    def attempts(self, key) -> int:
        """Return how often the key's look came back; -1 if none is planned."""
        [(attempt,)] = self.sql("SELECT coalesce(max(attempt), -1) FROM reconciler.look WHERE key = %s", key)
        return attempt

    def quiet(self, key) -> bool:
        """Tell whether nothing is open at a key and nothing planned."""
        return not self.findings(key) and self.attempts(key) == -1

    def there(self, key) -> bool:
        """Tell whether an object is listed."""
        return any(one.object_name == key for one in self.client.list_objects(bucket_name=self.bucket, prefix=key))

    def turn(self, world) -> None:
        """Look at what events have named and at what is due."""
        events, self.events = self.events, []
        reconcile(world, [*events, *world.due(500)])

    def reach(self, world, condition, what="") -> None:
        """Turn until something is true."""

        def reached() -> bool:
            self.turn(world)
            return condition()

        until(reached, what=what)


def set_scene(url, minio, opened) -> Scene:
    """Prepare a database and its buckets."""
    connection = opened.enter_context(psycopg.connect(url, autocommit=True))
    migrate(connection)
    bucket, client = storage.new_bucket(minio), storage.client(minio)
    versioned = f"{bucket}-versioned"
    client.make_bucket(bucket_name=versioned)
    client.set_bucket_versioning(bucket_name=versioned, config=VersioningConfig(ENABLED))
    server = Server(minio.url, minio.user, minio.password, minio.region)
    return Scene(url, bucket, server, client, connection, opened)


# ----- scenarios -----


def deleted_by_hand(scene, key):
    """The version is flagged, with the evidence of who did it, and has its status back when the object returns."""
    scene.store(key)
    scene.remove(key)
    yield lambda: scene.status(key) == "corrupted"
    assert scene.findings(key) == [("missing", "open")]
    [(who,)] = scene.sql("SELECT evidence ->> 'principal' FROM reconciler.finding WHERE key = %s", key)
    assert who == "somebody"
    scene.put(key)
    yield lambda: scene.quiet(key)
    assert scene.status(key) == "active"
    assert scene.acts(key) == ["suspected", "flagged", "given back"]


def healed_without_an_event(scene, key):
    """A flag does not wait for an event that never comes: the finding keeps a look."""
    scene.store(key)
    scene.remove(key)
    yield lambda: scene.status(key) == "corrupted"
    scene.put(key, told=False)
    yield lambda: scene.quiet(key)
    assert scene.status(key) == "active"


def back_before_the_grace_is_over(scene, key):
    """The end of a grace decides nothing by itself: both sides are looked at again."""
    scene.store(key)
    scene.remove(key)
    yield lambda: scene.findings(key) == [("missing", "suspected")]
    scene.put(key, told=False)
    yield lambda: scene.quiet(key)
    assert scene.acts(key) == ["suspected", "resolved"]


def overwritten_with_another_size(scene, key):
    """A mismatch is reported, not flagged, and resolves when the right object is there again."""
    scene.store(key)
    scene.put(key, b"AAAAA")
    yield lambda: scene.findings(key) == [("mismatch", "open")]
    assert scene.status(key) == "active"
    scene.put(key, b"BBB")
    yield lambda: scene.quiet(key)
    assert "flagged" not in scene.acts(key)


def returned_with_another_size(scene, key):
    """A flagged version whose object returns different stays flagged until the right one is there."""
    scene.store(key)
    scene.remove(key)
    yield lambda: scene.status(key) == "corrupted"
    scene.put(key, b"AAAAA")
    yield lambda: scene.findings(key) == [("mismatch", "open")]
    assert scene.status(key) == "corrupted"
    scene.put(key)
    yield lambda: scene.quiet(key)
    assert scene.status(key) == "active"


def a_key_that_never_existed(scene, key):
    """A removal of what nobody knows is no finding, and neither is its upload by rumour."""
    scene.tell(key, Action.REMOVED)
    scene.tell(key, Action.CREATED, size=3)
    yield lambda: not scene.events
    assert scene.quiet(key)
    assert scene.acts(key) == []


def put_before_the_commit(scene, key):
    """The event precedes the row: whatever is suspected meanwhile is over once the row is committed."""
    with psycopg.connect(scene.url) as application:
        scene.row(key, on=application)
        scene.put(key)
        yield lambda: scene.findings(key) == [("orphan", "suspected")]
    yield lambda: scene.quiet(key)
    assert scene.status(key) == "active"


def put_deleted_then_committed(scene, key):
    """A row that is committed after its object went: found by whoever names it, such as the watch of young rows."""
    with psycopg.connect(scene.url) as application:
        scene.row(key, on=application)
        scene.put(key)
        scene.remove(key)
        yield lambda: not scene.events
    scene.tell(key, named_by="young")
    yield lambda: scene.status(key) == "corrupted"


def rolled_back_after_the_upload(scene, key):
    """An orphan: reported, and still there."""
    with psycopg.connect(scene.url) as application:
        scene.row(key, on=application)
        scene.put(key)
        application.rollback()
    yield lambda: scene.findings(key) == [("orphan", "open")]
    yield lambda: scene.attempts(key) > 3
    assert scene.there(key)


def locked_by_an_open_transaction(scene, key):
    """The row is looked at again and again without waiting for it, and flagged when it is free."""
    scene.store(key)
    with psycopg.connect(scene.url) as application:
        scene.sql("UPDATE file_versions SET size = size WHERE object_key = %s", key, on=application)
        scene.remove(key)
        busy = "SELECT 1 FROM reconciler.look WHERE key = %s AND asks > 3"
        yield lambda: scene.sql(busy, key)
        assert scene.findings(key) == [("missing", "suspected")]
        scene.sql("UPDATE storage_files SET name = 'still mine'", on=application)
    yield lambda: scene.status(key) == "corrupted"


def soft_deleted_while_flagged(scene, key):
    """The parent's deletion takes our flag off; an object that is put then is a leftover."""
    scene.store(key)
    scene.remove(key)
    yield lambda: scene.status(key) == "corrupted"
    scene.soft_delete(key)
    yield lambda: scene.quiet(key)
    assert scene.status(key) == "active"
    scene.put(key)
    yield lambda: scene.findings(key) == [("leftover", "open")]
    assert scene.there(key)


def soft_deleted_then_removed(scene, key):
    """The application's own way of deleting is no drift."""
    scene.store(key)
    scene.soft_delete(key)
    scene.remove(key)
    yield lambda: not scene.events
    yield lambda: scene.quiet(key)
    assert "opened" not in scene.acts(key)


def status_changed_while_flagged(scene, key):
    """What the application made of the version meanwhile stays."""
    scene.store(key)
    scene.remove(key)
    yield lambda: scene.status(key) == "corrupted"
    scene.set_status(key, "archived")
    yield lambda: scene.attempts(key) > 3
    assert scene.status(key) == "archived"
    scene.put(key)
    yield lambda: scene.quiet(key)
    assert scene.status(key) == "archived"


def flag_taken_off_by_the_application(scene, key):
    """It is not set again as long as the finding is open."""
    scene.store(key)
    scene.remove(key)
    yield lambda: scene.status(key) == "corrupted"
    scene.set_status(key, "active")
    seen = scene.attempts(key)
    yield lambda: scene.attempts(key) > seen + 3
    assert scene.status(key) == "active"
    assert scene.acts(key) == ["suspected", "flagged"]


def flagged_by_the_application(scene, key):
    """A flag that is not ours is no finding, and is never given back."""
    scene.row(key, status="corrupted")
    scene.tell(key, Action.REMOVED)
    yield lambda: not scene.events
    scene.put(key)
    yield lambda: not scene.events
    assert scene.quiet(key)
    assert scene.status(key) == "corrupted"


def moved_while_flagged(scene, key):
    """The status is given back by the row's id, and the new key is looked at."""
    scene.store(key)
    scene.remove(key)
    yield lambda: scene.status(key) == "corrupted"
    scene.sql("UPDATE file_versions SET object_key = %s WHERE object_key = %s", f"{key}/moved", key)
    yield lambda: scene.quiet(key)
    yield lambda: scene.status(f"{key}/moved") == "corrupted"
    assert scene.findings(f"{key}/moved") == [("missing", "open")]
    scene.put(f"{key}/moved", told=False)
    yield lambda: scene.status(f"{key}/moved") == "active"


def deleted_while_flagged(scene, key):
    """With its row the finding is over."""
    scene.store(key)
    scene.remove(key)
    yield lambda: scene.status(key) == "corrupted"
    scene.sql("DELETE FROM file_versions WHERE object_key = %s", key)
    yield lambda: scene.quiet(key)


def pending_then_active(scene, key):
    """A row that is committed before its upload expects nothing until it is made live."""
    scene.row(key, status="pending")
    scene.tell(key)
    yield lambda: not scene.events
    assert scene.quiet(key)
    scene.put(key)
    scene.set_status(key, "active")
    yield lambda: not scene.events
    yield lambda: scene.quiet(key)


def told_twice_and_in_the_wrong_order(scene, key):
    """Duplicates and a removal that arrives after the next upload are harmless."""
    scene.store(key)
    scene.remove(key, told=False)
    scene.put(key)
    for _ in range(3):
        scene.tell(key, Action.REMOVED)
        scene.tell(key, Action.CREATED, size=99)
    yield lambda: not scene.events
    assert scene.quiet(key)
    assert scene.acts(key) == []


def in_a_bucket_that_is_missing(scene, key):
    """No absence is proven: nothing is flagged however often it is looked at; when the bucket is there all is well."""
    bucket = f"{scene.bucket}-missing"
    scene.row(key, bucket=bucket)
    scene.tell(key, Action.REMOVED, bucket)
    yield lambda: scene.attempts(key) > 3
    assert scene.findings(key) == []
    assert scene.status(key) == "active"
    scene.client.make_bucket(bucket_name=bucket)
    scene.put(key, told=False, bucket=bucket)
    yield lambda: scene.quiet(key)
    assert scene.acts(key) == []


def hidden_by_a_delete_marker(scene, key):
    """In a versioned bucket a deletion is recoverable, says so, and is undone with the marker."""
    bucket = f"{scene.bucket}-versioned"
    scene.row(key, bucket=bucket)
    scene.put(key, bucket=bucket)
    scene.remove(key, bucket=bucket)
    yield lambda: scene.status(key) == "corrupted"
    [(cause,)] = scene.sql("SELECT cause FROM reconciler.finding WHERE key = %s", key)
    assert "recoverable" in cause
    versions = scene.client.list_objects(bucket_name=bucket, prefix=key, include_version=True)
    [marker] = [one.version_id for one in versions if one.is_delete_marker]
    scene.remove(key, bucket=bucket, version=marker)
    yield lambda: scene.quiet(key)
    assert scene.status(key) == "active"


def named_strangely(scene, key):
    """Any key that MinIO takes is looked at as itself."""
    scene.store(key)
    yield lambda: not scene.events
    assert scene.quiet(key)
    scene.remove(key)
    yield lambda: scene.status(key) == "corrupted"
    scene.put(key)
    yield lambda: scene.quiet(key)
    assert scene.status(key) == "active"


INVARIANTS: dict[Scenario, int] = {
    deleted_by_hand: 5,
    healed_without_an_event: 5,
    back_before_the_grace_is_over: 4,
    overwritten_with_another_size: 1,
    returned_with_another_size: 5,
    a_key_that_never_existed: 8,
    put_before_the_commit: 4,
    put_deleted_then_committed: 2,
    rolled_back_after_the_upload: 6,
    locked_by_an_open_transaction: 3,
    soft_deleted_while_flagged: 5,
    soft_deleted_then_removed: 8,
    status_changed_while_flagged: 5,
    flag_taken_off_by_the_application: 5,
    flagged_by_the_application: 5,
    moved_while_flagged: 5,
    deleted_while_flagged: 5,
    pending_then_active: 4,
    told_twice_and_in_the_wrong_order: 8,
    in_a_bucket_that_is_missing: 1,
    hidden_by_a_delete_marker: 1,
}
STRANGE = [
    "a b",
    " leading and trailing ",
    "a+b",
    "100%",
    "%2F",
    "a%20b+c d",
    "Ключ/файл",
    "\U0001f5dd\ufe0f/\U0001f469\u200d\U0001f4bb",
    "e\u0301 and \u00e9",
    "'\"; DROP TABLE file_versions; --",
    "\\x00",
    "$1 %s %(row_keys)s {}",
    "/".join(["k" * 204] * 5),
    "\u044f" * 127 + "/" + "\u044f" * 127 + "/" + "\u044f" * 127 + "/" + "\u044f" * 127 + "/kkkk",
]


def plays() -> dict[str, tuple[Scenario, str]]:
    """Return every scenario and its key by name."""
    told = {scenario.__name__: (scenario, scenario.__name__) for scenario in INVARIANTS}
    return told | {f"named_{ascii(key)[1:25]}": (named_strangely, key) for key in STRANGE}
