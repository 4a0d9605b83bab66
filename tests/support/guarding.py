"""An application that uses the guards: the seed's tables, a bucket, a Storage, and what both sides say afterwards.

Also a command, for what must be killed: `POINT KEY` stores a version with an intent and kills itself at that point.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import minio as minio_py
import psycopg
import structlog
from structlog.testing import LogCapture

from deploy.local.minio import Minio
from reconcile import opening
from reconcile.config.settings import Settings, load
from reconcile.database import Database, migrate
from reconcile.guards import Storage
from reconcile.reconciler import reconcile
from tests.support import command, storage

FILE = "INSERT INTO storage_files (bucket_type) VALUES ('user') RETURNING id"
VERSION = """
INSERT INTO file_versions (file_id, version_number, object_key, size, status, created_at)
VALUES (%(file_id)s, 1, %(key)s, %(size)s, %(status)s, now() - %(age)s) RETURNING id
"""
FINDINGS = (
    "SELECT kind, state, key, previous_status, held_by FROM reconciler.finding WHERE closed_at IS NULL ORDER BY id"
)
DUE = "UPDATE reconciler.look SET due_at = now() - interval '1 second'"
OLDER = "UPDATE reconciler.finding SET suspected_at = suspected_at - %s"
HOUR = timedelta(hours=1)
POINTS = ("rows written", "reading", "uploaded", "committed")
CONTENT = b"AAA"


@dataclass
class Application:
    """The tables and the bucket of an application, and the settings that describe them."""

    program: command.Program
    settings: Settings
    database: str
    bucket: str
    objects: minio_py.Minio
    connection: psycopg.Connection[Any]
    exits: ExitStack
    log: LogCapture = field(default_factory=LogCapture)

    def storage(self, **changed: Any) -> Storage:
        """Open a storage, perhaps with other settings."""
        return self.exits.enter_context(Storage(replace(self.settings, **changed)))

    def other(self) -> psycopg.Connection[Any]:
        """Open a connection of the application's, with transactions."""
        return self.exits.enter_context(psycopg.connect(self.database))

    def row(self, key: str, age: timedelta = HOUR, status: str = "active", on: Any = None, size: int = 3) -> str:
        """Insert a version, on a connection that commits it unless another is given; returns its id."""
        connection = on or self.connection
        [(file_id,)] = connection.execute(FILE).fetchall()
        values = {"file_id": file_id, "key": key, "size": size, "status": status, "age": age}
        [(row_id,)] = connection.execute(VERSION, values).fetchall()
        return str(row_id)

    def put(self, key: str, content: bytes = CONTENT) -> str | None:
        """Put an object; returns its version."""
        done = self.objects.put_object(
            bucket_name=self.bucket, object_name=key, data=io.BytesIO(content), length=len(content)
        )
        return done.version_id

    def there(self) -> list[str]:
        """Return the keys that the bucket holds."""
        return [one.object_name or "" for one in self.objects.list_objects(bucket_name=self.bucket, recursive=True)]

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask, or change something, as the application would."""
        cursor = self.connection.execute(query.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def status(self, row_id: str) -> str:
        """Return a version's status."""
        [(status,)] = self.sql("SELECT status FROM file_versions WHERE id = %s", row_id)
        return str(status)

    def keys(self) -> list[str]:
        """Return the keys that rows name."""
        return [key for (key,) in self.sql("SELECT object_key FROM file_versions ORDER BY 1")]

    def findings(self) -> list[tuple[Any, ...]]:
        """Return (kind, state, key, previous status, held by) of what is open."""
        return self.sql(FINDINGS)

    def evidence(self, key: str) -> dict[str, Any]:
        """Return what the one finding of a key tells."""
        [(told,)] = self.sql("SELECT evidence FROM reconciler.finding WHERE key = %s", key)
        return dict(told)

    def looks(self) -> list[tuple[Any, ...]]:
        """Return (key, reason) of the looks that are planned."""
        return self.sql("SELECT key, reason FROM reconciler.look ORDER BY key")

    def warned(self) -> list[tuple[Any, ...]]:
        """Return (act, version, key) of each warning that a file is missing."""
        told = [one for one in self.log.entries if one["event"] == "FILE_NOT_FOUND_IN_STORAGE"]
        return [(one["act"], one["version_id"], one["object_key"]) for one in told]

    def serve(self, *, after: timedelta = timedelta(0)) -> None:
        """Do, as the service would some time later, the looks that are planned; it observes."""
        self.sql(OLDER, after)
        self.sql(DUE)
        with ExitStack() as exits:
            database = Database(self.database)
            exits.callback(database.close)
            objects = exits.enter_context(opening.objects(self.settings))
            mapping = opening.mapping(self.settings, database)
            world = opening.world(self.settings, database, objects, "service", mapping)
            reconcile(world, world.due(100))

    def killed_at(self, point: str, key: str) -> None:
        """Store a version in a process that kills itself at a point, and see that it did."""
        words = [sys.executable, "-m", "tests.support.guarding", point, key]
        environ = self.program.environment({})
        ended = subprocess.run(words, capture_output=True, text=True, check=False, env=environ, cwd=command.ROOT)
        assert ended.returncode == -signal.SIGKILL, (ended.stdout, ended.stderr)


@contextmanager
def application(directory: Path, database: str, server: Minio, bucket: str, **more: object) -> Iterator[Application]:
    """Prepare an application, whose log is caught; `more` are sections of its configuration."""
    program = command.program(directory, database, server, bucket, {})
    text = tomllib.loads(program.file.read_text("utf-8"))
    del text["policy"]
    settings = load({**text, **more}, program.environ, lambda _: "")
    with ExitStack() as exits, psycopg.connect(database, autocommit=True) as connection:
        migrate(connection)
        made = Application(program, settings, database, bucket, storage.client(server), connection, exits)
        structlog.configure(processors=[made.log])
        exits.callback(structlog.reset_defaults)
        yield made


class Dying:
    """Content whose reading ends the process."""

    def read(self, _: int) -> bytes:
        """End as by kill -9."""
        die()
        return b""


def die() -> None:
    """End as by kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def dying(point: str, here: str) -> Callable[..., None]:
    """Return what ends the process if this is the point."""
    return lambda *_: die() if point == here else None


def main(point: str, key: str) -> None:
    """Store a version, and die at the point."""
    with Storage.from_config() as storage, psycopg.connect(os.environ["RECONCILER_DATABASE__URL"]) as connection:

        def write_row() -> object:
            [(row_id,)] = connection.execute(
                "INSERT INTO file_versions (version_number, object_key) VALUES (1, %s) RETURNING id", [key]
            ).fetchall()
            dying(point, "rows written")()
            return row_id

        content = Dying() if point == "reading" else CONTENT
        storage.store_version(connection, write_row, content, 3, intent=True, uploaded=dying(point, "uploaded"))
        dying(point, "committed")()


if __name__ == "__main__":
    main(*sys.argv[1:])
