"""The stream beside what one would use instead: the same events, rows and objects, on the same servers, in turn.

`make bench-rivals`. Three rounds; in each and for each mix of events: a consumer as one writes it in an afternoon (one
SELECT, one HEAD and one commit an event), the same in batches of 500 that asks MinIO only where event and rows do not
agree, Kafka Connect that mirrors the bucket into a table which is joined, and ours. A rival in Python reads fewer
events of its topic, since only rates are compared. What each writes is compared with the truth: rows that it flags
although their object is there, orphans that it reports although their row is.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace

import psycopg
from psycopg import sql

from benchmarks import filling, mirror, sweep
from benchmarks.afternoon import by_batch, by_event
from benchmarks.committing import EACH, PARTITIONS
from benchmarks.machine import machine, peak_mb
from benchmarks.stream import Place, consumed, place_of, precedes
from deploy.local.stack import Servers, stack

OBJECTS = 50_000
EVENTS = 50_000
BEFORE, PREPARED = "before its row", "rivals/"
MIXES = {"healthy": 0.0, BEFORE: 0.0, "5 % drift": 0.05, "all drift": 1.0}
ROWS = {"files": filling.FILES, "each": sweep.A_DIRECTORY, "size": sweep.SIZE}
READ_BY = {"by event": 0.04, "by batch": 0.4, "by connect": 1.0, "ours": 1.0}  # of the events: rates need no more
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


MEASUREMENTS = {"by event": by_event, "by batch": by_batch, "by connect": mirror.by_connect, "ours": ours}


def measured(name: str, place: Place) -> dict[str, float]:
    """Measure, and tell what it cost besides: CPU by a million events, and memory at its highest.

    That is this process's, unless the measurement tells another's.
    """
    before = resource.getrusage(resource.RUSAGE_SELF)
    found = MEASUREMENTS[name](place)
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = found.pop("cpu_s", after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"rss_mb": peak_mb(), **found, "cpu_s_a_million": spent / place.events * 1e6}


def measure(name: str, place: Place) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.rivals", name, json.dumps(asdict(place))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"  {name}: " + ", ".join(f"{key} {value:,.0f}" for key, value in found.items()), flush=True)
    return found


def records(drift: float) -> Iterator[tuple[int, str, bytes]]:
    """Yield uploads of objects that are there, and evenly among them removals of live keys whose object is gone."""
    gone = 0
    for number in range(EVENTS):
        is_gone = int((number + 1) * drift) > gone
        gone += is_gone
        key = gone_key(gone) if is_gone else sweep.key_of(number % OBJECTS)
        name = "s3:ObjectRemoved:Delete" if is_gone else "s3:ObjectCreated:Put"
        event = filling.event(sweep.BUCKET, key, None if is_gone else sweep.SIZE, name)
        yield number // EACH % PARTITIONS, f"{sweep.BUCKET}/{key}", event


def gone_key(number: int) -> str:
    """Return the key of a row whose object is gone: rows beyond the objects."""
    return sweep.key_of(OBJECTS + number - 1)


def run(servers: Servers, rounds: int) -> None:
    """Fill, measure in turn, and print the ratios."""
    minio = servers.minio
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    whole = sweep.Place(database, minio.url, minio.user, minio.password, OBJECTS)
    sweep.fill(servers, whole)
    print(f"{machine()}; {OBJECTS:,} objects, {OBJECTS + EVENTS:,} rows, {EVENTS:,} events, {PARTITIONS} partitions")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sweep.INSERT_FROM, {**ROWS, "lower": OBJECTS, "upper": OBJECTS + EVENTS})
        connection.execute("VACUUM ANALYZE file_versions")
        for mix, drift in MIXES.items():
            place = replace(place_of(servers, database, EVENTS, PREPARED if mix == BEFORE else ""), bucket=sweep.BUCKET)
            filling.produce(place.bootstrap, place.topic, records(drift))
            print(mix)
            found = [_round(connection, place) for _ in range(rounds)]
            for name in list(MEASUREMENTS)[:-1]:
                ratios = [one["ours"]["rate"] / one[name]["rate"] for one in found]
                filling.result(f"rivals.{_word(mix)}.{_word(name)}.ratio", ratios)


def _round(connection: psycopg.Connection[tuple[object, ...]], place: Place) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name in MEASUREMENTS:
        connection.execute(TABLES)
        connection.execute(
            "TRUNCATE reconciler.finding, reconciler.history, reconciler.look, reconciler.restraint CASCADE"
        )
        connection.execute(GIVE_BACK)
        events = int(EVENTS * READ_BY[name])
        if place.prefix:
            prepare(connection)
        if name == "by connect":
            mirror.fill(connection, place.bucket)
        found[name] = measure(name, replace(place, events=events))
        for (left,) in connection.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
            connection.execute(sql.SQL("COMMIT PREPARED {}").format(str(left)))
        came = outcome(connection)
        print(f"    found {came['found']:,}, false {came['false']:,}", flush=True)
    return found


def prepare(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Take away the rows of the objects and insert them anew, in transactions that are prepared."""
    connection.execute("DELETE FROM file_versions WHERE version_number < %s", [OBJECTS])
    for number in range(OBJECTS // EACH):
        connection.execute("BEGIN")
        connection.execute(sweep.INSERT_FROM, {**ROWS, "lower": number * EACH, "upper": (number + 1) * EACH})
        connection.execute(sql.SQL("PREPARE TRANSACTION {}").format(f"{PREPARED}{number}"))


def outcome(connection: psycopg.Connection[tuple[object, ...]]) -> Counter[str]:
    """Count what was found of what is gone, and what was flagged or reported although both sides are there."""
    told = connection.execute(TOLD).fetchall()
    return Counter("found" if str(key) >= gone_key(1) else "false" for (key,) in told)


def _word(name: str) -> str:
    return name.replace(" % ", "_").replace(" ", "_")


def main() -> None:
    """Run the benchmark, or (with a name and a place) one measurement of it."""
    parser = argparse.ArgumentParser(description="the stream beside what one would use instead")
    parser.add_argument("measurement", nargs="?", choices=MEASUREMENTS)
    parser.add_argument("place", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.measurement:
        print(json.dumps(measured(options.measurement, Place(**json.loads(options.place)))))
        return
    with stack() as servers:
        run(servers, options.rounds)


if __name__ == "__main__":
    main()
