"""Measures MinIO's clock by the Date header of an answer: against ours for the loop, against PostgreSQL's for all.

Graces are the database's time and events are MinIO's, so the difference of the two is what a latency between them has
to be corrected by; one process measures it, and keeps it in its lease, where `status` finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

import msgspec

from consumer.duties.clock import Ahead, narrowed, told
from consumer.duties.duty import Duty, Turn
from reconcile import inquiry
from reconcile.model import Unavailable
from reconcile.store.objects import Objects

INTERVAL_S = 10.0
NAME = "clock"


@dataclass
class ServerClock:
    """How far MinIO's clock is ahead of our monotonic one; each call asks once, and knows it better."""

    objects: Objects
    bucket: str
    tell: Callable[[float, float], object] = lambda _, __: None
    ahead: Ahead | None = None

    def __call__(self) -> float | None:
        """Return the seconds to be added to our clock for MinIO's since 1970; None if it does not answer now."""
        sent = monotonic()
        try:
            date = self.objects.date(self.bucket)
        except Unavailable:
            return None
        self.ahead = narrowed(self.ahead, told(date, sent, monotonic()))
        self.tell(self.ahead.seconds - wall_ahead(), self.ahead.within)
        return self.ahead.seconds


def wall_ahead() -> float:
    """Return how far this machine's clock, in seconds since 1970, is ahead of its monotonic one."""
    return datetime.now(UTC).timestamp() - monotonic()  # noqa: TID251 - the shell is where the time comes in


def duty(objects: Objects, bucket: str) -> Duty:
    """Return the duty that measures MinIO's clock against PostgreSQL's."""
    return Duty(NAME, INTERVAL_S, lambda turn: measure(turn, objects, bucket))


def measure(turn: Turn, objects: Objects, bucket: str) -> Ahead:
    """Ask PostgreSQL, MinIO, PostgreSQL; keep what that and the earlier ones allow."""
    with turn.world.database.use() as connection:
        sent = inquiry.clock_s(connection)
        date = objects.date(bucket)
        got = inquiry.clock_s(connection)
    found = narrowed(read(turn.checkpoint), told(date, sent, got))
    turn.keep(msgspec.json.encode(found).decode())
    return found


def read(kept: str | None) -> Ahead | None:
    """Read what is kept of the difference."""
    try:
        return msgspec.json.decode(kept, type=Ahead) if kept else None
    except msgspec.DecodeError:
        return None
