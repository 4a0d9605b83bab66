"""The consumers that one would write instead, as plainly and as well as one would."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import psycopg
from confluent_kafka import Consumer as Driver
from confluent_kafka import Message
from minio.error import S3Error

from benchmarks import minio_py, sweep
from benchmarks.committing import committing
from benchmarks.stream import Place
from consumer.kafka.settings import CONSUMER_DEFAULTS
from consumer.service import settle_memory
from consumer.stream.events import decode_minio

BATCH = 500
PATIENCE_S = 0.25
LIVE = "SELECT object_key FROM file_versions WHERE object_key = ANY (%s) AND status = 'active'"
FLAG = "UPDATE file_versions SET status = 'corrupted' WHERE object_key = ANY (%s) AND status = 'active'"
ORPHAN = "INSERT INTO rival_orphan SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"


class Told(NamedTuple):
    """What an event says."""

    key: str
    created: bool


class Sides:
    """Both sides as a script reaches them: a connection, and MinIO's client with a pool of its own."""

    def __init__(self, place: Place) -> None:
        self.database = psycopg.connect(place.database)
        self.minio = minio_py.client(place.endpoint, place.user, place.password)
        self.threads = ThreadPoolExecutor(minio_py.THREADS)

    def is_there(self, key: str) -> bool:
        """Ask MinIO for one object."""
        try:
            self.minio.stat_object(bucket_name=sweep.BUCKET, object_name=key)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return False
            raise
        return True

    def settle(self, keys: Sequence[str], asking: Sequence[str]) -> None:
        """Read the rows of all keys, ask MinIO for some of them, and write what does not agree."""
        cursor = self.database.execute(LIVE, [list(keys)])
        live = {key for (key,) in cursor.fetchall()}
        doubtful = sorted({*asking, *(set(keys) - live)})
        there = dict(zip(doubtful, self.threads.map(self.is_there, doubtful), strict=True))
        if missing := [key for key in doubtful if key in live and not there[key]]:
            self.database.execute(FLAG, [missing])
        if orphans := [key for key in doubtful if key not in live and there[key]]:
            self.database.execute(ORPHAN, [orphans])
        self.database.commit()


def told(messages: Sequence[Message]) -> list[Told]:
    """Decode records."""
    values = [value for message in messages if isinstance(value := message.value(), bytes)]
    return [
        Told(event.s3.object.key, event.event_name.startswith("s3:ObjectCreated"))
        for value in values
        for event in decode_minio(value)
    ]


def rival(place: Place, most: int, settle: Callable[[Sides, list[Told]], None]) -> dict[str, float]:
    """Read so many records at once, settle them, commit, and read on; with our driver's settings, and our memory's."""
    settle_memory()
    group = {"group.id": f"rival-{uuid.uuid4()}", "enable.auto.commit": False}
    driver = Driver({**CONSUMER_DEFAULTS, "bootstrap.servers": place.bootstrap, **group})
    sides = Sides(place)
    seen, began = 0, 0.0
    with following(place) as note:
        driver.subscribe([place.topic])  # last: nothing is read ahead before the clock starts
        while seen < place.events:
            if messages := read(driver, most):
                began = began or time.perf_counter()
                note(messages)
                settle(sides, told(messages))
                driver.commit(asynchronous=False)
                seen += len(messages)
        took = time.perf_counter() - began
    driver.close()
    return {"rate": seen / took}


def read(driver: Driver, most: int) -> list[Message]:
    """Wait for a record, and return it with what is there already: to wait for more would only take time."""
    first = driver.poll(PATIENCE_S)
    if first is None:
        return []
    return [first, *(driver.consume(most - 1, 0) if most > 1 else [])]


@contextmanager
def following(place: Place) -> Iterator[Callable[[Sequence[Message]], None]]:
    """Let rows follow their events where they lie prepared; yields what is told of records that were read."""
    if not place.prefix:
        yield lambda _: None
        return
    with committing(place.database, place.prefix) as note:

        def note_all(messages: Sequence[Message]) -> None:
            for message in messages:
                note(message.partition() or 0, (message.offset() or 0) + 1)

        yield note_all


def by_event(place: Place) -> dict[str, float]:
    """One SELECT, one HEAD and one commit an event."""

    def settle(sides: Sides, events: list[Told]) -> None:
        for event in events:
            sides.settle([event.key], [event.key])

    return rival(place, 1, settle)


def by_batch(place: Place) -> dict[str, float]:
    """One SELECT and one commit for 500 events, and a HEAD where the event is a removal, or no live row is there."""

    def settle(sides: Sides, events: list[Told]) -> None:
        sides.settle([event.key for event in events], [event.key for event in events if not event.created])

    return rival(place, BATCH, settle)
