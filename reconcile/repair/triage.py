"""A person's act on findings: decided after a look at both sides, by the one reconciler, kept with who and why.

First each finding is looked at, as always; the act is done only if that look changed nothing about the finding. An act
that needs no proof, such as ignoring, asks MinIO nothing. A plan is the same act over a Trial, which writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple, TypeVar

from reconcile.life import LIFE, Input, Subject, by_hand, next_change, next_look, subjects
from reconcile.model import (
    FINAL,
    Drift,
    Facts,
    Finding,
    Hint,
    Known,
    NotAsked,
    ObjectRef,
    ObjectSide,
    Policy,
    Told,
    Unavailable,
    Undecided,
)
from reconcile.reconciler import Decide, Hear, World, apply, reconcile
from reconcile.reconciler import Look as Glanced
from reconcile.restraint import WINDOW
from reconcile.steps import NOT_ASKED, Change, Effect, Step, Tally
from reconcile.steps import Look as Next

BATCH = 200  # findings that are done in one transaction
TRIES = 3
MOVED = "a look changed it"
HELD = "held by"  # the brake, or a window
BUSY = "it is gone, or busy; try again"
BEGUN = "; its deletion had begun already: orphans undo brings back what is gone"
NOBODY = -1  # a number of asks that no look has: so a planned look may come sooner, but is neither deleted nor delayed
T = TypeVar("T")


def batches(things: Iterable[T], together: int = BATCH) -> Iterator[list[T]]:
    """Yield things some at a time."""
    there = iter(things)
    while batch := list(islice(there, together)):
        yield batch


class Named(NamedTuple):
    """A finding by its id, or a row that has none yet, and where it is."""

    finding: int | None
    ref: ObjectRef
    row_id: str = ""


class Outcome(NamedTuple):
    """What became of one: done, or why not, in words for a person; `again` where it is still to be done.

    Another try may do it, or one that is given what the words ask for; anything else needs nothing more.

    `beside` is what a person should know of this one, such as the version that supersedes it.
    """

    named: Named
    done: bool
    told: str
    again: bool = False
    beside: str = ""


Unfit = Callable[[Subject, ObjectSide, datetime], str]


def as_it_is(_: Subject, __: ObjectSide, ___: datetime) -> str:
    """Ask nothing of the two sides."""
    return ""


def still_drifting(subject: Subject, _: ObjectSide, __: datetime) -> str:
    """Say why a finding is not what it was, `''` where a look just proved that it is."""
    match subject.verdict:
        case Drift(kind) if subject.finding is None or kind is subject.finding.kind:
            return ""
        case Drift(kind):
            return f"it is {kind} by now"
        case Undecided(reason):
            return f"nothing could be proven: {reason}"
        case verdict:
            return getattr(verdict, "why", "the row carries a flag that is not ours")


@dataclass
class Deed:
    """One act on many findings.

    `unfit` says why a finding is left alone, `lapsed` why its approval is withdrawn instead. `effect` is what happens
    to the row besides, `facts` go into the evidence, and `after` is when it is looked at again (None: as its life
    says). `through` is `unasked` for what needs no proof.
    """

    act: Input
    why: str = ""
    unfit: Unfit = still_drifting
    lapsed: Unfit = as_it_is
    effect: Callable[[Subject], Effect | None] = lambda _: None
    facts: Callable[[Subject, ObjectSide], Facts] = lambda _, __: {}
    held_by: str | None = None
    previous_status: str | None = None
    after: timedelta | None = None
    through: Callable[[World, Sequence[Hint], Decide, Hear], Tally] = reconcile
    wanted: dict[tuple[ObjectRef, str], Named] = field(default_factory=dict)
    meant: dict[Named, str | None] = field(default_factory=dict)
    outcomes: dict[Named, Outcome] = field(default_factory=dict)

    def decide(self, ref: ObjectRef, known: Known, side: ObjectSide, now: datetime, policy: Policy) -> Step:
        """Do what a look does, and the act on whatever it leaves as it is."""
        changes: list[Change] = []
        looks: list[Next | None] = []
        for subject in subjects(ref, known, side):
            change = next_change(subject, now, policy)
            mine = self._mine(ref, subject, change, side, now)
            if mine is not None:
                changes.append(mine)
                looks.append(self._look(subject, mine, known.attempt, now, policy))
                continue
            if change is not None:
                changes.append(change)
            if not isinstance(side, NotAsked):  # else the look that is planned stays
                looks.append(next_look(subject, change, known.attempt, now, policy))
        return Step(ref, tuple(changes), min(filter(None, looks), key=lambda look: look.after, default=None), side)

    def _mine(
        self, ref: ObjectRef, subject: Subject, looked: Change | None, side: ObjectSide, now: datetime
    ) -> Change | None:
        named = self.wanted.get((ref, subject.row_id))
        if named is None or (named.finding and (subject.finding is None or subject.finding.id != named.finding)):
            return None
        change, why = self._changed(subject, looked, side, now)
        resolves_first = self.act is Input.ADOPT and looked is not None and looked.state in FINAL  # of others' flags
        if why and not resolves_first:
            again = isinstance(subject.verdict, Undecided) and subject.verdict.asked
            self.outcomes[named] = Outcome(named, done=False, told=why, again=again)
        if change is not None:
            self.meant[named] = subject.finding.held_by if subject.finding else None
        return change

    def _look(self, subject: Subject, mine: Change, attempt: int, now: datetime, policy: Policy) -> Next | None:
        if self.after is not None:
            return Next(self.after, 0, mine.act)
        if isinstance(subject.verdict, Undecided) and not subject.verdict.asked:
            return Next(policy.look_again_most, attempt, mine.act)
        return next_look(subject, mine, attempt, now, policy)

    def _changed(
        self, subject: Subject, moved: Change | None, side: ObjectSide, now: datetime
    ) -> tuple[Change | None, str]:
        if moved is not None and subject.finding is not None:
            if (moved.state, moved.act) == LIFE.get((subject.finding.state, self.act)):  # the look did the same
                return replace(moved, why=self.why, facts=self.facts(subject, side)), ""
            return None, f"{MOVED}: {moved.act}{f', {moved.why}' if moved.why else ''}"
        if why := self.lapsed(subject, side, now):
            lapse = by_hand(subject, Input.REOPEN)
            return lapse and replace(lapse, why=why), why
        if why := self.unfit(subject, side, now):
            return None, why
        change = by_hand(subject, self.act)
        if change is None:
            return None, _not_in_its_life(subject.finding)
        released = change.held_by if change.held_by == "released" else None  # that brake has counted it already
        return replace(
            change,
            why=self.why,
            effect=self.effect(subject),
            facts=self.facts(subject, side),
            held_by=self.held_by or released,
            previous_status=self.previous_status or change.previous_status,
        ), ""

    def hear(self, steps: Sequence[Step]) -> None:
        """Take down what was committed; of what was meant and is not there, that it is still held back."""
        written = {one.ref: one for one in steps}
        for (ref, row_id), named in self.wanted.items():
            if ref not in written or named in self.outcomes or named not in self.meant:
                continue
            mine = (one for one in written[ref].changes if one.row_id == row_id and _is_of(one, named))
            self.outcomes[named] = _committed(named, next(mine, None), self._holder(named, written[ref]))

    def _holder(self, named: Named, step: Step) -> str | None:
        """Return what holds back a change that is not there: what held it before, or a window that its look names."""
        before = self.meant[named]
        waits = step.look.reason if step.look else ""
        return waits if before == "released" and waits.startswith(WINDOW) else before


def _is_of(change: Change, named: Named) -> bool:
    return change.before is None or change.before.id == named.finding


def _committed(named: Named, change: Change | None, held_by: str | None) -> Outcome:
    """Tell what became of a change that was meant, held back by `held_by` before."""
    if change is None or change.act == "held":
        by = change.held_by if change else held_by
        return Outcome(named, done=False, told=f"{HELD} {'the brake' if by in {'brake', 'released'} else by}")
    refused = change.act == "refused"
    was_begun = change.act == "approval withdrawn" and change.before is not None and change.before.erasing
    told = change.why if refused else change.act + (BEGUN if was_begun else "")
    return Outcome(named, not refused, told, again=refused)


def _not_in_its_life(finding: Finding | None) -> str:
    return f"it is {finding.kind}, {finding.state}" if finding else "it is none of ours"


def unasked(world: World, hints: Sequence[Hint], decide: Decide, hear: Hear) -> Tally:
    """Decide and commit without asking anything of MinIO; a look that is planned comes no later for it."""
    by_ref = {hint.ref: hint for hint in hints}
    known = {ref: one._replace(asks=NOBODY) for ref, one in world.glance(sorted(by_ref)).items()}
    return apply(world, Glanced(sorted(by_ref), by_ref, known, dict.fromkeys(by_ref, NOT_ASKED), decide, hear))


def carried_out(world: World, deed: Deed, named: Iterable[Named], by: str = "triage") -> Iterator[Outcome]:
    """Do the deed on each, some at a time, and yield what became of it; one that was busy is tried again.

    What was done before a server went away is told before that is raised.
    """
    for batch in batches(named):
        deed.wanted = {(one.ref, one.row_id): one for one in batch}
        deed.meant, deed.outcomes = {}, {}
        outage: Unavailable | None = None
        try:
            _tried(world, deed, batch, by)
        except Unavailable as error:
            outage = error
        for one in batch:
            if one in deed.outcomes or outage is None:
                yield deed.outcomes.get(one, Outcome(one, done=False, told=BUSY, again=True))
        if outage is not None:
            raise outage


def _tried(world: World, deed: Deed, batch: Sequence[Named], by: str) -> None:
    for _ in range(TRIES):
        refs = dict.fromkeys(one.ref for one in batch if one not in deed.outcomes)
        hints = [Hint(ref, named_by=by, evidence=Told({"named_by": by})) for ref in refs]
        if hints:
            deed.through(world, hints, deed.decide, deed.hear)
