"""The stream's rate beside the limit: bare consume-and-decode of the same topic, on the same machine, in turn.

`make bench-stream`. Three rounds; in each, bare, healthy (every row is there), and precedes (each event comes before
its row is visible: rows lie prepared, a thousand a transaction, and are committed 50-500 ms after their first event
was read). Each measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
from confluent_kafka import Consumer as Driver
from psycopg import sql

from benchmarks import filling
from benchmarks.committing import EACH, PARTITIONS, committing
from benchmarks.machine import machine, peak_mb
from consumer.events import decode_minio
from consumer.hold import Hold
from consumer.loop import Consumer
from consumer.service import Service, settle_memory, stream_of
from consumer.topic import Batch, Topic
from deploy.local.kafka import create_topic
from deploy.local.stack import Servers, stack
from reconcile.opening import objects
from reconcile.settings import Settings, load

BUCKET = "uploads"
ROWS = 1_000_000
QUIET_S = 1.0


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
    """Consume and decode every record, and do nothing else: the limit."""
    driver = Driver(
        {
            "bootstrap.servers": place.bootstrap,
            "group.id": f"bare-{uuid.uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    driver.subscribe([place.topic])
    seen, began = 0, 0.0
    while seen < place.events:
        for message in driver.consume(1000, 0.25):
            began = began or time.perf_counter()
            value = message.value()
            seen += len(decode_minio(value if isinstance(value, bytes) else None))
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
    settle_memory()
    service = Service(place.settings(), threading.Event())
    settings = service.settings
    exits = ExitStack()
    topic = Watched(Topic(settings.stream.topic, settings.kafka), on_read)
    world = service.world(service.mapping(), exits.enter_context(objects(settings)))
    hold = Hold()
    consumer = Consumer(topic, world, hold, stream_of(service))  # type: ignore[arg-type]  # a Topic that notes
    settled = 0
    while topic.read < place.events or len(hold) or left():
        settled += consumer.turn().settled
    took = time.perf_counter() - topic.began
    topic.close()
    exits.close()
    return {
        "rate": place.events / took,
        "rss_mb": peak_mb(),
        "settled": settled,
    }


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


def measure(name: str, place: Place, module: str = "benchmarks.stream") -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, "-m", module, name, json.dumps(place.__dict__)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"  {name}: " + ", ".join(f"{key} {value:,.0f}" for key, value in found.items()), flush=True)
    return found


def records(prefix: str, events: int, rows: int) -> Iterator[tuple[int, str, bytes]]:
    """Yield events of healthy uploads, EACH in a row to one partition, as the prepared transactions lie."""
    for number in range(events):
        key = filling.key_of(prefix, number % rows)
        yield (
            (number // EACH) % PARTITIONS,
            f"{BUCKET}/{key}",
            filling.event(BUCKET, key, filling.size_of(number % rows)),
        )


def place_of(servers: Servers, database: str, events: int, prefix: str) -> Place:
    """Make a topic for these events."""
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    create_topic(servers.kafka.bootstrap, topic, PARTITIONS)
    create_topic(servers.kafka.bootstrap, f"{topic}.dead-letter", 1)
    minio = servers.minio
    return Place(database, servers.kafka.bootstrap, minio.url, minio.user, minio.password, topic, events, prefix)


def run(servers: Servers, events: int, rounds: int) -> None:
    """Fill, measure in turn, and print the ratios."""
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    there = place_of(servers, database, events, "users/a/")
    print(f"{machine()}; {ROWS:,} rows, {events:,} events, {PARTITIONS} partitions")
    with psycopg.connect(database, autocommit=True) as connection:
        filling.fill(connection, there.prefix, ROWS)
        filling.migrate(connection)
        filling.produce(there.bootstrap, there.topic, records(there.prefix, events, ROWS))
        rounds_found = [_round(servers, connection, there, number) for number in range(rounds)]
    ratios = {
        name: [found[name]["rate"] / found["bare"]["rate"] for found in rounds_found]
        for name in ("healthy", "precedes")
    }
    filling.result("stream.healthy.ratio", ratios["healthy"])
    filling.result("stream.precedes.ratio", ratios["precedes"])
    filling.result("stream.precedes.rows_written", [found["precedes"]["rows_written"] for found in rounds_found])
    filling.result("stream.rss_mb", [max(found[name]["rss_mb"] for name in ratios) for found in rounds_found])


def _round(
    servers: Servers, connection: psycopg.Connection[Any], there: Place, number: int
) -> dict[str, dict[str, float]]:
    print(f"round {number + 1}")
    to_come = place_of(servers, there.database, there.events, f"users/p{number}/")
    filling.prepare_rows(connection, to_come.prefix, to_come.events // EACH, EACH)
    filling.produce(to_come.bootstrap, to_come.topic, records(to_come.prefix, to_come.events, to_come.events))
    return {
        "bare": measure("bare", there),
        "healthy": measure("healthy", there),
        "precedes": measure("precedes", to_come),
    }


def commanded(
    description: str,
    measurements: Mapping[str, Callable[[Place], dict[str, float]]],
    run_all: Callable[[Servers, int, int], None],
    events: int,
) -> None:
    """Read the command line: run it all on servers of its own, or print what one measurement found, as JSON."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("measurement", nargs="?", choices=measurements)
    parser.add_argument("place", nargs="?")
    parser.add_argument("--events", type=int, default=events)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.measurement:
        print(json.dumps(measurements[options.measurement](Place(**json.loads(options.place)))))
        return
    with stack() as servers:
        run_all(servers, options.events, options.rounds)


def main() -> None:
    """Run the benchmark, or (with a name and a place) one measurement of it."""
    commanded("the stream's rate beside bare consume-and-decode", MEASUREMENTS, run, 500_000)


if __name__ == "__main__":
    main()
