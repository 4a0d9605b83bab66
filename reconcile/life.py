"""A finding's life: one table, and what each step does to the row and to the next look. Pure.

Graces only delay: at their end both sides were looked at again, or there is no verdict to apply. `now` is the
database's clock, handed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import NamedTuple

from reconcile.model import (
    FINAL,
    Drift,
    Facts,
    Finding,
    Foreign,
    Hashed,
    Healthy,
    Kind,
    Known,
    ObjectRef,
    ObjectSide,
    Policy,
    Row,
    RowState,
    State,
    Undecided,
    Verdict,
)
from reconcile.steps import Change, Flag, GiveBack, Look, Step
from reconcile.verdict import judge_object, judge_row, rows_of


class Input(Enum):
    """What a look, or a person, says to a finding."""

    DRIFT = auto()
    RIPE = auto()
    OTHER = auto()
    HEALTHY = auto()
    FOREIGN = auto()
    IGNORE = auto()
    REOPEN = auto()
    APPROVE = auto()
    ERASE = auto()
    DELETE = auto()
    PURGE = auto()
    ADOPT = auto()


LIFE: dict[tuple[State | None, Input], tuple[State, str]] = {
    (None, Input.DRIFT): (State.SUSPECTED, "suspected"),
    (State.SUSPECTED, Input.RIPE): (State.OPEN, "opened"),
    (State.SUSPECTED, Input.OTHER): (State.SUSPECTED, "changed"),
    (State.SUSPECTED, Input.HEALTHY): (State.RESOLVED, "resolved"),
    (State.SUSPECTED, Input.FOREIGN): (State.RESOLVED, "flagged by others"),
    (State.OPEN, Input.OTHER): (State.SUSPECTED, "changed"),
    (State.OPEN, Input.HEALTHY): (State.RESOLVED, "resolved"),
    (State.OPEN, Input.FOREIGN): (State.RESOLVED, "flagged by others"),
    (State.SUSPECTED, Input.IGNORE): (State.IGNORED, "ignored"),
    (State.OPEN, Input.IGNORE): (State.IGNORED, "ignored"),
    (State.IGNORED, Input.OTHER): (State.SUSPECTED, "changed"),
    (State.IGNORED, Input.HEALTHY): (State.RESOLVED, "resolved"),
    (State.IGNORED, Input.FOREIGN): (State.RESOLVED, "flagged by others"),
    (State.APPROVED, Input.OTHER): (State.SUSPECTED, "changed"),
    (State.APPROVED, Input.HEALTHY): (State.RESOLVED, "resolved"),
    (State.IGNORED, Input.REOPEN): (State.SUSPECTED, "reopened"),
    (State.OPEN, Input.APPROVE): (State.APPROVED, "approved"),
    (State.APPROVED, Input.REOPEN): (State.OPEN, "approval withdrawn"),
    (State.APPROVED, Input.ERASE): (State.APPROVED, "deletion begun"),
    (State.APPROVED, Input.DELETE): (State.DELETED, "deleted"),
    (State.OPEN, Input.PURGE): (State.RESOLVED, "purged"),
    (None, Input.ADOPT): (State.OPEN, "adopted"),
    (None, Input.IGNORE): (State.IGNORED, "ignored"),
}

OF_OBJECTS = frozenset({Kind.ORPHAN, Kind.LEFTOVER})
ONLY_FOR = dict.fromkeys((Input.APPROVE, Input.ERASE, Input.DELETE), OF_OBJECTS)
ONLY_FOR[Input.PURGE] = frozenset({Kind.MISSING})
AFTER_OPENING = timedelta(minutes=1)
OPENING = frozenset({"opened", "flagged", "flagged after release"})


class Subject(NamedTuple):
    """What one verdict is about: a row, a row that is gone (`row` None), or the object itself (`row_id == ''`)."""

    row_id: str
    row: Row | None
    finding: Finding | None
    verdict: Verdict


def step(
    ref: ObjectRef, known: Known, side: ObjectSide, now: datetime, policy: Policy, hashed: Hashed | None = None
) -> Step:
    """Decide what follows from one look at one reference; `hashed` is what was just read of the object, if it was."""
    changes: list[Change] = []
    looks: list[Look] = []
    for subject in subjects(ref, known, side, hashed):
        change = next_change(subject, now, policy)
        look = next_look(subject, change, known.attempt, now, policy)
        if change is not None:
            changes.append(change)
        if look is not None:
            looks.append(look)
    return Step(ref, tuple(changes), min(looks, key=lambda look: look.after, default=None), side)


def subjects(ref: ObjectRef, known: Known, side: ObjectSide, hashed: Hashed | None = None) -> Iterable[Subject]:
    """Yield each row of the reference, then findings whose row is gone, then the object."""
    ours = {finding.row_id: finding for finding in known.findings}
    of_object = ours.pop("", None)
    for row in rows_of(ref, known):
        finding = ours.pop(row.row_id, None)
        yield Subject(row.row_id, row, finding, judge_row(row, finding, side, hashed))
    for gone, finding in sorted(ours.items()):
        yield Subject(gone, None, finding, Healthy("the row is gone, or names another key"))
    yield Subject("", None, of_object, judge_object(known.rows, side, ref.s3_version))


def next_change(subject: Subject, now: datetime, policy: Policy) -> Change | None:
    """Look the step up in the table; None where nothing changes."""
    finding, verdict = subject.finding, subject.verdict
    said = _input(subject, now, policy)
    found = LIFE.get((finding.state if finding else None, said)) if said else None
    if found is None:
        return _late_flag(subject, policy)
    state, act = found
    change = Change(
        before=finding,
        row_id=subject.row_id,
        row=subject.row,
        kind=_kind(subject),
        cause=verdict.cause if isinstance(verdict, Drift) else finding.cause if finding else "",
        state=state,
        act=act,
        previous_status=finding.previous_status if finding else None,
        held_by=finding.held_by if finding and state not in FINAL and finding.state is not State.IGNORED else None,
        why=verdict.why if isinstance(verdict, Healthy) else "",
        facts=_facts(subject),
    )
    return _with_effect(change, policy)


def _facts(subject: Subject) -> Facts:
    """Return what a verdict rests on that the finding has to remember: the content that was read."""
    if not isinstance(subject.verdict, Drift) or subject.verdict.hashed is None:
        return {}
    content = subject.verdict.hashed
    return {
        "row_sha256": subject.row.sha256 if subject.row else None,
        "content_sha256": content.sha256,
        "content_etag": content.etag,
        "content_s3_version": content.s3_version,
        "content_modified": content.modified,
    }


def by_hand(subject: Subject, act: Input) -> Change | None:
    """Return what a person's act changes of a finding; None where the table has nothing for it.

    What is not the act's kind is left alone: an object that a row names is never approved, nor deleted.
    """
    finding = subject.finding
    found = LIFE.get((finding.state if finding else None, act))
    if found is None or (finding is not None and finding.kind not in ONLY_FOR.get(act, Kind)):
        return None
    state, word = found
    if finding is None:
        cause = subject.verdict.cause if isinstance(subject.verdict, Drift) else "flagged by others"
        return Change(None, subject.row_id, subject.row, _kind(subject), cause, state, word)
    if act is Input.REOPEN and finding.previous_status is not None:
        state = State.OPEN
    return Change(
        finding,
        subject.row_id,
        subject.row,
        finding.kind,
        finding.cause,
        state,
        word,
        finding.previous_status if state not in FINAL else None,
        finding.held_by if state not in FINAL else None,
    )


def _input(subject: Subject, now: datetime, policy: Policy) -> Input | None:
    match subject.verdict:
        case Drift():
            if _is_another(subject.finding, subject.verdict):
                return Input.OTHER
            return Input.RIPE if _grace_over(subject, now, policy) else Input.DRIFT
        case Healthy(_, absent):
            erased = absent and subject.finding is not None and subject.finding.erasing
            return Input.DELETE if erased else Input.HEALTHY
        case Foreign():
            return Input.FOREIGN
        case Undecided():
            return None


def _is_another(finding: Finding | None, drift: Drift) -> bool:
    """Tell whether the drift is not the finding's: of another kind, or of a content that was read since."""
    if finding is None:
        return False
    return finding.kind is not drift.kind or drift.hashed not in (None, finding.hashed)


def _kind(subject: Subject) -> Kind:
    if isinstance(subject.verdict, Drift):
        return subject.verdict.kind
    return subject.finding.kind if subject.finding else Kind.MISSING


def _with_effect(change: Change, policy: Policy) -> Change:
    """Say what the change does to the application's row: flag it, give its status back, or nothing."""
    flagged = change.previous_status
    if flagged is not None and change.act == "changed":
        return replace(change, state=State.OPEN)
    if flagged is not None and change.act == "resolved":
        effect = GiveBack(change.row_id, flagged)
        return replace(change, act="given back", previous_status=None, effect=effect)
    if change.state is State.OPEN and change.kind is Kind.MISSING and _may_flag(change.row, policy):
        return _flagging(change)
    return change


def _may_flag(row: Row | None, policy: Policy) -> bool:
    live = row is not None and row.state == RowState.LIVE and row.status is not None
    return live and policy.flagging and policy.flag is not None


def _flagging(change: Change) -> Change:
    status = (change.row.status if change.row else None) or ""
    released = change.before is not None and change.before.held_by == "released"
    return replace(
        change,
        act="flagged after release" if released else "flagged",
        previous_status=status,
        held_by=None,
        effect=Flag(change.row_id, status),
    )


def _late_flag(subject: Subject, policy: Policy) -> Change | None:
    """Flag what was opened while only observing, or whose flag was refused."""
    finding, verdict = subject.finding, subject.verdict
    if finding is None or finding.state is not State.OPEN or not _may_flag(subject.row, policy):
        return None
    if not isinstance(verdict, Drift) or verdict.kind is not Kind.MISSING or finding.kind is not Kind.MISSING:
        return None
    if finding.previous_status is not None:  # the application took our flag off: that stays
        return None
    return _flagging(Change(finding, finding.row_id, subject.row, finding.kind, verdict.cause, State.OPEN, "opened"))


def _grace_over(subject: Subject, now: datetime, policy: Policy) -> bool:
    finding = subject.finding
    return finding is not None and now >= finding.suspected_at + grace(finding.kind, subject.row, now, policy)


def grace(kind: Kind, row: Row | None, now: datetime, policy: Policy) -> timedelta:
    """Return how long a kind stays suspected; a row younger than `young_age` has the longer grace."""
    match kind:
        case Kind.ORPHAN | Kind.LEFTOVER:
            return policy.orphan_grace
        case Kind.MISSING | Kind.MISMATCH:
            young = row is not None and row.created_at is not None and now - row.created_at < policy.young_age
            return max(policy.young_grace, policy.missing_grace) if young else policy.missing_grace


def next_look(subject: Subject, change: Change | None, attempt: int, now: datetime, policy: Policy) -> Look | None:
    """Say when to look again: soon while nothing is proven, at the end of a grace, rarely once open."""
    finding, verdict = subject.finding, subject.verdict
    if isinstance(verdict, Undecided):
        if not verdict.asked:
            return Look(timedelta(0), attempt, "not asked")
        return Look(backoff(policy.look_again, attempt, policy), attempt + 1, verdict.reason)
    state = change.state if change else finding.state if finding else None
    if state is None or state in FINAL:
        return Look(policy.orphan_grace, 0, "deleted") if state is State.DELETED and change else None
    if state is State.SUSPECTED:
        restarts = change is not None and change.act in {"suspected", "changed"}
        since = now if restarts or finding is None else finding.suspected_at
        left = since + grace(_kind(subject), subject.row, now, policy) - now
        if left > timedelta(0) or restarts:
            return Look(max(left, timedelta(0)), 0, "grace")
    if state is State.IGNORED:
        return Look(policy.look_again_most, attempt, str(state))
    again = 0 if change is not None and change.act in OPENING else attempt
    return Look(backoff(AFTER_OPENING, again, policy), again + 1, str(state))


def backoff(first: timedelta, attempt: int, policy: Policy) -> timedelta:
    """Double the wait at each attempt, up to `look_again_most`."""
    return min(first * (1 << min(attempt, 24)), policy.look_again_most)
