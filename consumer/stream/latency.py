"""How long events took: from the event's time, by MinIO's clock, to the reading, and to the commit of its offset. Pure.

A few events of each chunk stand for all of it, each for as many as it was chosen from, so that a burst weighs what it
is and costs little. What cannot be measured, since MinIO's clock is not known or the event tells no time, is counted as
that and not guessed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Partition = tuple[str, int]  # topic and partition
READ, COMMITTED = "read", "committed"
Observe = Callable[[str, str, float | None, int], object]  # stage, kind, seconds (None: unmeasured), how many events
WAITING_MOST = 20_000  # samples of one partition; the oldest are let go where commits stand still


class Sample(NamedTuple):
    """One event that stands for `weight`; `happened` is by MinIO's clock, None where it does not say."""

    place: Partition
    offset: int
    kind: str
    happened: float | None
    weight: int


def unheard(_: str, __: str, ___: float | None, ____: int) -> None:
    """Hear nothing."""


@dataclass(slots=True)
class Latency:
    """Samples that wait for the commit of their offset; `observe` is told each measure. One thread owns it."""

    observe: Observe = unheard
    _waiting: dict[Partition, deque[Sample]] = field(default_factory=dict)

    def read(self, samples: Iterable[Sample], server_now: float | None) -> None:
        """Measure what was read at this time by MinIO's clock (None: not known), and wait for its commit."""
        for one in samples:
            self._tell(READ, one, server_now)
            waiting = self._waiting.get(one.place)
            if waiting is None:
                waiting = self._waiting[one.place] = deque(maxlen=WAITING_MOST)
            waiting.append(one)

    def committed(self, offsets: Mapping[Partition, int], server_now: float | None) -> None:
        """Measure what lies below these next offsets, which are committed now."""
        for place, next_offset in offsets.items():
            waiting = self._waiting.get(place)
            while waiting and waiting[0].offset < next_offset:
                self._tell(COMMITTED, waiting.popleft(), server_now)

    def forget(self, places: Iterable[Partition]) -> None:
        """Drop what is not ours any more, or is read again."""
        for place in places:
            self._waiting.pop(place, None)

    def clear(self) -> None:
        """Drop everything: what was not committed is read again, and measured then."""
        self._waiting.clear()

    def _tell(self, stage: str, one: Sample, server_now: float | None) -> None:
        known = server_now is not None and one.happened is not None
        self.observe(stage, one.kind, server_now - one.happened if known else None, one.weight)  # type: ignore[operator]  # both are there


def stride(length: int, most: int) -> int:
    """Return n, where choosing every n-th of `length` things chooses at most `most` of them."""
    return max(-(-length // most), 1)
