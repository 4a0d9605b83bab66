"""What is done with versions that stayed flagged: the mapped action, for those that still are missing at that moment.

A purge is a deed like any other: planned over a Trial, done over the live World, under a brake of its own. The whole
run is counted before the first row is touched, so that a mass is held as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from reconcile import inquiry
from reconcile.human import duration
from reconcile.inquiry import Filter, Record
from reconcile.life import Input, Subject
from reconcile.model import Absent, Facts, Hint, Kind, Misconfigured, ObjectRef, ObjectSide, RowState, Unavailable
from reconcile.reconciler import Look, World, reconcile
from reconcile.repair.superseded import good, has_others, in_words
from reconcile.repair.triage import HELD, Deed, Named, Outcome, batches, carried_out, still_drifting
from reconcile.restraint import ALL_BUCKETS, PURGES, Trip, foreseen
from reconcile.steps import Effect, Purge
from reconcile.tables.fitness import quoted_name
from reconcile.tables.mapping import Mapping
from reconcile.trial import Trial
from reconcile.world import LiveWorld

log = structlog.get_logger("reconciler")
_OF = {PURGES: "purges", Kind.MISSING.value: "flags"}
NO_ROOM = "it was refused before, and the brake believes no more purges now; the next one tries it"
ALONE = "its file has no other good version; --even-alone takes it, too"


class Candidate(NamedTuple):
    """A finding, since when its row is flagged, and whether a person released it from the brake.

    `refused`: its purge was tried before, and a foreign key, or whatever else, would not have it.
    """

    named: Named
    since: datetime | None
    released: bool
    refused: bool = False


class Aims(NamedTuple):
    """Which flagged versions: the age of their flag, sooner if superseded, and whether a file's only one, too."""

    older_than: timedelta
    superseded_after: timedelta
    even_alone: bool = False
    why: str = ""

    @property
    def least(self) -> timedelta:
        """Return the age below which no flag is of interest."""
        return min(self.older_than, self.superseded_after or self.older_than)


@dataclass
class Purging:
    """One run on one world. `hidden` counts those that only a delete marker hides: restore would bring them back.

    `brakes` are those that must be released before what is held goes.
    """

    live: LiveWorld
    aims: Aims
    hidden: int = 0
    brakes: set[str] = field(default_factory=set)
    _since: dict[int, datetime] = field(default_factory=dict)
    _others: set[str] = field(default_factory=set)
    _later: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.action = action(self.live.mapping)

    def check(self, *, applied: bool) -> None:
        """Raise Misconfigured where no row can be purged at all; a plan that is only shown needs no right to delete."""
        if self.live.mapping.purge is None:
            raise Misconfigured("mapping.version.status: is not mapped, so no row carries a flag, and none is purged")
        if not applied or self.live.mapping.tables.settings.status.purged:
            return
        table = quoted_name(self.live.mapping.tables.version)
        with self.live.database.use() as connection:
            [(may,)] = inquiry.records(connection, "may_delete", table=table)
        if not may:
            raise Misconfigured(
                f"mapping.status.purged: is empty, so purged rows are deleted, and we may not; GRANT DELETE ON"
                f" {table} TO our role, or set mapping.status.purged to the status that purged rows get"
            )

    def candidates(self, wanted: Filter, ids: Sequence[int] | None) -> Iterator[Candidate]:
        """Yield the flagged versions that are old enough, or those of the ids, whatever they are."""
        for found in inquiry.purgeable(self.live.database, wanted, ids, self.aims.least):
            yield _candidate(found)

    def plan(self, found: Iterable[Candidate]) -> Iterator[tuple[Candidate, Outcome]]:
        """Look at each, and say what would be done; nothing is written.

        Nothing is asked of MinIO about what stays anyway, as its file's only version.
        """
        trial = Trial(self.live, has_kept=True)
        for batch in batches(found):
            by_name = {one.named: one for one in batch}
            for outcome in self.carried_out(trial, batch):
                yield by_name[outcome.named], outcome
            self.hidden += sum(isinstance(one.side, Absent) and bool(one.side.delete_marker) for one in trial.looked)
            trial.looked.clear()
            trial.left.clear()

    def apply(self, found: Sequence[Candidate]) -> Iterator[Outcome]:
        """Do it; what was refused before comes last, one by one, as far as the brake has room for it."""
        for batch in batches(one for one in found if not one.refused):
            yield from self._applied(batch)
        for one in found:
            if one.refused and self._has_room(one.named.ref.bucket):
                yield from self._applied([one])
            elif one.refused:
                yield Outcome(one.named, done=False, told=NO_ROOM, again=True)

    def _applied(self, batch: Sequence[Candidate]) -> Iterator[Outcome]:
        """Do it, and look again at once: what came back meanwhile without an event has no row any more.

        An outage ends it once what was done is told: those rows are gone.
        """
        told: list[Outcome] = []
        outage: Unavailable | None = None
        try:
            told += self.carried_out(self.live, batch)
            reconcile(self.live, [Hint(ref) for ref in dict.fromkeys(one.named.ref for one in told if one.done)])
        except Unavailable as error:
            outage = error
        yield from told
        if outage is not None:
            raise outage

    def _has_room(self, bucket: str) -> bool:
        """Tell whether one purge more would set no brake; one that is on holds it anyway."""
        one = {(PURGES, bucket): 1}
        with self.live.transaction([]) as txn:
            return not foreseen(one, txn.restraints(one), self.live.brake)

    def carried_out(self, world: World, batch: Sequence[Candidate]) -> Iterator[Outcome]:
        """Do the deed on one batch, over whichever World."""
        ids = [one.named.row_id for one in batch]
        with self.live.database.use() as connection:
            beside = good(connection, self.live.mapping, ids)
        self._others, self._later = has_others(beside), in_words(beside)
        self._since = {one.named.finding: one.since for one in batch if one.named.finding and one.since}
        deed = Deed(Input.PURGE, self.aims.why, self._unfit, effect=self._effect, facts=self._facts)
        alone = [one.named for one in batch if self._is_alone(one.named.row_id)]
        yield from (Outcome(one, done=False, told=ALONE) for one in alone)
        named = [one.named for one in batch if not self._is_alone(one.named.row_id)]
        for outcome in carried_out(world, deed, named, by="purge"):
            later = self._later.get(outcome.named.row_id)
            yield outcome._replace(beside=f"superseded by {later}" if later else "")

    def _unfit(self, subject: Subject, side: ObjectSide, now: datetime) -> str:
        finding, row = subject.finding, subject.row
        if why := still_drifting(subject, side, now):
            return why
        if finding is None or finding.previous_status is None or row is None or row.state != RowState.FLAGGED:
            return "its row carries no flag of ours"
        if finding.held_by == "brake":
            self.brakes.add(PURGES)
            return f"{HELD} the brake"
        if self._is_alone(row.row_id):
            return ALONE
        since = self._since.get(finding.id)
        return self._young(row.row_id, now - since) if since else "since when it is flagged is not known"

    def _is_alone(self, row_id: str) -> bool:
        return not self.aims.even_alone and row_id not in self._others

    def _young(self, row_id: str, flagged_for: timedelta) -> str:
        sooner = self.aims.superseded_after if row_id in self._later else timedelta(0)
        wanted = min(self.aims.older_than, sooner or self.aims.older_than)
        return "" if flagged_for >= wanted else f"flagged for {duration(flagged_for.total_seconds())} only"

    def _effect(self, subject: Subject) -> Effect | None:
        return Purge(subject.row_id, self.aims.even_alone)

    def _facts(self, subject: Subject, _: ObjectSide) -> Facts:
        row = subject.row
        return {"purged": self.action, "row_created_at": row.created_at if row else None}

    def restrained(self, wanted: Sequence[Candidate], *, apply: bool) -> list[str]:
        """Say what a brake holds of so many purges; with `apply` theirs is set, before the first of them.

        What was released from it is not counted again, and waits for that of flags alone. What was refused before
        counts once it is done: else what no purge ever takes would hold all others.
        """
        counts = Counter((PURGES, one.named.ref.bucket) for one in wanted if not (one.released or one.refused))
        tried = {(PURGES, one.named.ref.bucket) for one in wanted if one.refused}
        freed = {(Kind.MISSING.value, one.named.ref.bucket) for one in wanted if one.released}
        if not wanted:
            return []
        with self.live.transaction([]) as txn:
            restraints = txn.restraints(counts)
            trips = foreseen(counts, restraints, self.live.brake)
            if apply:
                txn.write([], trips, Look([], {}, {}, {}), set())
        for trip in trips if apply else ():
            log.error("brake.tripped", kind=trip.kind, bucket=trip.bucket or "(all)", why=trip.why)
        active = restraints.active
        meeting = counts.keys() | tried | freed
        met = {(brake, bucket) for kind, bucket in meeting for brake in _on((kind, bucket), active)}
        self.brakes |= {brake for brake, _ in met} | ({PURGES} if (counts or tried) and (met or trips) else set())
        return [
            *(f"{bucket}: the brake of {_OF[brake]} is on" for brake, bucket in sorted(met)),
            *map(_said, trips),
        ]


def action(mapping: Mapping) -> str:
    """Say what a purge does to a row."""
    word = mapping.tables.settings.status.purged
    return f"status set to {word!r}" if word else "row deleted"


def _on(pair: tuple[str, str], active: frozenset[tuple[str, str]]) -> set[str]:
    """Return the brakes that hold this pair now."""
    kind, bucket = pair
    return {one for one in (kind, Kind.MISSING.value) if (one, bucket) in active or (one, ALL_BUCKETS) in active}


def _candidate(found: Record) -> Candidate:
    number, bucket, key, s3_version, row_id, _, held_by, since = found
    named = Named(number, ObjectRef(bucket, key, s3_version), row_id)
    return Candidate(named, since, held_by == "released", held_by == "refused")


def _said(trip: Trip) -> str:
    return f"{trip.bucket or 'all buckets'}: {trip.why}"
