"""Reads from the schema `reconciler` what happened in a window of time. Writes nothing, asks no other server."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from reconcile.database import Connection, queries, sql_file
from reconcile.inquiry import Record, filled
from reconcile.reports.daily import Cell, Flow, Pruned, Slot, Span, slots

SQL = queries(sql_file("daily.sql"))
DEEDS = (
    "deleted", "deletion undone", "undo failed", "not deleted", "purged", "restored", "restore begun", "adopted",
    "approved", "approval withdrawn", "ignored", "reopened",
)  # fmt: skip
MOST_LINES, MOST_SAMPLES = 200, 50_000


def flows(connection: Connection, span: Span) -> dict[Cell, Flow]:
    """Return what came and went, by kind, cause and group."""
    found = connection.execute(filled(SQL["flows"]), span._asdict()).fetchall()
    return {Cell(*record[:3]): Flow(*record[3:]) for record in found}


def stock(connection: Connection, span: Span) -> dict[Cell, int]:
    """Return what was open at the window's end."""
    found = connection.execute(filled(SQL["stock"]), span._asdict()).fetchall()
    return {Cell(*cell): count for *cell, count in found}


def history(connection: Connection, span: Span) -> list[Slot]:
    """Return how many findings opened and closed, slot by slot."""
    given = span._asdict() | {"slot_s": span.slot.total_seconds()}
    return slots(span, connection.execute(SQL["slots"], given).fetchall())


def suspicions(connection: Connection, span: Span) -> list[Record]:
    """Return (way, when, event's time) of the newest findings that an event told of."""
    return connection.execute(SQL["suspicions"], span._asdict() | {"most": MOST_SAMPLES}).fetchall()


def flaggings(connection: Connection, span: Span) -> list[Record]:
    """Return the same of the newest that were flagged, with when that was."""
    return connection.execute(SQL["flaggings"], span._asdict() | {"most": MOST_SAMPLES}).fetchall()


def sweeps(connection: Connection, span: Span) -> list[Record]:
    """Return the sweeps and scrubs."""
    return connection.execute(SQL["sweeps"], span._asdict()).fetchall()


def losses(connection: Connection, span: Span) -> list[Record]:
    """Return the loss windows that touch this one."""
    return connection.execute(SQL["losses"], span._asdict()).fetchall()


def deeds(connection: Connection, span: Span) -> list[Record]:
    """Return (act, count, bytes, who, why, first, last) of what persons did to findings."""
    return connection.execute(SQL["deeds"], span._asdict() | {"acts": list(DEEDS), "most": MOST_LINES}).fetchall()


def restraints(connection: Connection, span: Span, without: Sequence[str]) -> list[Record]:
    """Return (when, act, of what, who, why) of brakes, suppression, rules, and other acts, the latest first."""
    given = span._asdict() | {"without": list(without), "most": MOST_LINES}
    return connection.execute(SQL["restraints"], given).fetchall()


def decisions(connection: Connection, span: Span, acts: Sequence[str]) -> list[Record]:
    """Return how often each of these was decided."""
    return connection.execute(SQL["decisions"], span._asdict() | {"acts": list(acts)}).fetchall()


def pruned(connection: Connection) -> Pruned:
    """Return before which times nothing is kept any more, as the duty of retention left word."""
    kept: Sequence[Record] = connection.execute(SQL["pruned"]).fetchall()
    return msgspec.json.decode(kept[0][0], type=Pruned) if kept else Pruned()
