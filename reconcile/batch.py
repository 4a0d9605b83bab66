"""A batch of hints in columns, as a glance asks the database for them. Pure.

Most events only say what the rows say already. For those the columns are enough, and no Hint is made, which spares
most of the time: that is a *plain* hint, one that rows of the right size settle.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Container, Sequence
from typing import NamedTuple

from reconcile.model import NOTHING_KNOWN, Action, Hint, Known


class Columns(NamedTuple):
    """The parts of each hint, in their order: a size of None means that no row settles it; `etags` may be left out."""

    keys: list[str]
    buckets: list[str]
    sizes: list[int | None]
    etags: list[str]


class Batch(Sequence[Hint]):
    """Hints that are still in columns, each made into a Hint only when it is asked for by its number."""

    @abstractmethod
    def columns(self, doubtful: Container[tuple[str, str, str]], *, etags: bool) -> Columns:
        """Return the columns; whatever the rows say, they do not settle a reference that is `doubtful`."""

    @abstractmethod
    def removals(self) -> Sequence[Hint]:
        """Return the hints that tell of a removal."""

    @abstractmethod
    def apart(self, numbers: Sequence[int]) -> tuple[Batch, list[int]]:
        """Return of the hints with these numbers those still in columns, and the numbers of the others."""


class Unsettled(NamedTuple):
    """What a glance did not settle: hints with what is known of each, and hints of which nothing is known at all."""

    told: list[tuple[Hint, Known]]
    unknown: Sequence[Hint] = ()

    def pairs(self) -> list[tuple[Hint, Known]]:
        """Return all of them, each with what is known."""
        return self.told + [(hint, NOTHING_KNOWN) for hint in self.unknown]


def columns_of(hints: Sequence[Hint], doubtful: Container[tuple[str, str, str]], *, etags: bool) -> Columns:
    """Return hints in columns."""
    if isinstance(hints, Batch):
        return hints.columns(doubtful, etags=etags)
    return Columns(
        [hint.ref.key for hint in hints],
        [hint.ref.bucket for hint in hints],
        [plain_size(hint, doubtful) for hint in hints],
        [hint.etag or "" for hint in hints] if etags else [],
    )


def plain_size(hint: Hint, doubtful: Container[tuple[str, str, str]] = ()) -> int | None:
    """Return the size that rows must have to settle the hint; None where rows alone cannot."""
    if hint.action is not Action.CREATED or hint.ref.s3_version or hint.s3_version or hint.ref in doubtful:
        return None
    return hint.size


def apart(hints: Sequence[Hint], numbers: Sequence[int]) -> tuple[Sequence[Hint], Sequence[int]]:
    """Return of the hints with these numbers those still in columns, and the numbers of the others."""
    return hints.apart(numbers) if isinstance(hints, Batch) else ((), numbers)


def removals_of(hints: Sequence[Hint]) -> Sequence[Hint]:
    """Return the hints that tell of a removal."""
    if isinstance(hints, Batch):
        return hints.removals()
    return [hint for hint in hints if hint.action is Action.REMOVED]
