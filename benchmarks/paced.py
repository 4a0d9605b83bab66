"""How soon each tells of a deletion: removals of live keys, one by one, from the record's append to the commit.

All that tells is started first, and learns of one removal before the others come. To tell is to flag the row; what
only suspects is measured by that.
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
from benchmarks.waiting import until

GAP_S = 0.02
PATIENCE_S = 180.0
FLAGGED: LiteralString = """
SELECT object_key, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8
FROM file_versions WHERE status = 'corrupted'
"""
SUSPECTED: LiteralString = """
SELECT f.key, extract(epoch FROM pg_xact_commit_timestamp(h.xmin))::float8
FROM reconciler.history AS h JOIN reconciler.finding AS f ON f.id = h.finding_id WHERE h.act = 'suspected'
"""


def paced(
    connection: psycopg.Connection[Any],
    place: Place,
    keys: list[str],
    known: LiteralString,
    consumed: Callable[[], dict[str, float]],
) -> dict[str, float]:
    """Append the removals while they are consumed, and return the percentiles in milliseconds, and what it cost."""
    producer = Producer({"bootstrap.servers": place.bootstrap, "linger.ms": 0})
    appended: dict[str, float] = {}

    def append(key: str) -> None:
        value = filling.event(place.bucket, key, None, "s3:ObjectRemoved:Delete")
        appended[key] = time.time()  # noqa: TID251 - compared with the database's clock on this machine
        producer.produce(place.topic, value, f"{place.bucket}/{key}".encode())
        producer.flush(10)

    def told(number: int) -> dict[str, float]:
        def at() -> dict[str, float] | None:
            found: dict[str, float] = dict(connection.execute(known).fetchall())
            return found if len(found) >= number else None

        return until(at, f"{number} removals are known", PATIENCE_S, GAP_S)

    with ThreadPoolExecutor(1) as pool:
        consuming = pool.submit(consumed)
        append(keys[0])
        told(1)
        for key in keys[1:]:
            append(key)
            time.sleep(GAP_S)
        known_at = told(len(keys))
        consuming.result()
    took = [1000 * (known_at[key] - appended[key]) for key in keys[1:]]
    return {"p50_ms": statistics.median(took), "p99_ms": percentile(took, 0.99)}
