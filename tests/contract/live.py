# ruff: noqa: D102 - `Stage` says what each of its methods does
"""The live stage: PostgreSQL and MinIO. Time passes by making older all that is kept, so that nobody waits."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import minio as minio_py
import psycopg
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from reconcile import acts, ignoring, ledger, windows
from reconcile.config.settings import BucketOf, FileTable, MappingSettings, StatusWords, VersionTable
from reconcile.database import Database, migrate
from reconcile.model import Brake, Kind, ObjectRef, Policy, State
from reconcile.store.objects import Objects
from reconcile.store.server import Server
from reconcile.tables.catalog import compiled
from reconcile.world import LiveWorld
from tests.contract.stages import BRAKE, FLAGGING, Planned, Seen

PERSON = acts.Who("person", "seen to")
CLOSED = 1  # a port of the loopback that nobody listens at
TABLES = """
CREATE TABLE parent (id text PRIMARY KEY, deleted_at timestamptz);
CREATE TABLE version (
    id text PRIMARY KEY, parent_id text NOT NULL REFERENCES parent, bucket text NOT NULL, key text NOT NULL,
    size bigint, etag text, status text NOT NULL, s3_version text, created_at timestamptz, sha256 text
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
        sha256="sha256",
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
    with as_application(url) as connection:
        connection.execute(TABLES.encode())
        migrate(connection)


def as_application(url: str) -> psycopg.Connection:
    """Connect as the application, whose tables are not found by the name of its user."""
    return psycopg.connect(url, autocommit=True, options="-c search_path=public")


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
        return [] if cursor.description is None else cursor.fetchall()

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

    def make_versioned(self, status: str = ENABLED) -> None:
        self.client.set_bucket_versioning(bucket_name=self.bucket, config=VersioningConfig(status))

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
        self.sql(f"GRANT USAGE ON SCHEMA public TO {role}")
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

    @contextmanager
    def locking_table(self, mode: str = "ACCESS EXCLUSIVE") -> Iterator[None]:
        with psycopg.connect(self.url) as application:
            application.execute(f"LOCK TABLE version IN {mode} MODE".encode())
            yield
            application.rollback()

    def stand_still(self, world: Any, seconds: float) -> None:
        clock = world.clock
        world.clock = lambda: clock() + seconds
        self.age(timedelta(seconds=seconds))

    def refuse(self, *row_ids: str) -> None:
        self.sql("TRUNCATE refused")
        for row_id in row_ids:
            self.sql("INSERT INTO refused VALUES (%s)", [row_id])

    def age(self, by: timedelta) -> None:
        for statement in OLDER.split(";"):
            self.sql(statement, {"by": by})

    def count_live(self, bucket: str, rows: int) -> None:
        ledger.keep_live_rows(self.connection, {bucket: rows}, {}, "test")

    def release(self, *kinds: str) -> None:
        database = Database(self.url)
        acts.release(database, PERSON, kinds or ("missing", "orphan"))
        database.close()

    def suppress(self, lasting: timedelta, pattern: str | None = None) -> None:
        [(until,)] = self.sql("SELECT now() + %s", [lasting])
        database = Database(self.url)
        windows.add(database, PERSON, windows.Window(self.bucket, pattern, until))
        database.close()

    def lift_windows(self) -> None:
        database = Database(self.url)
        for number, *_ in windows.every(self.connection, closed=False):
            windows.lift(database, PERSON, number)
        database.close()

    def end_windows(self) -> None:
        for window in windows.over(self.connection):
            windows.close(self.connection, window)

    def ignore(self, lasting: timedelta, pattern: str, kind: Kind | None = None) -> int:
        [(until,)] = self.sql("SELECT now() + %s", [lasting])
        database = Database(self.url)
        number = ignoring.add(database, PERSON, ignoring.Rule(self.bucket, kind, pattern, until))
        database.close()
        return number

    def end_rules(self, world: LiveWorld) -> None:
        for number in ignoring.over(self.connection):
            ignoring.close(world, number)

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

    def lines(self) -> list[tuple[str, str, str]]:
        return self.sql("SELECT actor, act, why FROM reconciler.history WHERE finding_id IS NOT NULL ORDER BY id")

    def evidence(self, key: str) -> Mapping[str, Any]:
        [(facts,)] = self.sql("SELECT evidence FROM reconciler.finding WHERE key = %s", [key])
        return dict(facts)

    def restraints(self, effect: str) -> set[tuple[str, str]]:
        kept = self.sql(
            "SELECT coalesce(kind, ''), bucket FROM reconciler.restraint WHERE effect = %s AND lifted_at IS NULL",
            [effect],
        )
        return set(kept)

    def everything(self) -> object:
        return self.sql(EVERYTHING)
