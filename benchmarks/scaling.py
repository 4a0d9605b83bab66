"""How rates change with the number of processes, of findings and of rows, and memory with the length of a backlog.

`make bench-scaling`. Consumers: 1, 2 and 4 processes of one group over eight partitions; measured from the moment when
each owns its share until the first partition is done, so that neither joining nor the tail counts. Sweeps: `sweep
--workers` 1, 2 and 4 of one bucket, from command to report. On as many cores as processes this shows speed; on fewer,
seconds of CPU a million tell what is paid for sharing. Findings and rows: healthy events beside tables of each size.
Backlogs: memory over a short and a long one. Each has a table of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import LiteralString

import psycopg
from confluent_kafka import Consumer as Driver
from confluent_kafka import TopicPartition

from benchmarks import filling, sweep
from benchmarks.burst import committed
from benchmarks.committing import EACH
from benchmarks.figures import Table, about
from benchmarks.machine import cpu_s_of
from benchmarks.measuring import measure
from benchmarks.serving import loop, until_sigterm
from benchmarks.stream import BUCKET, Place
from deploy.local.demo import configuration
from deploy.local.kafka import create_topic
from deploy.local.stack import Servers, stack
from deploy.local.story import PROGRAM
from reconcile.database import migrate
from reconcile.steps import Tally

PARTITIONS = 8
PROCESSES = (1, 2, 4)
ROWS = 100_000
PREFIX = "users/a/"
Found = dict[int, list[dict[str, float]]]
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


def member(place: Place, group: str, share: int) -> None:
    """Run the real loop until SIGTERM; say so once that many partitions are ours."""
    options = {"group.id": group, "heartbeat.interval.ms": 300}
    with loop(place.settings(), options) as (consumer, service):
        said = False

        def say(_: Tally) -> None:
            nonlocal said
            if not said and consumer.topic.assigned() == share:
                said = True
                print("ready", flush=True)

        until_sigterm(consumer, service, say)


@contextmanager
def members(place: Place, group: str, number: int) -> Iterator[list[int]]:
    """Start so many members, and yield their processes once each owns its share."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--member", json.dumps(place.__dict__), "--group", group]
    command += ["--share", str(PARTITIONS // number)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]
    try:
        for one in started:
            if one.stdout is None or one.stdout.readline() != "ready\n":
                raise RuntimeError("a member did not get its share")
        yield [one.pid for one in started]
    finally:
        for one in started:
            one.send_signal(signal.SIGTERM)
        for one in started:
            one.wait(30)


def consumers(place: Place, number: int) -> dict[str, float]:
    """Return events/s and CPU by a million of so many members, while all of them have work."""
    group = f"scaling-{uuid.uuid4()}"
    watcher = Driver({"bootstrap.servers": place.bootstrap, "group.id": group, "enable.auto.commit": False})
    partitions = [TopicPartition(place.topic, each) for each in range(PARTITIONS)]
    each = place.events // PARTITIONS

    def passed() -> list[int]:
        return [max(committed(watcher, one), 0) for one in partitions]

    with members(place, group, number) as processes:
        first, began, spent = passed(), time.perf_counter(), sum(map(cpu_s_of, processes))
        if max(first) >= each:
            raise RuntimeError("a partition was done before all had joined: more --events")
        while max(now := passed()) < each:
            time.sleep(0.05)
        took, spent = time.perf_counter() - began, sum(map(cpu_s_of, processes)) - spent
    watcher.close()
    settled = sum(now) - sum(first)
    return {"rate": settled / took, "cpu_s_a_million": spent / settled * 1e6}


def of_consumers(servers: Servers, sizes: Sizes, rounds: int) -> Found:
    """Measure members of one group."""
    place = placed(servers, sizes.events)
    with psycopg.connect(place.database, autocommit=True) as connection:
        filling.fill(connection, PREFIX, ROWS)
        migrate(connection)
    filling.produce(place.bootstrap, place.topic, records(place.events, ROWS))
    return in_turn("consumers", rounds, PROCESSES, lambda number: consumers(place, number))


def of_sweeps(servers: Servers, sizes: Sizes, rounds: int) -> Found:
    """Measure workers of one sweep."""
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    minio = servers.minio
    sweep.fill(servers, sweep.Place(database, minio.url, minio.user, minio.password, sizes.objects))
    with TemporaryDirectory() as directory:
        written = Path(directory) / "reconciler.toml"
        written.write_text(configuration(servers, database, sweep.BUCKET), "utf-8")

        def swept(workers: int) -> dict[str, float]:
            command = [PROGRAM, "--config", str(written), "sweep", "--workers", str(workers)]
            began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            return {"rate": sizes.objects / took, "cpu_s_a_million": spent / sizes.objects * 1e6}

        return in_turn("sweeps", rounds, PROCESSES, swept)


def of_findings(servers: Servers, sizes: Sizes, rounds: int) -> Found:
    """Measure healthy events beside more and more findings of other keys, of which every tenth is open."""
    found: Found = {}
    place = placed(servers, sizes.events)
    filling.produce(place.bootstrap, place.topic, records(place.events, ROWS))
    with psycopg.connect(place.database, autocommit=True) as connection:
        filling.fill(connection, PREFIX, ROWS)
        migrate(connection)
        for number in sizes.findings:
            connection.execute("TRUNCATE reconciler.finding CASCADE")
            connection.execute(FIND, {"bucket": BUCKET, "rows": number})
            connection.execute("VACUUM ANALYZE reconciler.finding")
            found |= in_turn("findings", rounds, [number], partial(healthy, place))
    return found


def of_rows(servers: Servers, sizes: Sizes, rounds: int) -> Found:
    """Measure healthy events of all rows of tables of each size."""
    found: Found = {}
    for number in sizes.rows:
        place = filled(servers, sizes.events, number)
        found |= in_turn("rows", rounds, [number], partial(healthy, place))
    return found


def of_backlogs(servers: Servers, sizes: Sizes, _: int) -> Found:
    """Measure the memory at its highest over backlogs of each length, once."""
    found: Found = {}
    for number in sizes.backlog:
        place = filled(servers, number, ROWS)
        found |= in_turn("backlog", 1, [number], partial(healthy, place))
    return found


def filled(servers: Servers, events: int, rows: int) -> Place:
    """Make a table of so many rows, and a topic of events that are spread over all of them."""
    place = placed(servers, events)
    with psycopg.connect(place.database, autocommit=True) as connection:
        filling.fill(connection, PREFIX, rows)
        migrate(connection)
    filling.produce(place.bootstrap, place.topic, records(events, rows, max(rows // events, 1)))
    return place


def healthy(place: Place, _: int) -> dict[str, float]:
    """Measure healthy events of a place."""
    return measure("benchmarks.stream", "healthy", place)


MEASUREMENTS = {
    "consumers": of_consumers,
    "sweeps": of_sweeps,
    "findings": of_findings,
    "rows": of_rows,
    "backlog": of_backlogs,
}


def in_turn(name: str, rounds: int, numbers: Sequence[int], measured: Callable[[int], dict[str, float]]) -> Found:
    """Measure each in each round."""
    found: Found = {number: [] for number in numbers}
    for _ in range(rounds):
        for number in numbers:
            found[number].append(one := measured(number))
            print(f"  {name} {number:,}: " + ", ".join(f"{key} {value:,.1f}" for key, value in one.items()), flush=True)
    return found


def tabled(found: Found, table: Table) -> Table:
    """Write a column for each number, with what it is in proportion to the least."""
    least = next(iter(found.values()))
    for number, rounds in found.items():
        for one, first in zip(rounds, least, strict=True):
            table.note_all({"ratio": one["rate"] / first["rate"], **one}, f"{number:,}".replace(",", " "))
    return table


def placed(servers: Servers, events: int) -> Place:
    """Make a database and a topic of eight partitions."""
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    create_topic(servers.kafka.bootstrap, topic, PARTITIONS)
    create_topic(servers.kafka.bootstrap, f"{topic}.dead-letter", 1)
    minio = servers.minio
    return Place(database, servers.kafka.bootstrap, minio.url, minio.user, minio.password, topic, events, PREFIX)


def records(events: int, rows: int, spread: int = 1) -> Iterator[tuple[int, str, bytes]]:
    """Yield uploads of rows that are `spread` apart, EACH in a row to one partition."""
    uploaded = filling.template(BUCKET, PREFIX)
    for number in range(events):
        row = number * spread % rows
        yield number // EACH % PARTITIONS, f"{BUCKET}/{PREFIX}{row}", uploaded(row)


def main() -> None:
    """Run the benchmark, or be one member of it."""
    parser = argparse.ArgumentParser(description="rates by processes, findings and rows")
    parser.add_argument("measurement", nargs="*", default=[], metavar="|".join(MEASUREMENTS))
    parser.add_argument("--member")
    parser.add_argument("--group", default="")
    parser.add_argument("--share", type=int, default=PARTITIONS)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--findings", type=int, nargs="*", default=[0, 100_000, 10_000_000])
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--backlog", type=int, nargs="*", default=[300_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.member:
        member(Place(**json.loads(options.member)), options.group, options.share)
        return
    sizes = Sizes(options.events, options.objects, options.findings, options.rows, options.backlog)
    with stack() as servers:
        for name in options.measurement or MEASUREMENTS:
            table = Table(f"scaling.{name}", LABELS, about(servers, f"{name}: {sizes}"))
            tabled(MEASUREMENTS[name](servers, sizes, options.rounds), table).show()


if __name__ == "__main__":
    main()
