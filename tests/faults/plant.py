"""A plant at work: an application's rows and objects, a stream of events, consumers that are kept running.

An item of the stream is a number: `what` tells what it is, `key` of which object. All that is to be found follows from
the rows and the objects as they are (outside.py), not from here.
"""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

import confluent_kafka as ck
import psycopg

from deploy.local.control import Native
from deploy.local.stack import Servers
from tests.faults.crew import Crew
from tests.support import consuming
from tests.support.consuming import SIZE, Site, event
from tests.support.proxy import Proxy

PARTITIONS = 4
HEALTHY = 2_000  # objects that most events are of
EVERY = 25  # event is of something that matters
WHATS = ("missing", "orphan", "mismatch", "nothing", "late", "poison", "returned")
BACKLOG = 4_000  # events that wait to be committed, while the stream is slowed down for that
MOST_QUEUED = 20_000
AHEAD_S = -3600.0  # ago: of every second event, so that it is held, however late it is read
PACE_S = 0.05
INSERT = """
INSERT INTO file_versions (version_number, object_key, size, created_at)
SELECT 1, one.key, one.size, '2025-09-07' FROM unnest(%s::text[], %s::bigint[]) AS one (key, size)
ON CONFLICT (object_key) DO NOTHING
"""
ASKED = "CREATE INDEX ON reconciler.history (subject)"  # by the watcher alone, ten times a second
ENVIRON = {
    "RECONCILER_POLICY__MISSING_GRACE": "300ms",
    "RECONCILER_POLICY__ORPHAN_GRACE": "300ms",
    "RECONCILER_POLICY__LOOK_AGAIN": "1s",
    "RECONCILER_POLICY__LOOK_AGAIN_MOST": "10m",
    "RECONCILER_FLAGGING": "true",
    "RECONCILER_BRAKE__FLOOR": "1000000",
    "RECONCILER_BRAKE__MOST": "1000000",
    "RECONCILER_BRAKE__BUCKET_FLOOR": "1000000",
}


def what(number: int) -> str:
    """Return what an item of the stream is; a returned object's second event follows its first."""
    if number % EVERY == EVERY - 1:
        return WHATS[number // EVERY % len(WHATS)]
    back = number - EVERY // 2
    return "back" if back >= 0 and back % EVERY == EVERY - 1 and what(back) == "returned" else "healthy"


def key(number: int) -> str:
    """Return the key of an item's object."""
    kind = what(number)
    if kind == "healthy":
        return f"healthy/{number % HEALTHY}"
    return f"returned/{number - EVERY // 2}" if kind == "back" else f"{kind}/{number}"


@dataclass
class Objects:
    """The bucket's objects, written beside MinIO where its disk is ours: that needs no server that is up."""

    site: Site
    directory: Path | None
    content: bytes = b""

    @classmethod
    def of(cls, site: Site, servers: Servers) -> Objects:
        """Return the objects of a site, the first of which is put as any other."""
        control = servers.minio.control
        site.put("pattern")
        if not isinstance(control, Native):
            return cls(site, None)
        directory = control.launch.directory / "data" / site.bucket
        return cls(site, directory, (directory / "pattern" / "xl.meta").read_bytes())

    def place(self, key: str) -> None:
        """Have an object there."""
        if self.directory is None:
            self.site.put(key)
            return
        (self.directory / key).mkdir(parents=True, exist_ok=True)
        (self.directory / key / "xl.meta").write_bytes(self.content)

    def forget_pattern(self) -> None:
        """Remove what the others were copied from."""
        if self.directory is not None:
            shutil.rmtree(self.directory / "pattern")
        else:
            self.site.remove("pattern")


@dataclass
class Plant:
    """All of it. `placed` tells of (partition, offset) which item lies there, `sent` how many were begun.

    `proxies` are by server; `chunk` is how many events are written at once, twenty times a second at most.
    """

    servers: Servers
    site: Site
    objects: Objects
    crew: Crew
    proxies: Mapping[str, Proxy]
    chance: random.Random
    limit: int
    chunk: int
    placed: dict[tuple[int, int], int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(PARTITIONS), 0))
    sent: int = 0
    committed: dict[int, int] = field(default_factory=dict)
    hurrying: threading.Event = field(default_factory=threading.Event)
    stopping: threading.Event = field(default_factory=threading.Event)
    late: SimpleQueue[str] = field(default_factory=SimpleQueue)

    def prepare(self) -> None:
        """Write all rows and objects but those that come late or return."""
        rows: dict[str, int] = {f"healthy/{number}": SIZE for number in range(HEALTHY)}
        there = list(rows)
        for number in range(self.limit):
            kind = what(number)
            if kind in ("missing", "returned", "mismatch"):
                rows[key(number)] = SIZE + (kind == "mismatch")
            if kind in ("orphan", "mismatch", "late"):
                there.append(key(number))
        self.site.sql(INSERT, list(rows), list(rows.values()))
        self.site.sql("ANALYZE file_versions")
        self.site.sql(ASKED)
        for one in there:
            self.objects.place(one)
        self.objects.forget_pattern()

    @property
    def in_flight(self) -> int:
        """Return how many events were written and are not committed, as far as was seen."""
        return self.sent - sum(self.committed.values())

    def reached(self, ends: Mapping[int, int]) -> bool:
        """Tell whether all below these offsets is committed."""
        return all(self.committed.get(partition, 0) >= offset for partition, offset in ends.items())

    def value(self, number: int) -> bytes:
        """Return an item's event."""
        kind, bucket = what(number), self.site.bucket
        if kind == "poison":
            return b"poison %d" % number
        if kind in ("missing", "nothing", "returned"):
            return event("s3:ObjectRemoved:Delete", bucket, key(number))
        return event("s3:ObjectCreated:Put", bucket, key(number), SIZE, AHEAD_S if number % 2 else 0)

    def feed(self) -> None:
        """Write the stream, not much faster than it is worked off, until it is at its end."""
        settings = {"bootstrap.servers": self.servers.kafka.bootstrap, "enable.idempotence": True, "log_level": 0}
        producer = ck.Producer({**settings, "message.timeout.ms": 300_000, "linger.ms": 5})
        while self.sent < self.limit and not self.stopping.is_set():
            producer.poll(0)
            if len(producer) > MOST_QUEUED or (self.in_flight > BACKLOG and not self.hurrying.is_set()):
                producer.poll(PACE_S)
                continue
            for number in range(self.sent, min(self.sent + self.chunk, self.limit)):
                self._send(producer, number)
            self.sent = min(self.sent + self.chunk, self.limit)
            if not self.hurrying.is_set():
                producer.poll(PACE_S)
                self.stopping.wait(PACE_S)
        producer.flush(5 if self.stopping.is_set() else 300)

    def end_at(self, limit: int) -> None:
        """Let the stream go to its end as fast as it can."""
        self.limit = limit
        self.hurrying.set()

    def _send(self, producer: ck.Producer, number: int) -> None:
        if what(number) == "back":
            self.objects.place(key(number))

        def delivered(fault: ck.KafkaError | None, message: ck.Message) -> None:
            assert fault is None, fault
            partition, offset = message.partition(), message.offset()
            self.placed[partition, offset] = number
            self.ends[partition] = max(self.ends[partition], offset + 1)
            if what(number) == "late":
                self.late.put(key(number))

        producer.produce(
            self.site.topic, self.value(number), b"a key", partition=number % PARTITIONS, on_delivery=delivered
        )

    def commit_late(self) -> None:
        """Commit rows after their events, as an application does, however often the database must be tried."""
        while not self.stopping.is_set():
            waiting = [self.late.get() for _ in range(self.late.qsize())]
            while waiting and not self.stopping.is_set():
                try:
                    with psycopg.connect(self.site.database, connect_timeout=3) as connection:
                        connection.execute("SET default_transaction_read_only = off")
                        connection.execute(INSERT, [waiting, [SIZE] * len(waiting)])
                    waiting = []
                except psycopg.Error:
                    self.stopping.wait(PACE_S)
            self.stopping.wait(4 * PACE_S)

    @contextmanager
    def working(self, *beside: Callable[[], None]) -> Iterator[None]:
        """Have the stream written, late rows committed and consumers running; `beside` are other threads."""
        with ExitStack() as exits:
            exits.callback(self.crew.end)
            for work in (self.feed, self.commit_late, *beside):
                exits.enter_context(consuming.beside(work, self.stopping))
            exits.callback(self.stopping.set)
            self.crew.keep()
            yield
