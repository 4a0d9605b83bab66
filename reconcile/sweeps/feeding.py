"""What `--fix` and `--baseline` do with a sweep's drifts: the one reconciler looks at each anew, and writes.

It writes as the stream does, under the same brake. Objects are never deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from time import monotonic, sleep
from typing import NamedTuple

from reconcile.life import Input, Subject
from reconcile.model import Facts, Hint, ObjectRef, ObjectSide, State, Told
from reconcile.patience import patiently
from reconcile.reconciler import reconcile
from reconcile.repair.triage import BATCH, Deed, Named, Outcome, batches, carried_out, still_drifting
from reconcile.steps import Tally
from reconcile.sweeps.drift import HELD_BY_BRAKE, HELD_BY_WINDOW, Class, Drift
from reconcile.world import LiveWorld

BEYOND_GRACE = timedelta(seconds=30)
FLAGGED = "its row is flagged"
HELD_BACK = {
    HELD_BY_BRAKE: "the brake holds {:,} of them, so they are not flagged: brake status; brake release if they are so",
    HELD_BY_WINDOW: "a suppression window holds {:,} of them, until it ends: suppress list",
}


class Time(NamedTuple):
    """Whose time it is: monotonic seconds, and what waits for some to pass."""

    now: Callable[[], float] = monotonic
    pause: Callable[[float], None] = sleep


REAL = Time()


def feed(
    world: LiveWorld,
    drifts: Iterable[Drift],
    number: int,
    alive: Callable[[], object],
    time: Time = REAL,
) -> Tally:
    """Let the reconciler look at every drift and at what healed, and drain the looks that follow.

    `alive` is called now and then, so that a lease is kept.
    """
    tally, refs = Tally(), set[ObjectRef]()
    for batch in batches(one for one in drifts if one.kind is not Class.LOOKALIKE):
        alive()
        hints = [hint_of(one, number) for one in batch]
        tally += patiently(partial(reconcile, world, hints), time.pause)
        refs.update(
            hint.ref for hint, one in zip(hints, batch, strict=True) if one.kind in {Class.MISSING, Class.MISMATCH}
        )
    alive()
    return tally + drain(world, refs, time)


def hint_of(one: Drift, number: int) -> Hint:
    """Name a drift's reference, with the sweep as evidence."""
    facts: Facts = {"sweep": number, "named_by": "sweep"}
    return Hint(ObjectRef(one.bucket, one.key, one.s3_version), named_by="sweep", evidence=Told(facts))


def drain(world: LiveWorld, refs: set[ObjectRef], time: Time = REAL) -> Tally:
    """Do looks of these that are due until none is merely suspected, or the grace is long over.

    No other look is done: it may be of what this was not asked to write. A consumer that runs beside may be first.
    """
    end = time.now() + (world.policy.missing_grace + BEYOND_GRACE).total_seconds()
    return sum((drained(world, set(some), end, time) for some in batches(sorted(refs), 2 * BATCH)), Tally())


def drained(world: LiveWorld, refs: set[ObjectRef], end: float, time: Time) -> Tally:
    """Do the same for some, as many as can be asked for at once; what is due is done though the time is over."""
    tally, is_over = Tally(), False
    while not is_over and (refs := suspected(world, refs)):
        is_over = time.now() >= end
        due = world.due(len(refs), refs)
        tally += patiently(partial(reconcile, world, due), time.pause)
        if not due and not is_over:
            time.pause(0.2)
    return tally


def held_back(tally: Tally) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return what the brake and suppression windows held back: the totals by name, and a note of each."""
    counts = {HELD_BY_BRAKE: tally.braked, HELD_BY_WINDOW: tally.suppressed}
    totals = {name: count for name, count in counts.items() if count}
    return totals, tuple(HELD_BACK[name].format(count) for name, count in totals.items())


def suspected(world: LiveWorld, refs: set[ObjectRef]) -> set[ObjectRef]:
    """Return those with a finding of a row that is not open yet."""
    known = world.glance(sorted(refs)) if refs else {}
    return {
        ref
        for ref, one in known.items()
        if any(finding.state is State.SUSPECTED and finding.row_id and not finding.held_by for finding in one.findings)
    }


def keep_as_known(world: LiveWorld, drifts: Iterable[Drift], number: int, alive: Callable[[], object]) -> int:
    """Take what is found as known: each becomes a finding that is ignored, for triage, and silent everywhere.

    Returns how many were left as they are, since their rows are flagged: those are no news, but damage that was told.
    """
    quiet = replace(world, policy=replace(world.policy, flagging=False), silent=True)
    deed = Deed(Input.IGNORE, f"known since sweep {number}", unflagged)
    left = 0
    for batch in batches(one for one in drifts if one.kind not in {Class.LOOKALIKE, Class.HEALED}):
        alive()
        subjects = [(ObjectRef(one.bucket, one.key, one.s3_version), one.row_id) for one in batch]
        known = quiet.glance([ref for ref, _ in subjects])
        ids = {(ref, one.row_id): one.id for ref, there in known.items() for one in there.findings}
        seen = [Hint(ref, named_by="sweep") for ref, there in known.items() if there.findings]
        patiently(partial(reconcile, quiet, seen))  # first what a look makes of what is there: it may open, or heal
        named = [Named(finding, *subject) for subject, finding in (dict.fromkeys(subjects) | ids).items()]
        outcomes = patiently(partial(taken, quiet, deed, named))
        left += sum(one.told == FLAGGED for one in outcomes)
    return left


def taken(world: LiveWorld, deed: Deed, named: list[Named]) -> list[Outcome]:
    """Do a deed on each, and return what became of them."""
    return list(carried_out(world, deed, named, "sweep"))


def unflagged(subject: Subject, side: ObjectSide, now: datetime) -> str:
    """Say why a finding is not to be taken as known: its row is flagged, or it is not what it was."""
    if subject.finding is not None and subject.finding.previous_status is not None:
        return FLAGGED
    return still_drifting(subject, side, now)
