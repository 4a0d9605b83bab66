"""What holds a change back: the brake, a person's suppression window or rule, buckets that cannot be read. Pure.

A mass of flags is not believed: the brake trips, latches and holds the whole batch that would cross it, until a
person releases it. What was released is flagged without being counted again. While a window is on, nothing that it
covers opens, nor is flagged; it goes before the brake, which counts nothing of it. What an ignore rule covers is
ignored when it is first seen, or at the latest where it would open; that goes before all else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from reconcile.config.filters import matching
from reconcile.life import LIFE, OPENING, Input
from reconcile.model import (
    Absent,
    Brake,
    Kind,
    ObjectRef,
    ObjectSide,
    Present,
    State,
    Unknown,
)
from reconcile.steps import Change, Flag, Look, Purge, Step
from reconcile.store.heads import NO_NAME

ALL_BUCKETS = ""
PURGES = "purge"  # a brake of its own, beside those of the kinds MISSING and ORPHAN
COUNTED = {Kind.MISSING: "flagged", Kind.ORPHAN: "opened", PURGES: "purged"}  # which acts each brake counts
HELD_LOOK = Look(timedelta(hours=1), 0, "held by the brake")
SUPPRESS = "suppress"
IGNORE = "ignore"
WINDOW, RULE = "window ", "rule "  # and its number, in `held_by`
BEGINNING = frozenset({"suspected", "changed"})
UNREADABLE_AT = 10


@dataclass(frozen=True, slots=True)
class Restraint:
    """A person's restraint in force: on the keys of a bucket (`''`: all) that match a pattern (None: all).

    `kind` is the only one that it covers (None: all), `left` how long it still lasts (None: until it is lifted).
    """

    id: int
    effect: str
    bucket: str = ALL_BUCKETS
    kind: Kind | None = None
    pattern: str | None = None
    left: timedelta | None = None

    def covers(self, ref: ObjectRef, kind: Kind) -> bool:
        """Tell whether it holds what becomes of a reference."""
        here = self.bucket in {ALL_BUCKETS, ref.bucket} and self.kind in {None, kind}
        return here and (self.pattern is None or bool(matching(self.pattern)(ref.key)))


@dataclass(frozen=True, slots=True)
class Restraints:
    """What holds changes back, as read under the brake's lock.

    `active` holds (kind, bucket) pairs of brakes, with the bucket `''` for all; `recent` and `live` count by (kind,
    bucket) the flags in the window and by bucket the live rows (empty before the first count), of what they were asked
    to count for. A kind is a finding's, or PURGES. `set` is what persons have set.
    """

    active: frozenset[tuple[str, str]] = frozenset()
    recent: Mapping[tuple[str, str], int] = field(default_factory=dict)
    live: Mapping[str, int] = field(default_factory=dict)
    set: Sequence[Restraint] = ()


@dataclass(frozen=True, slots=True)
class Trip:
    """A brake that this batch sets, and why, in numbers."""

    kind: str
    bucket: str
    why: str


def braked(change: Change) -> str | None:
    """Tell which brake counts this change: a new flag, a purge, or an orphan that opens; None for all else."""
    released = change.before is not None and change.before.held_by == "released"
    if isinstance(change.effect, Flag):
        return Kind.MISSING if change.act == "flagged" else None
    if isinstance(change.effect, Purge):
        return None if released else PURGES
    orphan = change.kind in {Kind.ORPHAN, Kind.LEFTOVER}
    return Kind.ORPHAN if orphan and change.act == "opened" and not released else None


def restrainable(change: Change) -> bool:
    """Tell whether a restraint may hold this change: a flag, a finding that opens, a purge."""
    return change.act in OPENING or isinstance(change.effect, Purge)


def begins(change: Change) -> bool:
    """Tell whether a suspicion begins with this change, so that a rule may have it ignored."""
    return change.act in BEGINNING and change.state is State.SUSPECTED


def counted(steps: Sequence[Step]) -> Counter[tuple[str, str]]:
    """Count by (kind, bucket) what the brakes count."""
    return Counter((kind, step.ref.bucket) for step in steps for kind in map(braked, step.changes) if kind)


def restrain(steps: Sequence[Step], restraints: Restraints, brake: Brake) -> tuple[list[Step], list[Trip]]:
    """Ignore what a rule covers, hold what a window or an active brake does, and set the brakes that this crosses."""
    steps = [_suppressed(step, restraints.set) for step in ignore(steps, restraints.set)]
    trips = foreseen(counted(steps), restraints, brake)
    active = restraints.active | {(trip.kind, trip.bucket) for trip in trips}
    return [_held(step, active) for step in steps], trips


def ignore(steps: Sequence[Step], restraints: Sequence[Restraint]) -> list[Step]:
    """Ignore what begins or opens and is covered by a rule; the look that is planned stays, so that healing goes on."""
    rules = [one for one in restraints if one.effect == IGNORE]
    if not rules:
        return list(steps)
    return [replace(one, changes=tuple(_ignored(one.ref, each, rules) for each in one.changes)) for one in steps]


def _ignored(ref: ObjectRef, change: Change, rules: Sequence[Restraint]) -> Change:
    rule = next((one for one in rules if one.covers(ref, change.kind)), None)
    if rule is None or not (begins(change) or change.act in OPENING):
        return change
    found = LIFE.get((change.before.state if change.before else None, Input.IGNORE))
    if found is None:
        return change
    state, act = found
    by = f"{RULE}{rule.id}"
    return replace(change, state=state, act=act, effect=None, previous_status=None, held_by=by, why=by)


def foreseen(wanted: Mapping[tuple[str, str], int], restraints: Restraints, brake: Brake) -> list[Trip]:
    """Return the brakes that so many changes, counted by (kind, bucket), would set beside those that are on."""
    return list(
        _trips({pair: n for pair, n in wanted.items() if not covered(pair, restraints.active)}, restraints, brake)
    )


def _suppressed(step: Step, restraints: Sequence[Restraint]) -> Step:
    """Hold what a window covers; what one has held goes on where none does any more."""
    windows = [one for one in restraints if one.effect == SUPPRESS]
    changes: list[Change] = []
    look = step.look
    for change in step.changes:
        window = next((one for one in windows if one.covers(step.ref, change.kind)), None)
        if window is None or not restrainable(change):
            changes.append(_without_window(change))
            continue
        changes += filter(None, [_hold(change, f"{WINDOW}{window.id}")])
        again = Look(min(HELD_LOOK.after, window.left or HELD_LOOK.after), 0, f"{WINDOW}{window.id}")
        look = step.look if step.look and step.look.reason == "grace" else again
    return replace(step, changes=tuple(changes), look=look)


def _without_window(change: Change) -> Change:
    held = change.held_by is not None and change.held_by.startswith(WINDOW)
    return replace(change, held_by=None) if held and restrainable(change) else change


def covered(pair: tuple[str, str], active: frozenset[tuple[str, str]]) -> bool:
    """Tell whether a brake that is on holds changes of a kind in a bucket; no purge passes the brake of flags."""
    kind, bucket = pair
    kinds = {kind, Kind.MISSING} if kind == PURGES else {kind}
    return any((one, where) in active for one in kinds for where in (bucket, ALL_BUCKETS))


def _trips(wanted: Mapping[tuple[str, str], int], restraints: Restraints, brake: Brake) -> Iterable[Trip]:
    for kind in sorted({kind for kind, _ in wanted}):
        total = sum(n for (k, _), n in (*restraints.recent.items(), *wanted.items()) if k == kind)
        limit = most_flags(sum(restraints.live.values()), brake)
        if total > limit:
            yield Trip(kind, ALL_BUCKETS, f"{total} within {brake.window}, {limit} are believed")
            continue
        for bucket in sorted(b for k, b in wanted if k == kind):
            count = wanted[kind, bucket] + restraints.recent.get((kind, bucket), 0)
            share = restraints.live.get(bucket, 0) * brake.bucket_share
            if kind != Kind.ORPHAN and count >= brake.bucket_floor and bucket in restraints.live and count > share:
                yield Trip(kind, bucket, f"{count} of {restraints.live[bucket]} live rows within {brake.window}")


def most_flags(live_rows: int, brake: Brake) -> int:
    """Return how many flags within the window are believed, over all buckets."""
    return min(max(brake.floor, int(live_rows * brake.share)), brake.most)


def _meets(change: Change) -> str | None:
    """Tell which brake may hold this change: a purge that was released from its own still meets that of flags."""
    return Kind.MISSING if isinstance(change.effect, Purge) and braked(change) is None else braked(change)


def _held(step: Step, active: frozenset[tuple[str, str]]) -> Step:
    kinds = [_meets(change) for change in step.changes]
    if not any(kind and covered((kind, step.ref.bucket), active) for kind in kinds):
        return step
    changes = [
        _hold(change, "brake") if kind and covered((kind, step.ref.bucket), active) else change
        for change, kind in zip(step.changes, kinds, strict=True)
    ]
    look = step.look if step.look and step.look.reason == "grace" else HELD_LOOK
    return replace(step, changes=tuple(change for change in changes if change is not None), look=look)


def _hold(change: Change, by: str) -> Change | None:
    """Turn a change into one that waits; one that waits already, for this or for a release, changes nothing.

    Nor does one that was released, and meets another brake or a window: it would be counted once more after that.
    """
    before = change.before
    if before is not None and before.held_by in {"brake", "released", by}:
        return None
    state, status = (before.state, before.previous_status) if before else (State.SUSPECTED, None)
    return replace(change, state=state, act="held", effect=None, held_by=by, previous_status=status)


def holder(step: Step) -> str:
    """Return what holds a reference, newly or still: `braked` or `suppressed`, `''` for nothing."""
    reason = step.look.reason if step.look else ""
    if reason == HELD_LOOK.reason:
        return "braked"
    return "suppressed" if reason.startswith(WINDOW) else ""


def silence(objects: Mapping[ObjectRef, ObjectSide]) -> tuple[Counter[str], set[str]]:
    """Tell how many keys of each bucket that gave no answer were asked for, and which buckets answered.

    A name that MinIO cannot hold says nothing of its bucket.
    """
    answered = {ref.bucket for ref, side in objects.items() if isinstance(side, Present | Absent)}
    silent = Counter(ref.bucket for ref, side in objects.items() if isinstance(side, Unknown) and side != NO_NAME)
    return Counter({bucket: count for bucket, count in silent.items() if bucket not in answered}), answered
