"""A storm of poison: of a topic in which every second record never decodes, beside bare consume-and-decode of the same.

`make bench-poison`. The other half are healthy uploads whose rows are there. Poison is confirmed in the topic of dead
letters before its offset is committed, as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import psycopg

from benchmarks import filling
from benchmarks.committing import EACH, PARTITIONS
from benchmarks.figures import Table, about
from benchmarks.measuring import measure, ran_one
from benchmarks.stream import BUCKET, ROWS, Place, bare, healthy, options, place_of
from deploy.local.stack import Servers, stack

LABELS = {
    "ratio": "ratio to bare (goal 0.4)",
    "bare": "bare consume and decode, records/s",
    "storm": "the storm, records/s",
    "rss_mb": "resident memory at its highest, MB",
}
POISON = (
    b"not JSON",
    b"[" * 2_000,
    b'{"Records":null}',
    b'{"Records":[{"eventName":7}]}',
    filling.event(BUCKET, "x", 1).replace(b'"key":"x"', b'"key":"%ff"'),
)


MEASUREMENTS = {"bare": bare, "storm": healthy}


def records(prefix: str, events: int) -> Iterator[tuple[int, str, bytes]]:
    """Yield a healthy upload and a poison in turn, EACH in a row to one partition."""
    for number in range(events):
        key = filling.key_of(prefix, number % ROWS)
        good = filling.event(BUCKET, key, filling.size_of(number % ROWS))
        value = POISON[number // 2 % len(POISON)] if number % 2 else good
        yield (number // EACH) % PARTITIONS, f"{BUCKET}/{key}", value


def run(servers: Servers, events: int, rounds: int) -> None:
    """Fill, measure in turn, and print the table."""
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    place = place_of(servers, database, events, "users/a/")
    table = Table("poison", LABELS, about(servers, f"{ROWS:,} rows, {events:,} records, every second one poison"))
    with psycopg.connect(database, autocommit=True) as connection:
        filling.fill(connection, place.prefix, ROWS)
        filling.migrate(connection)
    filling.produce(place.bootstrap, place.topic, records(place.prefix, events))
    for number in range(rounds):
        print(f"round {number + 1}")
        found = {name: measure("benchmarks.poison", name, place) for name in MEASUREMENTS}
        rates = {name: one["rate"] for name, one in found.items()}
        table.note_all({**rates, "ratio": rates["storm"] / rates["bare"], "rss_mb": found["storm"]["rss_mb"]})
    table.show()


def main() -> None:
    """Run the benchmark, or (with a name and a place) one measurement of it."""
    if ran_one(sys.argv[1:], MEASUREMENTS, Place):
        return
    chosen = options("the stream's rate where every second record is poison", 300_000)
    with stack() as servers:
        run(servers, chosen.events, chosen.rounds)


if __name__ == "__main__":
    main()
