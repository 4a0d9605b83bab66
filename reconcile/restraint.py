"""What holds a change back: the brake, a person's suppression window, and buckets that cannot be read. Pure.

A mass of flags is not believed: the brake trips, latches and holds the whole batch that would cross it, until a
person releases it. What was released is flagged without being counted again. While a window is on, nothing that it
covers opens, nor is flagged; it goes before the brake, which counts nothing of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from reconcile.filters import matching
from reconcile.life import OPENING
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
from reconcile.steps import Change, Flag, Look, Step

ALL_BUCKETS = ""
HELD_LOOK = Look(timedelta(hours=1), 0, "held by the brake")
SUPPRESS = "suppress"
WINDOW = "window "  # and its number, in `held_by`
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
    bucket) the flags in the window and by bucket the live rows (empty before the first count). `set` is what persons
    have set.
    """

    active: frozenset[tuple[Kind, str]] = frozenset()
    recent: Mapping[tuple[Kind, str], int] = field(default_factory=dict)
    live: Mapping[str, int] = field(default_factory=dict)
    set: Sequence[Restraint] = ()


@dataclass(frozen=True, slots=True)
class Trip:
    """A brake that this batch sets, and why, in numbers."""

    kind: Kind
    bucket: str
    why: str


def braked(change: Change) -> Kind | None:
    """Tell which brake counts this change: a new flag, or an orphan that opens; None for all else."""
    if isinstance(change.effect, Flag):
        return Kind.MISSING if change.act == "flagged" else None
    orphan = change.kind in {Kind.ORPHAN, Kind.LEFTOVER}
    released = change.before is not None and change.before.held_by == "released"
    return Kind.ORPHAN if orphan and change.act == "opened" and not released else None


def restrainable(change: Change) -> bool:
    """Tell whether a restraint may hold this change: a flag, or a finding that opens."""
    return change.act in OPENING


def restrain(steps: Sequence[Step], restraints: Restraints, brake: Brake) -> tuple[list[Step], list[Trip]]:
    """Hold what a window or an active brake covers, and set the brakes that this batch would cross."""
    steps = [_suppressed(step, restraints.set) for step in steps]
    wanted = Counter((kind, step.ref.bucket) for step in steps for kind in map(braked, step.changes) if kind)
    covered = {pair for pair in wanted if _covered(pair, restraints.active)}
    free = {pair: count for pair, count in wanted.items() if pair not in covered}
    trips = list(_trips(free, restraints, brake))
    active = restraints.active | {(trip.kind, trip.bucket) for trip in trips}
    return [_held(step, active) for step in steps], trips


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


def _covered(pair: tuple[Kind, str], active: frozenset[tuple[Kind, str]]) -> bool:
    kind, _ = pair
    return pair in active or (kind, ALL_BUCKETS) in active


def _trips(wanted: Mapping[tuple[Kind, str], int], restraints: Restraints, brake: Brake) -> Iterable[Trip]:
    for kind in sorted({kind for kind, _ in wanted}):
        total = sum(n for (k, _), n in (*restraints.recent.items(), *wanted.items()) if k is kind)
        limit = most_flags(sum(restraints.live.values()), brake)
        if total > limit:
            yield Trip(kind, ALL_BUCKETS, f"{total} within {brake.window}, {limit} are believed")
            continue
        for bucket in sorted(b for k, b in wanted if k is kind):
            count = wanted[kind, bucket] + restraints.recent.get((kind, bucket), 0)
            share = restraints.live.get(bucket, 0) * brake.bucket_share
            if kind is Kind.MISSING and count >= brake.bucket_floor and bucket in restraints.live and count > share:
                yield Trip(kind, bucket, f"{count} of {restraints.live[bucket]} live rows within {brake.window}")


def most_flags(live_rows: int, brake: Brake) -> int:
    """Return how many flags within the window are believed, over all buckets."""
    return min(max(brake.floor, int(live_rows * brake.share)), brake.most)


def _held(step: Step, active: frozenset[tuple[Kind, str]]) -> Step:
    kinds = [braked(change) for change in step.changes]
    if not any(kind and _covered((kind, step.ref.bucket), active) for kind in kinds):
        return step
    changes = [
        _hold(change, "brake") if kind and _covered((kind, step.ref.bucket), active) else change
        for change, kind in zip(step.changes, kinds, strict=True)
    ]
    look = step.look if step.look and step.look.reason == "grace" else HELD_LOOK
    return replace(step, changes=tuple(change for change in changes if change is not None), look=look)


def _hold(change: Change, by: str) -> Change | None:
    """Turn a change into one that waits; one that waits already, for this or for a release, changes nothing."""
    before = change.before
    if before is not None and before.held_by in {"brake", by}:
        return None
    state = before.state if before else State.SUSPECTED
    return replace(change, state=state, act="held", effect=None, held_by=by, previous_status=None)


def silence(objects: Mapping[ObjectRef, ObjectSide]) -> tuple[Counter[str], set[str]]:
    """Tell how many keys of each bucket that gave no answer were asked for, and which buckets answered."""
    answered = {ref.bucket for ref, side in objects.items() if isinstance(side, Present | Absent)}
    silent = Counter(ref.bucket for ref, side in objects.items() if isinstance(side, Unknown))
    return Counter({bucket: count for bucket, count in silent.items() if bucket not in answered}), answered
