"""The ways in which one learns of a bucket's changes, in force one at a time on one MinIO: its targets, and ours.

A target for PostgreSQL writes each event into a table that mirrors the bucket (format `namespace`); an anti-join tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, LiteralString

import psycopg
from minio.notificationconfig import NotificationConfig, QueueConfig
from psycopg import sql
from psycopg.rows import dict_row

from benchmarks.mirror import MISSING, ORPHANS
from deploy.local.control import Native
from deploy.local.progress import Trouble
from deploy.local.story import Demo

EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
THREADS = 8
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


def ways(place: Demo) -> list[Way]:
    """Return what is compared."""
    ours = Way("ours", place.servers.minio.arn, sql.SQL(GONE_OURS), sql.SQL(TOLD_OURS))
    return [_mirroring("queued"), _mirroring("unqueued"), ours]


def _mirroring(name: str) -> Way:
    table = sql.Identifier(f"mirror_{name}")
    gone, there = sql.SQL(GONE_MIRRORED).format(mirror=table), sql.SQL(THERE_MIRRORED).format(mirror=table)
    told = sql.SQL(MISSING + "UNION ALL" + ORPHANS).format(mirror=table)
    return Way(name, f"arn:minio:sqs::{name.upper()}:postgresql", gone, told, there)


def create_mirrors(place: Demo) -> None:
    """Make the table of each target."""
    for way in ways(place)[:-1]:
        table = sql.Identifier(f"mirror_{way.name}")
        place.application.connection.execute(sql.SQL(CREATE).format(mirror=table))


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
