"""A table that mirrors the bucket by its events, and the anti-join over it: what one would use without a reconciler.

Nothing here looks at MinIO again: what the mirror says is taken for what is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from benchmarks.committing import EACH, PARTITIONS, committing
from benchmarks.connect import connecting
from benchmarks.contest import Contest
from benchmarks.machine import cpu_s_of, peak_mb_of
from benchmarks.waiting import until

PATIENCE_S = 300.0
EVERY_S = 1.0  # to count the mirror, or to join it, takes cores from what fills it
MIRROR, WARMED = "mirror", "warmed"
CREATE: LiteralString = """
DROP TABLE IF EXISTS {mirror};
CREATE TABLE {mirror} (
    key        text PRIMARY KEY,
    event      text NOT NULL,
    object_key text GENERATED ALWAYS AS (substr(key, strpos(key, '/') + 1)) STORED,
    is_there   boolean GENERATED ALWAYS AS (event NOT LIKE '{{"EventName":"s3:ObjectRemoved:%') STORED
)
"""
SEED: LiteralString = "INSERT INTO mirror SELECT %s || '/' || object_key, '' FROM file_versions"
CHANGED: LiteralString = "SELECT count(*) FROM {mirror} WHERE event <> ''"
COMMITTED: LiteralString = """
WITH mirrored AS (SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) AS at FROM mirror WHERE event <> '')
SELECT count(*) FILTER (WHERE at > (SELECT min(at) FROM mirrored)), (max(at) - min(at))::float8 FROM mirrored
"""
DIRECTORIES: LiteralString = "SELECT DISTINCT split_part(object_key, '/', 2)::int FROM mirror WHERE event <> ''"
FLAG_MISSING: LiteralString = """
UPDATE file_versions AS row SET status = 'corrupted'
WHERE status = 'active' AND NOT EXISTS (
    SELECT FROM mirror WHERE mirror.object_key = row.object_key AND is_there
)
"""
TELL_ORPHANS: LiteralString = """
INSERT INTO rival_orphan SELECT object_key FROM mirror
WHERE is_there AND NOT EXISTS (
    SELECT FROM file_versions AS row WHERE row.object_key = mirror.object_key AND status = 'active'
)
ON CONFLICT DO NOTHING
"""


def fill(connection: psycopg.Connection[Any], bucket: str) -> None:
    """Make the mirror, with what a listing would give before the events: an object of each row that is visible."""
    for name in (MIRROR, WARMED):
        connection.execute(sql.SQL(CREATE).format(mirror=sql.Identifier(name)))
    connection.execute(SEED, [bucket])
    connection.execute("VACUUM ANALYZE mirror")


def by_connect(place: Contest) -> dict[str, float]:
    """Let Kafka Connect, once it is warm, write all events into the mirror, and join; from the first commit on."""
    with (
        psycopg.connect(place.database, autocommit=True) as connection,
        connecting(place) as worker,
        following(connection, place) as follow,
    ):
        with worker.mirroring(place.warm, WARMED):
            until(lambda: changed(connection, WARMED) >= place.warm_events, "Kafka Connect is warm", PATIENCE_S)
        cpu_s, database_s = cpu_s_of(worker.pid), cpu_s_of(place.postmaster)

        def mirrored() -> bool:
            follow()
            return changed(connection, MIRROR) >= place.events

        with worker.mirroring(place.topic, MIRROR):
            until(mirrored, "all events are in the mirror", PATIENCE_S, 0.0 if place.paced else EVERY_S)
        [(after_first, took)] = connection.execute(COMMITTED).fetchall()
        began = time.perf_counter()
        connection.execute("ANALYZE mirror")
        tell(connection)
        joined = time.perf_counter() - began
        rates = {}
        if took:  # one batch alone has no rate
            each_s = took / after_first
            rates = {"rate": 1 / each_s, "told_rate": 1 / (each_s + joined / place.events)}
        return rates | {
            "join_s": joined,
            "cpu_s": cpu_s_of(worker.pid) - cpu_s,
            "database_s": cpu_s_of(place.postmaster) - database_s,
            "rss_mb": peak_mb_of(worker.pid),
        }


def changed(connection: psycopg.Connection[Any], table: str) -> int:
    """Return how many keys of a mirror an event has come for: each event has a key of its own."""
    [(number,)] = connection.execute(sql.SQL(CHANGED).format(mirror=sql.Identifier(table))).fetchall()
    return int(number)


def tell(connection: psycopg.Connection[Any]) -> None:
    """Join both ways: flag the rows whose object is gone, and report the objects that no row names."""
    with connection.transaction():
        connection.execute(FLAG_MISSING)
        connection.execute(TELL_ORPHANS)


@contextmanager
def following(connection: psycopg.Connection[Any], place: Contest) -> Iterator[Callable[[], None]]:
    """Let prepared rows follow what the mirror holds of their events; yields what looks for that, and joins.

    Where events come one by one it only joins, and where neither is asked for it does nothing.
    """
    if not place.prefix:
        yield lambda: tell(connection) if place.paced else None
        return
    with committing(place.database, place.prefix) as note:

        def follow() -> None:
            for (number,) in connection.execute(DIRECTORIES).fetchall():  # a directory is a transaction of EACH rows
                note(number % PARTITIONS, number // PARTITIONS * EACH + 1)
            tell(connection)

        yield follow
