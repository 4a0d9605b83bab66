"""Looks at both sides of what was named, writes nothing, says what is drift: for the sweep, and for a plan of a replay.

Knows neither who named it nor where drifts are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from time import sleep
from typing import TypeVar

from reconcile.batch import Unsettled
from reconcile.model import Absent, Hint, Known, ObjectRef, ObjectSide, Present, RowState
from reconcile.patience import patiently
from reconcile.reconciler import reconcile
from reconcile.store.heads import NO_NAME
from reconcile.sweeps.confirm import DOUBTFUL, KEYS, Confirmed, Margins, confirm, lookalikes
from reconcile.sweeps.drift import Class, Drift
from reconcile.sweeps.lookalike import normal_forms
from reconcile.trial import Trial

T = TypeVar("T")
LOOKS = 400
TRIES = 5
TRY_AGAIN_S = 0.2


@dataclass
class Looker:
    """Looks at one bucket. What was written after `started_at` is no omission of a listing.

    `by_key`: what is named says nothing of S3 versions, and rows do, so that each row's own is looked at, too.
    """

    trial: Trial
    bucket: str
    started_at: datetime
    pause: Callable[[float], None] = sleep
    by_key: bool = False

    def look(self, hints: Sequence[Hint]) -> Confirmed:
        """Look at both sides of each, and return what is so; what stays unknown is counted."""
        found = Confirmed()
        for batch in batched(hints, LOOKS):
            for unsettled in patiently(partial(self._unsettled, batch), self.pause):
                left = unsettled.pairs()
                found.totals["changed_meanwhile"] += len(batch) - len(left)
                self._look([each for one in left for each in (versions_of(*one) if self.by_key else one[:1])], found)
        found.drifts = once(found.drifts)
        found.healed = once(found.healed)
        found.drifts = list(lookalikes(found.drifts, self.counterparts(found.drifts)))
        return found

    def _look(self, hints: list[Hint], found: Confirmed) -> None:
        for attempt in range(TRIES):
            if attempt:
                self.pause(TRY_AGAIN_S * attempt)
            found.unknown = []
            patiently(partial(self._reconciled, hints), self.pause)
            for hint, known, side, at in self.trial.looked:
                confirm(hint, known, side, Margins(self.started_at, at, self.trial.live.policy), found)
            again = {*(hint.ref for hint in self.trial.left), *found.unknown}
            hints = [hint for hint in hints if hint.ref in again]
            if not hints:
                return
        found.totals["unknown"] += len(hints)
        found.unanswered.update(hint.ref for hint in hints)

    def _unsettled(self, batch: Sequence[Hint]) -> list[Unsettled]:
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
        known = patiently(partial(self.trial.glance, refs), self.pause) if refs else {}
        rowed = {ref for ref in refs if any(row.state == RowState.LIVE for row in known[ref].rows)}
        wanted = {ref for kind, others in forms.values() for ref in _sought(kind, others, self.bucket, rowed)}
        sides: dict[ObjectRef, ObjectSide] = {}
        for batch in batched(sorted(wanted), LOOKS):
            sides.update(patiently(partial(self.trial.heads, batch), self.pause))
        found = {}
        for ref, (kind, others) in forms.items():
            fitting = [one.key for one in _sought(kind, others, self.bucket, rowed) if _fits(kind, sides[one])]
            if fitting:
                found[ref] = min(fitting)
        return found


def versions_of(hint: Hint, known: Known) -> Iterator[Hint]:
    """Yield a hint, and one for each version that a row of its key names; where all do, it is a question only."""
    named = {row.s3_version for row in known.rows} if not hint.ref.s3_version else set()
    if not named - {""}:
        yield hint
        return
    yield hint if "" in named or known.findings else hint._replace(named_by=KEYS)
    for version in sorted(named - {""}):
        yield hint._replace(ref=hint.ref._replace(s3_version=version))


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
