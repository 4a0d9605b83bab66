"""The stream's rate beside the limit: bare consume-and-decode of the same topic, on the same machine, in turn.

`make bench-stream`. Three rounds; in each, bare, healthy (every row is there), and precedes (each event comes before
its row is visible: rows lie prepared, a thousand a transaction, and are committed 50-500 ms after their first event
was read). Each measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from confluent_kafka import Consumer as Driver
from psycopg import sql

from benchmarks import filling
from benchmarks.committing import EACH, PARTITIONS, committing
from benchmarks.figures import Table, about
from benchmarks.machine import peak_mb
from benchmarks.measuring import measure, ran_one
from benchmarks.serving import loop
from consumer.kafka.settings import CONSUMER_DEFAULTS
from consumer.kafka.topic import Batch, Topic
from consumer.service import settle_memory
from consumer.stream.events import decode_minio
from deploy.local.kafka import create_topic
from deploy.local.stack import Servers, stack
from reconcile.config.settings import Settings, load
from reconcile.database import migrate
from reconcile.model import Undecodable

BUCKET = "uploads"
ROWS = 1_000_000
LABELS = {
    "healthy.ratio": "healthy, ratio to bare (goal 0.6)",
    "precedes.ratio": "before their row, ratio to bare (goal 0.5)",
    "bare.rate": "bare consume and decode, events/s",
    "healthy.rate": "healthy, events/s",
    "precedes.rate": "before their row, events/s",
    "precedes.rows_written": "rows written for healthy uploads (goal 0)",
    "rss_mb": "resident memory at its highest, MB (goal 150)",
}


@dataclass(frozen=True)
class Place:
    """Where a measurement runs; passed to its process as JSON."""

    database: str
    bootstrap: str
    endpoint: str
    user: str
    password: str
    topic: str
    events: int
    prefix: str = "users/a/"
    bucket: str = BUCKET

    def settings(self) -> Settings:
        """Return the settings of a consumer with a group of its own."""
        document = {
            "database": {"url": self.database},
            "minio": {"endpoint": self.endpoint, "access_key": self.user, "secret_key": self.password},
            "stream": {"topic": self.topic, "express": False},
            "kafka": {"bootstrap.servers": self.bootstrap, "group.id": f"bench-{uuid.uuid4()}"},
            "mapping": filling.mapping(self.bucket),
        }
        return load(document, {}, str)


def bare(place: Place) -> dict[str, float]:
    """Consume and decode every record, and do nothing else: the limit. The driver and the collector are set as ours."""
    settle_memory()
    group = {"group.id": f"bare-{uuid.uuid4()}", "enable.auto.commit": False}
    driver = Driver({**CONSUMER_DEFAULTS, "bootstrap.servers": place.bootstrap, **group})
    driver.subscribe([place.topic])
    seen, began = 0, 0.0
    while seen < place.events:
        for message in driver.consume(1000, 0.25):
            began = began or time.perf_counter()
            value = message.value()
            with suppress(Undecodable):
                decode_minio(value if isinstance(value, bytes) else None)
            seen += 1
    took = time.perf_counter() - began
    driver.close()
    return {"rate": seen / took}


@dataclass
class Watched:
    """A topic that notes when what was read, without changing what is returned."""

    topic: Topic
    on_read: Callable[[Batch], None]
    read: int = 0
    began: float = 0.0

    def poll(self, patience: float, most: int) -> Batch:
        """Poll, and note."""
        batch = self.topic.poll(patience, most)
        if batch.records:
            self.began = self.began or time.perf_counter()
            self.read += len(batch.records)
            self.on_read(batch)
        return batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.topic, name)


def consumed(
    place: Place, on_read: Callable[[Batch], None], left: Callable[[], bool] = lambda: False
) -> dict[str, float]:
    """Run the real loop until every offset is committed, and nothing is left; returns rate, memory at its highest."""
    with loop(place.settings(), noted=lambda topic: Watched(topic, on_read)) as (consumer, _):
        topic, settled = consumer.topic, 0
        while topic.read < place.events or len(consumer.hold) or left():  # type: ignore[attr-defined]  # it is Watched
            settled += consumer.turn().settled
        took = time.perf_counter() - topic.began  # type: ignore[attr-defined]
    return {"rate": place.events / took, "rss_mb": peak_mb(), "settled": settled}


def healthy(place: Place) -> dict[str, float]:
    """Events whose rows are there."""
    return consumed(place, lambda _: None)


def precedes(place: Place) -> dict[str, float]:
    """Events whose rows become visible 50-500 ms after they were read."""
    with committing(place.database, place.prefix) as note:

        def note_all(batch: Batch) -> None:
            for (_, partition), next_offset in batch.next_offsets.items():
                note(partition, next_offset)

        found = consumed(place, note_all)
    with psycopg.connect(place.database, autocommit=True) as connection:
        tables = (sql.Identifier("reconciler", name) for name in ("finding", "history", "look"))
        written = [connection.execute(sql.SQL("SELECT count(*) FROM {}").format(one)).fetchall() for one in tables]
    return found | {"rows_written": sum(rows[0][0] for rows in written)}


MEASUREMENTS = {"bare": bare, "healthy": healthy, "precedes": precedes}


def place_of(servers: Servers, database: str, events: int, prefix: str) -> Place:
    """Make a topic for these events."""
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    create_topic(servers.kafka.bootstrap, topic, PARTITIONS)
    create_topic(servers.kafka.bootstrap, f"{topic}.dead-letter", 1)
    minio = servers.minio
    return Place(database, servers.kafka.bootstrap, minio.url, minio.user, minio.password, topic, events, prefix)


def filled(servers: Servers, events: int) -> Place:
    """Make a database with our schema and the rows of healthy events, and a topic for so many of them."""
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    there = place_of(servers, database, events, "users/a/")
    with psycopg.connect(database, autocommit=True) as connection:
        filling.fill(connection, there.prefix, ROWS)
        migrate(connection)
    return there


def run(servers: Servers, events: int, rounds: int) -> None:
    """Fill, measure in turn, and print the table."""
    there = filled(servers, events)
    table = Table(
        "stream",
        LABELS,
        about(servers, f"{ROWS:,} rows, {events:,} events, {PARTITIONS} partitions", "confluent-kafka"),
    )
    with psycopg.connect(there.database, autocommit=True) as connection:
        rows = (number % ROWS for number in range(events))
        filling.produce(there.bootstrap, there.topic, filling.uploads(there.bucket, there.prefix, rows))
        for number in range(rounds):
            print(f"round {number + 1}")
            found = _round(servers, connection, there, number)
            for name, figures in found.items():
                table.note_all({f"{name}.{figure}": value for figure, value in figures.items()})
            table.note("rss_mb", max(found[name]["rss_mb"] for name in ("healthy", "precedes")))
    table.show()


def _round(
    servers: Servers, connection: psycopg.Connection[Any], there: Place, number: int
) -> dict[str, dict[str, float]]:
    to_come = place_of(servers, there.database, there.events, f"users/p{number}/")
    filling.prepare_rows(connection, to_come.prefix, to_come.events // EACH, EACH)
    filling.produce(to_come.bootstrap, to_come.topic, filling.uploads(BUCKET, to_come.prefix, range(to_come.events)))
    places = {"bare": there, "healthy": there, "precedes": to_come}
    found = {name: measure("benchmarks.stream", name, place) for name, place in places.items()}
    for one in found.values():
        one["ratio"] = one["rate"] / found["bare"]["rate"]
    return found


def commanded(
    measurements: Mapping[str, Callable[[Place], dict[str, float]]],
    run_all: Callable[[Servers, int, int], None],
    description: str,
    events: int,
) -> None:
    """Run the benchmark over so many events, or (with a name and a place on the command line) one measurement of it."""
    if ran_one(sys.argv[1:], measurements, Place):
        return
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--events", type=int, default=events)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with stack() as servers:
        run_all(servers, chosen.events, chosen.rounds)


if __name__ == "__main__":
    commanded(MEASUREMENTS, run, "the stream's rate beside bare consume-and-decode", 500_000)
