"""The stream beside what one would use instead: the same events, rows and objects, on the same servers, in turn.

`make bench-rivals`. Three rounds; in each and for each mix of events: a consumer as one writes it in an afternoon (one
SELECT, one HEAD and one commit an event), the same in batches of 500 that asks MinIO only where event and rows do not
agree, Kafka Connect that mirrors the bucket into a table which is joined, ours, and the limit: bare consume and decode.
A rival in Python reads fewer events of its topic, since only rates are compared. What each writes is compared with the
truth: rows that it flags although their object is there, orphans that it reports although their row is. Then removals
one by one, and how soon each tells.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import psycopg
from psycopg import sql

from benchmarks import filling, mirror, sweep
from benchmarks.afternoon import by_batch, by_event
from benchmarks.committing import EACH, PARTITIONS
from benchmarks.figures import Table, about, word
from benchmarks.machine import peak_mb
from benchmarks.measuring import measure, ran_one
from benchmarks.paced import KNOWN, MIRRORED, paced
from benchmarks.stream import Place, bare, consumed, place_of, precedes
from deploy.local.stack import Servers, stack

BEFORE, PREPARED = "before its row", "rivals/"
MIXES = {"healthy": 0.0, BEFORE: 0.0, "5 % drift": 0.05, "all drift": 1.0}
ROWS = {"files": filling.FILES, "each": sweep.A_DIRECTORY, "size": sweep.SIZE}
READ_BY = {
    "by event": 0.04,
    "by batch": 0.4,
    "by connect": 1.0,
    "ours": 1.0,
    "bare": 1.0,
}  # of the events: rates need no more
REMOVALS = 201  # the first of them only tells that all is ready
LABELS = {
    "ratio": "ours to it, events/s",
    "p50_ms": "told after, p50, ms",
    "p99_ms": "told after, p99, ms",
    "false": "told falsely",
    "rate": "events/s",
    "join_s": "the anti-join besides, s",
    "cpu_s_a_million": "CPU of the program, s a million events",
    "rss_mb": "memory of the program, MB",
}
TABLES = """
CREATE TABLE IF NOT EXISTS rival_orphan (key text PRIMARY KEY);
TRUNCATE rival_orphan;
"""
TOLD = """
SELECT object_key FROM file_versions WHERE status = 'corrupted' UNION SELECT key FROM rival_orphan
UNION SELECT key FROM reconciler.finding
"""
NOT_ASKED = "SELECT EXISTS (SELECT FROM reconciler.look WHERE due_at <= now())"
GIVE_BACK = "UPDATE file_versions SET status = 'active' WHERE status = 'corrupted'"


def ours(place: Place) -> dict[str, float]:
    """Ours, until every offset is committed and MinIO was asked for all that it had to be asked for."""
    if place.prefix:
        return precedes(place)
    with psycopg.connect(place.database, autocommit=True) as connection:

        def left() -> bool:
            [(found,)] = connection.execute(NOT_ASKED).fetchall()
            return bool(found)

        return consumed(place, lambda _: None, left)


WAYS = {"by event": by_event, "by batch": by_batch, "by connect": mirror.by_connect, "ours": ours, "bare": bare}


def measured(name: str, place: Place) -> dict[str, float]:
    """Measure, and tell what it cost besides: CPU by a million events, and memory at its highest.

    That is this process's, unless the measurement tells another's.
    """
    before = resource.getrusage(resource.RUSAGE_SELF)
    found = WAYS[name](place)
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = found.pop("cpu_s", after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"rss_mb": peak_mb(), **found, "cpu_s_a_million": spent / place.events * 1e6}


MEASUREMENTS = {name: partial(measured, name) for name in WAYS}


def records(number: int, drift: float) -> Iterator[tuple[int, str, bytes]]:
    """Yield so many uploads of objects that are there, and evenly among them removals of live keys that are gone."""
    gone = 0
    for each in range(number):
        is_gone = int((each + 1) * drift) > gone
        gone += is_gone
        key = sweep.key_of(number + gone - 1 if is_gone else each)  # a row beyond the objects, or one of them
        name = "s3:ObjectRemoved:Delete" if is_gone else "s3:ObjectCreated:Put"
        event = filling.event(sweep.BUCKET, key, None if is_gone else sweep.SIZE, name)
        yield each // EACH % PARTITIONS, f"{sweep.BUCKET}/{key}", event


def run(servers: Servers, number: int, rounds: int) -> None:
    """Fill with so many objects, twice as many rows, measure in turn, and print a table for each mix."""
    minio = servers.minio
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    sweep.fill(servers, sweep.Place(database, minio.url, minio.user, minio.password, number))
    work = f"{number:,} objects, {2 * number:,} rows, {number:,} events, {PARTITIONS} partitions"
    measured_on = about(servers, work, "confluent-kafka", "minio-py")
    tables = [Table(f"rivals.{word(mix)}", LABELS, measured_on) for mix in MIXES]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # their files are there: nothing looks for each
        connection.execute(sweep.INSERT_FROM, {**ROWS, "lower": number, "upper": 2 * number})
        connection.execute("VACUUM ANALYZE file_versions")
        for mix, table in zip(MIXES, tables, strict=True):
            place = replace(place_of(servers, database, number, PREPARED if mix == BEFORE else ""), bucket=sweep.BUCKET)
            filling.produce(place.bootstrap, place.topic, records(number, MIXES[mix]))
            for nth in range(rounds):
                print(f"{mix}, round {nth + 1}")
                for name, figures in _round(connection, place).items():
                    table.note_all(figures, name)
        latency = Table("rivals.latency", LABELS, measured_on)
        for _ in range(rounds):
            for name in list(WAYS)[:-1]:
                place = replace(place_of(servers, database, REMOVALS, ""), bucket=sweep.BUCKET)
                latency.note_all(one_by_one(connection, place, name, number), name)
    for table in (*tables, latency):
        table.show()


def one_by_one(
    connection: psycopg.Connection[tuple[object, ...]], place: Place, name: str, first: int
) -> dict[str, float]:
    """Measure how soon removals are told that come one by one, of rows from the first on that has no object."""
    anew(connection, place, name)
    keys = [sweep.key_of(first + each) for each in range(place.events)]
    known = MIRRORED if name == "by connect" else KNOWN
    return paced(connection, place, keys, known, lambda: measure("benchmarks.rivals", name, place))


def anew(connection: psycopg.Connection[tuple[object, ...]], place: Place, name: str) -> None:
    """Forget all that was told, and make what a way needs to begin with."""
    connection.execute(TABLES)
    connection.execute("TRUNCATE reconciler.finding, reconciler.history, reconciler.look, reconciler.restraint CASCADE")
    connection.execute(GIVE_BACK)
    if place.prefix:
        prepare(connection, place.events)
    if name == "by connect":
        mirror.fill(connection, place.bucket)


def _round(connection: psycopg.Connection[tuple[object, ...]], place: Place) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name in WAYS:
        anew(connection, place, name)
        there = replace(place, events=int(place.events * READ_BY[name]))
        found[name] = measure("benchmarks.rivals", name, there)
        for (left,) in connection.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
            connection.execute(sql.SQL("COMMIT PREPARED {}").format(str(left)))
        came = outcome(connection, place.events)
        print(f"    found {came['found']:,}, false {came['false']:,}", flush=True)
        if name != "bare":
            found[name]["false"] = came["false"]
    for name, one in found.items():
        if name != "ours":
            one["ratio"] = found["ours"]["rate"] / one["rate"]
    return found


def prepare(connection: psycopg.Connection[tuple[object, ...]], objects: int) -> None:
    """Take away the rows of the objects and insert them anew, in transactions that are prepared."""
    connection.execute("DELETE FROM file_versions WHERE version_number < %s", [objects])
    for number in range(objects // EACH):
        connection.execute("BEGIN")
        connection.execute(sweep.INSERT_FROM, {**ROWS, "lower": number * EACH, "upper": (number + 1) * EACH})
        connection.execute(sql.SQL("PREPARE TRANSACTION {}").format(f"{PREPARED}{number}"))


def outcome(connection: psycopg.Connection[tuple[object, ...]], objects: int) -> Counter[str]:
    """Count what was found of what is gone, and what was flagged or reported although both sides are there."""
    told = connection.execute(TOLD).fetchall()
    return Counter("found" if str(key) >= sweep.key_of(objects) else "false" for (key,) in told)


def main() -> None:
    """Run the benchmark, or (with a name and a place) one measurement of it."""
    if ran_one(sys.argv[1:], MEASUREMENTS, Place):
        return
    parser = argparse.ArgumentParser(description="the stream beside what one would use instead")
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with stack() as servers:
        run(servers, options.events, options.rounds)


if __name__ == "__main__":
    main()
