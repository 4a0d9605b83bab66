"""A storm of poison: of a topic in which every second record never decodes, beside bare consume-and-decode of the same.

`make bench-poison`. The other half are healthy uploads whose rows are there. Poison is confirmed in the topic of dead
letters before its offset is committed, as ever.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import suppress

import psycopg
from confluent_kafka import Consumer as Driver

from benchmarks import filling
from benchmarks.committing import EACH, PARTITIONS
from benchmarks.machine import machine
from benchmarks.stream import BUCKET, ROWS, Place, commanded, healthy, measure, place_of
from consumer.events import decode_minio
from deploy.local.stack import Servers
from reconcile.model import Undecodable

POISON = (
    b"not JSON",
    b"[" * 2_000,
    b'{"Records":null}',
    b'{"Records":[{"eventName":7}]}',
    filling.event(BUCKET, "x", 1).replace(b'"key":"x"', b'"key":"%ff"'),
)


def bare(place: Place) -> dict[str, float]:
    """Consume and decode every record, and leave out what is poison: the limit."""
    group = {"group.id": f"bare-{uuid.uuid4()}", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    driver = Driver({"bootstrap.servers": place.bootstrap, **group})
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


MEASUREMENTS = {"bare": bare, "storm": healthy}


def records(prefix: str, events: int) -> Iterator[tuple[int, str, bytes]]:
    """Yield a healthy upload and a poison in turn, EACH in a row to one partition."""
    for number in range(events):
        key = filling.key_of(prefix, number % ROWS)
        good = filling.event(BUCKET, key, filling.size_of(number % ROWS))
        value = POISON[number // 2 % len(POISON)] if number % 2 else good
        yield (number // EACH) % PARTITIONS, f"{BUCKET}/{key}", value


def run(servers: Servers, events: int, rounds: int) -> None:
    """Fill, measure in turn, and print the ratio."""
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    place = place_of(servers, database, events, "users/a/")
    print(f"{machine()}; {ROWS:,} rows, {events:,} records, every second one poison")
    with psycopg.connect(database, autocommit=True) as connection:
        filling.fill(connection, place.prefix, ROWS)
        filling.migrate(connection)
    filling.produce(place.bootstrap, place.topic, records(place.prefix, events))
    ratios = []
    for number in range(rounds):
        print(f"round {number + 1}")
        found = {name: measure(name, place, "benchmarks.poison") for name in MEASUREMENTS}
        ratios.append(found["storm"]["rate"] / found["bare"]["rate"])
    filling.result("stream.poison.ratio", ratios)


def main() -> None:
    """Run the benchmark, or (with a name and a place) one measurement of it."""
    commanded("the stream's rate where every second record is poison", MEASUREMENTS, run, 300_000)


if __name__ == "__main__":
    main()
