"""The dead letter topic, read again: what is in it, what was decided, and records sent through anew.

Letters stay in their topic; only decisions about them are kept, in the history, by their origin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from consumer.events import Dialect, Record
from consumer.kafka_range import RangeReader
from consumer.letters import Buried, Origin, buried
from consumer.sheet import decode_all
from reconcile import acts, inquiry
from reconcile.acts import Who
from reconcile.database import Database

PATIENCE_S = 0.25
BATCH = 200  # records; each may be a megabyte
REPLAYED, DISCARDED = "dead letter replayed", "dead letter discarded"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters: of a reason, or of these origins as a person names them; none: all."""

    reason: str | None = None
    names: frozenset[str] = frozenset()

    def takes(self, letter: Buried) -> bool:
        """Tell whether a letter is meant."""
        return self.reason in {None, letter.reason} and (not self.names or any(map(letter.origin.is_named, self.names)))


def letters(reader: RangeReader, wanted: Wanted) -> Iterator[Buried]:
    """Yield the letters that are wanted, each origin once, in the order of their burial."""
    reader.start(reader.ranges("earliest"))
    met: set[Origin] = set()
    while not reader.is_over:
        for record in reader.read(PATIENCE_S, BATCH):
            letter = buried(record)
            if letter is not None and letter.origin not in met:
                met.add(letter.origin)
                if wanted.takes(letter):
                    yield letter


def decided(database: Database) -> dict[str, str]:
    """Return by origin what was decided last."""
    with inquiry.reading(database) as connection:
        return dict(inquiry.records(connection, "decided", acts=[REPLAYED, DISCARDED]))


def subject(origin: Origin) -> str:
    """Return what the history calls a letter."""
    return f"{origin.topic}/{origin} of {origin.timestamp_ms}"


def decide(database: Database, who: Who, act: str, some: Sequence[Buried]) -> None:
    """Keep decisions, together."""
    with database.use() as connection, inquiry.explaining(), connection.transaction():
        for letter in some:
            acts.note(connection, who, act, subject(letter.origin), {"reason": letter.reason, "detail": letter.detail})


def still_poison(letter: Buried, dialect: Dialect) -> str:
    """Return why a record cannot be sent through today either, `''` if it can."""
    if letter.whole_bytes is not None:
        return f"only its beginning is kept, of {letter.whole_bytes:,} bytes"
    poison = decode_all([letter.record], dialect, 0.0).poison
    return f"{poison[0].reason}: {poison[0].detail}".rstrip(": ") if poison else ""


@dataclass
class Chosen:
    """Letters as the records that they were, for a replay."""

    records: list[Record]

    @property
    def is_over(self) -> bool:
        """Tell whether all were read."""
        return not self.records

    def read(self, _: float, most: int) -> Sequence[Record]:
        """Return some."""
        read, self.records = self.records[:most], self.records[most:]
        return read
