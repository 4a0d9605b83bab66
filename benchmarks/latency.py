"""From the S3 reply of a deletion to the committed suspected finding, by each lane; real MinIO, Kafka, PostgreSQL.

`make bench-latency`. The commit's time is PostgreSQL's own (track_commit_timestamp), the reply's is this process's
clock; all run on one machine. By the durable lane MinIO lets up to 3 s pass; ours is what comes after the record's
append.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Consumer as Driver
from confluent_kafka import TopicPartition

from benchmarks.figures import Table, about
from benchmarks.waiting import until
from deploy.local.application import Application
from deploy.local.demo import prepare
from deploy.local.stack import Servers, stack
from deploy.local.story import Demo

COMMITTED = """
SELECT f.key, extract(epoch FROM pg_xact_commit_timestamp(h.xmin)), h.evidence ->> 'partition', h.evidence ->> 'offset'
FROM reconciler.history AS h JOIN reconciler.finding AS f ON f.id = h.finding_id
WHERE h.act = 'suspected' AND f.kind = 'missing'
"""
GAP_S = 0.02
LABELS = {
    "express.p50_ms": "express lane, p50, ms (goal 30)",
    "express.p99_ms": "express lane, p99, ms (goal 250)",
    "durable.p50_ms": "durable lane, p50, ms (up to 3 000 are MinIO's)",
    "durable.ours_p50_ms": "durable lane, of it ours, p50, ms (goal 100)",
    "durable.ours_p99_ms": "durable lane, of it ours, p99, ms",
}


def deletions(application: Application, count: int) -> dict[str, float]:
    """Store files, delete them one by one, and return when each deletion was answered, in seconds since 1970."""
    versions = [application.store(f"{number}.bin", b"x" * 1000) for number in range(count)]
    time.sleep(4.0)  # the uploads' own events pass
    answered: dict[str, float] = {}
    for version in versions:
        application.client.remove_object(bucket_name=application.bucket, object_name=version.key)
        answered[version.key] = time.time()  # noqa: TID251 - compared with the database's clock on this machine
        time.sleep(GAP_S)
    return answered


def committed(connection: psycopg.Connection[Any], count: int) -> list[tuple[Any, ...]]:
    """Wait for the findings and return key, commit time, partition and offset of each."""

    def all_found() -> list[tuple[Any, ...]] | None:
        found = connection.execute(COMMITTED).fetchall()
        return found if len(found) >= count else None

    return until(all_found, f"{count} deletions are found")


def one_lane(servers: Servers, count: int, *, express: bool) -> tuple[list[float], list[float]]:
    """Return the milliseconds from reply to commit, and from the record's append to commit where there is one."""
    with tempfile.TemporaryDirectory() as directory:
        place = prepare(servers, Path(directory))
        place.start(RECONCILER_STREAM__EXPRESS="true" if express else "false")
        try:
            warmed_up(place)
            answered = deletions(place.application, count)
            found = committed(place.application.connection, count + 1)
        finally:
            place.stop()
        appended = appends(servers, [row for row in found if row[2] is not None])
    since_reply = [1000 * (float(at) - answered[key]) for key, at, *_ in found if key in answered]
    since_append = [1000 * float(at) - appended[key] for key, at, *_ in found if key in answered and key in appended]
    return since_reply, since_append


def warmed_up(place: Demo) -> None:
    """Let one deletion pass, so that the consumer is known to read."""
    version = place.application.store("first.bin", b"x")
    place.application.client.remove_object(bucket_name=place.application.bucket, object_name=version.key)
    committed(place.application.connection, 1)


def appends(servers: Servers, found: Sequence[tuple[Any, ...]]) -> dict[str, float]:
    """Return when each record was appended, in milliseconds since 1970, by the record's own timestamp."""
    driver = Driver(
        {"bootstrap.servers": servers.kafka.bootstrap, "group.id": str(uuid.uuid4()), "enable.auto.commit": False}
    )
    times: dict[str, float] = {}
    for key, _, partition, offset in found:
        driver.assign([TopicPartition(servers.kafka.topic, int(partition), int(offset))])
        message = driver.poll(10)
        if message is not None and message.error() is None:
            times[key] = message.timestamp()[1]
    driver.close()
    return times


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share lies."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def main() -> int:
    """Run each lane three times, in turn, and print the percentiles."""
    parser = argparse.ArgumentParser(description="from a deletion to the committed finding")
    parser.add_argument("--deletions", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with stack() as servers:
        table = Table("latency", LABELS, about(servers, f"{options.deletions} deletions a round"))
        for _ in range(options.rounds):
            express, _ours = one_lane(servers, options.deletions, express=True)
            durable, ours = one_lane(servers, options.deletions, express=False)
            for lane, took in (("express.", express), ("durable.", durable), ("durable.ours_", ours)):
                table.note_all({f"{lane}p50_ms": statistics.median(took), f"{lane}p99_ms": percentile(took, 0.99)})
    table.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
