"""A storm of poison: of a topic in which every second record never decodes, beside bare consume-and-decode of the same.

`make bench-poison`. The other half are healthy uploads whose rows are there. Poison is confirmed in the topic of dead
letters before its offset is committed, as ever.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import filling
from benchmarks.figures import Table, about
from benchmarks.measuring import measure
from benchmarks.stream import BUCKET, ROWS, bare, commanded, filled, healthy
from deploy.local.stack import Servers

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


def records(prefix: str, events: int) -> Iterator[filling.Record]:
    """Yield a healthy upload and a poison in turn."""
    uploads = filling.uploads(BUCKET, prefix, (number % ROWS for number in range(events)))
    for number, (partition, key, value) in enumerate(uploads):
        yield partition, key, POISON[number // 2 % len(POISON)] if number % 2 else value


def run(servers: Servers, events: int, rounds: int) -> None:
    """Fill, measure in turn, and print the table."""
    place = filled(servers, events)
    table = Table(
        "poison",
        LABELS,
        about(servers, f"{ROWS:,} rows, {events:,} records, every second one poison", "confluent-kafka"),
    )
    filling.produce(place.bootstrap, place.topic, records(place.prefix, events))
    for number in range(rounds):
        print(f"round {number + 1}")
        found = {name: measure("benchmarks.poison", name, place) for name in MEASUREMENTS}
        rates = {name: one["rate"] for name, one in found.items()}
        table.note_all({**rates, "ratio": rates["storm"] / rates["bare"], "rss_mb": found["storm"]["rss_mb"]})
    table.show()


if __name__ == "__main__":
    commanded(MEASUREMENTS, run, "the stream's rate where every second record is poison", 300_000)
