"""The deletion of approved orphans: kept before it is done, done one by one, noted after it, undone if a row appears.

All that is kept goes through the one reconciler: a deed for the beginning, one for the end. Between them a process may
die at any point; an absence that a look proves later is the end, too, and a second run goes on where the first one was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from reconcile import acts
from reconcile.config.filters import OURS
from reconcile.config.settings import Trash
from reconcile.human import duration
from reconcile.life import Input, Subject
from reconcile.model import Facts, Hint, Misconfigured, ObjectRef, ObjectSide, Present, State, Unavailable
from reconcile.reconciler import World, reconcile
from reconcile.repair import orphans
from reconcile.repair.erasing import Erasure, How, changed, erasure, erasure_of, withdrawn
from reconcile.repair.orphans import Kept
from reconcile.repair.trash import ANEW, Bin
from reconcile.repair.triage import Deed, Named, Outcome, as_it_is, batches, carried_out, still_drifting, unasked

LOST = "it could not be brought back"
BEGUN_TOGETHER = 20  # orphans: the others wait as long as their copies take
IN_THE_MIDST = "an outage came in the midst of it: whether it is gone the next run tells"
NOT_NOTED = "it is gone; an outage kept that from being noted, which the next run does"
NO_CONSENT = (
    "no versions of it are kept, and MinIO cannot delete conditionally there: what is uploaded in that very moment"
    " would be lost; --unversioned {} allows it"
)


@dataclass
class Erasing:
    """One run. `unversioned` names the buckets in which a person allows what cannot be done conditionally."""

    bin: Bin
    grace: timedelta
    trash: Trash
    unversioned: frozenset[str]
    why: str = ""
    kept: Mapping[int, Kept] = field(default_factory=dict)
    erasures: dict[int, Erasure] = field(default_factory=dict)
    below: dict[int, str | None] = field(default_factory=dict)
    versioning: dict[str, str] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)

    def planned(self, world: World, batch: Sequence[Named]) -> Iterator[Outcome]:
        """Yield what would become of each, over a world that writes nothing."""
        self._read(batch)
        for one in carried_out(world, self._beginning(), batch, "orphans delete"):
            yield one._replace(told=self.erasures[_id(one.named)].told()) if one.done else self._left(one)

    def erased(self, batch: Sequence[Named]) -> Iterator[Outcome]:
        """Delete each, and yield what became of it; everything is in the history."""
        self._read(batch)
        ended = [one for one in batch if self._was_begun(one)]
        anew = [one for one in ended if self.bin.uncover(one.ref, self.erasures[_id(one)])]
        yield from (self._came_to_light(one) for one in anew)
        yield from self._ended([one for one in ended if one not in anew])
        going: list[Named] = []
        fresh = [one for one in batch if one not in ended]
        self.below = {_id(one): self._below(one.ref) for one in fresh}
        for one in carried_out(self.bin.live, self._beginning(), fresh):
            if one.done:
                going.append(one.named)
            else:
                yield self._told(self._left(one))
        gone: dict[int, Named] = {}
        begun: Named | None = None
        try:
            for begun in going:
                if why := self._taken(begun):
                    yield self._told(Outcome(begun, done=False, told=why, again=True))
                else:
                    gone[_id(begun)] = begun
            begun = None
            for one in self._ended(list(gone.values())):
                del gone[_id(one.named)]
                yield one
        except Unavailable:  # what is gone is told before the run ends; the next one notes it
            yield from (Outcome(one, done=True, told=NOT_NOTED, again=True) for one in gone.values())
            if begun is not None:
                yield Outcome(begun, done=False, told=IN_THE_MIDST, again=True)
            raise

    def reread(self) -> Iterator[Outcome]:
        """Read the rows once more of what is noted as deleted since a grace, as after a run that died; undo what must.

        Yields what had to be.
        """
        with self.bin.live.database.use() as connection:
            lately = orphans.lately(connection, self.grace)
        for batch in batches(Named(one.id, one.ref) for one in lately):
            self._read(batch)
            known = self.bin.live.glance([one.ref for one in batch])
            for one in batch:
                if known[one.ref].rows and (why := self._undone(one)):
                    yield Outcome(one, done=False, told=why, again=LOST in why)
                elif self.bin.uncover(one.ref, self.erasures[_id(one)]):
                    yield self._came_to_light(one)

    def _read(self, batch: Sequence[Named]) -> None:
        with self.bin.live.database.use() as connection:
            self.kept = orphans.evidence(connection, [_id(one) for one in batch])
        self.erasures = {number: erasure_of(one.erasing) for number, one in self.kept.items() if one.erasing}
        self.versioning = {}

    def _was_begun(self, one: Named) -> bool:
        """Tell whether a run that broke off had removed it."""
        begun = self.erasures.get(_id(one))
        if begun is None or self.kept[_id(one)].state != State.APPROVED:
            return False
        return self.bin.is_gone(one.ref, begun)

    def _beginning(self) -> Deed:
        return Deed(Input.ERASE, self.why, self._unfit, self._lapsed, facts=self._facts, after=self.grace)

    def _lapsed(self, subject: Subject, side: ObjectSide, _: datetime) -> str:
        """Say why an approval holds no longer: it was of another object."""
        approved = self._approved(subject)
        since = changed(approved, side) if approved and isinstance(side, Present) else ""
        return f"it is not what was approved: {since}" if since else ""

    def _unfit(self, subject: Subject, side: ObjectSide, now: datetime) -> str:
        """Say why an orphan is not deleted now."""
        if why := still_drifting(subject, side, now):
            return why
        if self._approved(subject) is None or not isinstance(side, Present) or subject.finding is None:
            return "its approval does not say of what; withdraw it, and approve it again"
        if side.last_modified is None or now - side.last_modified < self.grace:
            return f"it was written less than {duration(self.grace.total_seconds())} ago (policy.orphan_grace)"
        ref = subject.finding.ref
        if self.trash.bucket == ref.bucket and not self.trash.prefix.startswith(OURS):
            return f"its copy would be an orphan, too; begin trash.prefix with {OURS!r}, or name another trash.bucket"
        way = erasure(ref, side, self._versioning(ref.bucket), self.trash, subject.finding.id)
        self.erasures[subject.finding.id] = replace(way, below=self.below.get(subject.finding.id))
        if way.how is How.OBJECT and ref.bucket not in self.unversioned:
            self.refused.add(subject.finding.id)
            return NO_CONSENT.format(ref.bucket)
        return ""

    def _left(self, one: Outcome) -> Outcome:
        """Return that one was left alone; without the consent that it lacks it is still to be deleted."""
        return one._replace(again=one.again or _id(one.named) in self.refused)

    def _below(self, ref: ObjectRef) -> str | None:
        """Return what will come to light below an object; None where MinIO does not say, as its look will tell."""
        try:
            versioning = self._versioning(ref.bucket)
            hides = versioning == "Enabled" and not ref.s3_version and not self.trash.always
            return "" if hides or versioning == "Off" else self.bin.below(ref)
        except (Misconfigured, Unavailable):
            return None

    def _approved(self, subject: Subject) -> Facts | None:
        kept = self.kept.get(subject.finding.id) if subject.finding else None
        return kept.approved if kept else None

    def _versioning(self, bucket: str) -> str:
        if bucket not in self.versioning:
            self.versioning[bucket] = self.bin.live.objects.versioning(bucket)
        return self.versioning[bucket]

    def _facts(self, subject: Subject, _: ObjectSide) -> Facts:
        return {"erasing": self.erasures[subject.finding.id].facts()} if subject.finding else {}

    def _taken(self, one: Named) -> str:
        """Remove one object and read its rows once more; returns `''` if it is gone, or why it is there."""
        try:
            taken = self.bin.take(one.ref, self.erasures[_id(one)], lambda: self._withdrawn(one))
            return taken or self._undone(one)
        except Misconfigured as refused:
            return str(refused)
        except Unavailable as silent:  # of this object alone, or it ends the run
            return self.bin.live.alone(one.ref, silent)

    def _ended(self, gone: Sequence[Named]) -> Iterator[Outcome]:
        """Note what was removed, and read the rows once more after that, too."""
        deed = Deed(Input.DELETE, self.why, as_it_is, after=self.grace)
        for one in carried_out(self.bin.live, deed, gone, "orphans delete"):
            if why := self._undone(one.named):
                yield Outcome(one.named, done=False, told=why, again=LOST in why)
            elif one.done or self._is_noted(one.named):
                yield Outcome(one.named, done=True, told=self.erasures[_id(one.named)].told())
            else:
                yield one

    def _is_noted(self, one: Named) -> bool:
        """Tell whether somebody else's look saw the removal first, as the consumer's often does."""
        return self._now(one).state == State.DELETED

    def _withdrawn(self, one: Named) -> str:
        """Say that its approval was taken back since its deletion was begun, `''` where it was not."""
        kept = self._now(one)
        return withdrawn(kept.state, begun=kept.erasing is not None)

    def _now(self, one: Named) -> Kept:
        with self.bin.live.database.use() as connection:
            return orphans.evidence(connection, [_id(one)])[_id(one)]

    def _undone(self, one: Named) -> str:
        """Bring an object back if a row appeared, or nobody approves of it any more; returns `''` if neither is so.

        Also where a later object is there by now.
        """
        way = self.erasures[_id(one)]
        row = self.bin.claimed(one.ref, way.seen)
        why = f"row {row} appeared" if row else self._withdrawn(one)
        if not why or self.bin.is_taken(one.ref, way):
            return ""
        lost = "" if self.bin.uncover(one.ref, way) else self.bin.bring_back(one.ref, way)
        told = f"{why}: " + (f"{LOST}: {lost}" if lost else "it was brought back")
        self._note(one, "undo failed" if lost else "deletion undone", told)
        reconcile(self.bin.live, [Hint(one.ref, named_by="orphans delete")])
        return told

    def _came_to_light(self, one: Named) -> Outcome:
        """Keep that an upload which a removal hid is there again: once, since what hides it later hides it rightly."""
        self._note(one, "deletion undone", ANEW)
        _withdraw(self.bin, self.kept[_id(one)], self.why, "orphans delete")
        reconcile(self.bin.live, [Hint(one.ref, named_by="orphans delete")])
        return Outcome(one, done=False, told=ANEW)

    def _told(self, one: Outcome) -> Outcome:
        """Keep in the history that one was left alone."""
        self._note(one.named, "not deleted", one.told, once=True)
        return one

    def _note(self, one: Named, act: str, told: str, *, once: bool = False) -> None:
        why = f"{told} ({self.why})" if self.why else told
        acts.note_findings(self.bin.live.database, acts.Who(self.bin.live.actor, why), [_id(one)], act, once=once)


def undone(bin_: Bin, one: Kept, why: str, *, apply: bool) -> Outcome:
    """Bring back what was deleted; without `apply` tell whether that can be done."""
    named = Named(one.id, one.ref)
    if one.erasing is None:
        return Outcome(named, done=False, told=f"it is {one.state}, and was not deleted by orphans delete")
    way = erasure_of(one.erasing)
    lacking = bin_.cannot_return(one.ref, way)
    if apply and not lacking:
        _withdraw(bin_, one, why, "orphans undo")
        lacking = bin_.bring_back(one.ref, way)
    if lacking or not apply:
        return Outcome(named, done=not lacking, told=lacking or "brought back")
    acts.note_findings(bin_.live.database, acts.Who(bin_.live.actor, why), [one.id], "deletion undone")
    reconcile(bin_.live, [Hint(one.ref, named_by="orphans undo")])
    return Outcome(named, done=True, told="brought back")


def _withdraw(bin_: Bin, one: Kept, why: str, by: str) -> None:
    """Withdraw the approval of what is to be there again, or the next run would remove it."""
    if one.state == State.APPROVED:
        deed = Deed(Input.REOPEN, why, as_it_is, through=unasked)
        list(carried_out(bin_.live, deed, [Named(one.id, one.ref)], by))


def _id(one: Named) -> int:
    """Return the id of a finding that is there."""
    return one.finding or 0
