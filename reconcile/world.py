"""The live World: the application's rows, our ledger and MinIO's objects behind the verbs of reconciler.py.

For one thread: it owns a connection. Knows nothing of Kafka, and decides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import monotonic

import structlog

from reconcile import ledger, rows
from reconcile.batch import Unsettled
from reconcile.database import Connection, Database, Refused, refusing
from reconcile.glance import Glance
from reconcile.model import (
    Brake,
    Hint,
    Known,
    ObjectRef,
    ObjectSide,
    Policy,
    Unavailable,
)
from reconcile.reconciler import SOON, Look
from reconcile.repair.superseded import good, has_others
from reconcile.restraint import IGNORE, Restraint, Restraints, Trip
from reconcile.steps import Change, Effect, Flag, GiveBack, Purge, Step
from reconcile.store.heads import FULL
from reconcile.store.objects import Objects
from reconcile.tables.mapping import Mapping as RowMapping

log = structlog.get_logger("reconciler")


@dataclass
class LiveWorld:
    """Both sides as they are on the servers. `actor` is who the history names for what it writes.

    `why` is a person's reason for all of it, kept beside what a change tells itself. What is found first is told to
    nobody if `silent`: it counts as published.
    """

    database: Database
    mapping: RowMapping
    objects: Objects
    policy: Policy
    brake: Brake
    actor: str
    look_deadline_s: float = 1.0
    silent: bool = False
    why: str = ""
    unreadable: set[str] = field(default_factory=set)
    unanswered: Counter[str] = field(default_factory=Counter)
    clock: Callable[[], float] = monotonic

    def __post_init__(self) -> None:
        self._glance = Glance(self.mapping)

    def glance(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, Known]:
        """Read rows, findings and asks of all references in one round trip, without a lock."""
        with self.database.use() as connection:
            return self._glance.read(connection, refs)

    def unsettled(self, batches: Iterable[Sequence[Hint]], doubtful: Container[ObjectRef]) -> Iterator[Unsettled]:
        """Yield of each batch what a glance does not settle at once, with what is known of it, asking one ahead."""
        with self.database.use() as connection:
            yield from self._glance.unsettled(connection, batches, doubtful)

    def read(self, connection: Connection, refs: Sequence[ObjectRef]) -> dict[ObjectRef, Known]:
        """Read the same as a glance inside a transaction."""
        return self._glance.read(connection, refs)

    def heads(self, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, ObjectSide]:
        """Ask MinIO for each, in this order, under one deadline; raises Unavailable if nothing answers at all."""
        sides = self.objects.heads(refs, self.look_deadline_s)
        self.objects.probe_silent(sides)
        return sides

    def alone(self, ref: ObjectRef, error: Unavailable) -> str:
        """Say what one object alone was answered; raises Unavailable where its bucket is silent, or has no room."""
        if error.server != "minio" or error.detail.endswith(FULL):
            raise error
        self.objects.probe(ref.bucket)
        return error.detail

    def due(self, limit: int, among: Collection[ObjectRef] | None = None) -> list[Hint]:
        """Claim at most `limit` looks that are due, of all or of these alone."""
        with self.database.use() as connection:
            unreadable = ledger.unreadable(connection)
            self.unreadable = set(unreadable)
            if among is not None:
                return ledger.due_among(connection, limit, unreadable, among)
            return ledger.due(connection, limit, unreadable)

    def ask(self, hints: Sequence[Hint], after: timedelta, reason: str) -> None:
        """Ask for a look at each reference: sooner than planned if one is planned, never later."""
        if hints:
            with self.database.use() as connection:
                ledger.ask(connection, hints, after, reason)

    def readable(self, silent: Mapping[str, str], answered: set[str]) -> None:
        """Restrain buckets that cannot be read, and lift that from those that answered."""
        if not silent and not self.unreadable & answered:
            return
        with self.database.use() as connection:
            for bucket, reason in silent.items():
                if ledger.restrain(connection, "unreadable", bucket, None, reason, self.actor):
                    log.error("bucket.unreadable", bucket=bucket, reason=reason)
            for _, bucket, *_ in ledger.lift(connection, "unreadable", answered, self.actor):
                log.info("bucket.readable", bucket=bucket)
        self.unreadable = (self.unreadable | set(silent)) - answered

    @contextmanager
    def transaction(self, refs: Sequence[ObjectRef]) -> Iterator[LiveTxn]:
        """Open the one transaction of a batch and read its references anew, plainly."""
        with self.database.transaction() as connection:
            seen = self.read(connection, refs)
            [(now,)] = connection.execute("SELECT now()").fetchall()  # last, since a pipeline arms no idle time-out
            yield LiveTxn(self, connection, now, seen)


@dataclass
class LiveTxn:
    """One short READ COMMITTED transaction; no network call but to the database happens in it."""

    world: LiveWorld
    connection: Connection
    now: datetime
    seen: Mapping[ObjectRef, Known]

    def restraints(self, counting: Collection[tuple[str, str]]) -> Restraints:
        """Take the brake's lock and read its state; what it counts, only for these and where no brake is on."""
        return ledger.read_restraints(self.connection, self.world.brake.window, counting)

    def rules(self) -> list[Restraint]:
        """Read the ignore rules alone, without a lock."""
        return ledger.set_by_hand(self.connection, IGNORE)

    def write(self, steps: Sequence[Step], trips: Sequence[Trip], look: Look, moved: set[ObjectRef]) -> set[ObjectRef]:
        """Lock the rows to be written, read once more, write; returns those that were busy, `moved` among them."""
        busy = moved | self._locked_out([step for step in steps if _effects(step)])
        free = [step for step in steps if step.ref not in busy]
        given = self._write_rows(free)
        ledger.set_brakes(self.connection, trips, self.world.actor)
        told = [_with_reason(_as_given(step, given), self.world.why) for step in free]
        ledger.record(self.connection, told, look.hints, self.world.actor, silent=self.world.silent)
        ledger.witness(self.connection, {step.ref: self.seen[step.ref] for step in free}, look.hints)
        asks = {step.ref: look.known[step.ref].asks for step in free}
        ledger.plan_looks(self.connection, free, asks, look.hints)
        ledger.ask(self.connection, [look.hints[ref] for ref in sorted(busy)], SOON, "busy")
        ledger.ask(self.connection, self._elsewhere(free, given), timedelta(0), "status given back")
        return busy

    def _locked_out(self, steps: Sequence[Step]) -> set[ObjectRef]:
        """Lock the rows of these steps without waiting, read once more; returns the references that were busy."""
        if not steps:
            return set()
        wanted = sorted({effect.row_id for step in steps for effect in _effects(step)})
        there = {row.row_id for row in rows.by_id(self.connection, self.world.mapping, wanted)}
        with refusing():  # the lock needs the privilege of the write
            locked = set(rows.lock(self.connection, self.world.mapping, wanted))
        again = self.world.read(self.connection, [step.ref for step in steps])
        return {
            step.ref
            for step in steps
            if again[step.ref] != self.seen[step.ref]
            or any(effect.row_id in there - locked for effect in _effects(step))
        }

    def _write_rows(self, steps: Sequence[Step]) -> set[str]:
        """Give back, flag, purge; returns the ids of the rows that were given back.

        The rows are locked and as they were read, so a write without effect is a refusal, by a trigger or a policy.
        """
        effects = [effect for step in steps for effect in _effects(step)]
        if not effects:
            return set()
        flags = [(effect.row_id, effect.status) for effect in effects if isinstance(effect, Flag)]
        backs = [(effect.row_id, effect.status) for effect in effects if isinstance(effect, GiveBack)]
        purges = [effect for effect in effects if isinstance(effect, Purge)]
        mapping = self.world.mapping
        with refusing():
            given = rows.give_back(self.connection, mapping, backs)
            flagged = rows.flag(self.connection, mapping, flags)
            purged = rows.purge(self.connection, mapping, self._purgeable(purges))
            self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a deferred one would refuse at the commit
        left = rows.by_id(self.connection, mapping, sorted({row_id for row_id, _ in backs} - given))
        if len(purged) < len(purges):
            raise Refused(
                "the purge had no effect: the file has no other good version any more, a trigger, a row policy"
            )
        if len(flagged) < len(flags) or any(row.status == self.world.policy.flag for row in left):
            raise Refused("the write had no effect, as by a trigger or a row policy")
        return given

    def _purgeable(self, purges: Sequence[Purge]) -> list[tuple[str, bool]]:
        """Leave out what would be its file's only good version now, whatever was read before the look."""
        careful = [one.row_id for one in purges if not one.alone]
        others = has_others(good(self.connection, self.world.mapping, careful)) if careful else set()
        return [(one.row_id, one.alone) for one in purges if one.alone or one.row_id in others]

    def _elsewhere(self, steps: Sequence[Step], given: set[str]) -> list[Hint]:
        """Name where rows are now that were given back under another key or version.

        What was decided there in the same batch does not count: it met the flag.
        """
        moved = {row_id for step in steps for row_id in step.moved} & given
        there = rows.by_id(self.connection, self.world.mapping, sorted(moved)) if moved else []
        return [Hint(ObjectRef(row.bucket, row.key, row.s3_version)) for row in there]


def _with_reason(step: Step, why: str) -> Step:
    """Say of each change why a person had it done."""
    if not why:
        return step
    changes = tuple(replace(one, why=f"{one.why}; {why}" if one.why else why) for one in step.changes)
    return replace(step, changes=changes)


def _as_given(step: Step, given: set[str]) -> Step:
    """Say of a status that was not there to be given back that the application had changed it."""
    if not any(isinstance(effect, GiveBack) and effect.row_id not in given for effect in _effects(step)):
        return step
    return replace(step, changes=tuple(_kept_theirs(change, given) for change in step.changes))


def _kept_theirs(change: Change, given: set[str]) -> Change:
    if isinstance(change.effect, GiveBack) and change.row_id not in given:
        return replace(change, act="resolved", why="the application had changed the status")
    return change


def _effects(step: Step) -> list[Effect]:
    return [change.effect for change in step.changes if change.effect]
