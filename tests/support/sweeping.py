"""Sweeps for tests: a large bucket made quickly, an application at work, sweeps that are killed.

Also a command, for what must be killed: `POINT COUNT WORD...` runs `storage-reconciler WORD...` until it reaches that
point for the COUNTth time, and kills itself there; `leasing SECONDS WORD...` runs it with leases that last so long.
"""

from __future__ import annotations

import io
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import minio as minio_py
import psycopg

from consumer.cli import main as storage_reconciler
from consumer.runs.sweeping import Sweeping
from deploy.local.control import Native
from deploy.local.minio import Minio
from reconcile.sweeps import keeping
from reconcile.sweeps.keeping import Kept
from tests.support import command, storage

MANY = 100_000 if os.environ.get("RECONCILER_TEST_LONG") else 6_000
SIZE = 10
IN_ORDER = 'CREATE INDEX in_order ON file_versions (object_key COLLATE "C")'  # rows are read by pages then
LATE_S = 0.3
THREADS = 8
INSERT = """
WITH file AS (INSERT INTO storage_files (bucket_type) VALUES ('staging') RETURNING id)
INSERT INTO file_versions (file_id, version_number, object_key, size)
SELECT file.id, n, format('d%%s/%%s', lpad((n %% 40)::text, 2, '0'), lpad(n::text, 6, '0')),
       CASE n %% 1000 WHEN 617 THEN %(size)s + 1 ELSE %(size)s END
FROM file, generate_series(0, %(many)s - 1) AS n WHERE n %% 1000 <> 317
"""
DRIFTS = {17: "missing", 317: "orphan", 617: "mismatch"}  # of each thousand


def drifts_of(many: int) -> set[tuple[str, str]]:
    """Return the drifts of so many objects and rows."""
    return {(kind, f"d{n % 40:02}/{n:06}") for n in range(many) if (kind := DRIFTS.get(n % 1000))}


def totals_of(many: int) -> dict[str, int]:
    """Return what a sweep of so many counts."""
    each = many - many // 1000
    return {"objects": each, "rows": each, "agreed": each - 2 * many // 1000, "candidates": 3 * many // 1000}


FOUND = drifts_of(MANY)
THOUSANDS = MANY // 1000
TOTALS = totals_of(MANY)


def large_bucket(server: Minio, many: int = MANY) -> str:
    """Make a bucket of many objects, on disk where the server is ours: its `xl.meta` does not hold a key."""
    objects, bucket = storage.client(server), f"test-{secrets.token_hex(6)}"
    objects.make_bucket(bucket_name=bucket)
    keys = [f"d{n % 40:02}/{n:06}" for n in range(many) if DRIFTS.get(n % 1000) != "missing"]
    if isinstance(server.control, Native):
        put(objects, bucket, keys[0])
        place = server.control.launch.directory / "data" / bucket
        for key in keys[1:]:
            (place / key).mkdir(parents=True)
            (place / key / "xl.meta").hardlink_to(place / keys[0] / "xl.meta")
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda key: put(objects, bucket, key), keys))
    return bucket


def large_rows(connection: psycopg.Connection[Any], many: int = MANY) -> None:
    """Write the rows beside a large bucket, which lack its drifts."""
    connection.execute(INSERT, {"many": many, "size": SIZE})
    connection.execute("ANALYZE file_versions")


def put(objects: minio_py.Minio, bucket: str, key: str, size: int = SIZE) -> str | None:
    """Put an object, and return its version."""
    content = io.BytesIO(b"x" * size)
    return objects.put_object(bucket_name=bucket, object_name=key, data=content, length=size).version_id


class Application:
    """Uploads, overwrites and deletes, each of a key of its own, so that at its end both sides agree."""

    def __init__(self, database: str, server: Minio, bucket: str, name: str) -> None:
        self.connection = psycopg.connect(database, autocommit=True)
        self.objects = storage.client(server)
        self.bucket = bucket
        self.name = name
        self.acts = 0
        self.stopping = threading.Event()
        self.fault: BaseException | None = None
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._thread.join()
        self.connection.close()

    def _work(self) -> None:
        try:
            while not self.stopping.is_set():
                self.act()
        except BaseException as error:  # told to the test, which fails by it
            self.fault = error
            raise

    def act(self) -> None:
        """Do each thing once."""
        there = f"{self.name}/{self.acts:04}"
        with self.connection.transaction():
            self.insert(f"{there}/usual")
            self.upload(f"{there}/usual")
        self.roll_back(f"{there}/rolled back")
        self.insert(f"{there}/late")
        self.wait()
        self.upload(f"{there}/late")
        self.upload(f"{there}/usual", SIZE + 7)
        self.wait()
        self.resize(f"{there}/usual", SIZE + 7)
        if self.acts % 2:
            self.delete(f"{there}/late")
            self.remove(f"{there}/late")
        else:
            self.remove(f"{there}/late")
            self.delete(f"{there}/late")
        self.acts += 1

    def roll_back(self, key: str) -> None:
        """Upload, fail, and delete what was uploaded."""
        with self.connection.transaction() as transaction:
            self.insert(key)
            self.upload(key)
            raise psycopg.Rollback(transaction)
        self.wait()
        self.remove(key)

    def insert(self, key: str) -> None:
        """Insert a row."""
        self.connection.execute(
            "INSERT INTO file_versions (version_number, object_key, size) VALUES (1, %s, %s)", [key, SIZE]
        )

    def resize(self, key: str, size: int) -> None:
        """Update a row's size."""
        self.connection.execute("UPDATE file_versions SET size = %s WHERE object_key = %s", [size, key])

    def delete(self, key: str) -> None:
        """Delete a row."""
        self.connection.execute("DELETE FROM file_versions WHERE object_key = %s", [key])

    def upload(self, key: str, size: int = SIZE) -> None:
        """Put an object."""
        put(self.objects, self.bucket, key, size)

    def remove(self, key: str) -> None:
        """Remove an object."""
        self.objects.remove_object(bucket_name=self.bucket, object_name=key)

    def wait(self) -> None:
        """Be late: what differs in between must not be reported."""
        threading.Event().wait(LATE_S)


@contextmanager
def leasing(program: command.Program, lease_s: float, *words: str, **changed: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command whose leases last so long, and lend its process."""
    shorter = (sys.executable, "-m", "tests.support.sweeping", "leasing", str(lease_s))
    with replace(program, words=shorter).running(*words, **changed) as process:
        yield process


def killed_at(program: command.Program, point: str, count: int, *words: str, **changed: str) -> None:
    """Run a command that kills itself at a point, and see that it did."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.sweeping", point, str(count), *words],
        capture_output=True,
        text=True,
        check=False,
        env=program.environment(changed),
        timeout=60,
        cwd=command.ROOT,
    )
    assert ended.returncode == -signal.SIGKILL, (ended.stdout, ended.stderr)


def expire(connection: psycopg.Connection[Any], pid: int | None = None) -> None:
    """Let the leases be over of whoever is gone: of one process, or of all."""
    owner = "%" if pid is None else f"%:{pid}:%"
    connection.execute("UPDATE reconciler.lease SET until = now() WHERE task LIKE 'sweep%%' AND owner LIKE %s", [owner])


def holders(connection: psycopg.Connection[Any]) -> set[int]:
    """Return the processes that hold a range."""
    asked = "SELECT owner FROM reconciler.lease WHERE task ~ '^sweep [0-9]+$' AND until > now() AND NOT tally ? 'done'"
    return {int(owner.split(":")[1]) for (owner,) in connection.execute(asked) if owner}


def trap(point: str, count: int) -> None:
    """Kill this process when it reaches the point for the so-manieth time; what is committed stays so."""
    moments: dict[str, tuple[type, str, bool]] = {
        "begun": (Sweeping, "compare", False),
        "looked": (Kept, "advance", False),
        "advanced": (Kept, "advance", True),
        "seeing again": (Kept, "seen_again", False),
        "seen again": (Kept, "seen_again", True),
        "finishing": (Kept, "finish", False),
    }
    owner, name, after = moments[point]
    setattr(owner, name, trapped(getattr(owner, name), count, after=after))


def trapped(call: Callable[..., Any], count: int, *, after: bool) -> Callable[..., Any]:
    """Return the call, which at its so-manieth time kills this process before or after."""
    left = iter(range(count - 1, -1, -1))

    def calling(*given: Any, **named: Any) -> Any:
        last = next(left) == 0
        if last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*given, **named)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return calling


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Hold a process still for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    if sys.argv[1] == "leasing":
        keeping.LEASE_S = float(sys.argv[2])
    else:
        trap(sys.argv[1], int(sys.argv[2]))
    sys.exit(storage_reconciler(sys.argv[3:]))
