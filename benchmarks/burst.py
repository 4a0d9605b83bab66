"""Measure a burst of removals in one partition beside fresh events in another: does the stream go on, and how fast.

`make bench-burst`. 100 000 removals of live keys (their objects are gone) are appended to partition 0; then the
consumer starts, and once it has its share fresh uploads, healthy ones, are appended to partition 1; each is settled
when the group's committed offset passes it. The drain's rate is measured from that moment to the commit of the last
suspected finding, by the database's clock, beside bare HEADs of such objects by the same transport, and minio-py's
stat_object by 8 threads, on the same server in the same run.
"""

from __future__ import annotations

import argparse
import time
import uuid

import psycopg
from confluent_kafka import TopicPartition

from benchmarks import bare_heads, filling, minio_py
from benchmarks.figures import Table, about
from benchmarks.members import committed, members, watching
from benchmarks.stream import BUCKET, Place
from benchmarks.waiting import until
from deploy.local.kafka import create_topic
from deploy.local.stack import Servers, stack
from reconcile.database import migrate

ROWS = 300_000
FRESH_EVERY_S = 0.1
FRESH = 200
ASKED = 5_000
PATIENCE_S, PAUSE_S = 600.0, 0.5
REMOVED = "s3:ObjectRemoved:Delete"
NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
SUSPECTED = """
SELECT count(*), extract(epoch FROM max(pg_xact_commit_timestamp(xmin)))::float8
FROM reconciler.history WHERE act = 'suspected'
"""
LABELS = {
    "drain.ratio": "ratio of the drain to bare HEADs by our own transport (goal 0.8)",
    "drain.ratio_to_minio_py": "ratio of the drain to bare HEADs by minio-py, 8 threads",
    "fresh_max_s": "slowest fresh upload to be settled, s (goal 2)",
    "drain.rate": "drained, removals/s",
    "bare.rate": "bare HEADs by our own transport, a second",
    "minio_py.rate": "bare HEADs by minio-py, 8 threads, a second",
}


def fresh_delays(place: Place, group: str, first: int) -> list[float]:
    """Append healthy uploads one by one, and return how long each took to be settled and committed, in seconds."""
    watcher = watching(place, group)
    appended: dict[int, float] = {}
    delays: list[float] = []
    sent = 0
    deadline = time.monotonic() + FRESH * FRESH_EVERY_S + 60
    next_at = time.monotonic()
    while len(delays) < FRESH and time.monotonic() < deadline:
        if sent < FRESH and time.monotonic() >= next_at:
            key = filling.key_of(place.prefix, first + sent)
            value = filling.event(BUCKET, key, filling.size_of(first + sent))
            filling.produce(place.bootstrap, place.topic, [(1, f"{BUCKET}/{key}", value)])
            appended[sent] = time.monotonic()
            sent, next_at = sent + 1, next_at + FRESH_EVERY_S
        passed = committed(watcher, TopicPartition(place.topic, 1))
        now = time.monotonic()
        delays += [now - appended.pop(offset) for offset in [one for one in appended if one < passed]]
        time.sleep(0.02)
    watcher.close()
    if len(delays) < FRESH:
        raise RuntimeError(f"{len(delays)} of {FRESH} fresh events were settled")
    return delays


def one(servers: Servers, removals: int) -> dict[str, float]:
    """Fill, burst, watch, and return what it came to."""
    place = filled(servers, removals)
    gone = [filling.key_of(place.prefix, number) for number in range(ASKED)]
    bare = bare_heads.heads_a_second(place.settings(), BUCKET, gone)
    client = minio_py.client(place.endpoint, place.user, place.password)
    by_minio_py = minio_py.heads_a_second(client, BUCKET, gone)
    group = f"burst-{uuid.uuid4()}"
    with psycopg.connect(place.database, autocommit=True) as connection, members(place, group, 1, 2):
        [(began,)] = connection.execute(NOW).fetchall()
        delays = fresh_delays(place, group, removals)

        def drained() -> float | None:
            [(number, last)] = connection.execute(SUSPECTED).fetchall()
            return float(last) if number == removals else None

        rate = removals / (until(drained, "the burst is drained", PATIENCE_S, PAUSE_S) - began)
    print(f"  drained at {rate:,.0f}/s; bare HEADs {bare:,.0f}/s, by minio-py {by_minio_py:,.0f}/s", flush=True)
    rates = {"drain.rate": rate, "bare.rate": bare, "minio_py.rate": by_minio_py, "fresh_max_s": max(delays)}
    return rates | {"drain.ratio": rate / bare, "drain.ratio_to_minio_py": rate / by_minio_py}


def filled(servers: Servers, removals: int) -> Place:
    """Make rows whose objects are gone, and append the removals."""
    minio = servers.minio
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    create_topic(servers.kafka.bootstrap, topic, 2)
    create_topic(servers.kafka.bootstrap, f"{topic}.dead-letter", 1)
    place = Place(database, servers.kafka.bootstrap, minio.url, minio.user, minio.password, topic, removals)
    client = minio_py.client(minio.url, minio.user, minio.password)
    if not client.bucket_exists(bucket_name=BUCKET):
        client.make_bucket(bucket_name=BUCKET)
    with psycopg.connect(database, autocommit=True) as connection:
        filling.fill(connection, place.prefix, max(ROWS, removals + FRESH))
        migrate(connection)
    keys = (filling.key_of(place.prefix, number) for number in range(removals))
    gone = ((0, f"{BUCKET}/{key}", filling.event(BUCKET, key, None, REMOVED)) for key in keys)
    filling.produce(place.bootstrap, topic, gone)
    return place


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="a burst of removals beside fresh events")
    parser.add_argument("--removals", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with stack() as servers:
        work = f"{ROWS:,} rows, {options.removals:,} removals"
        table = Table("burst", LABELS, about(servers, work, "confluent-kafka", "minio-py"))
        for _ in range(options.rounds):
            table.note_all(one(servers, options.removals))
            table.show()


if __name__ == "__main__":
    main()
