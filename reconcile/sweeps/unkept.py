"""Keeps a sweep in memory where the database keeps none, as in a trial: for one process, with nothing to resume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

from reconcile.model import ObjectRef
from reconcile.sweeps.confirm import Confirmed, as_lookalike
from reconcile.sweeps.drift import Class, Drift
from reconcile.sweeps.sweep import Range

ROOM = 100_000  # drifts


@dataclass
class Unkept:
    """A trial's keeper: one range, in memory alone. Drifts beyond its room are told only by how many they are."""

    beyond: int = 0
    found: dict[tuple[ObjectRef, str], Drift] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    once: dict[ObjectRef, float] = field(default_factory=dict)
    taken: bool = False

    @property
    def note(self) -> str:
        """Say what the report lacks, `''` if nothing."""
        if not self.beyond:
            return ""
        return f"{self.beyond:,} more drifts had no room in memory: they are neither counted nor told"

    def take(self) -> Range | None:
        """Take the one range."""
        taken, self.taken = self.taken, True
        return None if taken else Range("", None, "", {})

    def advance(self, part: Range, checkpoint: str, totals: Mapping[str, int], found: Confirmed, *, done: bool) -> bool:  # noqa: ARG002 - the Keeper's shape
        """Keep the drifts."""
        self.totals = dict(totals)
        room = max(ROOM - len(self.found), 0)
        self.beyond += len(found.drifts[room:])
        for one in found.drifts[:room]:
            self._keep(one)
            self.once.setdefault(ObjectRef(one.bucket, one.key, one.s3_version), monotonic())
        return True

    def _keep(self, one: Drift) -> None:
        self.found[ObjectRef(one.bucket, one.key, one.s3_version), one.row_id] = one

    def open_findings(self, lower: str, upper: str | None) -> Sequence[ObjectRef]:  # noqa: ARG002 - the Keeper's shape
        """Know none."""
        return []

    def to_see_again(self, margin: timedelta) -> tuple[list[ObjectRef], bool]:
        """Return what was sighted but once."""
        ripe = [ref for ref, at in self.once.items() if monotonic() - at >= margin.total_seconds()]
        return (ripe or list(self.once))[:500], bool(ripe)

    def seen_again(self, refs: Sequence[ObjectRef], found: Confirmed) -> None:
        """Keep what was seen again; the rest of these references is forgotten, and what is another drift now is new."""
        before = {(ref, one.row_id, one.kind, one.cause) for (ref, _), one in self.found.items()}
        named = set(refs)
        self.found = {name: one for name, one in self.found.items() if name[0] not in named}
        for ref in refs:
            del self.once[ref]
        for one in found.drifts:
            self._keep(one)
            ref = ObjectRef(one.bucket, one.key, one.s3_version)
            if (ref, one.row_id, one.kind, one.cause) not in before:
                self.once[ref] = monotonic()

    def pair(self) -> None:
        """Make an orphan whose key is another form of a row's the lookalike that it is."""
        rows = {one.counterpart: one.key for one in self.found.values() if one.kind is Class.LOOKALIKE}
        for name, one in self.found.items():
            if one.kind is Class.ORPHAN and one.key in rows:
                self.found[name] = as_lookalike(one, rows[one.key])
