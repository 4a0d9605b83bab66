"""MinIO's own target for PostgreSQL with an anti-join, beside the consumer: the strongest simple alternative.

`make bench-rivals`. The target writes each event into a table that mirrors the bucket (format `namespace`): with a
queue on disk, and without one, as it comes. On one MinIO, in turn, each with the bucket's rule for itself: uploads as
fast as eight threads can, how long until they are known, and what they cost; deletions, from the reply to what a query
can tell; how many of the deletions that happen while PostgreSQL is down are told afterwards; what is told falsely
beside an application that uploads, replaces and deletes in the recommended order, by a query after each of its steps,
without and with a cut-off of a minute, and what of that stays.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import psycopg

from benchmarks.figures import Table, about
from benchmarks.latency import percentile
from benchmarks.machine import cpu_s_of
from benchmarks.used import memory_mb
from benchmarks.waiting import until
from benchmarks.ways import PAUSE_S, Scene, Way, create_mirrors, in_force, ways, with_targets
from deploy.local.demo import prepare
from deploy.local.stack import Servers, stack
from deploy.local.story import Demo

GAP_S = 0.05
QUIET_S = 6.0  # a target tries again every three seconds
CHURN_S = 10.0
OLD = 500
SET_STATUS = "UPDATE file_versions SET status = %s WHERE object_key = %s"
DELETE = "DELETE FROM file_versions WHERE object_key = %s"
LABELS = {
    "uploads_ratio": "ours to it, uploads a second",
    "latency_ratio": "it to ours, p50 from a deletion until it is known",
    "uploads_per_s": "uploads a second that the application makes beside it",
    "known_per_s": "the same until all of them are known",
    "slowest_upload_ms": "slowest reply to one of them, ms",
    "minio_s": "CPU of MinIO, s a thousand uploads",
    "database_s": "CPU of PostgreSQL, the same",
    "stream_s": "CPU of Kafka and the consumer, the same",
    "minio_mb": "memory of MinIO afterwards, MB",
    "p50_ms": "from the deletion until it is known, p50, ms",
    "p99_ms": "the same, p99, ms",
    "query_ms": "the query that tells all, ms",
    "deleted": "deletions while PostgreSQL was down",
    "told": "of these told afterwards",
    "slowest_reply_ms": "slowest reply to one of them, ms",
    "young": "new keys, uploaded and deleted in the recommended order",
    "young_told": "of these told falsely, share",
    "young_told_aged": "the same with a cut-off of a minute",
    "old": "keys older than that, replaced and deleted in the recommended order",
    "old_told": "of these told falsely, share",
    "old_told_aged": "the same with a cut-off of a minute",
    "for_ever": "of all these told for ever",
}


def rate(scene: Scene, uploads: int) -> dict[str, float]:
    """Upload, and return how many a second were taken, how many a second were known in the end, and what it cost."""
    keys = scene.rows(uploads, f"{uuid4().hex[:8]}/")
    read, spent, began = scene.committed(), spent_by(scene), time.perf_counter()
    replies = scene.put_all(keys)
    taken = time.perf_counter() - began
    until(lambda: scene.knows(keys, read), "the uploads are known")
    known = time.perf_counter() - began
    costs = {name: (after - spent[name]) / uploads * 1000 for name, after in spent_by(scene).items()}
    figures = {"uploads_per_s": uploads / taken, "known_per_s": uploads / known, **costs}
    memory = memory_mb(scene.place.servers.minio.control.pid, "VmRSS")
    return figures | {"slowest_upload_ms": 1000 * max(replies), "minio_mb": memory}


def spent_by(scene: Scene) -> dict[str, float]:
    """Return the seconds of CPU that each of the way's programs has used so far."""
    return {f"{name}_s": sum(map(cpu_s_of, processes)) for name, processes in scene.processes().items()}


def latency(scene: Scene, deletions: int) -> dict[str, float]:
    """Delete one by one, and return the milliseconds from the reply to what a query can tell, and the query's own."""
    keys = scene.upload(deletions, f"{uuid4().hex[:8]}/")
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
    until(note, "the deletions are known", pause_s=PAUSE_S)
    took = [1000 * (known[key] - answered[key]) for key in keys]
    began = time.perf_counter()
    scene.told()
    join_ms = 1000 * (time.perf_counter() - began)
    return {"p50_ms": statistics.median(took), "p99_ms": percentile(took, 0.99), "query_ms": join_ms}


def outage(scene: Scene, deletions: int) -> dict[str, float]:
    """Delete while PostgreSQL is down; return how many of the deletions are told once all is quiet again."""
    keys = scene.upload(deletions, f"{uuid4().hex[:8]}/")
    server = scene.place.servers.postgres.control
    server.stop()
    scene.connection.close()
    replies = [scene.remove(key) for key in keys]
    server.start()
    scene.connection = psycopg.connect(scene.database, autocommit=True)
    quiet(scene)
    return {"deleted": deletions, "told": len(scene.told().keys() & set(keys)), "slowest_reply_ms": 1000 * max(replies)}


def falsely(scene: Scene, number: int) -> dict[str, float]:
    """Change keys in the recommended order; return the shares that were told falsely, and what stays for ever.

    New keys are changed by turns with so many that are older than the cut-off, until these are used up or time is.
    """
    aged = scene.upload(number, f"{uuid4().hex[:8]}/")
    scene.age(aged)
    before = scene.told()
    told: dict[str, bool] = {}
    young, old = [], []
    deadline = time.monotonic() + CHURN_S
    with psycopg.connect(scene.database) as application:
        for key in aged:
            if time.monotonic() > deadline:
                break
            young.append(uuid4().hex)
            old.append(key)
            for steps in (uploaded_and_deleted(scene, application, young[-1]), replaced(scene, application, key)):
                for _ in steps:
                    for one, is_aged in scene.told().items():
                        told[one] = told.get(one, False) or is_aged
    quiet(scene)
    shares: dict[str, float] = {"for_ever": len(scene.told().keys() - before.keys())}
    for name, keys in (("young", young), ("old", old)):
        false = [told[key] for key in keys if key in told and key not in before]
        shares |= {f"{name}_told": len(false) / len(keys), f"{name}_told_aged": sum(false) / len(keys)}
    return {"young": len(young), "old": len(old), **shares}


def uploaded_and_deleted(scene: Scene, application: psycopg.Connection[Any], key: str) -> Iterator[None]:
    """Insert a row, store its object, and commit; delete the row, commit, and remove the object."""
    scene.insert(application, key)
    yield
    scene.put(key)
    yield
    application.commit()
    yield
    yield from deleted(scene, application, key)


def replaced(scene: Scene, application: psycopg.Connection[Any], key: str) -> Iterator[None]:
    """Store another object between two committed states of its row, and delete both as ever."""
    application.execute(SET_STATUS, ["pending", key])
    application.commit()
    yield
    scene.put(key)
    yield
    application.execute(SET_STATUS, ["active", key])
    application.commit()
    yield
    yield from deleted(scene, application, key)


def deleted(scene: Scene, application: psycopg.Connection[Any], key: str) -> Iterator[None]:
    """Delete a row, commit, and remove its object."""
    application.execute(DELETE, [key])
    application.commit()
    yield
    scene.remove(key)
    yield


MEASUREMENTS = {"rate": rate, "latency": latency, "outage": outage, "falsely": falsely}


def quiet(scene: Scene) -> None:
    """Wait until what is told has not changed for longer than a target waits before it tries again."""
    last, since = scene.told().keys(), time.monotonic()
    while time.monotonic() < since + QUIET_S:
        time.sleep(0.2)
        if (now := scene.told().keys()) != last:
            last, since = now, time.monotonic()


def of_way(place: Demo, way: Way, sizes: Mapping[str, int]) -> dict[str, float]:
    """Put a way in force, and return what all the measurements of it came to."""
    found: dict[str, float] = {}
    with in_force(place, way) as scene:
        for name, measurement in MEASUREMENTS.items():
            figures = measurement(scene, sizes[name])
            print(
                f"  {way.name}, {name}: " + ", ".join(f"{key} {value:,.2f}" for key, value in figures.items()),
                flush=True,
            )
            found |= figures
    return found


def run(servers: Servers, uploads: int, deletions: int, rounds: int) -> None:
    """Measure each way in turn, and print the table."""
    sizes = {"rate": uploads, "latency": deletions, "outage": deletions, "falsely": OLD}
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
