"""Watches a story from outside: at each commit what must always hold is asked of the world, not of the code."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from consumer.stream.hold import Partition
from reconcile.model import FINAL, Absent, Finding, Known, ObjectRef, ObjectSide, RowState, State
from reconcile.restraint import RULE
from reconcile.verdict import rows_of
from tests.simulation.broker import Broker
from tests.simulation.coverage import line_of
from tests.simulation.proofs import Proof, Proofs, grace_of, sides
from tests.simulation.restraining import Restraining
from tests.simulation.servers import FLAG, Servers, Stored, Tables
from tests.simulation.stepped import BUCKET, SteppedTxn, SteppedWorld
from tests.simulation.truth import truth_of
from tests.simulation.violated import Violated

OF_ROWS = {"ignored", "reopened", "approval withdrawn", "flagged by others"}  # acts that rest on no look


@dataclass
class Watch:
    """What is remembered of a story. `told` is the place of the event that told of a reference's last change."""

    servers: Servers
    broker: Broker
    counts: Counter[str]
    elapsed: Callable[[], float]  # in seconds, whatever the clocks say
    step: int = 0
    since: dict[tuple[ObjectRef, Known], int] = field(default_factory=dict)  # the step when all of it was first so
    versions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # by key, all that ever were named
    before_flag: dict[str, str] = field(default_factory=dict)
    told: dict[ObjectRef, tuple[Partition, int] | None] = field(default_factory=dict)
    poison: set[tuple[Partition, int]] = field(default_factory=set)
    approved: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.proofs = Proofs(self.servers, self.counts, self.elapsed)
        self.restraining = Restraining(self.servers, self.counts)

    def looks(self, world: SteppedWorld) -> None:
        """Note that a look begins."""
        self.proofs.begin(world.number)

    def asked(self, world: SteppedWorld, ref: ObjectRef, side: ObjectSide) -> None:
        """Note a HEAD."""
        self.step += 1
        self.versions[ref.key].add(ref.s3_version)
        self.proofs.answered(world.number, self.step, ref, side)

    def row_changed(self, row: Stored) -> None:
        """Note that a row changed, as the application did it."""
        self.changed(self._refs_of(row))

    def _refs_of(self, row: Stored) -> list[ObjectRef]:
        """Return every version of a row's key: it is known of each."""
        versions = self.versions[row.key]
        versions |= {name for name, _ in self.servers.storage.buckets[BUCKET].get(row.key, [])} | {row.s3_version, ""}
        return [ObjectRef(row.bucket, row.key, version) for version in versions]

    def changed(self, refs: Iterable[ObjectRef]) -> None:
        """Note that rows or findings changed, by whoever looks at no object."""
        self.step += 1
        self._note(refs)

    def _note(self, refs: Iterable[ObjectRef]) -> None:
        for ref in refs:
            self.versions[ref.key].add(ref.s3_version)
            known = drifting(self.servers.tables.known(ref))
            is_as_in_the_beginning = not known.rows and not known.findings
            self.since.setdefault((ref, known), 0 if is_as_in_the_beginning else self.step)

    def wrote(self, world: SteppedWorld, txn: SteppedTxn) -> None:
        """Judge a commit."""
        self.step += 1
        before, after = txn.before, self.servers.tables
        held = {row.row_id for known in txn.seen.values() for row in known.rows} & self.servers.locked
        self.counts["invariant 3: beside a row that the application held"] += bool(held)
        if before is None:
            return
        written = [row for row_id, row in after.rows.items() if before.rows[row_id].status != row.status]
        for row in written:
            self._wrote_row(world, txn, before, row)
        changed = [number for number, kept in after.findings.items() if before.findings.get(number) != kept]
        for number in changed:
            self._wrote_finding(world, txn, number)
        self._note(after.findings[number].finding.ref for number in changed)
        self._note(ref for row in written for ref in self._refs_of(row))
        for kept in after.findings.values():
            one = kept.finding
            if one.state not in FINAL and one.ref not in after.looks:
                raise Violated(f"a finding without a look: {one}")
        self.restraining.braked(world, txn)

    def _wrote_row(self, world: SteppedWorld, txn: SteppedTxn, tables: Tables, after: Stored) -> None:
        row_id, before = after.row_id, tables.rows[after.row_id]
        old, new = before.status, after.status
        if row_id in self.servers.locked | self.servers.refusing:
            raise Violated(f"invariant 3: {row_id} was written while the application held it")
        if new == FLAG:
            if not world.policy.flagging:
                raise Violated(f"invariant 9: {row_id} was flagged while only observing")
            self._flagged(world, before)
            self.proofs.fresh(before, self.proofs.of(world.number, before.ref()), txn.began)
            if any((one.ref, one.row_id) == (before.ref(), row_id) for one in tables.flagging()):
                raise Violated(f"invariant 5: {before} was flagged again, and the application had taken our flag off")
            self.before_flag[row_id] = old
            return
        if new == "deleted" and old == FLAG and row_id in self.before_flag:
            self._purged(world, before)
            return
        self.counts["invariant 5: a status was given back"] += 1
        if old != FLAG or new != self.before_flag.get(row_id):
            raise Violated(f"invariant 5: {row_id} went from {old} to {new}, before the flag it was {self.before_flag}")

    def _flagged(self, world: SteppedWorld, row: Stored) -> None:
        """Ask for an absence proven in this look, and for a suspicion that is older than the grace."""
        if row.row().state != RowState.LIVE:
            raise Violated(f"invariant 1: {row} was flagged, and was not live")
        self.proofs.rests(f"{row} was flagged", self.proofs.of(world.number, row.ref()), Absent)
        self.proofs.aged(f"{row} was flagged", row.ref(), row.row_id, world.policy.missing_grace)
        self.counts["invariant 1: flagged on a proven absence"] += 1
        self.counts["invariant 4: flagged after its grace"] += 1

    def _purged(self, world: SteppedWorld, row: Stored) -> None:
        """Ask for an absence proven in this look, and for a person."""
        self.proofs.rests(f"{row} was purged", self.proofs.of(world.number, row.ref()), Absent)
        if world.actor != "person":
            raise Violated(f"invariant 1: {row} was purged by {world.actor}")
        self.counts["invariant 1: purged on a proven absence"] += 1

    def _wrote_finding(self, world: SteppedWorld, txn: SteppedTxn, number: int) -> None:
        one = self.servers.tables.findings[number].finding
        was = txn.before.findings.get(number) if txn.before else None
        if was is not None and was.finding.revision == one.revision:
            return
        last = next(line for line in reversed(self.servers.tables.history) if line.finding_id == number)
        before = None if was is None or was.finding.state in FINAL else was.finding.state
        self.counts[line_of(before, last.act)] += 1
        proof = self.proofs.of(world.number, one.ref)
        self.proofs.suspects(one, None if was is None else was.finding, last, proof)
        if last.act == "adopted":
            self.before_flag[one.row_id] = one.previous_status or ""
        if one.state in FINAL and was is not None and was.finding.previous_status is not None:
            self._closed(one)
        self.restraining.restrained(txn, one, last.act)
        if last.act == "approved" and world.actor == "person":
            self.approved.add(number)
        elif last.act == "deletion begun":
            self._erased(txn, number)
        elif last.act != "deleted":
            self.approved.discard(number)
        if one.state is State.DELETED and number not in self.approved:
            raise Violated(f"invariant 6: {one} was deleted, and nobody had approved it")
        changed = self.since.get((one.ref, drifting(txn.seen[one.ref])), 0)
        by_rule = last.act == "ignored" and (one.held_by or "").startswith(RULE)
        if last.act in OF_ROWS and not by_rule:
            return
        gone = one.row_id and all(row.row_id != one.row_id for row in rows_of(one.ref, txn.seen[one.ref]))
        if not gone and (proof is None or proof.step < changed):
            raise Violated(f"invariant 4: {last.act} on {proof}, and at step {changed} rows or findings had changed")
        self.counts["invariant 4: decided on what was looked at since"] += 1
        self._proven(world, one, last.act, proof, gone=bool(gone))

    def _proven(self, world: SteppedWorld, one: Finding, act: str, proof: Proof | None, *, gone: bool) -> None:
        """Ask for a HEAD that said what the finding says, and of one that opens for its age."""
        if not gone:
            self.proofs.rests(f"{one} was {act}", proof, *sides(one, act))
        if act == "opened":
            self.proofs.aged(f"{one} was opened", one.ref, one.row_id, grace_of(one, world.policy))
            self.counts["invariant 4: opened after its grace"] += 1

    def _closed(self, one: Finding) -> None:
        """Ask that a flag of ours is not left without the finding that gives it back."""
        row = self.servers.tables.rows.get(one.row_id)
        if any(other.row_id == one.row_id for other in self.servers.tables.flagging()):
            return  # it moved, and was flagged anew where it is
        if row is not None and row.status == FLAG:
            raise Violated(f"invariant 5: {one} is closed, and {row} still carries our flag")
        self.before_flag.pop(one.row_id, None)

    def _erased(self, txn: SteppedTxn, number: int) -> None:
        """Ask for an approval, and for rows of which none claims the object."""
        one = self.servers.tables.findings[number].finding
        claiming = [row for row in txn.seen[one.ref].rows if row.state != RowState.EXPECTS_ABSENCE]
        if number not in self.approved or any(row.s3_version == one.ref.s3_version for row in claiming):
            raise Violated(f"invariant 6: {one} was to be deleted, and {claiming or 'nobody had approved it'}")
        self.counts["invariant 6: a deletion rested on an approval"] += 1

    def removing(self, number: int) -> None:
        """Ask for an approval that still holds, in the moment of a removal."""
        if number not in self.approved:
            raise Violated(f"invariant 6: finding {number} is removed, and its approval was withdrawn")

    def committing(self, offsets: Mapping[Partition, int]) -> None:
        """Whatever is passed by a commit has its outcome: a letter, or nothing wrong that is not kept."""
        for place, offset in self.poison:
            if offset < offsets.get(place, 0):
                self.counts["invariant 2: poison was passed"] += 1
                if (*place, offset) not in self.broker.letters:
                    raise Violated(f"invariant 2: {place} {offset} was passed, and is not in the dead letter topic")
        passed = {ref: told for ref, told in self.told.items() if told and told[1] < offsets.get(told[0], 0)}
        if not passed:
            return
        truth = truth_of(self.servers, set(self.before_flag))
        kept = [one.finding for one in self.servers.tables.findings.values() if one.finding.state not in FINAL]
        refs, rows = {one.ref for one in kept}, {one.row_id for one in self.servers.tables.flagging()}
        for ref, row_id in truth.must:
            if told := passed.get(ref):
                self.counts["invariant 2: a drift was passed"] += 1
                moved = row_id in rows  # and its flag with it
                if not moved and ref not in refs | self.servers.tables.looks.keys():
                    raise Violated(f"invariant 2: the event of {ref} at {told} was passed, and nothing is kept of it")

    def judge(self, when: str, flagging: bool, told_only: bool) -> None:  # noqa: FBT001
        """After quiet: what is found is what is so; before the sweep what was told is found."""
        truth = truth_of(self.servers, set(self.before_flag))
        kept = [one.finding for one in self.servers.tables.findings.values() if one.finding.state not in FINAL]
        found = {(one.ref, one.row_id): one for one in kept}
        for row_id in truth.healed:
            row = self.servers.tables.rows[row_id]
            raise Violated(f"{when}: {row} still carries our flag, and its object is there")
        for subject, one in found.items():
            if (truth.must.get(subject) or truth.may.get(subject)) is not one.kind:
                raise Violated(f"{when}: found and not so: {one}")
            if one.state is State.SUSPECTED:
                raise Violated(f"{when}: still suspected: {one}")
            if one.state is State.IGNORED and one.held_by:
                raise Violated(f"{when}: still ignored, though no rule is in force: {one}")
            row = self.servers.tables.rows.get(one.row_id)
            live = row is not None and row.row().state == RowState.LIVE
            unflagged = flagging and one.state is State.OPEN and one.kind == "missing" and live
            if unflagged and one.previous_status is None:
                raise Violated(f"{when}: never flagged: {one}")
        for (ref, row_id), kind in truth.must.items():
            if (ref, row_id) not in found and (not told_only or self.told.get(ref)):
                raise Violated(f"{when}: not found: {kind} {ref} {row_id}, told by {self.told.get(ref)}")
        self.counts["invariant 9: nothing was flagged while observing"] += not flagging
        self.counts["invariant 8: findings equal the truth"] += 1
        self.counts["invariant 8: drifts at the end"] += len(truth.must)


def refs_of(key: str, version: str) -> set[ObjectRef]:
    """Return the references that an object's change concerns."""
    return {ObjectRef(BUCKET, key), ObjectRef(BUCKET, key, version)}


def drifting(known: Known) -> Known:
    """Return what a decision on a reference rests on, beside the object."""
    return known._replace(asks=None, attempt=0)
