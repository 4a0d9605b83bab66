"""Ignore rules, as a person sets them, lifts them, and as they end.

While one is in force, what it covers is ignored from the moment it is found (restraint.py): kept, quiet, and resolved
when it heals. When its time is over, or it is lifted, what it held is reopened and looked at anew, and then it is
closed; whoever is stopped in between leaves that to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from reconcile import acts
from reconcile.acts import Who
from reconcile.database import Connection, Database, queries, sql_file
from reconcile.inquiry import Record, explaining
from reconcile.life import Input
from reconcile.model import Kind, ObjectRef
from reconcile.repair.triage import Deed, Named, as_it_is, carried_out, unasked
from reconcile.restraint import RULE
from reconcile.steps import NO_DELAY
from reconcile.world import LiveWorld

SQL = queries(sql_file("rules.sql"))
ITS_END = "its end"


@dataclass(frozen=True, slots=True)
class Rule:
    """On the keys of a bucket (`''`: all) that match a pattern, of one kind (None: all), until a time."""

    bucket: str
    kind: Kind | None
    pattern: str
    until: datetime


def add(database: Database, who: Who, rule: Rule) -> int:
    """Set a rule, and return its number."""
    given = {"bucket": rule.bucket, "kind": rule.kind, "pattern": rule.pattern}
    with explaining(), database.transaction() as connection:
        told = {"until": rule.until, "actor": who.actor, "why": who.why}
        [(number,)] = connection.execute(SQL["add"], {**given, **told}).fetchall()
        acts.note(connection, who, "rule set", f"{RULE}{number}", given | {"until": rule.until.isoformat()})
    return int(number)


def every(connection: Connection, *, closed: bool) -> list[Record]:
    """Return (id, bucket, kind, pattern, since, until, actor, why, over, lifted at, lifted by, held) of rules."""
    return connection.execute(SQL["set"], {"all": closed}).fetchall()


def over(connection: Connection) -> list[int]:
    """Return the rules that are over, or were lifted, and were not closed yet or hold something anew."""
    return [number for (number,) in connection.execute(SQL["over"]).fetchall()]


def lift(live: LiveWorld, who: Who, number: int) -> int | None:
    """End a rule before its time; returns how many findings were reopened, None if no such rule is in force."""
    with explaining(), live.database.transaction() as connection:
        stopped = connection.execute(SQL["stop"], {"id": number, "actor": who.actor}).fetchone()
        if stopped is None:
            return None
        bucket, pattern, since, why = stopped
        facts = {"bucket": bucket, "pattern": pattern, "since": since.isoformat(), "set_for": why}
        acts.note(connection, who, "rule lifted", f"{RULE}{number}", facts)
    return close(live, number, who.actor)


def close(live: LiveWorld, number: int, actor: str = ITS_END) -> int:
    """Reopen what a rule held, each to be looked at at once, and close it; returns how many were reopened.

    While some of them are busy the rule stays to be closed.
    """
    deed = Deed(Input.REOPEN, f"the end of {RULE}{number}", as_it_is, through=unasked, after=NO_DELAY)
    outcomes = [one.done for one in carried_out(live, deed, _held(live.database, number), "rule")]
    if all(outcomes):
        with live.database.use() as connection:
            connection.execute(SQL["close"], {"id": number, "actor": actor})
    return sum(outcomes)


def close_all(live: LiveWorld) -> dict[int, int]:
    """Close every rule that is over; returns how many findings each reopened."""
    with live.database.use() as connection:
        numbers = over(connection)
    return {number: close(live, number) for number in numbers}


def _held(database: Database, number: int) -> Iterator[Named]:
    after = 0
    while True:
        with database.use() as connection:
            page = connection.execute(SQL["held"], {"rule": f"{RULE}{number}", "after": after}).fetchall()
        if not page:
            return
        yield from (Named(one[0], ObjectRef(*one[1:4]), one[4]) for one in page)
        after = page[-1][0]
