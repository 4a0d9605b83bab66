"""A replay's rate and memory beside the limit: bare consume-and-decode of the same topic, on the same machine, in turn.

`make bench-replay`. Three million events of healthy uploads, each of a million rows named three times; each measurement
is a process of its own. `--events 10000000` for a long one.
"""

from __future__ import annotations

import time
from collections import Counter

from benchmarks import filling
from benchmarks.committing import PARTITIONS
from benchmarks.figures import Table, about
from benchmarks.machine import peak_mb
from benchmarks.measuring import measure
from benchmarks.stream import ROWS, Place, bare, commanded, filled
from consumer.kafka.range import RangeReader
from consumer.runs.replaying import Chosen, replaying
from consumer.service import settle_memory
from deploy.local.stack import Servers

LABELS = {
    "ratio": "ratio to bare (goal 0.6)",
    "bare": "bare consume and decode, events/s",
    "replay": "replay, events/s",
    "rss_mb": "resident memory at its highest, MB (goal 150)",
}


def replay(place: Place) -> dict[str, float]:
    """Replay the whole topic as a trial; returns rate, memory at its highest, and how many had to be looked at."""
    settle_memory()
    settings = place.settings()
    began = 0.0

    def tell(_: Counter[str]) -> None:
        nonlocal began
        began = began or time.perf_counter()

    with RangeReader(place.topic, dict(settings.kafka)) as reader, replaying(settings, Chosen()) as found:
        reader.start(reader.ranges("earliest"))
        outcome = found.plan(reader, tell)
        took = time.perf_counter() - began
    if outcome.totals["records"] != place.events:
        raise RuntimeError(f"{outcome.totals['records']} records were read, not {place.events}")
    rss_mb = peak_mb()
    return {"rate": place.events / took, "rss_mb": rss_mb, "looked_at": outcome.totals["looked_at"]}


MEASUREMENTS = {"bare": bare, "replay": replay}


def run(servers: Servers, events: int, rounds: int) -> None:
    """Fill, measure in turn, and print the table."""
    place = filled(servers, events)
    table = Table(
        "replay",
        LABELS,
        about(servers, f"{ROWS:,} rows, {events:,} events, {PARTITIONS} partitions", "confluent-kafka"),
    )
    began = time.perf_counter()
    rows = (number % ROWS for number in range(events))
    filling.produce(place.bootstrap, place.topic, filling.uploads(place.bucket, place.prefix, rows))
    print(f"  filled: {events / (time.perf_counter() - began):,.0f} events/s", flush=True)
    for number in range(rounds):
        print(f"round {number + 1}")
        found = {name: measure("benchmarks.replay", name, place) for name in MEASUREMENTS}
        rates = {name: one["rate"] for name, one in found.items()}
        table.note_all({**rates, "ratio": rates["replay"] / rates["bare"], "rss_mb": found["replay"]["rss_mb"]})
    table.show()


if __name__ == "__main__":
    commanded(MEASUREMENTS, run, "a replay's rate beside bare consume-and-decode", 3_000_000)
