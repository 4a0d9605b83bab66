"""The stream beside what one would use instead: the same events, rows and objects, on the same servers, in turn.

`make bench-rivals`. Three rounds; in each and for each mix of events: a consumer as one writes it in an afternoon (one
SELECT, one HEAD and one commit an event), the same in batches of 500 that asks MinIO only where event and rows do not
agree, Kafka Connect that mirrors the bucket into a table which is joined, ours that flags as they do, ours as it comes
(it only suspects), and the limit: bare consume and decode. Rates alone are compared, so that a slow way reads fewer
events, from a topic of its own to its end. What each writes is compared with the truth: rows that it flags although
their object is there, orphans that it reports although their row is. Then removals one by one, and how soon each tells.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from benchmarks import filling, mirror, sweep
from benchmarks.afternoon import by_batch, by_event
from benchmarks.committing import EACH, PARTITIONS
from benchmarks.contest import Contest, contest_of
from benchmarks.figures import Table, about, word
from benchmarks.machine import cpu_s_of, peak_mb
from benchmarks.measuring import measure, ran_one
from benchmarks.paced import FLAGGED, SUSPECTED, paced
from benchmarks.stream import bare, consumed, precedes
from deploy.local.stack import Servers, stack

BEFORE, PREPARED = "before its row", "rivals/"
MIXES = {"healthy": 0.0, BEFORE: 0.0, "5 % drift": 0.05, "all drift": 1.0}
OBSERVING = "ours, observing"
ROWS = {"files": filling.FILES, "each": sweep.A_DIRECTORY, "size": sweep.SIZE}
REMOVALS = 201  # the first of them only tells that all is ready
WARM = 30_000
ASK_EACH_S = 0.05  # whether something is left
LABELS = {
    "ratio": "ours to it, events/s",
    "told_ratio": "ours to it, with the anti-join",
    "p50_ms": "told after, p50, ms",
    "p99_ms": "told after, p99, ms",
    "found": "found, of those that drift",
    "false": "told falsely, of the events read",
    "false_later": "still told falsely when all rows are there, of the events read",
    "rate": "events/s",
    "told_rate": "events/s with the anti-join",
    "join_s": "the last anti-join, s",
    "cpu_s_a_million": "CPU of the program, s a million events",
    "database_s_a_million": "CPU of PostgreSQL, s a million events",
    "rss_mb": "memory of the program, MB",
}
CLEAN = """
CREATE TABLE IF NOT EXISTS rival_orphan (key text PRIMARY KEY);
TRUNCATE rival_orphan, reconciler.finding, reconciler.history, reconciler.look, reconciler.restraint CASCADE;
UPDATE file_versions SET status = 'active' WHERE status = 'corrupted';
"""
TOLD = """
WITH told AS (
    SELECT object_key AS key FROM file_versions WHERE status = 'corrupted'
    UNION SELECT key FROM rival_orphan UNION SELECT key FROM reconciler.finding
),
live AS (SELECT DISTINCT object_key AS key FROM file_versions WHERE status = 'active')
SELECT count(*) FILTER (WHERE key >= %(gone)s), count(*) FILTER (WHERE key < %(gone)s),
       count(*) FILTER (WHERE key < %(gone)s AND live.key IS NULL)
FROM told LEFT JOIN live USING (key)
"""
LEFT = """
SELECT EXISTS (SELECT FROM reconciler.look AS asked WHERE NOT EXISTS (
        SELECT FROM reconciler.finding WHERE finding.bucket = asked.bucket AND finding.key = asked.key
    )) OR %s AND EXISTS (SELECT FROM reconciler.finding WHERE state = 'suspected')
"""


def observing(place: Contest) -> dict[str, float]:
    """Ours, until every offset is committed and all is told: suspected, and where it flags, flagged."""
    if place.prefix:
        return precedes(place)
    with psycopg.connect(place.database, autocommit=True) as connection:
        connection.execute("SET enable_nestloop = off")  # of tables just filled the planner knows nothing
        asked_at = 0.0

        def left() -> bool:
            nonlocal asked_at
            if time.monotonic() < asked_at + ASK_EACH_S:
                return True
            [(found,)] = connection.execute(LEFT, [place.flagging]).fetchall()
            asked_at = time.monotonic()
            return bool(found)

        return consumed(place, lambda _: None, left)


def flagging(place: Contest) -> dict[str, float]:
    """Ours that flags at once, as the others do: after a second look all the same."""
    return observing(replace(place, flagging=True))


class Rival(NamedTuple):
    """A way, and which share of the events it reads of each mix: with fewer a start counts, with more it takes long."""

    run: Callable[[Contest], dict[str, float]]
    healthy: float
    before: float
    some_drift: float
    all_drift: float

    def share(self, mix: str) -> float:
        """Return the share of a mix."""
        return dict(zip(MIXES, self[1:], strict=True))[mix]


WAYS = {
    "by event": Rival(by_event, 0.01, 0.01, 0.01, 0.01),
    "by batch": Rival(by_batch, 1.0, 0.1, 0.5, 0.05),
    "by connect": Rival(mirror.by_connect, 1.0, 0.3, 0.5, 0.5),
    "ours": Rival(flagging, 1.0, 0.3, 0.5, 0.05),
    OBSERVING: Rival(observing, 0.0, 0.0, 0.5, 0.05),  # where nothing drifts it does the same
    "bare": Rival(bare, 1.0, 0.3, 0.5, 0.5),
}


def measured(name: str, place: Contest) -> dict[str, float]:
    """Measure, and tell what it cost besides: CPU of program and database by a million events, and memory.

    That is this process's, unless the measurement tells another's.
    """
    before, database_s = resource.getrusage(resource.RUSAGE_SELF), cpu_s_of(place.postmaster)
    found = WAYS[name].run(place)
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = found.pop("cpu_s", after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    database_s = found.pop("database_s", cpu_s_of(place.postmaster) - database_s)
    costs = {"cpu_s_a_million": spent, "database_s_a_million": database_s}
    of_million = {cost: seconds / place.events * 1e6 for cost, seconds in costs.items()}
    return {"rss_mb": peak_mb(), **found, **of_million}


MEASUREMENTS = {name: partial(measured, name) for name in WAYS}


@dataclass(frozen=True)
class Arena:
    """Servers with so many objects and twice as many rows; `warm` is a place whose topic is filled already."""

    servers: Servers
    connection: psycopg.Connection[Any]
    database: str
    objects: int
    warm: Contest | None = None

    def place(self, events: int, prefix: str = "") -> Contest:
        """Make a topic for so many events."""
        there = contest_of(self.servers, self.database, events, prefix)
        warm = self.warm or there
        return replace(there, warm=warm.topic, warm_events=min(WARM, warm.events))

    def places(self, mix: str) -> dict[str, Contest]:
        """Return where each way is measured: topics of as many events as it reads, each of which is filled once."""
        made: dict[int, Contest] = {}
        found = {}
        for name, rival in WAYS.items():
            if events := int(self.objects * rival.share(mix)):
                if events not in made:
                    made[events] = place = self.place(events, PREPARED if mix == BEFORE else "")
                    filling.produce(place.bootstrap, place.topic, records(self.objects, events, MIXES[mix]))
                found[name] = made[events]
        return found


def records(objects: int, events: int, drift: float) -> Iterator[tuple[int, str, bytes]]:
    """Yield so many uploads of objects that are there, and evenly among them removals of live keys that are gone."""
    gone = 0
    for each in range(events):
        is_gone = int((each + 1) * drift) > gone
        gone += is_gone
        key = sweep.key_of(objects + gone - 1 if is_gone else each)  # a row beyond the objects, or one of them
        name = "s3:ObjectRemoved:Delete" if is_gone else "s3:ObjectCreated:Put"
        event = filling.event(sweep.BUCKET, key, None if is_gone else sweep.SIZE, name)
        yield each // EACH % PARTITIONS, f"{sweep.BUCKET}/{key}", event


def run(servers: Servers, number: int, rounds: int, mixes: Sequence[str]) -> None:
    """Fill with so many objects, twice as many rows, measure in turn, and print a table for each of the mixes."""
    minio = servers.minio
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    sweep.fill(servers, sweep.Place(database, minio.url, minio.user, minio.password, number))
    work = f"{number:,} objects, {2 * number:,} rows, up to {number:,} events, {PARTITIONS} partitions"
    measured_on = about(servers, work, "confluent-kafka", "minio-py")
    tables = [Table(f"rivals.{word(mix)}", LABELS, measured_on) for mix in mixes]
    latency = Table("rivals.latency", LABELS, measured_on)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # their files are there: nothing looks for each
        connection.execute(sweep.INSERT_FROM, {**ROWS, "lower": number, "upper": 2 * number})
        arena = Arena(servers, connection, database, number)
        for mix, table in zip(mixes, tables, strict=True):
            places = arena.places(mix)
            arena = replace(arena, warm=arena.warm or places["by connect"])
            for nth in range(rounds):
                print(f"{mix}, round {nth + 1}")
                for name, figures in one_round(arena, mix, places).items():
                    table.note_all(figures, name)
        for nth in range(rounds):
            print(f"removals one by one, round {nth + 1}")
            for name in list(WAYS)[:-1]:
                latency.note_all(one_by_one(arena, name), name)
    for table in (*tables, latency):
        table.show()


def one_by_one(arena: Arena, name: str) -> dict[str, float]:
    """Measure how soon removals are told that come one by one, of rows that have no object."""
    place = replace(arena.place(REMOVALS), paced=True)
    anew(arena.connection, place, name)
    keys = [sweep.key_of(arena.objects + each) for each in range(REMOVALS)]
    known = SUSPECTED if name == OBSERVING else FLAGGED
    found = paced(arena.connection, place, keys, known, lambda: measure("benchmarks.rivals", name, place))
    print(f"    p50 {found['p50_ms']:,.1f} ms, p99 {found['p99_ms']:,.1f} ms", flush=True)
    return found


def anew(connection: psycopg.Connection[Any], place: Contest, name: str) -> None:
    """Forget all that was told, and make what a way needs to begin with."""
    connection.execute(CLEAN)
    if place.prefix:
        prepare(connection, place.events)
    connection.execute("VACUUM ANALYZE file_versions")
    if name == "by connect":
        mirror.fill(connection, place.bucket)


def one_round(arena: Arena, mix: str, places: dict[str, Contest]) -> dict[str, dict[str, float]]:
    """Measure each way of a mix, and what it told."""
    found: dict[str, dict[str, float]] = {}
    for name, place in places.items():
        anew(arena.connection, place, name)
        found[name] = measure("benchmarks.rivals", name, place)
        for (left,) in arena.connection.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
            arena.connection.execute(sql.SQL("COMMIT PREPARED {}").format(str(left)))
        if name != "bare":
            found[name] |= outcome(arena, place.events, MIXES[mix])
    ours = found["ours"]["rate"]
    for one in found.values():
        ratios = {"ratio": "rate", "told_ratio": "told_rate"}
        one |= {ratio: ours / one[rate] for ratio, rate in ratios.items() if one is not found["ours"] and rate in one}
    return found


def prepare(connection: psycopg.Connection[Any], objects: int) -> None:
    """Take away the rows of the objects and insert them anew, in transactions that are prepared."""
    connection.execute("DELETE FROM file_versions WHERE version_number < %s", [objects])
    for number, lower in enumerate(range(0, objects, EACH)):
        connection.execute("BEGIN")
        connection.execute(sweep.INSERT_FROM, {**ROWS, "lower": lower, "upper": min(lower + EACH, objects)})
        connection.execute(sql.SQL("PREPARE TRANSACTION {}").format(f"{PREPARED}{number}"))


def outcome(arena: Arena, events: int, drift: float) -> dict[str, float]:
    """Return the shares of what was found, and of what was flagged or reported although both sides are there."""
    [(found, false, later)] = arena.connection.execute(TOLD, {"gone": sweep.key_of(arena.objects)}).fetchall()
    gone = int(events * drift)
    print(f"    found {found:,} of {gone:,}, false {false:,}, later {later:,}", flush=True)
    shares = {"false": false / events, "false_later": later / events}
    return shares | ({"found": found / gone} if gone else {})


def main() -> None:
    """Run the benchmark, or (with a name and a place) one measurement of it."""
    if ran_one(sys.argv[1:], MEASUREMENTS, Contest):
        return
    parser = argparse.ArgumentParser(description="the stream beside what one would use instead")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mixes", nargs="+", choices=MIXES, default=list(MIXES))
    options = parser.parse_args()
    with stack() as servers:
        run(servers, options.events, options.rounds, options.mixes)


if __name__ == "__main__":
    main()
