"""What the duty of the figures counted, kept in its lease: how much drift there is, and how far the group is behind.

One process counts, and all may show it, as of when it was counted: nobody who asks for a page counts anything himself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from consumer.counting import Figure
from reconcile.inquiry import Record
from reconcile.model import Kind, State

TASK = "duty figures"
GROUPS_SHOWN = 10
GROUPS_MOST = 200  # a group that is nearly an owner must not make a series for each
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Found:
    """How many findings are alike in all that is told of them."""

    kind: str
    state: str
    group: str
    flagged: bool
    held: bool
    count: int
    size_bytes: int
    refused: int = 0
    oldest_at: float | None = None


@dataclass
class Groups:
    """The groups that have a series of their own: each that there ever was, as long as there is room."""

    known: set[str] = field(default_factory=lambda: {""})

    def shown(self, counts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
        """Yield the count of each, 0 among them, and last the sum of those for which there is no room, if any."""
        idle = [group for group in self.known if group and not counts.get(group)]
        for group in sorted(counts.keys() - self.known, key=lambda one: (-counts[one], one)):
            if not counts[group] or not (len(self.known) < GROUPS_MOST or idle):
                break
            if len(self.known) >= GROUPS_MOST:
                self.known.discard(idle.pop())
            self.known.add(group)
        yield from ((group, counts.get(group, 0)) for group in self.known)
        others = sum(count for group, count in counts.items() if group not in self.known)
        if others:
            yield OTHERS, others


class OfKind(msgspec.Struct):
    """The findings of one kind that are not closed; `oldest_at` in seconds since 1970."""

    suspected: int = 0
    open: int = 0
    set_aside: int = 0
    flagged: int = 0
    held: int = 0
    refused: int = 0
    size_bytes: int = 0
    oldest_at: float | None = None


class Counted(msgspec.Struct):
    """All that is kept. What could not be known is None; `groups` are the largest, of what is suspected or open.

    `undecided` are of the dead letters; `swept` is what the loss meter says of each bucket's last complete sweep.
    """

    at: float
    kinds: dict[str, OfKind]
    groups: dict[str, int]
    looks_due: int = 0
    lag_records: int | None = None
    lag_s: float | None = None
    dead_letters: int | None = None
    undecided: int | None = None
    swept: dict[str, dict[str, int]] = {}


def kept(figures: Sequence[Figure], found: Iterable[Found]) -> str:
    """Return what the lease keeps, as JSON."""
    kinds, groups = {str(kind): OfKind() for kind in Kind}, Counter[str]()
    for one in found:
        _add(kinds[one.kind], one)
        if one.state in {State.SUSPECTED, State.OPEN}:
            groups[one.group] += one.count
    lags = _values(figures, "reconciler_lag_records")
    behind = [value for value in _values(figures, "reconciler_lag_seconds") if value > 0]
    counted = Counted(
        at=_values(figures, "reconciler_figures_timestamp_seconds")[0],
        kinds=kinds,
        groups=dict(groups.most_common(GROUPS_SHOWN)),
        looks_due=int(sum(_values(figures, "reconciler_looks_due"))),
        lag_records=int(sum(lags)) if lags else None,
        lag_s=max(behind, default=None if any(lags) or not lags else 0.0),
        dead_letters=next(map(int, _values(figures, "reconciler_dead_letters_kept")), None),
        undecided=next(map(int, _values(figures, "reconciler_dead_letters_undecided")), None),
        swept=_swept(figures),
    )
    return msgspec.json.encode(counted).decode()


def _values(figures: Sequence[Figure], name: str) -> list[float]:
    return [figure.value for figure in figures if figure.name == name]


def _swept(figures: Sequence[Figure]) -> dict[str, dict[str, int]]:
    swept: dict[str, dict[str, int]] = {}
    for name, count, labels in figures:
        if name == "reconciler_swept_drifts":
            bucket, *_, meter = labels
            counts = swept.setdefault(bucket, {})
            counts[meter] = counts.get(meter, 0) + int(count)
    return swept


def _add(kind: OfKind, one: Found) -> None:
    match one.state:
        case State.SUSPECTED:
            kind.suspected += one.count
        case State.OPEN:
            kind.open += one.count
        case _:
            kind.set_aside += one.count
    kind.flagged += one.count * one.flagged
    kind.held += one.count * one.held
    kind.refused += one.refused
    kind.size_bytes += one.size_bytes
    if one.oldest_at is not None:
        kind.oldest_at = min(one.oldest_at, kind.oldest_at or one.oldest_at)


def read(leases: Iterable[Record]) -> Counted | None:
    """Return what is kept in the leases that somebody holds; None where nobody does, or has not counted yet."""
    for task, _, checkpoint, _ in leases:
        if task == TASK and checkpoint:
            try:
                return msgspec.json.decode(checkpoint, type=Counted)
            except msgspec.DecodeError:  # of another version, which counts anew within seconds
                return None
    return None
