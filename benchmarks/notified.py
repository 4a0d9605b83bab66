"""MinIO's own target for PostgreSQL with an anti-join, beside the consumer: the strongest simple alternative.

`make bench-rivals`. The target writes each event into a table that mirrors the bucket (format `namespace`): with a
queue on disk, and without one, as it comes. On one MinIO, in turn, each with the bucket's rule for itself: uploads as
fast as eight threads can, and how long until they are known; deletions, from the reply to what a query can tell; how
many of the deletions that happen while PostgreSQL is down are told afterwards; what is told falsely beside an
application that uploads and deletes in the recommended order, and what of that stays.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg

from benchmarks.figures import Table, about
from benchmarks.latency import percentile
from benchmarks.ways import Scene, Way, create_mirrors, in_force, ways, with_targets
from deploy.local.demo import prepare
from deploy.local.stack import Servers, stack
from deploy.local.story import Demo

GAP_S = 0.05
PAUSE_S = 0.002
QUIET_S = 8.0  # a target tries again every three seconds
CHURN_S = 10.0
LABELS = {
    "uploads_ratio": "ours to it, uploads a second",
    "latency_ratio": "it to ours, p50 from a deletion until it is known",
    "uploads_per_s": "uploads a second that the application makes beside it",
    "known_per_s": "of these known, a second",
    "p50_ms": "from the deletion until it is known, p50, ms",
    "p99_ms": "the same, p99, ms",
    "query_ms": "the query that tells all, ms",
    "deleted": "deletions while PostgreSQL was down",
    "told": "of these told afterwards",
    "slowest_reply_ms": "slowest reply to one of them, ms",
    "changed": "keys uploaded and deleted in the recommended order",
    "falsely": "of these told falsely",
    "for_ever": "of these for ever",
}


def rate(scene: Scene, uploads: int) -> dict[str, float]:
    """Upload, and return how many a second were taken, and how many a second are known in the end."""
    began = time.perf_counter()
    keys = scene.upload(uploads, f"{uuid4().hex[:8]}/")
    taken = time.perf_counter() - began
    found = {"uploads_per_s": uploads / taken}
    if scene.way.there is None:
        return found
    there = scene.way.there
    until(lambda: scene.connection.execute(there, [keys]).fetchall() == [(uploads,)], "the uploads are mirrored")
    return found | {"known_per_s": uploads / (time.perf_counter() - began)}


def latency(scene: Scene, deletions: int) -> dict[str, float]:
    """Delete one by one, and return the milliseconds from the reply to what a query can tell, and the query's own."""
    keys = scene.upload(deletions, f"{uuid4().hex[:8]}/")
    quiet(scene)
    until(lambda: not scene.gone(keys), "the uploads are known")
    answered: dict[str, float] = {}
    known: dict[str, float] = {}

    def note() -> bool:
        for key in scene.gone([key for key in answered if key not in known]):
            known[key] = time.perf_counter()
        return len(known) == len(keys)

    for key in keys:
        scene.remove(key)
        answered[key] = time.perf_counter()
        while time.perf_counter() < answered[key] + GAP_S:
            note()
            time.sleep(PAUSE_S)
    until(note, "the deletions are known")
    took = [1000 * (known[key] - answered[key]) for key in keys]
    began = time.perf_counter()
    scene.told()
    join_ms = 1000 * (time.perf_counter() - began)
    return {"p50_ms": statistics.median(took), "p99_ms": percentile(took, 0.99), "query_ms": join_ms}


def outage(scene: Scene, deletions: int) -> dict[str, float]:
    """Delete while PostgreSQL is down; return how many of the deletions are told once all is quiet again."""
    keys = scene.upload(deletions, f"{uuid4().hex[:8]}/")
    quiet(scene)
    server = scene.place.servers.postgres.control
    server.stop()
    scene.connection.close()
    replies = []
    for key in keys:
        began = time.perf_counter()
        scene.remove(key)
        replies.append(1000 * (time.perf_counter() - began))
    server.start()
    scene.connection = psycopg.connect(scene.database, autocommit=True)
    quiet(scene)
    return {"deleted": deletions, "told": len(scene.told() & set(keys)), "slowest_reply_ms": max(replies)}


def falsely(scene: Scene, _: int) -> dict[str, float]:
    """Upload and delete in the recommended order; return how many keys were told falsely, then and for ever."""
    before = scene.told()
    told: set[str] = set()
    changed = 0
    deadline = time.monotonic() + CHURN_S
    with psycopg.connect(scene.database) as application:
        while time.monotonic() < deadline:
            key = f"{uuid4().hex}"
            scene.insert(application, key)
            scene.put(key)
            told |= scene.told()
            application.commit()
            told |= scene.told()
            application.execute("DELETE FROM file_versions WHERE object_key = %s", [key])
            application.commit()
            scene.remove(key)
            changed += 1
    quiet(scene)
    return {"changed": changed, "falsely": len(told - before), "for_ever": len(scene.told() - before)}


MEASUREMENTS = {"rate": rate, "latency": latency, "outage": outage, "falsely": falsely}


def quiet(scene: Scene) -> None:
    """Wait until what is told has not changed for longer than a target waits before it tries again."""
    last, since = scene.told(), time.monotonic()
    while time.monotonic() < since + QUIET_S:
        time.sleep(0.2)
        if (now := scene.told()) != last:
            last, since = now, time.monotonic()


def until(true: Callable[[], bool], what: str) -> None:
    """Wait."""
    deadline = time.monotonic() + 120
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within two minutes")
        time.sleep(PAUSE_S)


def of_way(place: Demo, way: Way, sizes: Mapping[str, int]) -> dict[str, float]:
    """Put a way in force, and return what all the measurements of it came to."""
    found: dict[str, float] = {}
    with in_force(place, way) as scene:
        for name, measurement in MEASUREMENTS.items():
            figures = measurement(scene, sizes[name])
            print(
                f"  {way.name}, {name}: " + ", ".join(f"{key} {value:,.0f}" for key, value in figures.items()),
                flush=True,
            )
            found |= figures
    return found


def run(servers: Servers, uploads: int, deletions: int, rounds: int) -> None:
    """Measure each way in turn, and print the table."""
    sizes = {"rate": uploads, "latency": deletions, "outage": deletions, "falsely": 0}
    work = f"{uploads:,} uploads, {deletions} deletions a round"
    table = Table("rivals.notified", LABELS, about(servers, work, "minio-py"))
    with TemporaryDirectory() as directory:
        place = prepare(servers, Path(directory))
        create_mirrors(place)
        with_targets(place)
        for number in range(rounds):
            print(f"round {number + 1}")
            found = {way.name: of_way(place, way, sizes) for way in ways(place)}
            for name, figures in found.items():
                if name != "ours":
                    figures["uploads_ratio"] = found["ours"]["uploads_per_s"] / figures["uploads_per_s"]
                    figures["latency_ratio"] = figures["p50_ms"] / found["ours"]["p50_ms"]
                table.note_all(figures, name)
    table.show()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="MinIO's own target for PostgreSQL beside the consumer")
    parser.add_argument("--uploads", type=int, default=2_000)
    parser.add_argument("--deletions", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with stack(durable=True) as servers:
        run(servers, options.uploads, options.deletions, options.rounds)


if __name__ == "__main__":
    main()
