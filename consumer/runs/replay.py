"""A range of a topic through the very same path as the stream: decode, glance, look. Nothing is committed to Kafka.

What settles at a glance costs a glance; every other reference is looked at once, however often it occurs. Over a Trial
that tells what would change, over the live World it is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

from consumer.runs.seen import Seen
from consumer.stream.events import Dialect, Record
from consumer.stream.loop import Reading, Stream
from consumer.stream.notification import Event
from reconcile.model import Hint
from reconcile.reconciler import World
from reconcile.verdict import settled

BATCH = 3000  # records that are read at once
S3 = "s3:"
PATIENCE_S = 0.25
LOOKED_TOGETHER = 400  # references of one look


class Records(Protocol):
    """Where the records come from."""

    @property
    def is_over(self) -> bool:
        """Tell whether all are read."""
        ...

    def read(self, patience: float, most: int) -> Sequence[Record]:
        """Wait for a record, and return it with what is there already."""
        ...


@dataclass
class Replay:
    """One replay. `look` looks at references that were never looked at in it; `tell` is told the totals."""

    records: Records
    world: World
    stream: Stream
    seen: Seen
    look: Callable[[Sequence[Hint]], None]
    tell: Callable[[Counter[str]], None] = lambda _: None
    totals: Counter[str] = field(default_factory=Counter)
    pending: list[Hint] = field(default_factory=list)

    def run(self) -> Counter[str]:
        """Read to the end; returns records, settled, skipped, poison and looked_at."""
        while not self.records.is_over:
            self.turn(self.records.read(PATIENCE_S, BATCH))
            self.tell(self.totals)
        self.look_at(self.pending)
        return self.totals

    def turn(self, records: Sequence[Record]) -> None:
        """Take in what was read, and look at what is new and not settled."""
        reading = Reading(self.stream, 0.0)
        asked = 0

        def counted() -> Iterable[Sequence[Hint]]:
            nonlocal asked
            for hints in reading.hints(records):
                asked += len(hints)
                if hints:
                    yield hints

        late: list[Hint] = []
        for unsettled in self.world.unsettled(counted(), ()):
            late += [hint for hint, known in unsettled.pairs() if not settled(hint, known)]
        self.totals.update(
            records=len(records), skipped=reading.skipped, poison=len(reading.poison), settled=asked - len(late)
        )
        new = self.seen.new(hint.ref for hint in late)
        latest = {hint.ref: hint for hint in late if hint.ref in new}
        self.totals["repeated"] += len(late) - len(latest)
        self.pending += latest.values()
        while len(self.pending) >= LOOKED_TOGETHER:
            batch, self.pending = self.pending[:LOOKED_TOGETHER], self.pending[LOOKED_TOGETHER:]
            self.look_at(batch)

    def look_at(self, hints: Sequence[Hint]) -> None:
        """Look at some."""
        if hints:
            self.totals["looked_at"] += len(hints)
            self.look(hints)


def named(event: Event) -> str:
    """Return an event's name with `s3:` before it."""
    return f"{S3}{event.event_name.removeprefix(S3)}"


def only(dialect: Dialect, patterns: Sequence[str]) -> Dialect:
    """Return the dialect, of events alone whose name matches any of the patterns, such as `s3:ObjectRemoved:*`.

    The `s3:` before it may be left out, as some stores do.
    """
    wanted = [f"{S3}{one.removeprefix(S3)}" for one in patterns]
    if not patterns:
        return dialect

    def chosen(value: bytes | None) -> Sequence[Event]:
        return [event for event in dialect(value) if any(fnmatchcase(named(event), one) for one in wanted)]

    return chosen


def within(watched: Callable[[str, str], bool], bucket: str | None, prefix: str) -> Callable[[str, str], bool]:
    """Return the test of (bucket, key) narrowed to a bucket and to keys that begin so."""
    if bucket is None and not prefix:
        return watched
    return lambda named, key: bucket in {None, named} and key.startswith(prefix) and watched(named, key)
