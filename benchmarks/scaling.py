"""How rates change with the number of processes, of findings and of rows, and memory with the length of a backlog.

`make bench-scaling`. Consumers: 1, 2 and 4 processes of one group over eight partitions; measured from the moment when
each owns its share until the first partition is done, so that neither joining nor the tail counts. Sweeps: `sweep
--workers` 1, 2 and 4 of one bucket, from command to report, after one that does not count. On as many cores as
processes this shows speed; on fewer, seconds of CPU a million tell what is paid for sharing. Findings and rows: healthy
events beside tables of each size; all are filled first, so that each round meets each size in turn. Backlogs: memory
over a short and a long one. Each has a table of its own, which is shown after each round.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import LiteralString

import psycopg
from confluent_kafka import TopicPartition

from benchmarks import filling, sweep
from benchmarks.figures import Table, about
from benchmarks.machine import cpu_s_of
from benchmarks.measuring import measure
from benchmarks.members import committed, members, watching
from benchmarks.stream import BUCKET, Place
from benchmarks.waiting import until
from deploy.local.demo import configuration
from deploy.local.kafka import create_topic
from deploy.local.stack import Servers, stack
from deploy.local.story import PROGRAM
from reconcile.database import migrate

PARTITIONS = 8
PROCESSES = (1, 2, 4)
ROWS = 100_000
PREFIX = "users/a/"
PATIENCE_S = 900.0
DRIVER = "confluent-kafka"
LABELS = {
    "ratio": "ratio to the first",
    "rate": "a second",
    "cpu_s_a_million": "seconds of CPU a million",
    "rss_mb": "resident memory at its highest, MB",
}
FIND: LiteralString = """
INSERT INTO reconciler.finding (bucket, key, kind, state, suspected_at, opened_at, closed_at)
SELECT %(bucket)s, 'other/' || n, 'orphan', CASE WHEN n %% 10 = 0 THEN 'open' ELSE 'resolved' END,
       now() - interval '2 days', now() - interval '1 day', CASE WHEN n %% 10 > 0 THEN now() END
FROM generate_series(1, %(rows)s) AS n
"""


@dataclass(frozen=True)
class Sizes:
    """How much of each."""

    events: int
    objects: int
    findings: Sequence[int]
    rows: Sequence[int]
    backlog: Sequence[int]


def consumers(place: Place, number: int) -> dict[str, float]:
    """Return events/s and CPU by a million of so many members, while all of them have work."""
    group = f"scaling-{uuid.uuid4()}"
    watcher = watching(place, group)
    partitions = [TopicPartition(place.topic, each) for each in range(PARTITIONS)]
    each = place.events // PARTITIONS

    def passed() -> list[int]:
        return [max(committed(watcher, one), 0) for one in partitions]

    def done() -> list[int] | None:
        return now if max(now := passed()) >= each else None

    with members(place, group, number, PARTITIONS) as processes:
        first, began, spent = passed(), time.perf_counter(), sum(map(cpu_s_of, processes))
        if max(first) >= each:
            raise RuntimeError("a partition was done before all had joined: more --events")
        now = until(done, "a partition is done", PATIENCE_S)
        took, spent = time.perf_counter() - began, sum(map(cpu_s_of, processes)) - spent
    watcher.close()
    settled = sum(now) - sum(first)
    return {"rate": settled / took, "cpu_s_a_million": spent / settled * 1e6}


def of_consumers(servers: Servers, sizes: Sizes, rounds: int) -> None:
    """Measure members of one group."""
    work = f"{sizes.events:,} healthy events in {PARTITIONS} partitions, {ROWS:,} rows, consumers of one group"
    table = tabled("consumers", servers, work, DRIVER)
    place = filled(servers, sizes.events, ROWS)
    in_turn(table, rounds, {number: partial(consumers, place, number) for number in PROCESSES})


def of_sweeps(servers: Servers, sizes: Sizes, rounds: int) -> None:
    """Measure workers of one sweep."""
    table = tabled("sweeps", servers, f"{sizes.objects:,} objects, workers of one sweep")
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    minio = servers.minio
    sweep.fill(servers, sweep.Place(database, minio.url, minio.user, minio.password, sizes.objects))
    with TemporaryDirectory() as directory:
        written = Path(directory) / "reconciler.toml"
        written.write_text(configuration(servers, database, sweep.BUCKET), "utf-8")
        swept(written, 1, sizes.objects)  # what it reads first is read from the disk
        in_turn(table, rounds, {number: partial(swept, written, number, sizes.objects) for number in PROCESSES})


def swept(written: Path, workers: int, number: int) -> dict[str, float]:
    """Return objects/s and CPU by a million of a sweep by so many workers, the start of Python included."""
    command = [PROGRAM, "--config", str(written), "sweep", "--workers", str(workers)]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rate": number / took, "cpu_s_a_million": spent / number * 1e6}


def of_findings(servers: Servers, sizes: Sizes, rounds: int) -> None:
    """Measure healthy events beside more and more findings of other keys, of which every tenth is open."""
    work = f"{sizes.events:,} healthy events, {ROWS:,} rows, findings of other keys, every tenth open"
    table = tabled("findings", servers, work, DRIVER)
    places = {number: filled(servers, sizes.events, ROWS) for number in sizes.findings}
    for number, place in places.items():
        with psycopg.connect(place.database, autocommit=True) as connection:
            with filling.without_indexes(connection, "reconciler.finding"):
                connection.execute(FIND, {"bucket": BUCKET, "rows": number})
            connection.execute("VACUUM ANALYZE reconciler.finding")
        print(f"  filled {number:,} findings", flush=True)
    in_turn(table, rounds, {number: partial(healthy, place) for number, place in places.items()})


def of_rows(servers: Servers, sizes: Sizes, rounds: int) -> None:
    """Measure healthy events of all rows of tables of each size."""
    table = tabled("rows", servers, f"{sizes.events:,} healthy events, spread over so many rows", DRIVER)
    places = {number: filled(servers, sizes.events, number) for number in sizes.rows}
    in_turn(table, rounds, {number: partial(healthy, place) for number, place in places.items()})


def of_backlogs(servers: Servers, sizes: Sizes, _: int) -> None:
    """Measure the memory at its highest over backlogs of each length, once."""
    table = tabled("backlog", servers, f"so many healthy events wait, {ROWS:,} rows, one consumer", DRIVER)

    def drained(number: int) -> dict[str, float]:
        return healthy(filled(servers, number, ROWS))

    in_turn(table, 1, {number: partial(drained, number) for number in sizes.backlog})


def filled(servers: Servers, events: int, rows: int) -> Place:
    """Make a table of so many rows, and a topic of events that are spread over all of them."""
    place = placed(servers, events)
    with psycopg.connect(place.database, autocommit=True) as connection:
        filling.fill(connection, PREFIX, rows)
        migrate(connection)
    spread = max(rows // events, 1)
    numbers = (number * spread % rows for number in range(events))
    filling.produce(place.bootstrap, place.topic, filling.uploads(BUCKET, PREFIX, numbers, PARTITIONS))
    print(f"  filled {rows:,} rows, {events:,} events", flush=True)
    return place


def healthy(place: Place) -> dict[str, float]:
    """Measure healthy events of a place."""
    return measure("benchmarks.stream", "healthy", place)


MEASUREMENTS = {
    "consumers": of_consumers,
    "sweeps": of_sweeps,
    "findings": of_findings,
    "rows": of_rows,
    "backlog": of_backlogs,
}


def tabled(name: str, servers: Servers, work: str, *parts: str) -> Table:
    """Begin the table of a measurement, in which these parts take part."""
    return Table(f"scaling.{name}", LABELS, about(servers, work, *parts))


def in_turn(table: Table, rounds: int, measured: Mapping[int, Callable[[], dict[str, float]]]) -> None:
    """Measure each in each round, a column for each, with what it is in proportion to the first of its round."""
    for _ in range(rounds):
        found: dict[int, dict[str, float]] = {}
        for number, one in measured.items():
            found[number] = one()
            told = ", ".join(f"{figure} {value:,.1f}" for figure, value in found[number].items())
            print(f"  {table.name} {number:,}: {told}", flush=True)
        first = next(iter(found.values()))["rate"]
        for number, figures in found.items():
            table.note_all({"ratio": figures["rate"] / first, **figures}, f"{number:,}".replace(",", " "))
        table.show()


def placed(servers: Servers, events: int) -> Place:
    """Make a database and a topic of eight partitions."""
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    create_topic(servers.kafka.bootstrap, topic, PARTITIONS)
    create_topic(servers.kafka.bootstrap, f"{topic}.dead-letter", 1)
    minio = servers.minio
    return Place(database, servers.kafka.bootstrap, minio.url, minio.user, minio.password, topic, events, PREFIX)


def main() -> None:
    """Run the measurements that are named, or all."""
    parser = argparse.ArgumentParser(description="rates by processes, findings and rows")
    parser.add_argument("measurement", nargs="*", default=[], metavar="|".join(MEASUREMENTS))
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--objects", type=int, default=200_000)
    parser.add_argument("--findings", type=int, nargs="*", default=[0, 100_000, 10_000_000])
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--backlog", type=int, nargs="*", default=[300_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sizes = Sizes(options.events, options.objects, options.findings, options.rows, options.backlog)
    with stack() as servers:
        for name in options.measurement or MEASUREMENTS:
            MEASUREMENTS[name](servers, sizes, options.rounds)


if __name__ == "__main__":
    main()
