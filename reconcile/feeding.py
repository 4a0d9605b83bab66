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

from reconcile.drift import Class, Drift
from reconcile.life import Input, Subject
from reconcile.model import Facts, Hint, ObjectRef, ObjectSide, State, Told
from reconcile.patience import patiently
from reconcile.reconciler import reconcile
from reconcile.steps import Tally
from reconcile.triage import TOGETHER, Deed, Named, batches, carried_out, unasked
from reconcile.world import LiveWorld

BEYOND_GRACE = timedelta(seconds=30)
FLAGGED = "its row is flagged"


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
    tally, end = Tally(), time.now() + (world.policy.missing_grace + BEYOND_GRACE).total_seconds()
    while (refs := {ref for ref in refs if ref in suspected(world, refs)}) and time.now() < end:
        due = world.due(2 * TOGETHER, refs)
        tally += patiently(partial(reconcile, world, due), time.pause)
        if not due:
            time.pause(0.2)
    return tally


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
    quiet = replace(world, policy=replace(world.policy, flagging=False))
    left = 0
    for batch in batches(one for one in drifts if one.kind not in {Class.LOOKALIKE, Class.HEALED}):
        alive()
        refs = {hint.ref: hint for hint in (hint_of(one, number) for one in batch)}
        patiently(partial(reconcile, quiet, list(refs.values())))
        known = quiet.glance(list(refs))
        named = [Named(finding.id, ref, finding.row_id) for ref in refs for finding in known[ref].findings]
        deed = Deed(Input.IGNORE, f"known since sweep {number}", unflagged, through=unasked)
        left += sum(one.told == FLAGGED for one in carried_out(quiet, deed, named, "sweep"))
    return left


def unflagged(subject: Subject, _: ObjectSide, __: datetime) -> str:
    """Say that a finding's row is flagged, `''` where it is not."""
    return FLAGGED if subject.finding is not None and subject.finding.previous_status is not None else ""
