"""The scrub: the content of every object against the checksum of its row, a little at a time.

A content that differs is read twice, and the row with it; what differs still, the one reconciler is told, over the live
World or over a Trial: it looks once more at both sides, and keeps it or not. Nothing is deleted and nothing flagged
that a look would not have flagged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep

from reconcile.model import (
    Hashed,
    Known,
    Misconfigured,
    ObjectRef,
    Row,
    RowState,
    Unknown,
)
from reconcile.reconciler import World
from reconcile.repair.triage import batches
from reconcile.scrubs.contents import Fault, Found, believe, count, differing_in, refs_of, sums_of
from reconcile.scrubs.cycle import Cycle
from reconcile.scrubs.hashing import BEAT_S, Hashing, Nothing, Reading
from reconcile.scrubs.telling import Telling
from reconcile.scrubs.walk import Keys
from reconcile.steps import Tally
from reconcile.store.heads import NO_NAME
from reconcile.sweeps import belief
from reconcile.sweeps.drift import Drift
from reconcile.sweeps.sweep import Held
from reconcile.trial import Trial

ADVANCE_S = 5.0
LISTED = 1_000  # drifts and faults that a report lists; the database has all drifts


@dataclass
class Bounds:
    """Where a run stops: after so many objects, or at a time of the monotonic clock; what is begun is ended."""

    objects: int | None = None
    ends_at: float | None = None
    begun: int = 0

    def reached(self) -> bool:
        """Tell whether nothing more is to be begun."""
        timely = self.ends_at is None or monotonic() < self.ends_at
        return not timely or (self.objects is not None and self.begun >= self.objects)


@dataclass
class Scrub:
    """One run. `world` is the Trial where nothing is to be kept; `refs` are those that the reconciler was told.

    `tally` is what its looks came to.
    """

    trial: Trial
    world: World
    cycle: Cycle
    hashing: Hashing
    bounds: Bounds
    watched: Callable[[str], bool] = lambda _: True
    margin_s: float = 0.0
    tell: Callable[[Mapping[str, int], str], None] = lambda _, __: None
    drifts: list[Drift] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    refs: set[ObjectRef] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)

    def run(self, keys: Callable[[str], Keys]) -> bool:
        """Read on from the checkpoint; tells whether the end of the rows was reached."""
        return all(self.page(page) for page in keys(self.cycle.checkpoint))

    def page(self, keys: list[str]) -> bool:
        """Read what a page of keys names, and settle it part by part; tells whether all of it was read."""
        rows = self.rows(keys)
        at, begun, due = 0, list[str](), monotonic() + ADVANCE_S
        places = {key: place for place, key in enumerate(keys)}
        readings: dict[ObjectRef, Reading] = {}
        for one in self.hashing.readings(self.given(keys, rows, begun), self.cycle.alive):
            if monotonic() >= due and places[one.ref.key] > at:
                self.settle(keys[at : places[one.ref.key]], rows, readings)
                at, readings, due = places[one.ref.key], {}, monotonic() + ADVANCE_S
            readings[one.ref] = one
            self.tell(self.cycle.totals + self.totals, one.ref.key)
        self.settle(keys[at : len(begun)], rows, readings)
        return len(begun) == len(keys)

    def rows(self, keys: Sequence[str]) -> dict[str, list[Row]]:
        """Return the live rows of each key as they are now."""
        bucket = self.cycle.bucket
        known = self.trial.glance([ObjectRef(bucket, key) for key in keys])
        return {
            ref.key: [row for row in one.rows if row.state == RowState.LIVE]
            for ref, one in known.items()
            if self.watched(ref.key)
        }

    def given(self, keys: Sequence[str], rows: Mapping[str, Sequence[Row]], begun: list[str]) -> Iterator[ObjectRef]:
        """Yield what is to be read, and name the keys that were begun; the bounds are asked before each key."""
        for key in keys:
            refs = refs_of(rows.get(key, ()))
            if refs and self.bounds.reached():
                return
            begun.append(key)
            self.bounds.begun += len(refs)
            yield from refs

    def settle(
        self, keys: Sequence[str], rows: Mapping[str, Sequence[Row]], readings: Mapping[ObjectRef, Reading]
    ) -> None:
        """Compare, look twice at what differs, tell the reconciler, and keep how far that is."""
        if not keys:
            return
        found = Found()
        for key in keys:
            count(rows.get(key, ()), found)
        known = self.trial.glance(list(readings))
        doubts = [one for one in readings.values() if self.is_doubtful(one, rows, known[one.ref], found)]
        self.reachable(found)
        self.read_again(doubts, found)
        if why := belief.unlike(self.cycle.totals + found.totals):
            raise Held(why)
        self.reconciled(found)
        self.cycle.advance(keys[-1], found.totals, found.drifts)
        self.totals += found.totals
        self.drifts += found.drifts[: max(LISTED - len(self.drifts), 0)]
        self.faults += found.faults[: max(LISTED - len(self.faults), 0)]

    def is_doubtful(self, one: Reading, rows: Mapping[str, Sequence[Row]], known: Known, found: Found) -> bool:
        """Sort one reading: nothing to say, to be told the reconciler, or (True) to be read again first."""
        found.totals["objects"] += one.content != NO_NAME
        found.totals["read_bytes"] += one.size_bytes
        match one.content:
            case Unknown(reason):
                found.totals["unnameable" if one.content == NO_NAME else "unknown"] += 1
                found.faults.append(Fault(one.ref.key, one.ref.s3_version, "", reason))
                return False
            case Nothing():
                found.looks.append(one.ref)
                return False
            case Hashed():
                return self._differs(one.ref, one.content, rows, known, found)

    def _differs(
        self, ref: ObjectRef, content: Hashed, rows: Mapping[str, Sequence[Row]], known: Known, found: Found
    ) -> bool:
        differing = differing_in(rows, ref, content)
        remembered = {finding.row_id: finding.hashed for finding in known.findings if finding.hashed}
        found.totals["agreed"] += len(sums_of(rows, ref)) - len(differing)
        if differing and all(remembered.get(row_id) == content for row_id in differing):
            believe(ref, content, len(differing), found)
            return False
        if remembered and not differing:
            found.contents[ref] = content
        return bool(differing)

    def read_again(self, doubts: Sequence[Reading], found: Found) -> None:
        """Read rows and objects a second time, not before the margin is over: what was being written is no drift."""
        if not doubts:
            return
        self.wait(self.margin_s)
        first = {one.ref: one.content for one in doubts}
        rows = self.rows(list(dict.fromkeys(ref.key for ref in first)))
        for one in self.hashing.readings(list(first), self.cycle.alive):
            found.totals["read_bytes"] += one.size_bytes
            match one.content:
                case Hashed() if one.content == first[one.ref]:
                    differing = differing_in(rows, one.ref, one.content)
                    found.totals["agreed"] += len(sums_of(rows, one.ref)) - len(differing)
                    if differing:
                        believe(one.ref, one.content, len(differing), found)
                    else:
                        found.totals["changed_meanwhile"] += 1
                case Hashed():
                    found.totals["changed_meanwhile"] += 1
                case Nothing():
                    found.looks.append(one.ref)
                case Unknown(reason):
                    found.totals["unknown"] += 1
                    found.faults.append(Fault(one.ref.key, one.ref.s3_version, "", reason))

    def reachable(self, found: Found) -> None:
        """Ask for the bucket if an object could not be read; raises Unavailable or Misconfigured if that is why."""
        if found.totals["unknown"]:
            why = self.trial.live.objects.probe(self.cycle.bucket)
            if why is not None:
                raise Misconfigured(f"bucket {self.cycle.bucket!r}: MinIO answers {why}; let the access key read it")

    def wait(self, seconds: float) -> None:
        """Wait, and keep the leases."""
        ends = monotonic() + seconds
        while (left := ends - monotonic()) > 0:
            sleep(min(left, BEAT_S))
            self.cycle.alive()

    def reconciled(self, found: Found) -> None:
        """Have the reconciler look at what was read and at what was not there, and take down what it makes of it."""
        found.totals["mismatch"] = 0  # counted anew, by what is so after the look
        for batch in batches([*found.contents, *found.looks]):
            telling = Telling(found.contents, self.cycle.id)
            self.tally += telling.done(self.world, batch, self.cycle.alive)
            self.trial.looked, self.trial.left = [], []
            for ref in batch:
                telling.report(ref, found)
            self.refs.update(batch)
