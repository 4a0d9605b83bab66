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
from benchmarks.machine import cpu_s_of, peak_mb_of
from benchmarks.stream import Place

PAUSE_S = 0.05
CREATE: LiteralString = """
DROP TABLE IF EXISTS mirror;
CREATE TABLE mirror (
    key        text PRIMARY KEY,
    event      text NOT NULL,
    object_key text GENERATED ALWAYS AS (substr(key, strpos(key, '/') + 1)) STORED,
    is_there   boolean GENERATED ALWAYS AS (event NOT LIKE '{"EventName":"s3:ObjectRemoved:%') STORED
)
"""
SEED: LiteralString = "INSERT INTO mirror SELECT %s || '/' || object_key, '' FROM file_versions"
CHANGED: LiteralString = "SELECT count(*) FROM mirror WHERE event <> ''"
DIRECTORIES: LiteralString = "SELECT DISTINCT split_part(object_key, '/', 2)::int FROM mirror WHERE event <> ''"
MISSING: LiteralString = """
SELECT object_key FROM file_versions AS row
WHERE status = 'active' AND NOT EXISTS (
    SELECT FROM {mirror} AS mirror WHERE mirror.object_key = row.object_key AND is_there
)
"""
ORPHANS: LiteralString = """
SELECT object_key FROM {mirror} AS mirror
WHERE is_there AND NOT EXISTS (
    SELECT FROM file_versions AS row WHERE row.object_key = mirror.object_key AND status = 'active'
)
"""
TELL = sql.SQL("INSERT INTO rival_orphan " + MISSING + "UNION ALL" + ORPHANS + "ON CONFLICT DO NOTHING").format(
    mirror=sql.Identifier("mirror")
)


def fill(connection: psycopg.Connection[Any], bucket: str) -> None:
    """Make the mirror, with what a listing would give before the events: an object of each row that is visible."""
    connection.execute(CREATE)
    connection.execute(SEED, [bucket])
    connection.execute("VACUUM ANALYZE mirror")


def by_connect(place: Place) -> dict[str, float]:
    """Let Kafka Connect write all events into the mirror, and join; from the first batch to what the join tells.

    Where rows follow their events the join is made all along, as something that runs every moment would.
    """
    with (
        psycopg.connect(place.database, autocommit=True) as connection,
        connecting(place, "mirror") as worker,
        following(connection, place) as follow,
    ):
        until(connection, 1, follow)
        began, spent = time.perf_counter(), cpu_s_of(worker)
        until(connection, place.events, follow)
        mirrored = time.perf_counter()
        spent = cpu_s_of(worker) - spent
        peak = peak_mb_of(worker)
        connection.execute("ANALYZE mirror")
        connection.execute(TELL)
        joined = time.perf_counter()
    return {"rate": place.events / (mirrored - began), "join_s": joined - mirrored, "cpu_s": spent, "rss_mb": peak}


def until(connection: psycopg.Connection[Any], events: int, follow: Callable[[], None]) -> None:
    """Wait until the mirror holds so many events, each of a key of its own."""
    deadline = time.monotonic() + 300
    while True:
        [(changed,)] = connection.execute(CHANGED).fetchall()
        if changed >= events:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{changed} of {events} events are in the mirror after five minutes")
        follow()
        time.sleep(PAUSE_S)


@contextmanager
def following(connection: psycopg.Connection[Any], place: Place) -> Iterator[Callable[[], None]]:
    """Let prepared rows follow what the mirror holds of their events; yields what looks for that, and joins."""
    if not place.prefix:
        yield lambda: None
        return
    with committing(place.database, place.prefix) as note:

        def follow() -> None:
            for (number,) in connection.execute(DIRECTORIES).fetchall():  # a directory is a transaction of EACH rows
                note(number % PARTITIONS, number // PARTITIONS * EACH + 1)
            connection.execute(TELL)

        yield follow
