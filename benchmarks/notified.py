"""MinIO's own target for PostgreSQL with an anti-join, beside the consumer: the strongest simple alternative.

`make bench-rivals`. The target writes each event into a table that mirrors the bucket (format `namespace`): with a
queue on disk, and without one, as it comes. On one MinIO, in turn, each with the bucket's rule for itself: uploads as
fast as eight threads can, and how long until they are known; deletions, from the reply to what a query can tell; how
many of the deletions that happen while PostgreSQL is down are told afterwards; what is told falsely beside an
application that uploads and deletes in the recommended order, and what of that stays.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
from minio.notificationconfig import NotificationConfig, QueueConfig
from psycopg import sql
from psycopg.rows import dict_row

from benchmarks.filling import result
from benchmarks.latency import percentile
from benchmarks.machine import machine
from benchmarks.mirror import MISSING, ORPHANS
from deploy.local.control import Native
from deploy.local.demo import prepare
from deploy.local.progress import Trouble
from deploy.local.stack import Servers, stack
from deploy.local.story import Demo

EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
THREADS = 8
GAP_S = 0.05
PAUSE_S = 0.002
QUIET_S = 8.0  # a target tries again every three seconds
CHURN_S = 10.0
CREATE: LiteralString = """
CREATE TABLE {mirror} (
    key        varchar PRIMARY KEY,
    value      jsonb,
    object_key text GENERATED ALWAYS AS (substr(key, strpos(key, '/') + 1)) STORED,
    is_there   boolean GENERATED ALWAYS AS
               (value -> 'Records' -> 0 ->> 'eventName' NOT LIKE 's3:ObjectRemoved:%') STORED
)
"""
INSERT_FILE = "INSERT INTO storage_files (bucket_type) VALUES ('user') RETURNING id::text"
INSERT = "INSERT INTO file_versions (file_id, version_number, object_key, size) VALUES (%s, %s, %s, 1)"
GONE_MIRRORED: LiteralString = """
SELECT one FROM unnest(%s::text[]) AS one WHERE NOT EXISTS (SELECT FROM {mirror} WHERE object_key = one)
"""
THERE_MIRRORED: LiteralString = "SELECT count(*) FROM {mirror} WHERE object_key = ANY (%s)"
GONE_OURS = "SELECT key FROM reconciler.finding WHERE key = ANY (%s) AND kind = 'missing'"
TOLD_OURS = "SELECT key FROM reconciler.finding WHERE closed_at IS NULL"


Query = sql.SQL | sql.Composed


@dataclass(frozen=True)
class Way:
    """How one learns of changes: the rule's target, which of some keys are known to be gone, and all that is told."""

    name: str
    arn: str
    gone: Query
    told: Query
    there: Query | None = None


@dataclass
class Scene:
    """The stack, with one way in force; `number` gives each row another."""

    place: Demo
    way: Way
    database: str
    connection: psycopg.Connection[Any]
    file_id: str
    number: int = 0

    def upload(self, how_many: int, prefix: str) -> list[str]:
        """Commit rows, upload their objects by threads, and return their keys."""
        keys = [f"{prefix}{number}" for number in range(how_many)]
        for key in keys:
            self.insert(self.connection, key)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self.put, keys))
        return keys

    def insert(self, connection: psycopg.Connection[Any], key: str) -> None:
        """Insert a row."""
        self.number += 1
        connection.execute(INSERT, [self.file_id, self.number, key])

    def put(self, key: str) -> None:
        """Store an object."""
        client = self.place.application.client
        client.put_object(bucket_name=self.place.bucket, object_name=key, data=BytesIO(b"x"), length=1)

    def remove(self, key: str) -> None:
        """Delete an object."""
        self.place.application.client.remove_object(bucket_name=self.place.bucket, object_name=key)

    def gone(self, keys: Sequence[str]) -> set[str]:
        """Return which of the keys are known to be gone."""
        return {key for (key,) in self.connection.execute(self.way.gone, [list(keys)]).fetchall()}

    def told(self) -> set[str]:
        """Return all that is told now."""
        return {key for (key,) in self.connection.execute(self.way.told).fetchall()}


def rate(scene: Scene, uploads: int) -> dict[str, float]:
    """Upload, and return how many a second were taken, and how many a second are known in the end."""
    began = time.perf_counter()
    keys = scene.upload(uploads, f"{uuid4().hex[:8]}/")
    taken = time.perf_counter() - began
    found = {"uploads_per_s": uploads / taken}
    if scene.way.there is None:
        return found
    there = scene.way.there
    until(lambda: scene.connection.execute(there, [keys]).fetchall() == [(uploads,)], "the uploads are mirrored")
    return found | {"known_per_s": uploads / (time.perf_counter() - began)}


def latency(scene: Scene, deletions: int) -> dict[str, float]:
    """Delete one by one, and return the milliseconds from the reply to what a query can tell, and the query's own."""
    keys = scene.upload(deletions, f"{uuid4().hex[:8]}/")
    quiet(scene)
    until(lambda: not scene.gone(keys), "the uploads are known")
    answered: dict[str, float] = {}
    known: dict[str, float] = {}

    def note() -> bool:
        for key in scene.gone([key for key in answered if key not in known]):
            known[key] = time.perf_counter()
        return len(known) == len(keys)

    for key in keys:
        scene.remove(key)
        answered[key] = time.perf_counter()
        while time.perf_counter() < answered[key] + GAP_S:
            note()
            time.sleep(PAUSE_S)
    until(note, "the deletions are known")
    took = [1000 * (known[key] - answered[key]) for key in keys]
    began = time.perf_counter()
    scene.told()
    join_ms = 1000 * (time.perf_counter() - began)
    return {"p50_ms": statistics.median(took), "p99_ms": percentile(took, 0.99), "query_ms": join_ms}


def outage(scene: Scene, deletions: int) -> dict[str, float]:
    """Delete while PostgreSQL is down; return how many of the deletions are told once all is quiet again."""
    keys = scene.upload(deletions, f"{uuid4().hex[:8]}/")
    quiet(scene)
    server = scene.place.servers.postgres.control
    server.stop()
    scene.connection.close()
    replies = []
    for key in keys:
        began = time.perf_counter()
        scene.remove(key)
        replies.append(1000 * (time.perf_counter() - began))
    server.start()
    scene.connection = psycopg.connect(scene.database, autocommit=True)
    quiet(scene)
    return {"deleted": deletions, "told": len(scene.told() & set(keys)), "slowest_reply_ms": max(replies)}


def falsely(scene: Scene, _: int) -> dict[str, float]:
    """Upload and delete in the recommended order; return how many keys were told falsely, then and for ever."""
    before = scene.told()
    told: set[str] = set()
    changed = 0
    deadline = time.monotonic() + CHURN_S
    with psycopg.connect(scene.database) as application:
        while time.monotonic() < deadline:
            key = f"{uuid4().hex}"
            scene.insert(application, key)
            scene.put(key)
            told |= scene.told()
            application.commit()
            told |= scene.told()
            application.execute("DELETE FROM file_versions WHERE object_key = %s", [key])
            application.commit()
            scene.remove(key)
            changed += 1
    quiet(scene)
    return {"changed": changed, "falsely": len(told - before), "for_ever": len(scene.told() - before)}


MEASUREMENTS = {"rate": rate, "latency": latency, "outage": outage, "falsely": falsely}


def quiet(scene: Scene) -> None:
    """Wait until what is told has not changed for longer than a target waits before it tries again."""
    last, since = scene.told(), time.monotonic()
    while time.monotonic() < since + QUIET_S:
        time.sleep(0.2)
        if (now := scene.told()) != last:
            last, since = now, time.monotonic()


def until(true: Callable[[], bool], what: str) -> None:
    """Wait."""
    deadline = time.monotonic() + 120
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within two minutes")
        time.sleep(PAUSE_S)


def ways(place: Demo) -> list[Way]:
    """Return what is compared."""
    ours = Way("ours", place.servers.minio.arn, sql.SQL(GONE_OURS), sql.SQL(TOLD_OURS))
    return [_mirroring("queued"), _mirroring("unqueued"), ours]


def _mirroring(name: str) -> Way:
    table = sql.Identifier(f"mirror_{name}")
    gone, there = sql.SQL(GONE_MIRRORED).format(mirror=table), sql.SQL(THERE_MIRRORED).format(mirror=table)
    told = sql.SQL(MISSING + "UNION ALL" + ORPHANS).format(mirror=table)
    return Way(name, f"arn:minio:sqs::{name.upper()}:postgresql", gone, told, there)


def with_targets(place: Demo) -> None:
    """Give MinIO both targets, and start it again."""
    control = place.servers.minio.control
    if not isinstance(control, Native):
        raise Trouble("MinIO's own configuration is changed here: RECONCILER_SERVERS=native")
    database = place.servers.postgres.database_url(place.bucket)
    queue = control.launch.directory / "queued"
    environment = dict(control.launch.environment)
    for name, directory, connections in (("QUEUED", str(queue), 2), ("UNQUEUED", "", THREADS)):
        target = {
            "ENABLE": "on",
            "CONNECTION_STRING": f"{database}?sslmode=disable",
            "TABLE": f"mirror_{name.lower()}",
            "FORMAT": "namespace",
            "QUEUE_DIR": directory,
            "MAX_OPEN_CONNECTIONS": str(connections),
        }
        environment |= {f"MINIO_NOTIFY_POSTGRES_{word}_{name}": value for word, value in target.items() if value}
    control.launch = replace(control.launch, environment=environment)
    control.restart()


@contextmanager
def in_force(place: Demo, way: Way) -> Iterator[Scene]:
    """Let the bucket's events go one way, over tables that hold nothing else."""
    client = place.application.client
    rule = NotificationConfig(queue_config_list=[QueueConfig(queue=way.arn, events=EVENTS)])
    client.set_bucket_notification(bucket_name=place.bucket, config=rule)
    database = place.servers.postgres.database_url(place.bucket)
    connection = psycopg.connect(database, autocommit=True)
    connection.execute("TRUNCATE file_versions")
    [(file_id,)] = connection.execute(INSERT_FILE).fetchall()
    scene = Scene(place, way, database, connection, file_id)
    if way.there is None:
        place.onlooker = psycopg.connect(database, autocommit=True, row_factory=dict_row)  # the outages ended it
        place.start()
        place.ready()
    yield scene
    place.stop()
    scene.connection.close()


def run(servers: Servers, uploads: int, deletions: int, rounds: int) -> None:
    """Measure each way in turn, and print the figures."""
    sizes = {"rate": uploads, "latency": deletions, "outage": deletions, "falsely": 0}
    found: dict[str, list[float]] = {}
    with TemporaryDirectory() as directory:
        place = prepare(servers, Path(directory))
        for way in ways(place)[:-1]:
            table = sql.Identifier(f"mirror_{way.name}")
            place.application.connection.execute(sql.SQL(CREATE).format(mirror=table))
        with_targets(place)
        for number in range(rounds):
            print(f"round {number + 1}")
            for way in ways(place):
                with in_force(place, way) as scene:
                    for name, measurement in MEASUREMENTS.items():
                        figures = measurement(scene, sizes[name])
                        told = ", ".join(f"{key} {value:,.0f}" for key, value in figures.items())
                        print(f"  {way.name}, {name}: {told}", flush=True)
                        for key, value in figures.items():
                            found.setdefault(f"rivals.notified.{way.name}.{key}", []).append(value)
    for key, values in found.items():
        result(key, values)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="MinIO's own target for PostgreSQL beside the consumer")
    parser.add_argument("--uploads", type=int, default=5_000)
    parser.add_argument("--deletions", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with stack(durable=True) as servers:
        print(f"{machine()}; {options.uploads:,} uploads, {options.deletions} deletions a round")
        run(servers, options.uploads, options.deletions, options.rounds)


if __name__ == "__main__":
    main()
