"""Tells the one reconciler what was read of objects, and takes down what it makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from reconcile.life import Subject, step, subjects
from reconcile.model import Drift as Drifting
from reconcile.model import (
    Hashed,
    Healthy,
    Hint,
    Known,
    ObjectRef,
    ObjectSide,
    Policy,
    Told,
    Undecided,
)
from reconcile.reconciler import World, reconcile
from reconcile.repair.triage import TRIES
from reconcile.scrubs.contents import Fault, Found
from reconcile.steps import Step, Tally
from reconcile.store.heads import NO_NAME
from reconcile.sweeps.confirm import told_of
from reconcile.sweeps.drift import Class


@dataclass
class Telling:
    """A look that knows what was read; `judged` is what it made of each, `heard` what was committed."""

    contents: Mapping[ObjectRef, Hashed]
    number: int
    judged: dict[ObjectRef, tuple[list[Subject], ObjectSide]] = field(default_factory=dict)
    heard: set[ObjectRef] = field(default_factory=set)

    def done(self, world: World, refs: Sequence[ObjectRef], alive: Callable[[], object]) -> Tally:
        """Look at each; what was busy is looked at again."""
        tally = Tally()
        for _ in range(TRIES):
            alive()
            left = [ref for ref in refs if ref not in self.heard]
            facts = Told({"scrub": self.number, "named_by": "scrub"})
            hints = [Hint(ref, named_by="scrub", evidence=facts) for ref in left]
            tally += reconcile(world, hints, self.decide, self.hear)
        return tally

    def decide(self, ref: ObjectRef, known: Known, side: ObjectSide, now: datetime, policy: Policy) -> Step:
        """Decide as every look does, with what was read."""
        content = self.contents.get(ref)
        self.judged[ref] = list(subjects(ref, known, side, content)), side
        return step(ref, known, side, now, policy, content)

    def hear(self, steps: Sequence[Step]) -> None:
        """Take down what was committed."""
        self.heard.update(one.ref for one in steps)

    def report(self, ref: ObjectRef, found: Found) -> None:
        """Add what is so of one reference, of its rows alone; an object without a row is the sweep's business."""
        judged, side = self.judged.get(ref, ([], NO_NAME))
        told = [one for one in judged if one.row_id]
        unproven = [one.verdict.reason for one in told if isinstance(one.verdict, Undecided)]
        if ref not in self.heard or unproven:
            found.totals["unknown"] += 1
            found.faults.append(Fault(ref.key, ref.s3_version, "", (*unproven, "busy; the next cycle reads it")[0]))
            return
        drifts = [one for one in told if isinstance(one.verdict, Drifting)]
        found.totals["healed"] += sum(
            isinstance(one.verdict, Healthy) and one.finding is not None and one.finding.hashed is not None
            for one in told
        )
        found.totals["changed_meanwhile"] += not drifts and ref not in self.contents
        for one in drifts:
            kind = Class(one.verdict.kind.value) if isinstance(one.verdict, Drifting) else Class.MISMATCH
            found.totals[kind] += 1
            found.drifts.append(told_of(ref, one, side, kind))
