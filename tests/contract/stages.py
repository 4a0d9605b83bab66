# ruff: noqa: D102 - `Stage` says what each of its methods does
"""The two stages on which the World's contract is played: one in memory, one on PostgreSQL and MinIO.

Both say the same words: what the application does to its rows and objects, what is kept of it, and how time passes.
Time passes on the live stage by making older all that is kept, so that nobody waits.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from io import BytesIO
from typing import Any, NamedTuple, Protocol

import minio as minio_py
import psycopg
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from reconcile import acts, ledger
from reconcile.catalog import compiled
from reconcile.database import Database, migrate
from reconcile.model import Brake, Hint, Kind, NotAsked, ObjectRef, ObjectSide, Policy, State
from reconcile.objects import Objects
from reconcile.reconciler import World
from reconcile.settings import BucketOf, FileTable, MappingSettings, StatusWords, VersionTable
from reconcile.signature import Server
from reconcile.world import LiveWorld
from tests.simulation.memory import MemoryWorld
from tests.simulation.servers import Servers, Stored

FLAGGING = Policy(flagging=True)
BRAKE = Brake()
CLOSED = 1  # a port of the loopback that nobody listens at


class Seen(NamedTuple):
    """What is kept of a finding that is not closed."""

    key: str
    row_id: str
    kind: Kind
    state: State
    previous_status: str | None
    held_by: str | None


class Planned(NamedTuple):
    """What is kept of a look; `in_s` are the seconds until it is due."""

    in_s: float
    attempt: int
    asks: int
    reason: str


class Stage(Protocol):
    """What a test may do and see. Without a bucket's name the first is meant, without a row's id `row of KEY`."""

    bucket: str
    other: str
    missing: str

    def world(self, policy: Policy = FLAGGING, brake: Brake = BRAKE, actor: str = "test") -> World:
        """Start another process."""

    def row(self, key: str, row_id: str = "", **columns: object) -> str:
        """Commit a row, live and of three bytes unless it is said otherwise; returns its id."""

    def change(self, row_id: str, **columns: object) -> None:
        """Change columns of a row; `deleted` is its parent's."""

    def delete_row(self, row_id: str) -> None:
        """Delete a row."""

    def status(self, row_id: str) -> str:
        """Return a row's status."""

    def put(self, key: str, content: bytes = b"AAA", bucket: str = "") -> str:
        """Put an object and return its version, where there are versions."""

    def remove(self, key: str, version: str | None = None, bucket: str = "") -> None:
        """Remove an object, or one of its versions."""

    def make_versioned(self) -> None:
        """Keep versions in the bucket from now on."""

    def make_bucket(self, name: str) -> None:
        """Make another bucket."""

    def lose_bucket(self, name: str) -> None:
        """Remove an empty bucket."""

    def outage(self, world: Any, server: str) -> AbstractContextManager[None]:
        """Have a server away for a process."""

    def holding(self, row_id: str) -> AbstractContextManager[None]:
        """Hold a row in an open transaction of the application."""

    def refuse(self, *row_ids: str) -> None:
        """Have the application's table refuse a new status of these rows, and of no others."""

    def age(self, by: timedelta) -> None:
        """Let time pass."""

    def count_live(self, bucket: str, rows: int) -> None:
        """Keep how many live rows a bucket was counted to have."""

    def release(self) -> None:
        """Lift all brakes and free what they held."""

    def findings(self) -> list[Seen]:
        """Return the findings that are not closed."""

    def looks(self) -> dict[ObjectRef, Planned]:
        """Return the looks that are planned."""

    def history(self) -> list[str]:
        """Return the acts upon findings, in their order."""

    def restraints(self, effect: str) -> set[tuple[str, str]]:
        """Return the (kind, bucket) of restraints in force."""

    def everything(self) -> object:
        """Return what can be compared to tell whether anything was written."""


@dataclass
class MemoryStage:
    """Played in memory."""

    bucket: str = "bucket"
    other: str = "other"
    missing: str = "missing"
    servers: Servers = field(default_factory=Servers)

    def __post_init__(self) -> None:
        self.servers.storage.buckets |= {self.bucket: {}, self.other: {}}

    def world(self, policy: Policy = FLAGGING, brake: Brake = BRAKE, actor: str = "test") -> World:
        return MemoryWorld(self.servers, policy, brake, actor)

    def row(self, key: str, row_id: str = "", **columns: Any) -> str:
        row_id = row_id or f"row of {key}"
        columns = {"bucket": self.bucket, **columns}
        self.servers.tables.rows[row_id] = Stored(row_id=row_id, key=key, **columns)
        return row_id

    def change(self, row_id: str, **columns: Any) -> None:
        self.servers.tables.rows[row_id] = self.servers.tables.rows[row_id]._replace(**columns)

    def delete_row(self, row_id: str) -> None:
        del self.servers.tables.rows[row_id]

    def status(self, row_id: str) -> str:
        return self.servers.tables.rows[row_id].status

    def put(self, key: str, content: bytes = b"AAA", bucket: str = "") -> str:
        return self.servers.storage.put(bucket or self.bucket, key, content)

    def remove(self, key: str, version: str | None = None, bucket: str = "") -> None:
        self.servers.storage.remove(bucket or self.bucket, key, version)

    def make_versioned(self) -> None:
        self.servers.storage.versioned.add(self.bucket)

    def make_bucket(self, name: str) -> None:
        self.servers.storage.buckets[name] = {}

    def lose_bucket(self, name: str) -> None:
        del self.servers.storage.buckets[name]

    @contextmanager
    def outage(self, world: Any, server: str) -> Iterator[None]:  # noqa: ARG002 - it is away for all
        which = self.servers if server == "postgresql" else self.servers.storage
        which.down = True
        yield
        which.down = False

    @contextmanager
    def holding(self, row_id: str) -> Iterator[None]:
        self.servers.locked.add(row_id)
        yield
        self.servers.locked.remove(row_id)

    def refuse(self, *row_ids: str) -> None:
        self.servers.refusing = set(row_ids)

    def age(self, by: timedelta) -> None:
        self.servers.now += by

    def count_live(self, bucket: str, rows: int) -> None:
        self.servers.tables.live[bucket] = rows

    def release(self) -> None:
        self.servers.release()

    def findings(self) -> list[Seen]:
        kept = [kept.finding for kept in self.servers.tables.findings.values()]
        open_ones = [one for one in kept if one.state not in {State.RESOLVED, State.DELETED}]
        return sorted(
            Seen(one.ref.key, one.row_id, one.kind, one.state, one.previous_status, one.held_by) for one in open_ones
        )

    def looks(self) -> dict[ObjectRef, Planned]:
        looks = self.servers.tables.looks.items()
        now = self.servers.now
        return {
            ref: Planned((one.due_at - now).total_seconds(), one.attempt, one.asks, one.reason) for ref, one in looks
        }

    def history(self) -> list[str]:
        return [line.act for line in self.servers.tables.history]

    def restraints(self, effect: str) -> set[tuple[str, str]]:
        return {(str(one.kind or ""), one.bucket) for one in self.servers.tables.active(effect)}

    def everything(self) -> object:
        return self.servers.tables.copy()


TABLES = """
CREATE TABLE parent (id text PRIMARY KEY, deleted_at timestamptz);
CREATE TABLE version (
    id text PRIMARY KEY, parent_id text NOT NULL REFERENCES parent, bucket text NOT NULL, key text NOT NULL,
    size bigint, etag text, status text NOT NULL, s3_version text, created_at timestamptz
);
CREATE INDEX ON version (key);
CREATE TABLE refused (id text PRIMARY KEY);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM refused WHERE id = NEW.id) THEN RAISE 'this row is not for you'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE UPDATE OF status ON version FOR EACH ROW EXECUTE FUNCTION refuse();
"""
MAPPING = MappingSettings(
    version=VersionTable(
        table="version",
        key="key",
        file_id="parent_id",
        size="size",
        etag="etag",
        status="status",
        s3_version="s3_version",
        created_at="created_at",
    ),
    file=FileTable(table="parent", deleted="deleted_at"),
    status=StatusWords(expects_absence=("pending", "deleted")),
    bucket=BucketOf(column="version.bucket"),
)
OLDER = """
UPDATE reconciler.finding SET suspected_at = suspected_at - %(by)s, opened_at = opened_at - %(by)s,
    closed_at = closed_at - %(by)s;
UPDATE reconciler.history SET at = at - %(by)s;
UPDATE reconciler.look SET due_at = due_at - %(by)s;
UPDATE reconciler.restraint SET since = since - %(by)s, until = until - %(by)s, lifted_at = lifted_at - %(by)s;
UPDATE reconciler.lease SET until = until - %(by)s
"""
EVERYTHING = """
SELECT 'finding', id::text, revision::text, state FROM reconciler.finding
UNION ALL SELECT 'look', key, asks::text, due_at::text FROM reconciler.look
UNION ALL SELECT 'history', id::text, act, '' FROM reconciler.history
UNION ALL SELECT 'restraint', id::text, effect, lifted_at::text FROM reconciler.restraint
UNION ALL SELECT 'version', id, status, '' FROM version
ORDER BY 1, 2
"""


CLEAR = """
TRUNCATE version, parent, refused, reconciler.finding, reconciler.history, reconciler.look, reconciler.restraint,
    reconciler.lease
"""


def prepare(url: str) -> None:
    """Put the application's tables and ours into a database."""
    with psycopg.connect(url, autocommit=True) as connection:
        migrate(connection)
        connection.execute(TABLES.encode())


@dataclass
class LiveStage:
    """Played on the servers; `opened` closes what its worlds opened."""

    url: str
    bucket: str
    other: str
    missing: str
    server: Server
    client: minio_py.Minio
    connection: psycopg.Connection
    opened: ExitStack

    def __post_init__(self) -> None:
        self.mapping = compiled(self.connection, MAPPING)

    def clear(self) -> None:
        """Forget what other tests left."""
        self.sql(CLEAR)

    def world(self, policy: Policy = FLAGGING, brake: Brake = BRAKE, actor: str = "test") -> LiveWorld:
        database = Database(self.url, name=actor)
        self.opened.callback(database.close)
        store = self.opened.enter_context(Objects(self.server))
        return LiveWorld(database, self.mapping, store, policy, brake, actor, look_deadline_s=10.0)

    def sql(self, query: str, parameters: Mapping[str, object] | Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Do something as the application, or look at what is kept."""
        cursor = self.connection.execute(query.encode(), parameters)
        return cursor.fetchall() if cursor.description else []

    def row(self, key: str, row_id: str = "", **columns: object) -> str:
        row_id = row_id or f"row of {key}"
        self.sql("INSERT INTO parent (id) VALUES (%s)", [row_id])
        names = {"bucket": self.bucket, "size": 3, "etag": None, "status": "active", "s3_version": None} | columns
        names |= {"created_at": columns.get("created_at"), "id": row_id, "parent_id": row_id, "key": key}
        deleted = names.pop("deleted", False)
        marks = ", ".join(f"%({name})s" for name in names)
        self.sql(f"INSERT INTO version ({', '.join(names)}) VALUES ({marks})", names)  # noqa: S608 - our own names
        self.change(row_id, deleted=deleted)
        return row_id

    def change(self, row_id: str, **columns: object) -> None:
        if "deleted" in columns:
            deleted = columns.pop("deleted")
            self.sql("UPDATE parent SET deleted_at = CASE WHEN %s THEN now() END WHERE id = %s", [deleted, row_id])
        for name, value in columns.items():
            self.sql(f"UPDATE version SET {name} = %s WHERE id = %s", [value, row_id])  # noqa: S608 - our own names

    def delete_row(self, row_id: str) -> None:
        self.sql("DELETE FROM version WHERE id = %s", [row_id])

    def status(self, row_id: str) -> str:
        [(status,)] = self.sql("SELECT status FROM version WHERE id = %s", [row_id])
        return str(status)

    def put(self, key: str, content: bytes = b"AAA", bucket: str = "") -> str:
        done = self.client.put_object(
            bucket_name=bucket or self.bucket, object_name=key, data=BytesIO(content), length=len(content)
        )
        return done.version_id or ""

    def remove(self, key: str, version: str | None = None, bucket: str = "") -> None:
        self.client.remove_object(bucket_name=bucket or self.bucket, object_name=key, version_id=version)

    def make_versioned(self) -> None:
        self.client.set_bucket_versioning(bucket_name=self.bucket, config=VersioningConfig(ENABLED))

    def make_bucket(self, name: str) -> None:
        self.client.make_bucket(bucket_name=name)

    def lose_bucket(self, name: str) -> None:
        self.client.remove_bucket(bucket_name=name)

    @contextmanager
    def outage(self, world: Any, server: str) -> Iterator[None]:
        if server == "minio":
            away = replace(self.server, endpoint=f"http://127.0.0.1:{CLOSED}")
            here, world.objects = world.objects, self.opened.enter_context(Objects(away))
            yield
            world.objects = here
            return
        here, world.database.url = world.database.url, f"postgresql://127.0.0.1:{CLOSED}/none"
        world.database.patience_s = 0.1
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [world.actor])
        yield
        world.database.url = here

    @contextmanager
    def reader(self) -> Iterator[str]:
        """Name a role that may read the application's tables, and do anything with ours."""
        role = f"reader_{secrets.token_hex(4)}"
        self.sql(f"CREATE ROLE {role}")
        self.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        self.sql(f"GRANT USAGE ON SCHEMA reconciler TO {role}")
        self.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA reconciler TO {role}")
        yield role
        self.sql(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        self.sql(f"DROP OWNED BY {role}")
        self.sql(f"DROP ROLE {role}")

    @contextmanager
    def holding(self, row_id: str) -> Iterator[None]:
        with psycopg.connect(self.url) as application:
            application.execute("UPDATE version SET size = size WHERE id = %s", [row_id])
            yield
            application.rollback()

    def refuse(self, *row_ids: str) -> None:
        self.sql("TRUNCATE refused")
        for row_id in row_ids:
            self.sql("INSERT INTO refused VALUES (%s)", [row_id])

    def age(self, by: timedelta) -> None:
        for statement in OLDER.split(";"):
            self.sql(statement, {"by": by})

    def count_live(self, bucket: str, rows: int) -> None:
        ledger.keep_live_rows(self.connection, {bucket: rows}, "test")

    def release(self) -> None:
        database = Database(self.url)
        acts.release(database, acts.Who("person", "seen to"))
        database.close()

    def findings(self) -> list[Seen]:
        kept = self.sql(
            "SELECT key, row_id, kind, state, previous_status, held_by FROM reconciler.finding WHERE closed_at IS NULL"
        )
        return sorted(Seen(key, row_id, Kind(kind), State(state), *rest) for key, row_id, kind, state, *rest in kept)

    def looks(self) -> dict[ObjectRef, Planned]:
        kept = self.sql(
            "SELECT bucket, key, s3_version, extract(epoch FROM due_at - now())::float8, attempt, asks, reason"
            " FROM reconciler.look"
        )
        return {ObjectRef(*one[:3]): Planned(*one[3:]) for one in kept}

    def history(self) -> list[str]:
        return [
            act for (act,) in self.sql("SELECT act FROM reconciler.history WHERE finding_id IS NOT NULL ORDER BY id")
        ]

    def restraints(self, effect: str) -> set[tuple[str, str]]:
        kept = self.sql(
            "SELECT coalesce(kind, ''), bucket FROM reconciler.restraint WHERE effect = %s AND lifted_at IS NULL",
            [effect],
        )
        return set(kept)

    def everything(self) -> object:
        return self.sql(EVERYTHING)


@dataclass
class Meanwhile:
    """A World in which something happens after the HEADs, after the transaction has read, or before it commits."""

    world: World
    after_heads: Callable[[], object] = lambda: None
    in_transaction: Callable[[], object] = lambda: None
    before_commit: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    def heads(self, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, ObjectSide]:
        """Look at the objects; then something happens."""
        sides = self.world.heads(refs)
        self.after_heads()
        return sides

    @contextmanager
    def transaction(self, refs: Sequence[ObjectRef]) -> Iterator[Any]:
        """Read; then something happens, and again when all is written."""
        with self.world.transaction(refs) as txn:
            self.in_transaction()
            yield txn
            self.before_commit()


@dataclass
class NarrowPool:
    """A World whose pool has room for some objects only."""

    world: World
    room: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    def heads(self, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, ObjectSide]:
        """Look at the first ones; the others are not asked for."""
        return {**dict.fromkeys(refs, NotAsked()), **self.world.heads(refs[: self.room])}


def hints(*refs: ObjectRef) -> list[Hint]:
    """Name references to look at."""
    return [Hint(ref, named_by="event") for ref in refs]
