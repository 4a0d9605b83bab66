"""The canary: an object that is put and deleted now and then, and how long each lane takes to tell of its deletion.

It lies below our own prefix, so that it is never a finding. One process sends it, under a lease; whoever reads its
event notes the arrival. A lane that misses several in a row is silent, and silence.py says why, likely.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

import msgspec
import structlog
from msgspec import Struct

from consumer.duties.duty import Duty, Turn, each
from reconcile.config.filters import OURS
from reconcile.config.settings import Canary as Wanted
from reconcile.config.settings import Settings
from reconcile.database import Connection, Database, queries, sql_file
from reconcile.model import Misconfigured, ObjectRef
from reconcile.store.storing import Storing

log = structlog.get_logger("canary")
SQL = queries(sql_file("canary.sql"))
PREFIX = f"{OURS}canary/"
DURABLE, EXPRESS = "durable", "express"
REMEMBERED = 20  # times of sending; what arrives later than so many is not timed
MEDIA_TYPE = "text/plain"
Cause = tuple[str, str]  # a word of metrics.CAUSES, and why in plain words


class Arrival(Struct, frozen=True):
    """The latest that a lane told of; `took_s` is None where none did yet."""

    number: int = 0
    at: float | None = None
    took_s: float | None = None


class Judged(Struct, frozen=True):
    """What became of it: of each silent lane the likely cause; why it could not be sent; what could not be removed."""

    silent: dict[str, Cause] = {}
    refused: str = ""
    left: tuple[str, str] | None = None  # key and S3 version


class Canary(Struct, frozen=True):
    """One bucket's, as it is kept."""

    number: int = 0
    sent: dict[str, float] = {}
    lanes: dict[str, Arrival] = {}
    judged: Judged = Judged()

    @property
    def sent_at(self) -> float:
        """When the latest was sent, in seconds since 1970."""
        return self.sent.get(str(self.number), 0.0)


def lanes(settings: Settings) -> Sequence[str]:
    """Return the lanes that the canary times; none where it is off."""
    if not settings.canary.interval:
        return ()
    return (DURABLE, EXPRESS) if settings.stream.express else (DURABLE,)


def kept(connection: Connection) -> Mapping[str, Canary]:
    """Return every bucket's canary."""
    return {bucket: msgspec.convert(tally, Canary) for bucket, tally in connection.execute(SQL["kept"]).fetchall()}


def arrived(database: Database, lane: str, refs: Iterable[ObjectRef]) -> None:
    """Note that a lane told of the deletion of canaries; raises Unavailable."""
    told: dict[str, set[int]] = {}
    for ref in refs:
        if number := _number(ref.key):
            told.setdefault(ref.bucket, set()).add(number)
    if told:
        with database.use() as connection:
            for bucket, numbers in told.items():
                connection.execute(SQL["arrived"], {"lane": lane, "bucket": bucket, "numbers": list(numbers)})


def _number(key: str) -> int:
    written = key.removeprefix(PREFIX)
    return int(written) if written.isascii() and written.isdecimal() and len(written) < len(str(1 << 63)) else 0


@dataclass
class Keeper:
    """Sends canaries into buckets, and judges the lanes; `causes` say why a bucket's lane is silent, likely."""

    storing: Storing
    wanted: Wanted
    buckets: Sequence[str]
    lanes: Sequence[str]
    cause: Callable[[str, str], Cause]
    _silent: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._in_turn = deque(self.buckets)

    def duty(self) -> Duty:
        """Return the duty."""
        return Duty("canary", self.wanted.interval.total_seconds(), self.turn)

    def turn(self, turn: Turn) -> None:
        """Judge what was sent before, and send another, for each bucket."""
        world = turn.world
        with world.database.use() as connection:
            for (bucket,) in connection.execute(SQL["forget"], {"buckets": list(self.buckets)}).fetchall():
                log.info("canary.forgotten", bucket=bucket, why="it is not among the configured buckets any more")
            before = kept(connection)

        def judge(bucket: str) -> None:
            one = before.get(bucket, Canary())
            judged = Judged(silent=self.silent(bucket, one), left=one.judged.left)
            judged = self.sent(world.database, world.actor, bucket, one, judged)
            given = {"bucket": bucket, "lanes": list(self.lanes), "owner": world.actor}
            with world.database.use() as connection:
                connection.execute(SQL["judge"], {**given, "judged": msgspec.json.encode(judged).decode()})
            self.tell(bucket, judged)

        if outage := each(self._in_turn, judge):
            raise outage

    def silent(self, bucket: str, one: Canary) -> dict[str, Cause]:
        """Return of each lane that told of none of the latest few why, likely."""
        missed = {lane: one.number - one.lanes[lane].number for lane in self.lanes if lane in one.lanes}
        return {lane: self.cause(bucket, lane) for lane, count in missed.items() if count >= self.wanted.misses}

    def sent(self, database: Database, owner: str, bucket: str, one: Canary, judged: Judged) -> Judged:
        """Put and delete another, once what could not be removed is gone; return that with what is in the way."""
        number = one.number + 1
        left = judged.left
        try:
            if left is not None:
                self.storing.remove(ObjectRef(bucket, *left))
            stored = self.storing.put(ObjectRef(bucket, f"{PREFIX}{number}"), BytesIO(b"canary"), 6, MEDIA_TYPE)
            left = (f"{PREFIX}{number}", stored.s3_version or "")
            given = {"bucket": bucket, "number": number, "owner": owner, "forgotten": str(number - REMEMBERED)}
            given |= {"left": msgspec.json.encode(left).decode()}
            with database.use() as connection:
                connection.execute(SQL["send"], given)
            self.storing.remove(ObjectRef(bucket, *left))
        except Misconfigured as refusal:
            return msgspec.structs.replace(judged, refused=str(refusal), left=left)
        return msgspec.structs.replace(judged, left=None)

    def tell(self, bucket: str, judged: Judged) -> None:
        """Log what changed."""
        for lane in self.lanes:
            cause, why = judged.silent.get(lane, ("", ""))
            if cause and cause != self._silent.get((bucket, lane)):
                log.error("canary.silent", bucket=bucket, lane=lane, cause=cause, why=why)
            if not cause and self._silent.get((bucket, lane)):
                log.info("canary.heard", bucket=bucket, lane=lane)
            self._silent[bucket, lane] = cause
        if judged.refused and judged.refused != self._silent.get((bucket, "refused")):
            log.error("canary.refused", bucket=bucket, why=judged.refused)
        self._silent[bucket, "refused"] = judged.refused
