"""How soon each tells of a deletion: removals of live keys, one by one, from the record's append to the commit.

All that tells is started first, and learns of one removal before the others come. What a mirror tells by its anti-join
is told when the next join ends: that takes as long as the join, which is measured besides.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString

import psycopg
from confluent_kafka import Producer

from benchmarks import filling
from benchmarks.latency import percentile
from benchmarks.stream import Place

GAP_S = 0.02
PATIENCE_S = 180.0
KNOWN: LiteralString = """
SELECT object_key, extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM file_versions WHERE status = 'corrupted'
UNION ALL
SELECT f.key, extract(epoch FROM pg_xact_commit_timestamp(h.xmin))
FROM reconciler.history AS h JOIN reconciler.finding AS f ON f.id = h.finding_id WHERE h.act = 'suspected'
"""
MIRRORED: LiteralString = """
SELECT object_key, extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM mirror WHERE event <> ''
"""


def paced(
    connection: psycopg.Connection[Any],
    place: Place,
    keys: list[str],
    known: LiteralString,
    consumed: Callable[[], dict[str, float]],
) -> dict[str, float]:
    """Append the removals while they are consumed, and return the percentiles in milliseconds."""
    producer = Producer({"bootstrap.servers": place.bootstrap, "linger.ms": 0})
    appended: dict[str, float] = {}

    def append(key: str) -> None:
        value = filling.event(place.bucket, key, None, "s3:ObjectRemoved:Delete")
        appended[key] = time.time()  # noqa: TID251 - compared with the database's clock on this machine
        producer.produce(place.topic, value, f"{place.bucket}/{key}".encode())
        producer.flush(10)

    with ThreadPoolExecutor(1) as pool:
        consuming = pool.submit(consumed)
        append(keys[0])
        known_until(connection, known, 1)
        for key in keys[1:]:
            append(key)
            time.sleep(GAP_S)
        told = known_until(connection, known, len(keys))
        found = consuming.result()
    took = [1000 * (told[key] - appended[key]) for key in keys[1:]]
    join_ms = 1000 * found.get("join_s", 0.0)
    return {"p50_ms": statistics.median(took) + join_ms, "p99_ms": percentile(took, 0.99) + join_ms}


def known_until(connection: psycopg.Connection[Any], query: LiteralString, number: int) -> dict[str, float]:
    """Wait until so many are known, and return when each came to be, in seconds since 1970."""
    deadline = time.monotonic() + PATIENCE_S
    while len(known := connection.execute(query).fetchall()) < number:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(known)} of {number} removals are known after {PATIENCE_S:.0f} s")
        time.sleep(GAP_S)
    return {key: float(at) for key, at in known}
