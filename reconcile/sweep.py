"""The sweep: every object against every row. What differs is looked at again by reconcile(), and only then kept.

One loop over blocks of both sides, whatever they are read from; after each block the checkpoint. Knows neither how the
listing is read nor where drifts are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from time import sleep
from typing import NamedTuple, Protocol, TypeVar

from reconcile import belief
from reconcile.compare import Block, Blocks, agreed, candidates, compare
from reconcile.confirm import DOUBTFUL, Confirmed, Margins, confirm, lookalikes
from reconcile.drift import Class, Drift
from reconcile.heads import NO_NAME
from reconcile.lookalike import normal_forms
from reconcile.model import Absent, Action, Hint, Known, ObjectRef, ObjectSide, Present, RowState, Unavailable
from reconcile.patience import patiently
from reconcile.reconciler import reconcile
from reconcile.trial import Trial

T = TypeVar("T")
Source = Callable[[str, str | None], Blocks]  # the lines of keys in (lower, upper]
LOOKS = 400
TRIES = 5
FLUX = 5  # looks at a key that is another drift each time
TRY_AGAIN_S = 0.2


class Held(Exception):
    """The sweep is not to be believed; the text says why and what to compare."""


class Range(NamedTuple):
    """Keys in (lower, upper], compared up to the checkpoint, and what they came to so far."""

    lower: str
    upper: str | None
    checkpoint: str
    totals: Mapping[str, int]


class Keeper(Protocol):
    """Where ranges, checkpoints and drifts are kept: our schema, or for a trial nowhere."""

    def take(self) -> Range | None:
        """Take a range that nobody works at; None if there is none."""
        ...

    def advance(self, part: Range, checkpoint: str, totals: Mapping[str, int], found: Confirmed, *, done: bool) -> bool:
        """Keep what was found and how far the range is, at once; False if the range went to somebody else."""
        ...

    def open_findings(self, lower: str, upper: str | None) -> Sequence[ObjectRef]:
        """Return references with findings of keys in (lower, upper], at most some; all below the last one's key."""
        ...

    def to_see_again(self, margin: timedelta) -> tuple[list[ObjectRef], bool]:
        """Return references that were sighted but once, and whether they were sighted longer ago than the margin."""
        ...

    def seen_again(self, refs: Sequence[ObjectRef], found: Confirmed) -> None:
        """Keep what a second look saw of these, and forget the rest."""
        ...

    def pair(self) -> None:
        """Make an orphan whose key is another form of a row's the lookalike that it is: the row's side found it."""
        ...


@dataclass
class Sweep:
    """One process's part in a sweep. `tell` is told the totals after each block, `doubt` says why to give up then."""

    trial: Trial
    keeper: Keeper
    objects: Source
    rows: Source
    bucket: str
    started_at: datetime
    now: Callable[[], datetime]
    watched: Callable[[str], bool] = lambda _: True
    tell: Callable[[Mapping[str, int]], None] = lambda _: None
    doubt: Callable[[Mapping[str, int]], str | None] = belief.hopeless

    def run(self) -> None:
        """Compare ranges until nobody has one left to give."""
        while (part := self.keeper.take()) is not None:
            self.compare(part)

    def compare(self, part: Range) -> None:
        """Compare one range from its checkpoint on; ends early if it went to somebody else."""
        totals, at = Counter(part.totals), part.checkpoint
        for block in compare(self.objects(at, part.upper), self.rows(at, part.upper)):
            found = self.examine(block, at)
            totals.update(found.totals)
            self.tell(totals)
            if not self.keeper.advance(part, block.upto, totals, found, done=False):
                return
            at = block.upto
            if why := self.doubt(totals):
                raise Held(why)
        found = self.look([Hint(ref, named_by="sweep") for ref in self.findings(at, part.upper)])
        totals.update(found.totals)
        self.keeper.advance(part, at, totals, found, done=True)

    def examine(self, block: Block, after: str) -> Confirmed:
        """Look at what differs in a block, and at what is open in it."""
        hints = [
            Hint(ObjectRef(self.bucket, one.key, one.s3_version), named_by="sweep")
            if one.sighted is None
            else Hint(
                ObjectRef(self.bucket, one.key),
                Action.CREATED,
                "sweep",
                int(one.sighted.size) if one.sighted.size else None,
                one.sighted.etag or None,
                s3_version=one.sighted.s3_version,
            )
            for one in candidates(block)
            if self.watched(one.key)
        ]
        differing = len({hint.ref for hint in hints})
        named = {hint.ref for hint in hints}
        hints += [Hint(ref, named_by="sweep") for ref in self.findings(after, block.upto) if ref not in named]
        found = self.look(hints)
        sums = {"objects": block.objects, "rows": block.rows, "agreed": agreed(block), "candidates": differing}
        found.totals.update(sums)
        return found

    def findings(self, lower: str, upper: str | None) -> list[ObjectRef]:
        """Return the references of a range that have findings."""
        refs: list[ObjectRef] = []
        while page := self.keeper.open_findings(lower, upper):
            refs += page
            lower = page[-1].key
        return refs

    def look(self, hints: Sequence[Hint]) -> Confirmed:
        """Look at both sides of each, and return what is so; what stays unknown is counted."""
        found = Confirmed()
        for batch in batched(hints, LOOKS):
            for unsettled in patiently(partial(self._unsettled, batch)):
                found.totals["changed_meanwhile"] += len(batch) - len(unsettled)
                self._look([hint for hint, _ in unsettled], found)
        found.drifts = once(found.drifts)
        found.healed = once(found.healed)
        found.drifts = list(lookalikes(found.drifts, self.counterparts(found.drifts)))
        return found

    def _look(self, hints: list[Hint], found: Confirmed) -> None:
        margins = Margins.of(self.started_at, self.now(), self.trial.live.policy)
        for attempt in range(TRIES):
            if attempt:
                sleep(TRY_AGAIN_S * attempt)
            found.unknown = []
            patiently(partial(self._reconciled, hints))
            for hint, known, side in self.trial.looked:
                confirm(hint, known, side, margins, found)
            again = {*(hint.ref for hint in self.trial.left), *found.unknown}
            hints = [hint for hint in hints if hint.ref in again]
            if not hints:
                return
        found.totals["unknown"] += len(hints)
        found.unanswered.update(hint.ref for hint in hints)

    def _unsettled(self, batch: Sequence[Hint]) -> list[Sequence[tuple[Hint, Known]]]:
        return list(self.trial.unsettled([batch], ()))

    def _reconciled(self, hints: Sequence[Hint]) -> None:
        self.trial.looked, self.trial.left = [], []
        reconcile(self.trial, hints)

    def counterparts(self, drifts: Sequence[Drift]) -> dict[ObjectRef, str]:
        """Return for each missing or orphan the key of its other side, if that is written in another form."""
        forms = {
            ObjectRef(one.bucket, one.key, one.s3_version): (one.kind, normal_forms(one.key))
            for one in drifts
            if one.kind in DOUBTFUL
        }
        refs = sorted({ObjectRef(self.bucket, form) for _, others in forms.values() for form in others})
        known = patiently(partial(self.trial.glance, refs)) if refs else {}
        rowed = {ref for ref in refs if any(row.state == RowState.LIVE for row in known[ref].rows)}
        wanted = {ref for kind, others in forms.values() for ref in _sought(kind, others, self.bucket, rowed)}
        sides: dict[ObjectRef, ObjectSide] = {}
        for batch in batched(sorted(wanted), LOOKS):
            sides.update(patiently(partial(self.trial.heads, batch)))
        found = {}
        for ref, (kind, others) in forms.items():
            fitting = [one.key for one in _sought(kind, others, self.bucket, rowed) if _fits(kind, sides[one])]
            if fitting:
                found[ref] = min(fitting)
        return found

    def see_again(self, margin: timedelta, waiting: Callable[[int], None]) -> None:
        """Look a second time at what was sighted, not before the margin is over: what passes by itself is no drift."""
        looked: Counter[ObjectRef] = Counter()
        while True:
            refs, ripe = self.keeper.to_see_again(margin)
            if not refs:
                self.keeper.pair()
                return
            if not ripe:
                waiting(len(refs))
                continue
            found = self.look([Hint(ref, named_by="sweep") for ref in refs])
            looked.update(refs)
            flux = {ref for ref in refs if looked[ref] > FLUX}  # another drift at each look: nothing that stays
            found.drifts = [one for one in found.drifts if ObjectRef(one.bucket, one.key, one.s3_version) not in flux]
            if found.unanswered:
                raise Unavailable("minio", f"{len(found.unanswered):,} differences could not be looked at again")
            self.keeper.seen_again(refs, found)


def once(drifts: Sequence[Drift]) -> list[Drift]:
    """Return each drift once, as it was seen last: a reference may be named by both sides, and tried again."""
    return list({(one.bucket, one.key, one.s3_version, one.row_id): one for one in drifts}.values())


def _sought(kind: Class, forms: frozenset[str], bucket: str, rowed: set[ObjectRef]) -> Iterator[ObjectRef]:
    """Yield where the other side may be: an object that no row names, or a row, whose object is absent."""
    for form in forms:
        ref = ObjectRef(bucket, form)
        if (ref in rowed) == (kind is Class.ORPHAN):
            yield ref


def _fits(kind: Class, side: ObjectSide) -> bool:
    """Tell whether a side is the other half of a lookalike: no object where a row is, an object where none is."""
    there = isinstance(side, Present)
    return (side == NO_NAME or isinstance(side, Absent)) if kind is Class.ORPHAN else there


def batched(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of a size."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
