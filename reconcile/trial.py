"""A World that looks and writes nothing: both sides as reconcile() sees them, kept for whoever reports.

Needs no schema of ours; without one there are no findings, and a flag in a row is nobody's.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from reconcile import rows
from reconcile.batch import Unsettled
from reconcile.database import Connection
from reconcile.glance import group
from reconcile.model import Brake, Hint, Known, ObjectRef, ObjectSide, Policy
from reconcile.reconciler import Look
from reconcile.restraint import Restraint, Restraints, Trip
from reconcile.steps import Step
from reconcile.verdict import settled
from reconcile.world import LiveWorld

NEVER = timedelta(days=36_500)  # a grace that is never over: nothing opens, and nothing is logged as opened

UNBRAKED = Brake(floor=sys.maxsize, most=sys.maxsize, bucket_floor=sys.maxsize)  # nothing is written that it could hold


class Looked(NamedTuple):
    """One reference as it was at the end of its look: what the database knew, what the object side was, and when.

    `at` is by the database's clock, as every grace is.
    """

    hint: Hint
    known: Known
    side: ObjectSide
    at: datetime


@dataclass
class Trial:
    """Looks through a live World's eyes. `looked` and `left` are what a reconcile() brought; the caller takes them."""

    live: LiveWorld
    has_kept: bool
    looked: list[Looked] = field(default_factory=list)
    left: list[Hint] = field(default_factory=list)
    unanswered: Counter[str] = field(default_factory=Counter)

    policy: Policy = field(init=False)
    brake: Brake = field(init=False)

    def __post_init__(self) -> None:
        self.policy = replace(
            self.live.policy, flagging=False, missing_grace=NEVER, young_grace=NEVER, orphan_grace=NEVER
        )
        self.brake = UNBRAKED

    @property
    def look_deadline_s(self) -> float:
        """How long the live World's HEADs may take."""
        return self.live.look_deadline_s

    def clock(self) -> float:
        """Return the live World's monotonic seconds."""
        return self.live.clock()

    def read(self, connection: Connection, refs: Sequence[ObjectRef]) -> dict[ObjectRef, Known]:
        """Read rows and, if our schema is there, findings."""
        if self.has_kept:
            return self.live.read(connection, refs)
        return group(refs, rows.lookup(connection, self.live.mapping, list({ref.key for ref in refs})), [])

    def glance(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, Known]:
        """Read the same without a transaction."""
        with self.live.database.use() as connection:
            return self.read(connection, refs)

    def unsettled(self, batches: Iterable[Sequence[Hint]], doubtful: Container[ObjectRef]) -> Iterator[Unsettled]:
        """Yield of each batch what a glance does not settle."""
        if self.has_kept:
            yield from self.live.unsettled(batches, doubtful)
            return
        for hints in batches:
            known = self.glance([hint.ref for hint in hints])
            left = [(hint, known[hint.ref]) for hint in hints]
            yield Unsettled([one for one in left if one[0].ref in doubtful or not settled(*one)])

    def heads(self, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, ObjectSide]:
        """Ask MinIO."""
        return self.live.heads(refs)

    def due(self, limit: int) -> list[Hint]:  # noqa: ARG002 - the World's shape
        """Claim nothing."""
        return []

    def ask(self, hints: Sequence[Hint], after: timedelta, reason: str) -> None:  # noqa: ARG002 - the World's shape
        """Keep what there was no room for, for the caller to ask again."""
        self.left += hints

    def readable(self, silent: Mapping[str, str], answered: set[str]) -> None:
        """Restrain nothing; the caller counts what was unknown."""

    @contextmanager
    def transaction(self, refs: Sequence[ObjectRef]) -> Iterator[TrialTxn]:
        """Read the references anew, in a transaction that cannot write."""
        with self.live.database.transaction() as connection:
            connection.execute("SET TRANSACTION READ ONLY")
            seen = self.read(connection, refs)
            [(now,)] = connection.execute("SELECT now()").fetchall()
            yield TrialTxn(self, now, seen)


@dataclass
class TrialTxn:
    """Records what a transaction would have written from."""

    trial: Trial
    now: datetime
    seen: Mapping[ObjectRef, Known]

    def restraints(self, counting: Collection[tuple[str, str]]) -> Restraints:  # noqa: ARG002 - the Txn's shape
        """Take no lock; nothing is braked where nothing is written."""
        return Restraints()

    def rules(self) -> list[Restraint]:
        """Ignore nothing: a trial shows what is found."""
        return []

    def write(self, steps: Sequence[Step], trips: Sequence[Trip], look: Look, moved: set[ObjectRef]) -> set[ObjectRef]:  # noqa: ARG002 - the Txn's shape
        """Keep what was seen; what moved meanwhile is to be asked again."""
        self.trial.looked += [
            Looked(look.hints[step.ref], self.seen[step.ref], look.objects[step.ref], self.now) for step in steps
        ]
        self.trial.left += [look.hints[ref] for ref in sorted(moved)]
        return moved
