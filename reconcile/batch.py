"""A batch of hints as the columns that a glance asks with; of what is plain no hint need be made. Pure."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Container, Sequence
from typing import NamedTuple

from reconcile.model import NOTHING_KNOWN, Action, Hint, Known


class Columns(NamedTuple):
    """What is asked of each hint, in their order; a size of None is never plain, `etags` is empty unless asked for."""

    keys: list[str]
    buckets: list[str]
    sizes: list[int | None]
    etags: list[str]


class Batch(Sequence[Hint]):
    """Hints that are made when they are asked for."""

    @abstractmethod
    def columns(self, doubtful: Container[tuple[str, str, str]], *, etags: bool) -> Columns:
        """Return the columns; a `doubtful` reference is never plain."""

    @abstractmethod
    def removals(self) -> Sequence[Hint]:
        """Return the hints at removals."""

    @abstractmethod
    def apart(self, numbers: Sequence[int]) -> tuple[Batch, list[int]]:
        """Return those of the numbered that are not made yet, and the numbers of the others."""


class Unsettled(NamedTuple):
    """What a glance left of a batch: each hint with what is known of it, and hints not made of which nothing is."""

    told: list[tuple[Hint, Known]]
    unknown: Sequence[Hint] = ()

    def pairs(self) -> list[tuple[Hint, Known]]:
        """Return all of them; what was not made is."""
        return self.told + [(hint, NOTHING_KNOWN) for hint in self.unknown]


def columns_of(hints: Sequence[Hint], doubtful: Container[tuple[str, str, str]], *, etags: bool) -> Columns:
    """Return the columns of hints."""
    if isinstance(hints, Batch):
        return hints.columns(doubtful, etags=etags)
    return Columns(
        [hint.ref.key for hint in hints],
        [hint.ref.bucket for hint in hints],
        [plain_size(hint, doubtful) for hint in hints],
        [hint.etag or "" for hint in hints] if etags else [],
    )


def plain_size(hint: Hint, doubtful: Container[tuple[str, str, str]] = ()) -> int | None:
    """Return the size that plain rows must have; None where no row makes the hint plain."""
    if hint.action is not Action.CREATED or hint.ref.s3_version or hint.s3_version or hint.ref in doubtful:
        return None
    return hint.size


def apart(hints: Sequence[Hint], numbers: Sequence[int]) -> tuple[Sequence[Hint], Sequence[int]]:
    """Return those of the numbered hints that need not be made, and the numbers of the others."""
    return hints.apart(numbers) if isinstance(hints, Batch) else ((), numbers)


def removals_of(hints: Sequence[Hint]) -> Sequence[Hint]:
    """Return the hints at removals."""
    if isinstance(hints, Batch):
        return hints.removals()
    return [hint for hint in hints if hint.action is Action.REMOVED]
