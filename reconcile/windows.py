"""Suppression windows, as a person sets them, lifts them, and as they end.

While one is on, drift is observed and kept as suspected, and nothing that it covers opens or is flagged (restraint.py).
When it is over, or lifted, all that it covers is looked at again, and then it is closed; whoever is stopped in between
leaves that to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from reconcile import acts, ledger
from reconcile.acts import Who
from reconcile.config.filters import matching
from reconcile.database import BRAKE_LOCK, Connection, Database, queries, sql_file
from reconcile.inquiry import Record, explaining
from reconcile.model import Hint, ObjectRef
from reconcile.restraint import SUPPRESS
from reconcile.steps import NO_DELAY

SQL = queries(sql_file("windows.sql"))
ITS_END = "its end"


@dataclass(frozen=True, slots=True)
class Window:
    """On the keys of a bucket (`''`: all) that match a pattern (None: all), until a time."""

    bucket: str
    pattern: str | None
    until: datetime


class Over(NamedTuple):
    """A window that holds nothing any more, and has still to be closed."""

    id: int
    bucket: str
    pattern: str | None


def add(database: Database, who: Who, window: Window) -> int:
    """Set a window; once this returns nothing that it covers is flagged, since it waits for whoever is flagging now."""
    given = {"effect": SUPPRESS, "bucket": window.bucket, "pattern": window.pattern, "until": window.until}
    with explaining(), database.transaction() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [BRAKE_LOCK])
        [(number,)] = connection.execute(SQL["add"], {**given, "actor": who.actor, "why": who.why}).fetchall()
        acts.note(connection, who, "suppressed", f"{SUPPRESS} {number}", given | {"until": window.until.isoformat()})
    return int(number)


def every(connection: Connection, *, closed: bool) -> list[Record]:
    """Return (id, bucket, pattern, since, until, actor, why, over, lifted at, lifted by) of windows."""
    return connection.execute(SQL["set"], {"effect": SUPPRESS, "all": closed}).fetchall()


def lift(database: Database, who: Who, number: int) -> int | None:
    """End a window before its time; returns how many findings are looked at, None if no such window is on."""
    with database.use() as connection, explaining():
        with connection.transaction():
            given = {"id": number, "effect": SUPPRESS, "actor": who.actor}
            stopped = connection.execute(SQL["stop"], given).fetchone()
            if stopped is None:
                return None
            bucket, pattern, since, why = stopped
            facts = {"bucket": bucket, "pattern": pattern, "since": since.isoformat(), "set_for": why}
            acts.note(connection, who, "suppression lifted", f"{SUPPRESS} {number}", facts)
        return close(connection, Over(number, bucket, pattern), who.actor)


def over(connection: Connection) -> list[Over]:
    """Return the windows whose time is over, or that were lifted, and that were not closed yet."""
    return [Over(*row) for row in connection.execute(SQL["over"], {"effect": SUPPRESS}).fetchall()]


def close(connection: Connection, window: Over, actor: str = ITS_END) -> int:
    """Ask for a look at all that a window covered, then close it; returns at how many."""
    asked = 0
    for hints in _covered(connection, window):
        ledger.ask(connection, hints, NO_DELAY, f"the end of {SUPPRESS} {window.id}")
        asked += len(hints)
    connection.execute(SQL["close"], {"id": window.id, "actor": actor})
    return asked


def _covered(connection: Connection, window: Over) -> Iterator[list[Hint]]:
    after = 0
    while page := connection.execute(SQL["below"], {"after": after, "bucket": window.bucket}).fetchall():
        refs = dict.fromkeys(ObjectRef(*one[1:]) for one in page)
        is_below = matching(window.pattern) if window.pattern else lambda _: True
        yield [Hint(ref) for ref in refs if is_below(ref.key)]
        after = page[-1][0]


def how_many(connection: Connection, window: Window) -> int:
    """Return how many findings that are not closed a window would cover."""
    return sum(map(len, _covered(connection, Over(0, window.bucket, window.pattern))))
