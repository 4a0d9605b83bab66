"""The dead letter topic, read again: what is in it, what was decided, and records sent through anew.

Letters stay in their topic; only decisions about them are kept, in the history, by their origin. However many there
are, no more than some are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from consumer.kafka.range import Range, RangeReader
from consumer.letters.letter import Buried, Origin, buried
from consumer.letters.register import Register
from consumer.stream.events import Record
from consumer.stream.loop import Stream
from consumer.stream.sheet import decode_all
from reconcile import acts, inquiry
from reconcile.acts import Who
from reconcile.database import Connection, Database

PATIENCE_S = 0.25
BATCH = 50  # records; each may be a megabyte
REPLAYED, DISCARDED = DECISIONS = ("dead letter replayed", "dead letter discarded")
UNWATCHED = "it decodes, and none of its events is watched: discard it, or see [filters] and [mapping.bucket]"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters: of a reason, or of these origins as a person names them; none: all."""

    reason: str | None = None
    names: frozenset[str] = frozenset()

    def takes(self, letter: Buried) -> bool:
        """Tell whether a letter is meant."""
        return self.reason in {None, letter.reason} and (not self.names or any(map(letter.origin.is_named, self.names)))


def letters(reader: RangeReader, register: Register, wanted: Wanted) -> Iterator[Buried]:
    """Yield the letters that are wanted, each origin once, in the order of their burial."""
    reader.start(reader.ranges("earliest"))
    while not reader.is_over:
        found = register.first(filter(None, map(buried, reader.read(PATIENCE_S, BATCH))))
        yield from filter(wanted.takes, found)


def decided(connection: Connection) -> int:
    """Return how many dead letters were replayed or discarded, ever."""
    [(count,)] = inquiry.records(connection, "letters_decided", acts=list(DECISIONS))
    return int(count)


def undecided(kept: int, ever: int, decided: int) -> int:
    """Return how many of those that the topic keeps nobody has dealt with, at most: of what it dropped some were."""
    return min(kept, max(ever - decided, 0))


def know_decisions(register: Register, database: Database) -> None:
    """Have the register know what was decided until now."""
    for page in inquiry.pages(database, "decided", acts=list(DECISIONS)):
        register.decide(page)


def subject(origin: Origin) -> str:
    """Return what the history calls a letter."""
    return f"{origin.topic}/{origin} of {origin.timestamp_ms}"


def decide(database: Database, who: Who, act: str, some: Sequence[Buried]) -> None:
    """Keep decisions, together."""
    with database.use() as connection, inquiry.explaining(), connection.transaction():
        for letter in some:
            acts.note(connection, who, act, subject(letter.origin), {"reason": letter.reason, "detail": letter.detail})


def in_the_way(letter: Buried, stream: Stream) -> str:
    """Return why a record cannot be sent through today either, `''` if it can."""
    if letter.whole_bytes is not None:
        return f"only its beginning is kept, of {letter.whole_bytes:,} bytes"
    decoded = decode_all([letter.record], stream.dialect, 0.0, versioned=stream.versioned, watched=stream.watched)
    if decoded.poison:
        return f"{decoded.poison[0].reason}: {decoded.poison[0].detail}".rstrip(": ")
    return "" if len(decoded.hints) else UNWATCHED


@dataclass
class Chosen:
    """Letters as the records that they were, read anew from their topic; `came` are those that still were there."""

    reader: RangeReader
    letters: Sequence[Buried]
    came: list[Buried] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._left = {letter.lies_at: letter for letter in self.letters}
        places: dict[int, list[int]] = {}
        for partition, offset in self._left:
            places.setdefault(partition, []).append(offset)
        self.reader.start(Range(partition, min(some), max(some) + 1) for partition, some in places.items())

    @property
    def is_over(self) -> bool:
        """Tell whether all were read."""
        return self.reader.is_over

    def read(self, patience: float, most: int) -> Sequence[Record]:
        """Return some."""
        found: list[Record] = []
        for record in self.reader.read(patience, min(most, BATCH)):
            letter, again = self._left.pop((record.partition, record.offset), None), buried(record)
            if letter is not None and again is not None and again.origin == letter.origin:
                self.came.append(letter)
                found.append(again.record)
        return found
