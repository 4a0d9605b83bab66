"""The ways in which one learns of a bucket's changes, in force one at a time on one MinIO: its targets, and ours.

A target for PostgreSQL writes each event into a table that mirrors the bucket (format `namespace`); an anti-join tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, LiteralString

import psycopg
from confluent_kafka import Consumer as Driver
from confluent_kafka import TopicPartition
from minio.notificationconfig import NotificationConfig, QueueConfig
from psycopg import sql
from psycopg.rows import dict_row

from benchmarks.waiting import until
from deploy.local.control import Native
from deploy.local.progress import Trouble
from deploy.local.story import Demo

EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
THREADS = 8
PAUSE_S = 0.002
CREATE: LiteralString = """
CREATE TABLE {mirror} (
    key      varchar PRIMARY KEY,
    value    jsonb,
    is_there boolean GENERATED ALWAYS AS
             (value -> 'Records' -> 0 ->> 'eventName' NOT LIKE 's3:ObjectRemoved:%') STORED
)
"""
EMPTY: LiteralString = """
TRUNCATE file_versions, mirror_queued, mirror_unqueued,
         reconciler.finding, reconciler.history, reconciler.look, reconciler.restraint CASCADE
"""
INSERT_FILE = "INSERT INTO storage_files (bucket_type) VALUES ('user') RETURNING id::text"
INSERT = "INSERT INTO file_versions (file_id, version_number, object_key, size) VALUES (%s, %s, %s, 1)"
AGE_ROWS = "UPDATE file_versions SET created_at = now() - interval '1 hour' WHERE object_key = ANY (%s)"
AGE_MIRRORED: LiteralString = """
UPDATE {mirror} SET value = jsonb_set(value, '{{Records,0,eventTime}}', to_jsonb(now() - interval '1 hour'))
WHERE key IN (SELECT {bucket} || one FROM unnest(%s::text[]) AS one)
"""
GONE_MIRRORED: LiteralString = """
SELECT one FROM unnest(%s::text[]) AS one
WHERE NOT EXISTS (SELECT FROM {mirror} AS mirror WHERE mirror.key = {bucket} || one AND is_there)
"""
TOLD_MIRRORED: LiteralString = """
SELECT object_key, created_at < now() - interval '1 minute' FROM file_versions AS row
WHERE status = 'active' AND NOT EXISTS (
    SELECT FROM {mirror} AS mirror WHERE mirror.key = {bucket} || row.object_key AND is_there
)
UNION ALL
SELECT substr(key, length({bucket}) + 1),
       (value -> 'Records' -> 0 ->> 'eventTime')::timestamptz < now() - interval '1 minute'
FROM {mirror} AS mirror
WHERE is_there AND NOT EXISTS (
    SELECT FROM file_versions AS row WHERE {bucket} || row.object_key = mirror.key AND status = 'active'
)
"""
GONE_OURS = "SELECT key FROM reconciler.finding WHERE key = ANY (%s) AND kind = 'missing'"
TOLD_OURS = "SELECT key, true FROM reconciler.finding WHERE closed_at IS NULL"

Query = sql.SQL | sql.Composed


@dataclass(frozen=True)
class Way:
    """How one learns of changes: the rule's target, which of some keys are known to be gone, and all that is told.

    What is told says of each whether a cut-off of a minute lets it pass: the row, or the event, is older. `age` makes
    that so of some keys in a mirror.
    """

    name: str
    arn: str
    gone: Query
    told: Query
    age: Query | None = None


@dataclass
class Scene:
    """The stack, with one way in force; `number` gives each row another."""

    place: Demo
    way: Way
    database: str
    connection: psycopg.Connection[Any]
    file_id: str
    committed: Callable[[], int]
    number: int = 0

    def upload(self, how_many: int, prefix: str) -> list[str]:
        """Commit rows, upload their objects by threads, wait until all is known, and return their keys."""
        keys = self.rows(how_many, prefix)
        read = self.committed()
        self.put_all(keys)
        until(lambda: self.knows(keys, read), "the uploads are known", pause_s=PAUSE_S)
        return keys

    def rows(self, how_many: int, prefix: str) -> list[str]:
        """Commit rows, and return their keys."""
        keys = [f"{prefix}{number}" for number in range(how_many)]
        with self.connection.transaction():
            for key in keys:
                self.insert(self.connection, key)
        return keys

    def put_all(self, keys: Sequence[str]) -> list[float]:
        """Upload by threads, and return how long each reply took, in seconds."""
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(self.put, keys))

    def insert(self, connection: psycopg.Connection[Any], key: str) -> None:
        """Insert a row."""
        self.number += 1
        connection.execute(INSERT, [self.file_id, self.number, key])

    def put(self, key: str) -> float:
        """Store an object, and return how long the reply took, in seconds."""
        client = self.place.application.client
        began = time.perf_counter()
        client.put_object(bucket_name=self.place.bucket, object_name=key, data=BytesIO(b"x"), length=1)
        return time.perf_counter() - began

    def remove(self, key: str) -> float:
        """Delete an object, and return how long the reply took, in seconds."""
        began = time.perf_counter()
        self.place.application.client.remove_object(bucket_name=self.place.bucket, object_name=key)
        return time.perf_counter() - began

    def knows(self, keys: Sequence[str], read: int) -> bool:
        """Tell whether all uploads are known: mirrored, or as many events committed since so many were."""
        if self.way.age is None:
            return self.committed() >= read + len(keys)
        return not self.gone(keys)

    def age(self, keys: Sequence[str]) -> None:
        """Let rows and what is mirrored be an hour old."""
        self.connection.execute(AGE_ROWS, [list(keys)])
        if self.way.age is not None:
            self.connection.execute(self.way.age, [list(keys)])

    def gone(self, keys: Sequence[str]) -> set[str]:
        """Return which of the keys are known to be gone."""
        return {key for (key,) in self.connection.execute(self.way.gone, [list(keys)]).fetchall()}

    def told(self) -> dict[str, bool]:
        """Return all that is told now, and of each whether it is told with a cut-off of a minute, too."""
        return dict(self.connection.execute(self.way.told).fetchall())

    def processes(self) -> dict[str, list[int]]:
        """Return whose work the way is: MinIO, PostgreSQL, and what reads the topic with Kafka itself."""
        servers, consumer = self.place.servers, self.place.consumer
        stream = [servers.kafka.control.pid, consumer.pid] if consumer else []
        return {"minio": [servers.minio.control.pid], "database": [servers.postgres.control.pid], "stream": stream}


def ways(place: Demo) -> list[Way]:
    """Return what is compared."""
    ours = Way("ours", place.servers.minio.arn, sql.SQL(GONE_OURS), sql.SQL(TOLD_OURS))
    return [_mirroring(place, "queued"), _mirroring(place, "unqueued"), ours]


def _mirroring(place: Demo, name: str) -> Way:
    names = {"mirror": sql.Identifier(f"mirror_{name}"), "bucket": sql.Literal(f"{place.bucket}/")}
    gone, told, age = (sql.SQL(query).format(**names) for query in (GONE_MIRRORED, TOLD_MIRRORED, AGE_MIRRORED))
    return Way(name, f"arn:minio:sqs::{name.upper()}:postgresql", gone, told, age)


def create_mirrors(place: Demo) -> None:
    """Make the table of each target."""
    for way in ways(place)[:-1]:
        table = sql.Identifier(f"mirror_{way.name}")
        place.application.connection.execute(sql.SQL(CREATE).format(mirror=table))


def with_targets(place: Demo) -> None:
    """Give MinIO both targets, from its next start on."""
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


@contextmanager
def in_force(place: Demo, way: Way) -> Iterator[Scene]:
    """Let the bucket's events go one way, from a MinIO that has just begun, over tables that hold nothing else."""
    place.servers.minio.control.restart()
    client = place.application.client
    rule = NotificationConfig(queue_config_list=[QueueConfig(queue=way.arn, events=EVENTS)])
    client.set_bucket_notification(bucket_name=place.bucket, config=rule)
    database = place.servers.postgres.database_url(place.bucket)
    connection = psycopg.connect(database, autocommit=True)
    connection.execute(EMPTY)
    [(file_id,)] = connection.execute(INSERT_FILE).fetchall()
    with committing(place) as committed:
        scene = Scene(place, way, database, connection, file_id, committed)
        if way.age is None:
            place.onlooker = psycopg.connect(database, autocommit=True, row_factory=dict_row)  # the outages ended it
            place.start()
            place.ready()
        yield scene
    place.stop()
    scene.connection.close()


@contextmanager
def committing(place: Demo) -> Iterator[Callable[[], int]]:
    """Yield what counts the events that our consumer has committed."""
    kafka = place.servers.kafka
    driver = Driver({"bootstrap.servers": kafka.bootstrap, "group.id": place.bucket})
    partitions = [
        TopicPartition(kafka.topic, number) for number in driver.list_topics(kafka.topic).topics[kafka.topic].partitions
    ]
    yield lambda: sum(max(one.offset, 0) for one in driver.committed(partitions, timeout=10))
    driver.close()
