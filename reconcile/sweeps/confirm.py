"""What a look at both sides tells the sweep of a candidate: drifts, and what turned out to be none. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconcile.life import Subject, grace, subjects
from reconcile.model import (
    Drift,
    Foreign,
    Healthy,
    Hint,
    Kind,
    Known,
    ObjectRef,
    ObjectSide,
    Policy,
    Present,
    RowState,
    Undecided,
)
from reconcile.store.heads import NO_NAME
from reconcile.sweeps import drift as words
from reconcile.sweeps.drift import Class

ROWS = "rows"  # names a hint: a row told of it, and the listing had nothing of its key
KEYS = "keys"  # names a hint: rows told of its key, each of a version of its own
DOUBTFUL = frozenset({Class.MISSING, Class.ORPHAN, Class.LOOKALIKE})  # may have a counterpart in another form


@dataclass(frozen=True, slots=True)
class Margins:
    """What is too young to be believed: objects by Last-Modified, rows by created-at if the policy has an age for them.

    `started_at` is the sweep's begin. Of any other row the second look, a margin later, is all that there is.
    """

    started_at: datetime
    now: datetime
    policy: Policy

    def young(self, subject: Subject, side: ObjectSide) -> bool:
        """Tell whether a drift may still pass by itself: its upload, or its row, is on the way."""
        if subject.row_id == "":
            return isinstance(side, Present) and _modified_after(side, self.now - self.policy.orphan_grace)
        row = subject.row
        if row is None or row.created_at is None or self.now - row.created_at >= self.policy.young_age:
            return False
        return self.now - row.created_at < grace(Kind.MISSING, row, self.now, self.policy)


@dataclass
class Confirmed:
    """What a batch of looks came to. `healed` are references with a finding, and no drift any more.

    `unknown` is of one try, `unanswered` of all.
    """

    drifts: list[words.Drift] = field(default_factory=list)
    healed: list[words.Drift] = field(default_factory=list)
    unknown: list[ObjectRef] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    unanswered: set[ObjectRef] = field(default_factory=set)


def confirm(hint: Hint, known: Known, side: ObjectSide, margins: Margins, found: Confirmed) -> None:
    """Add what one look tells; a created hint is an object that the listing had and no row named."""
    ref = hint.ref
    judged = list(subjects(ref, known, side))
    for subject in judged:
        match subject.verdict:
            case Drift():
                _drifting(ref, subject, side, margins, found)
            case Foreign():
                found.totals["flagged_by_others"] += 1
            case Healthy() if subject.finding is not None:
                found.healed.append(told_of(ref, subject, side, Class.HEALED))
            case Undecided() if side == NO_NAME and subject.row and subject.row.state != RowState.EXPECTS_ABSENCE:
                found.drifts.append(told_of(ref, subject, side, Class.LOOKALIKE))
            case Healthy() | Undecided():
                pass
    if side == NO_NAME:
        return
    if any(isinstance(subject.verdict, Undecided) for subject in judged):
        found.unknown.append(ref)
    elif hint.named_by != KEYS and all(isinstance(one.verdict, Healthy) for one in judged) and not known.findings:
        found.totals[_explained(hint, known, side, margins)] += 1


def _drifting(ref: ObjectRef, subject: Subject, side: ObjectSide, margins: Margins, found: Confirmed) -> None:
    if margins.young(subject, side):
        found.totals["young"] += 1
    elif isinstance(subject.verdict, Drift):
        found.drifts.append(told_of(ref, subject, side, Class(subject.verdict.kind.value)))


def _explained(hint: Hint, known: Known, side: ObjectSide, margins: Margins) -> str:
    """Name why a candidate was none: the listing left it out, or it changed while the sweep ran."""
    omitted = (
        hint.named_by == ROWS
        and known.rows
        and isinstance(side, Present)
        and not _modified_after(side, margins.started_at)
    )
    return "omitted_by_list" if omitted else "changed_meanwhile"


def _modified_after(side: Present, moment: datetime) -> bool:
    return side.last_modified is not None and side.last_modified > moment


def told_of(ref: ObjectRef, subject: Subject, side: ObjectSide, kind: Class) -> words.Drift:
    """Say a drift in the words of a report."""
    row, verdict = subject.row, subject.verdict
    seen = side if isinstance(side, Present) else None
    modified = seen.last_modified if seen else None
    return words.Drift(
        kind=kind,
        bucket=ref.bucket,
        key=ref.key,
        s3_version=ref.s3_version,
        row_id=subject.row_id,
        cause=verdict.cause if isinstance(verdict, Drift) else verdict.reason if isinstance(verdict, Undecided) else "",
        size_bytes=row.size if row and row.size is not None else seen.size if seen else None,
        group=(row.group or "") if row else "",
        owner=(row.owner or "") if row else "",
        since=(row.created_at if row and kind is Class.MISSING else None) or modified,
        known=subject.finding is not None,
    )


def lookalikes(drifts: Iterable[words.Drift], counterparts: dict[ObjectRef, str]) -> Iterator[words.Drift]:
    """Yield the drifts, those with a counterpart under another form of their key as lookalikes."""
    for one in drifts:
        other = counterparts.get(ObjectRef(one.bucket, one.key, one.s3_version))
        if other is None or one.kind not in DOUBTFUL:
            yield one
        else:
            yield as_lookalike(one, other)


def as_lookalike(one: words.Drift, other: str) -> words.Drift:
    """Return a drift as the half of a lookalike, with the key of its other half."""
    cause = one.cause if one.kind is Class.LOOKALIKE else f"{one.kind} as it is written"
    return replace(one, kind=Class.LOOKALIKE, counterpart=other, cause=cause)
