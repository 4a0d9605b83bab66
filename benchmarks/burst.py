"""Measure a burst of removals in one partition beside fresh events in another: does the stream go on, and how fast.

`make bench-burst`. 100 000 removals of live keys (their objects are gone) are appended to partition 0; from then on
fresh uploads, healthy ones, are appended to partition 1; each is settled when the group's committed offset passes it.
The drain's rate is measured from the append to the last suspected finding, beside minio-py's stat_object by 8 threads
on the same server in the same run.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
import uuid

import psycopg
from confluent_kafka import Consumer as Driver
from confluent_kafka import KafkaException, TopicPartition

from benchmarks import filling, minio_py
from benchmarks.figures import Table, about
from benchmarks.serving import loop, until_sigterm
from benchmarks.stream import BUCKET, Place
from benchmarks.waiting import until
from deploy.local.kafka import create_topic
from deploy.local.stack import Servers, stack
from reconcile.database import migrate

ROWS = 300_000
FRESH_EVERY_S = 0.1
FRESH = 200
ASKED = 5_000
PATIENCE_S = 600.0
SUSPECTED = "SELECT count(*) FROM reconciler.finding"
LABELS = {
    "drain.ratio": "ratio of the drain to minio-py's bare HEADs (goal 0.8)",
    "fresh_max_s": "slowest fresh upload to be settled, s (goal 2)",
    "drain.rate": "drained, removals/s",
    "bare.rate": "bare HEADs by minio-py, 8 threads, a second",
}


def consume(place: Place, group: str) -> None:
    """Run the real loop until SIGTERM, as the service does, without the other threads."""
    with loop(place.settings(), {"group.id": group}) as (consumer, service):
        until_sigterm(consumer, service)


def fresh_delays(place: Place, group: str, first: int) -> list[float]:
    """Append healthy uploads one by one, and return how long each took to be settled and committed, in seconds."""
    watcher = Driver({"bootstrap.servers": place.bootstrap, "group.id": group, "enable.auto.commit": False})
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


def committed(watcher: Driver, place: TopicPartition) -> int:
    """Return the group's committed offset, -1 while there is none or the broker is still finding its coordinator."""
    try:
        return watcher.committed([place], timeout=10)[0].offset
    except KafkaException:
        return -1


def one(servers: Servers, removals: int) -> dict[str, float]:
    """Fill, burst, watch, and return what it came to."""
    minio = servers.minio
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    topic, group = f"bench-{uuid.uuid4().hex[:8]}", f"burst-{uuid.uuid4()}"
    create_topic(servers.kafka.bootstrap, topic, 2)
    create_topic(servers.kafka.bootstrap, f"{topic}.dead-letter", 1)
    place = Place(database, servers.kafka.bootstrap, minio.url, minio.user, minio.password, topic, removals)
    client = minio_py.client(minio.url, minio.user, minio.password)
    if not client.bucket_exists(bucket_name=BUCKET):
        client.make_bucket(bucket_name=BUCKET)
    with psycopg.connect(database, autocommit=True) as connection:
        filling.fill(connection, place.prefix, ROWS)
        migrate(connection)
        gone = [filling.key_of(place.prefix, number) for number in range(ASKED)]
        bare = minio_py.heads_a_second(client, BUCKET, gone)
        command = [sys.executable, "-m", "benchmarks.burst", "--consume", json.dumps(place.__dict__), "--group", group]
        consumer = subprocess.Popen(command)
        try:
            keys = (filling.key_of(place.prefix, number) for number in range(removals))
            removed = "s3:ObjectRemoved:Delete"
            filling.produce(
                place.bootstrap, topic, ((0, f"{BUCKET}/{k}", filling.event(BUCKET, k, None, removed)) for k in keys)
            )
            began = time.perf_counter()
            delays = fresh_delays(place, group, removals)
            until(lambda: connection.execute(SUSPECTED).fetchall() == [(removals,)], "the burst is drained", PATIENCE_S)
            rate = removals / (time.perf_counter() - began)
        finally:
            consumer.send_signal(signal.SIGTERM)
            consumer.wait(30)
    print(f"  bare HEADs by minio-py, {minio_py.THREADS} threads: {bare:,.0f}/s; drained at {rate:,.0f}/s")
    return {"drain.ratio": rate / bare, "fresh_max_s": max(delays), "drain.rate": rate, "bare.rate": bare}


def main() -> None:
    """Run the benchmark, or its consumer."""
    parser = argparse.ArgumentParser(description="a burst of removals beside fresh events")
    parser.add_argument("--consume")
    parser.add_argument("--group", default="")
    parser.add_argument("--removals", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.consume:
        consume(Place(**json.loads(options.consume)), options.group)
        return
    with stack() as servers:
        table = Table("burst", LABELS, about(servers, f"{ROWS:,} rows, {options.removals:,} removals"))
        for _ in range(options.rounds):
            table.note_all(one(servers, options.removals))
    table.show()


if __name__ == "__main__":
    main()
