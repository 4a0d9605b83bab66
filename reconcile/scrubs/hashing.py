"""Reads objects through SHA-256: several at once, at a bounded rate of bytes. Must not know rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from hashlib import sha256
from threading import Event, Lock
from time import monotonic
from typing import NamedTuple

from reconcile.model import Absent, Hashed, NotAsked, ObjectRef, Unavailable, Unknown
from reconcile.store.heads import NO_NAME
from reconcile.store.storing import Arriving, Storing

READERS = 4  # objects that are read at the same time
TRIES, TRY_AGAIN_S = 3, 0.5
BEAT_S = 2.0  # how often whoever waits for an object says that it lives
LEAST_CHUNK, MOST_CHUNK = 2**12, 2**18
CHUNKS_A_SECOND = 32
CREDIT_S = 0.25  # what was not read in time may be caught up with


class Nothing(NamedTuple):
    """There was nothing to be read; a look will prove that, or not."""

    reason: str


Content = Hashed | Nothing | Unknown


class Reading(NamedTuple):
    """What was read of one object, and how many bytes that were."""

    ref: ObjectRef
    content: Content
    size_bytes: int = 0


class Ended(Exception):
    """Nobody waits for this any more."""


class Pace:
    """Says how long to wait so that no more bytes pass than the rate; shared by threads."""

    def __init__(self, rate_bytes_s: float, clock: Callable[[], float] = monotonic) -> None:
        self.rate_bytes_s = rate_bytes_s
        self.passed_bytes = 0
        self._clock = clock
        self._paid_until = clock()
        self._lock = Lock()

    def after(self, count: int) -> float:
        """Return the seconds to wait after so many bytes."""
        with self._lock:
            now = self._clock()
            self.passed_bytes += count
            self._paid_until = max(self._paid_until, now - CREDIT_S) + count / self.rate_bytes_s
            return max(self._paid_until - now, 0.0)


class Hashing:
    """Reads over a few connections of one MinIO, for one caller."""

    def __init__(self, store: Storing, pace: Pace) -> None:
        self.pace = pace
        self._store = store
        self._chunk = int(min(max(pace.rate_bytes_s / CHUNKS_A_SECOND, LEAST_CHUNK), MOST_CHUNK))
        self._ended = Event()

    def readings(self, refs: Iterable[ObjectRef], alive: Callable[[], object]) -> Iterator[Reading]:
        """Yield what is read of each, in their order; `alive` is called now and then, however long one takes."""
        waiting: deque[Future[Reading]] = deque()
        self._ended.clear()
        with ThreadPoolExecutor(READERS, "reading") as pool:
            try:
                for ref in refs:
                    waiting.append(pool.submit(self.read, ref))
                    if len(waiting) > READERS:
                        yield _awaited(waiting.popleft(), alive)
                while waiting:
                    yield _awaited(waiting.popleft(), alive)
            finally:
                self._ended.set()

    def read(self, ref: ObjectRef) -> Reading:
        """Read one object to its end; what fails is tried again."""
        why = ""
        for attempt in range(TRIES):
            if attempt:
                self._wait(TRY_AGAIN_S * attempt)
            match self._store.read(ref):
                case Arriving() as arriving:
                    with closing(arriving), suppress(Unavailable):
                        return self._hashed(arriving)
                    why = "it broke off"
                case Absent(code):
                    return Reading(ref, Nothing(code))
                case Unknown() as unknown if unknown == NO_NAME:
                    return Reading(ref, NO_NAME)
                case Unknown(reason):
                    why = reason
                case NotAsked():
                    why = "not asked"
        return Reading(ref, Unknown(why))

    def _hashed(self, arriving: Arriving) -> Reading:
        digest, size_bytes, seen = sha256(), 0, arriving.seen
        while chunk := arriving.read(self._chunk):
            digest.update(chunk)
            size_bytes += len(chunk)
            self._wait(self.pace.after(len(chunk)))
        if size_bytes != seen.size:
            return Reading(arriving.ref, Unknown(f"{size_bytes:,} bytes came of {seen.size:,}"), size_bytes)
        content = Hashed(digest.hexdigest(), seen.etag, seen.s3_version, seen.last_modified)
        return Reading(arriving.ref, content, size_bytes)

    def _wait(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            raise Ended


def _awaited(future: Future[Reading], alive: Callable[[], object]) -> Reading:
    while not wait([future], BEAT_S).done:
        alive()
    return future.result()
