"""The page to read first: one reconciler, many sources of keys.

Whoever names a reference - an event, a due look, a sweep, a failed read - decides nothing. Both sides are looked at
as they are now, one pure function says what follows, and it is committed in one transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf
from typing import Protocol

import structlog

from reconcile.batch import Unsettled
from reconcile.database import Busy, Crowded, Refused
from reconcile.life import AFTER_OPENING, backoff, step
from reconcile.model import (
    Action,
    Brake,
    Hint,
    Known,
    NotAsked,
    ObjectRef,
    ObjectSide,
    Policy,
    State,
    Unknown,
)
from reconcile.outcome import count, tell
from reconcile.restraint import (
    UNREADABLE_AT,
    Restraint,
    Restraints,
    Trip,
    begins,
    counted,
    ignore,
    restrain,
    restrainable,
    silence,
)
from reconcile.steps import NO_DELAY, Change, Purge, Step, Tally
from reconcile.steps import Look as NextLook

log = structlog.get_logger("reconciler")
SOON = timedelta(seconds=1)
FRESH_S = 5.0
Decide = Callable[[ObjectRef, Known, ObjectSide, datetime, Policy], Step]
Hear = Callable[[Sequence[Step]], object]


def deaf(_: Sequence[Step]) -> None:
    """Hear nothing."""


@dataclass(frozen=True, slots=True)
class Look:
    """A batch that has been looked at: what the database knew before the HEADs, and what those answered.

    `decide` says what follows, `hear` is told what was committed, `refusal` is why the application's tables would not
    take that a moment ago. `fresh_until` is when, by the World's clock, its answers are too old to be believed: whoever
    was kept waiting, or stopped, must ask again.
    """

    refs: Sequence[ObjectRef]
    hints: Mapping[ObjectRef, Hint]
    known: Mapping[ObjectRef, Known]
    objects: Mapping[ObjectRef, ObjectSide]
    decide: Decide = step
    hear: Hear = deaf
    fresh_until: float = inf
    refusal: str | None = None

    def only(self, refs: Sequence[ObjectRef]) -> Look:
        """Return the same look at fewer references."""
        return replace(self, refs=refs)


class Txn(Protocol):
    """One short transaction: what it sees was read anew, plainly, after the HEADs."""

    now: datetime
    seen: Mapping[ObjectRef, Known]

    def restraints(self, counting: Collection[tuple[str, str]]) -> Restraints:
        """Take the brake's lock, and read its state, counts for these (kind, bucket), and what persons have set."""
        ...

    def rules(self) -> Sequence[Restraint]:
        """Read the ignore rules alone, without a lock."""
        ...

    def write(self, steps: Sequence[Step], trips: Sequence[Trip], look: Look, moved: set[ObjectRef]) -> set[ObjectRef]:
        """Lock the rows to be written, read once more, write; returns those that were busy, `moved` among them.

        What was busy gets a look soon, in the same transaction: after it, every hint has an outcome.
        """
        ...


class World(Protocol):
    """Both sides. Live in world.py, in memory for the simulation; one contract suite for both."""

    policy: Policy
    brake: Brake
    unanswered: Counter[str]

    @property
    def look_deadline_s(self) -> float:
        """How long the HEADs of a batch may take."""
        ...

    def clock(self) -> float:
        """Return monotonic seconds, by which it is told how old an answer is."""
        ...

    def glance(self, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, Known]:
        """Read rows, findings and asks of all references in one round trip, without a lock."""
        ...

    def unsettled(self, batches: Iterable[Sequence[Hint]], doubtful: Container[ObjectRef]) -> Iterator[Unsettled]:
        """Yield of each batch, in order, at least what verdict.settled() does not settle, with what is known of it.

        It may ask for the next batch while one is being read. What is `doubtful` is always yielded.
        """
        ...

    def heads(self, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, ObjectSide]:
        """Ask MinIO for each, in this order, under one deadline; raises Unavailable if nothing answers at all."""
        ...

    def due(self, limit: int) -> list[Hint]:
        """Claim at most `limit` looks that are due."""
        ...

    def transaction(self, refs: Sequence[ObjectRef]) -> AbstractContextManager[Txn]:
        """Open the one transaction of a batch."""
        ...

    def ask(self, hints: Sequence[Hint], after: timedelta, reason: str) -> None:
        """Ask for a look at each reference: sooner than planned if one is planned, never later."""
        ...

    def readable(self, silent: Mapping[str, str], answered: set[str]) -> None:
        """Restrain buckets that cannot be read (with the reason), and lift that from those that answered."""
        ...


def reconcile(
    world: World, hints: Sequence[Hint], decide: Decide = step, hear: Hear = deaf, refusal: str | None = None
) -> Tally:
    """Look at both sides of each reference as they are now, and commit what follows.

    References are asked for in the order of the hints, and written in their own order: no two batches deadlock.
    `decide` is the step of a look, or of a person's act (repair/triage.py); `hear` is told what was committed.
    Raises Unavailable when a server does not answer; nothing is written then.
    """
    if not hints:
        return Tally()
    by_ref = {hint.ref: hint for hint in sorted(hints, key=_telling)}
    refs = sorted(by_ref)
    known = world.glance(refs)
    fresh_until = world.clock() + world.look_deadline_s + FRESH_S
    objects = world.heads(list(dict.fromkeys(hint.ref for hint in hints)))
    asked = [ref for ref in refs if not isinstance(objects[ref], NotAsked)]
    tally = postpone(world, [by_ref[ref] for ref in refs if isinstance(objects[ref], NotAsked)])
    tally += apply(world, Look(asked, by_ref, known, objects, decide, hear, fresh_until, refusal))
    note_unreadable(world, objects)
    return tally


def _telling(hint: Hint) -> int:
    """Order hints of one reference so that the one which tells most comes last."""
    return (Action.LOOK, Action.CREATED, Action.REMOVED).index(hint.action)


def postpone(world: World, hints: Sequence[Hint]) -> Tally:
    """Keep hints that there was no room for as looks that are due at once."""
    world.ask(hints, NO_DELAY, "not asked")
    return Tally(not_asked=len(hints))


def apply(world: World, look: Look) -> Tally:
    """Commit a batch; one that a bad row aborts is halved until that row stands alone.

    One that is Crowded, since others keep the brake's lock or a whole table's, is not halved: each half would wait as
    long. All of it is looked at again soon.
    """
    if not look.refs:
        return Tally()
    try:
        return commit(world, look)
    except (Busy, Refused) as error:
        if len(look.refs) > 1 and not isinstance(error, Crowded):
            middle = len(look.refs) // 2
            halves = look.only(look.refs[:middle]), look.only(look.refs[middle:])
            each = apply if isinstance(error, Busy) else again
            return sum((each(world, half) for half in halves), Tally())
        if isinstance(error, Refused) and look.refusal is None:
            return again(world, replace(look, refusal=str(error)))
        return leave(world, look)


def again(world: World, look: Look) -> Tally:
    """Look anew at what was refused: that may have taken until a time-out, and what MinIO said is old by now."""
    return reconcile(world, [look.hints[ref] for ref in look.refs], look.decide, look.hear, look.refusal)


def leave(world: World, look: Look) -> Tally:
    """Leave what is busy for a look soon."""
    log.info("look.busy", refs=len(look.refs))
    world.ask([look.hints[ref] for ref in look.refs], SOON, "busy")
    return Tally(looks=len(look.refs), busy=len(look.refs))


def commit(world: World, look: Look) -> Tally:
    """Read again, decide, restrain, write: the one transaction of a batch.

    Whether answers are too old is asked before it reads: however slowly that goes, a try comes to its end.
    """
    stale = world.clock() > look.fresh_until
    with world.transaction(look.refs) as txn:
        seen = {ref: told_anew(txn.seen[ref], look.hints[ref], look.objects[ref]) for ref in look.refs}
        steps = [look.decide(ref, seen[ref], look.objects[ref], txn.now, world.policy) for ref in look.refs]
        if look.refusal is not None:
            steps = [refused(one, look.refusal, look.known[one.ref].attempt, world.policy) for one in steps]
        moved = {one.ref for one in steps if stale or overtaken(one, look.known[one.ref], txn.seen[one.ref])}
        steps = [one for one in steps if one.ref not in moved]
        trips: list[Trip] = []
        if any(restrainable(change) for one in steps for change in one.changes):
            steps, trips = restrain(steps, txn.restraints(counted(steps)), world.brake)
        elif any(begins(change) for one in steps for change in one.changes):
            steps = ignore(steps, txn.rules())
        busy = txn.write(steps, trips, look, moved)
    written = [one for one in steps if one.ref not in busy]
    tell(written, trips, look.hints)
    look.hear(written)
    return count(written, look, len(busy))


def told_anew(seen: Known, hint: Hint, side: ObjectSide) -> Known:
    """Have what was told anew, and not answered, asked again soon, however often it was looked at before."""
    return seen._replace(attempt=0) if isinstance(side, Unknown) and hint.named_by != "look" else seen


def overtaken(one: Step, before: Known, after: Known) -> bool:
    """Tell whether rows or findings changed since the glance, so that the HEAD may be older than they are.

    A row that appeared and agrees with the HEAD needs nothing, and so nothing is written for it.
    """
    same = before.rows == after.rows and before.findings == after.findings
    return not same and bool(one.changes or one.look)


def refused(one: Step, detail: str, attempt: int, policy: Policy) -> Step:
    """Keep what the application's tables would not take as an open finding that says so; try ever more rarely."""
    if not any(change.effect for change in one.changes):
        return one
    changes = tuple(_without_effect(change, detail) if change.effect else change for change in one.changes)
    return replace(one, changes=changes, look=NextLook(backoff(AFTER_OPENING, attempt, policy), attempt + 1, "refused"))


def _without_effect(change: Change, detail: str) -> Change:
    before, held = (change.before.previous_status, change.before.held_by) if change.before else (None, None)
    is_counted = isinstance(change.effect, Purge) and held == "released"  # it is tried again by each purge
    by = "released" if is_counted else "refused"
    return replace(change, state=State.OPEN, act="refused", effect=None, held_by=by, why=detail, previous_status=before)


def note_unreadable(world: World, objects: Mapping[ObjectRef, ObjectSide]) -> None:
    """Make many unknowns of one bucket a condition of that bucket, which ends once the bucket answers."""
    silent, answered = silence(objects)
    for bucket in answered:
        del world.unanswered[bucket]
    world.unanswered.update(silent)
    reasons = {ref.bucket: side.reason for ref, side in objects.items() if isinstance(side, Unknown)}
    world.readable(
        {bucket: reasons[bucket] for bucket in silent if world.unanswered[bucket] >= UNREADABLE_AT}, answered
    )
