"""An in-memory World behind the same verbs as the live one, for simulations that move the clock.

It means what the live World means, which tests/contract holds both to; what it stands on is in servers.py.
"""

from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Self

from reconcile.batch import Unsettled, apart
from reconcile.database import Busy, Crowded, Refused
from reconcile.model import (
    FINAL,
    Brake,
    Facts,
    Finding,
    Hashed,
    Hint,
    Known,
    NotAsked,
    ObjectRef,
    ObjectSide,
    Policy,
    State,
    Told,
    Unavailable,
)
from reconcile.reconciler import SOON, Look
from reconcile.restraint import Restraint, Restraints, Trip, covered
from reconcile.steps import Change, Effect, Flag, GiveBack, Purge, Step
from reconcile.testimony import evidence, explains, named_by, side_facts, testimony
from reconcile.verdict import settled
from tests.simulation.servers import FLAG, PROBE_FIRST, Kept, Line, Servers, Tables, counted_by
from tests.simulation.servers import Look as Pending

CLAIM = timedelta(minutes=1)
PROBE_MOST = timedelta(minutes=10)


@dataclass
class MemoryWorld:
    """One process."""

    servers: Servers
    policy: Policy = field(default_factory=Policy)
    brake: Brake = field(default_factory=Brake)
    actor: str = "memory"
    unanswered: Counter[str] = field(default_factory=Counter)
    look_deadline_s: float = 1.0

    def clock(self) -> float:
        """Return seconds; a process whose clocks go apart has another."""
        return self.servers.now.timestamp()

    def glance(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, Known]:
        """Read rows, findings and asks."""
        tables = self.servers.answer()
        if self.servers.table_locked:
            raise Unavailable("postgresql", "the application has locked its table")
        return {ref: tables.known(ref) for ref in refs}

    def unsettled(self, batches: Iterable[Sequence[Hint]], doubtful: Container[ObjectRef]) -> Iterator[Unsettled]:
        """Glance at batch after batch."""
        for hints in batches:
            known = self.glance([hint.ref for hint in hints])
            told = [(hint, known[hint.ref]) for hint in hints]
            left = [n for n, one in enumerate(told) if one[0].ref in doubtful or not settled(*one)]
            named = {n for n in left if told[n][1].rows or told[n][1].findings}
            unknown, rest = apart(hints, [n for n in left if n not in named])
            yield Unsettled([told[n] for n in sorted({*named, *rest})], unknown)

    def heads(self, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, ObjectSide]:
        """Ask for each in order; beyond the room nothing is asked."""
        storage = self.servers.storage
        if storage.down:
            raise Unavailable("minio", "down")
        room = len(refs) if storage.room is None else storage.room
        return {ref: storage.head(ref) if n < room else NotAsked() for n, ref in enumerate(refs)}

    def due(self, limit: int, among: Collection[ObjectRef] | None = None) -> list[Hint]:
        """Claim looks that are due, the oldest first, and of an unreadable bucket a probe a back-off."""
        tables, now = self.servers.answer(), self.servers.now
        unreadable = {one.bucket: one for one in tables.active("unreadable")}
        by_age = sorted(tables.looks, key=lambda ref: tables.looks[ref].due_at)
        ready = [ref for ref in by_age if tables.looks[ref].due_at <= now and ref.bucket not in unreadable]
        claimed = [ref for ref in ready if among is None or ref in among][: max(limit, 0)]
        for bucket, one in unreadable.items():
            if among is None and one.until <= now:
                claimed += [ref for ref in by_age if ref.bucket == bucket][:1]
                wait = min(max(now - one.since, PROBE_FIRST), PROBE_MOST)
                tables.restraints[tables.restraints.index(one)] = one._replace(until=now + wait)
        looks = {ref: tables.looks[ref] for ref in claimed}
        tables.looks |= {ref: look._replace(due_at=now + CLAIM) for ref, look in looks.items()}
        return [Hint(ref, evidence=Told({**look.evidence, "look": look.reason})) for ref, look in looks.items()]

    def transaction(self, refs: Sequence[ObjectRef]) -> "MemoryTxn":
        """Open the one transaction of a batch."""
        return MemoryTxn(self, list(refs))

    def ask(self, hints: Sequence[Hint], after: timedelta, reason: str) -> None:
        """Ask for a look at each reference: sooner than planned, never later."""
        for hint in hints:
            self.servers.answer().ask(hint.ref, self.servers.now + after, reason, told_by(hint))

    def readable(self, silent: Mapping[str, str], answered: set[str]) -> None:
        """Restrain buckets that cannot be read, and lift that from those that answered."""
        for bucket in silent:
            self.servers.answer().restrain("unreadable", bucket, None, self.servers.now)
        self.servers.answer().readable(answered, self.servers.now)


class MemoryTxn:
    """One transaction: what it reads it reads at its beginning, what it writes it writes at once, or not at all."""

    def __init__(self, world: MemoryWorld, refs: Sequence[ObjectRef]) -> None:
        self.world = world
        self.refs = refs
        self.before: Tables | None = None

    def __enter__(self) -> Self:
        self.now = self.world.servers.now
        try:
            self.seen = self.world.glance(self.refs)
        except Unavailable as error:
            if self.world.servers.down:
                raise
            raise Crowded(error.detail) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self.unlock()
        if self.before and (kind or self.world.servers.down):
            self.world.servers.tables = self.before
        if not kind:
            self.world.servers.answer()

    def unlock(self) -> None:
        """Let others have the brake's lock, as at the end."""
        if self.world.servers.braking is self:
            self.world.servers.braking = None

    def restraints(self, counting: Collection[tuple[str, str]]) -> Restraints:
        """Take the brake's lock, and read its state, and its counts for these."""
        if self.world.servers.braking not in {None, self}:
            raise Crowded("another transaction has the brake's lock")
        self.world.servers.braking = self
        tables, since = self.world.servers.answer(), self.now - self.world.brake.window
        active = frozenset((one.kind, one.bucket) for one in tables.active("brake") if one.kind)
        kinds = {pair[0] for pair in counting if not covered(pair, active)}
        recent: Counter[tuple[str, str]] = Counter()
        for line in tables.history:
            finding = tables.findings[line.finding_id].finding
            kind, bucket = counted_by(line, finding), finding.ref.bucket
            if kind in kinds and line.at > since and not tables.released(kind, bucket, line.at):
                recent[kind, bucket] += 1
        return Restraints(active, recent, tables.live if kinds else {}, tables.set_by_hand(self.now))

    def rules(self) -> list[Restraint]:
        """Read the ignore rules alone."""
        return [one for one in self.world.servers.answer().set_by_hand(self.now) if one.effect == "ignore"]

    def write(self, steps: Sequence[Step], trips: Sequence[Trip], look: Look, moved: set[ObjectRef]) -> set[ObjectRef]:
        """Write what is neither locked nor changed since it was read; returns the others."""
        tables = self.world.servers.answer()
        self.before = tables.copy()
        busy = moved | {step.ref for step in steps if effects(step) and self._locked_out(step)}
        free = [step for step in steps if step.ref not in busy]
        given = {row_id for step in free for effect in effects(step) for row_id in self._write_row(tables, effect)}
        for trip in trips:
            tables.restrain("brake", trip.bucket, trip.kind, self.now)
        for step in free:
            told = testimony(look.hints.get(step.ref), step.side)
            facts = {**told, "object": side_facts(step.side)}
            for change in step.changes:
                self._record(tables, step.ref, as_given(change, given), facts)
            self._witness(tables, step.ref, look.hints.get(step.ref))
            self._plan(tables, step, look.known[step.ref].asks, told)
        for ref in sorted(busy):
            tables.ask(ref, self.now + SOON, "busy", told_by(look.hints[ref]))
        moved = {row_id for step in free for row_id in step.moved}
        for row_id in sorted(given & moved):
            tables.ask(tables.rows[row_id].ref(), self.now, "status given back", {})
        return busy

    def _locked_out(self, step: Step) -> bool:
        held = any(effect.row_id in self.world.servers.locked for effect in effects(step))
        return held or self.world.servers.tables.known(step.ref) != self.seen[step.ref]

    def _write_row(self, tables: Tables, effect: Effect) -> Iterator[str]:
        """Compare and set; yields the row's id if its status was given back."""
        row = tables.rows.get(effect.row_id)
        if row is None or row.status != (effect.status if isinstance(effect, Flag) else FLAG):
            if isinstance(effect, Purge):
                raise Refused("the write had no effect")
            return
        if effect.row_id in self.world.servers.refusing:
            raise Refused("the application's table refuses it")
        match effect:
            case Flag():
                status = FLAG
            case GiveBack(_, status):
                pass
            case Purge():
                status = "deleted"
        tables.rows[row.row_id] = row._replace(status=status)
        if isinstance(effect, GiveBack):
            yield row.row_id

    def _record(self, tables: Tables, ref: ObjectRef, change: Change, facts: Facts) -> None:
        """Keep a change; raises Busy where the finding has moved on."""
        current = [kept.finding for kept in tables.findings.values() if kept.finding.state not in FINAL]
        at_row = [one for one in current if (one.ref, one.row_id) == (ref, change.row_id)]
        before = change.before
        if [(one.id, one.revision) for one in at_row] != ([(before.id, before.revision)] if before else []):
            raise Busy("a finding changed meanwhile")
        number = before.id if before else len(tables.findings) + 1
        since = before.suspected_at if before and before.kind is change.kind else self.now
        revision = before.revision + 1 if before else 1
        named = by_all(
            before.named_by if before else (),
            str(facts.get("named_by") or (before.named_by[0] if before and before.named_by else "look")),
        )
        facts = {**(tables.findings[number].evidence if before else {}), **facts, **change.facts}
        erasing = change.state is State.APPROVED and bool(facts.get("erasing"))
        held = (change.cause, change.previous_status, change.held_by, named, content_of(facts), erasing)
        finding = Finding(number, ref, change.row_id, change.kind, change.state, revision, since, *held)
        tables.findings[number] = Kept(finding, facts)
        tables.history.append(Line(self.now, self.world.actor, change.act, number, change.state, change.why))

    def _witness(self, tables: Tables, ref: ObjectRef, hint: Hint | None) -> None:
        """Add what an event tells of findings that others found first."""
        for seen in self.seen[ref].findings:
            finding, facts = tables.findings[seen.id]
            if (
                hint
                and explains(hint, seen.kind)
                and finding.state not in FINAL
                and hint.named_by not in finding.named_by
            ):
                named = by_all(finding.named_by, hint.named_by)
                tables.findings[seen.id] = Kept(replace(finding, named_by=named), {**facts, **evidence(hint)})

    def _plan(self, tables: Tables, step: Step, asks: int | None, facts: Facts) -> None:
        """Keep the next look, or end the pending one unless somebody asked for it since it was read."""
        pending = tables.looks.get(step.ref)
        if step.look:
            due_at = self.now + step.look.after
            if pending and pending.asks != (asks or 0):
                due_at = min(due_at, pending.due_at)
            count = pending.asks + 1 if pending else asks or 0
            facts = {**(pending.evidence if pending else {}), **facts}
            tables.looks[step.ref] = Pending(due_at, step.look.attempt, count, step.look.reason, facts)
        elif pending and pending.asks == asks and not self._is_wanted(tables, step.ref, pending):
            del tables.looks[step.ref]

    def _is_wanted(self, tables: Tables, ref: ObjectRef, pending: Pending) -> bool:
        """Tell whether a look must stay: of a removal, or of a finding that somebody else has kept meanwhile."""
        open_now = any(one.finding.ref == ref and one.finding.state not in FINAL for one in tables.findings.values())
        return open_now or (pending.reason == "deleted" and pending.due_at > self.now + CLAIM)


def content_of(facts: Facts) -> Hashed | None:
    """Return the content that the evidence remembers."""
    if "content_sha256" not in facts:
        return None
    return Hashed(*(facts[f"content_{name}"] for name in ("sha256", "etag", "s3_version", "modified")))  # type: ignore[arg-type]


def as_given(change: Change, given: set[str]) -> Change:
    """Say of a status that was not there to be given back that the application had changed it."""
    if isinstance(change.effect, GiveBack) and change.row_id not in given:
        return replace(change, act="resolved", why="the application had changed the status")
    return change


def by_all(named_by: tuple[str, ...], source: str) -> tuple[str, ...]:
    """Return all who named a reference, one more among them."""
    return named_by if source in named_by else (*named_by, source)


def told_by(hint: Hint | None) -> Facts:
    """Return what is kept of a hint."""
    return {**evidence(hint), "named_by": named_by(hint)}


def effects(step: Step) -> list[Effect]:
    """Return what a step does to rows."""
    return [change.effect for change in step.changes if change.effect]
