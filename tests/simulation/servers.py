"""What the in-memory World stands on: a tiny application's table, what is kept, an object store, and a clock.

All that a transaction changes is in `Tables`; several worlds share one `Servers`, as processes do.
"""

import copy
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from reconcile.model import (
    FINAL,
    NOTHING_KNOWN,
    Facts,
    Finding,
    Kind,
    Known,
    ObjectRef,
    Row,
    RowState,
    State,
    Unavailable,
)
from reconcile.restraint import PURGES
from reconcile.restraint import Restraint as ByHand
from tests.simulation.storage import Storage

BEGINNING = datetime(2025, 6, 1, 12, tzinfo=UTC)
BY_HAND = frozenset({"suppress", "ignore"})
PROBE_FIRST = timedelta(seconds=5)
FLAG = "corrupted"


class Stored(NamedTuple):
    """One row of the application's only table."""

    row_id: str
    bucket: str
    key: str
    size: int | None = 3
    etag: str | None = None
    status: str = "active"
    s3_version: str = ""
    deleted: bool = False  # its parent is soft-deleted
    created_at: datetime | None = None
    sha256: str | None = None

    def ref(self) -> ObjectRef:
        """Return what it names."""
        return ObjectRef(self.bucket, self.key, self.s3_version)

    def row(self) -> Row:
        """Return it as a mapping yields it."""
        return _row_of(self)


@lru_cache(maxsize=4096)  # it is read far more often than it changes
def _row_of(stored: Stored) -> Row:
    state = RowState.FLAGGED if stored.status == FLAG else RowState.LIVE
    if stored.deleted or stored.status in {"pending", "deleted"}:
        state = RowState.EXPECTS_ABSENCE
    named = (stored.row_id, None, stored.bucket, stored.key, stored.s3_version, stored.size, stored.etag, stored.status)
    return Row(*named, state, None, None, stored.created_at, stored.sha256)


class Kept(NamedTuple):
    """A finding as it is kept."""

    finding: Finding
    evidence: Facts


class Look(NamedTuple):
    """A look as it is kept."""

    due_at: datetime
    attempt: int
    asks: int
    reason: str
    evidence: Facts


class Line(NamedTuple):
    """A line of the history."""

    at: datetime
    actor: str
    act: str
    finding_id: int
    to_state: State
    why: str


class Restraint(NamedTuple):
    """A brake, a window until its end, or a bucket that cannot be read, until its next probe goes out."""

    effect: str
    bucket: str
    kind: str | None  # of findings, or PURGES
    since: datetime
    until: datetime
    lifted_at: datetime | None = None
    pattern: str | None = None

    def as_set(self, number: int, now: datetime) -> ByHand:
        """Return what a person has set as the core has it."""
        kind = Kind(self.kind) if self.kind else None
        return ByHand(number, self.effect, self.bucket, kind, self.pattern, self.until - now)


@dataclass
class Tables:
    """All that a transaction changes; its values are immutable, so that a copy is cheap."""

    rows: dict[str, Stored] = field(default_factory=dict)
    findings: dict[int, Kept] = field(default_factory=dict)
    looks: dict[ObjectRef, Look] = field(default_factory=dict)
    history: list[Line] = field(default_factory=list)
    restraints: list[Restraint] = field(default_factory=list)
    live: dict[str, int] = field(default_factory=dict)

    def copy(self) -> "Tables":
        """Return what a rollback returns to."""
        return Tables(*(copy.copy(getattr(self, name)) for name in self.__dataclass_fields__))

    def known(self, ref: ObjectRef) -> Known:
        """Return what the tables say of a reference."""
        rows = [row.row() for row in self.rows.values() if (row.bucket, row.key) == ref[:2]]
        rows = sorted(row for row in rows if not ref.s3_version or row.s3_version in {"", ref.s3_version})
        findings = [kept.finding for kept in self.findings.values()]
        findings = [one for one in findings if one.ref == ref and one.state not in FINAL]
        look = self.looks.get(ref)
        if not rows and not findings and not look:
            return NOTHING_KNOWN
        by_row = sorted(findings, key=lambda finding: finding.row_id)
        return Known(tuple(rows), tuple(by_row), look.asks if look else None, look.attempt if look else 0)

    def ask(self, ref: ObjectRef, due_at: datetime, reason: str, facts: Facts) -> None:
        """Ask for a look: sooner than planned if one is planned, never later."""
        look = self.looks.get(ref) or Look(due_at, 0, 0, reason, {})
        sooner, both = min(look.due_at, due_at), {**look.evidence, **facts}
        self.looks[ref] = look._replace(due_at=sooner, asks=look.asks + 1, evidence=both)

    def active(self, effect: str) -> list[Restraint]:
        """Return the restraints in force."""
        return [one for one in self.restraints if one.effect == effect and one.lifted_at is None]

    def set_by_hand(self, now: datetime) -> list[ByHand]:
        """Return the windows that are on, and the rules in force."""
        those = [one for one in enumerate(self.restraints, 1) if one[1].effect in BY_HAND and not one[1].lifted_at]
        return [one.as_set(number, now) for number, one in those if one.until > now]

    def held(self, by: str) -> list[Finding]:
        """Return the findings that something holds."""
        return [one for one, _ in self.findings.values() if one.held_by == by and one.state not in FINAL]

    def flagging(self) -> list[Finding]:
        """Return the findings for which a row got our flag."""
        return [one for one, _ in self.findings.values() if one.previous_status is not None and one.state not in FINAL]

    def released(self, kind: str, bucket: str, since: datetime) -> bool:
        """Tell whether a person has lifted such a brake since."""
        brakes = [one for one in self.restraints if one.effect == "brake" and one.kind == kind]
        return any(one.lifted_at and one.lifted_at > since for one in brakes if one.bucket in {"", bucket})

    def restrain(self, effect: str, bucket: str, kind: str | None, now: datetime) -> None:
        """Set a restraint, unless the same is in force."""
        if not any((one.bucket, one.kind) == (bucket, kind) for one in self.active(effect)):
            self.restraints.append(Restraint(effect, bucket, kind, now, now + PROBE_FIRST))

    def readable(self, buckets: set[str], now: datetime) -> None:
        """Lift that some buckets cannot be read."""
        for number, one in enumerate(self.restraints):
            if one.effect == "unreadable" and one.lifted_at is None and one.bucket in buckets:
                self.restraints[number] = one._replace(lifted_at=now)


@dataclass
class Servers:
    """The servers: `locked` and `refusing` name rows that the application holds, or will not have written."""

    storage: Storage = field(default_factory=Storage)
    tables: Tables = field(default_factory=Tables)
    now: datetime = BEGINNING
    locked: set[str] = field(default_factory=set)
    refusing: set[str] = field(default_factory=set)
    down: bool = False
    table_locked: bool = False
    braking: object = None  # the transaction that has the brake's lock

    def answer(self) -> Tables:
        """Return the tables, if the database is there."""
        if self.down:
            raise Unavailable("postgresql", "down")
        return self.tables

    def release(self, kinds: Collection[str] = (Kind.MISSING, Kind.ORPHAN, PURGES)) -> None:
        """Lift the brakes of these kinds and free what they held, as a person does."""
        tables = self.answer()
        for number, one in enumerate(tables.restraints):
            if one.effect == "brake" and one.kind in kinds and one.lifted_at is None:
                tables.restraints[number] = one._replace(lifted_at=self.now)
        for number, (finding, facts) in tables.findings.items():
            if finding.held_by == "brake" and finding.state not in FINAL and brake_of(finding) in kinds:
                freed = replace(finding, held_by="released", revision=finding.revision + 1)
                tables.findings[number] = Kept(freed, facts)
                tables.history.append(Line(self.now, "person", "released", number, finding.state, ""))
                tables.ask(finding.ref, self.now, "released", {})

    def suppress(self, bucket: str, pattern: str | None, lasting: timedelta) -> None:
        """Set a window, as a person does."""
        self.restrain("suppress", bucket, pattern, None, lasting)

    def ignore(self, bucket: str, pattern: str | None, kind: Kind | None, lasting: timedelta) -> int:
        """Set an ignore rule, as a person does; returns its number."""
        self.restrain("ignore", bucket, pattern, kind, lasting)
        return len(self.answer().restraints)

    def restrain(self, effect: str, bucket: str, pattern: str | None, kind: Kind | None, lasting: timedelta) -> None:
        """Set what a person sets."""
        end = self.now + lasting
        self.answer().restraints.append(Restraint(effect, bucket, kind, self.now, end, pattern=pattern))

    def lift_windows(self) -> None:
        """End every window before its time, as a person does."""
        self.lift({"suppress"})
        self.end_windows()

    def lift(self, effects: Collection[str] = BY_HAND) -> None:
        """Have what persons have set be over."""
        tables = self.answer()
        tables.restraints = [
            one._replace(until=min(one.until, self.now)) if one.effect in effects and not one.lifted_at else one
            for one in tables.restraints
        ]

    def end_windows(self) -> None:
        """Ask for a look at all that a window covered which is over, and close it."""
        tables = self.answer()
        for number, one in enumerate(tables.restraints):
            if one.effect != "suppress" or one.lifted_at or one.until > self.now:
                continue
            for finding, _ in tables.findings.values():
                if finding.state not in FINAL and one.as_set(number + 1, self.now).covers(finding.ref, finding.kind):
                    tables.ask(finding.ref, self.now, "the end of a window", {})
            tables.restraints[number] = one._replace(lifted_at=self.now)


def brake_of(finding: Finding) -> str:
    """Return which of the brakes holds a finding: what carries our flag already is held from its purge."""
    if finding.kind in {Kind.ORPHAN, Kind.LEFTOVER}:
        return Kind.ORPHAN
    return Kind.MISSING if finding.previous_status is None else PURGES


def counted_by(line: Line, finding: Finding) -> str | None:
    """Return which of the brakes counts a line of the history; what a person released is not counted."""
    if line.act == "flagged":
        return Kind.MISSING
    if finding.held_by == "released":
        return None
    if line.act == "purged":
        return PURGES
    return Kind.ORPHAN if line.act == "opened" and finding.kind in {Kind.ORPHAN, Kind.LEFTOVER} else None
