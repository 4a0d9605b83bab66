"""Deletes what is past its retention, a page at a time: no statement meets its time-out for there being much."""

from __future__ import annotations

from datetime import timedelta
from typing import LiteralString

from reconcile.database import Connection, queries, sql_file

SQL = queries(sql_file("prune.sql"))
PAGE = 1000


def prune(connection: Connection, history: timedelta, findings: timedelta, sweeps: timedelta) -> dict[str, int]:
    """Delete history of closed findings, closed findings, lifted restraints and sweeps; each page is committed.

    `unpublished` is how much of the history was pruned that the findings topic never took.
    """
    told, unpublished = _history(connection, history, findings)
    deleted = {
        "history": told,
        "unpublished": unpublished,
        "findings": _pages(connection, SQL["findings"], {"older": findings}),
        "restraints": connection.execute(SQL["restraints"], {"older": history}).rowcount,
        "sweeps": _sweeps(connection, sweeps),
    }
    return {table: count for table, count in deleted.items() if count}


def _history(connection: Connection, older: timedelta, findings: timedelta) -> tuple[int, int]:
    """Walk through the history in the order of its ids, which is that of its time but for what was written at once."""
    told, unpublished, after, some_old = 0, 0, 0, True
    while some_old:
        given = {"older": older, "findings": findings, "after": after, "most": PAGE}
        [(pruned, untold, after, some_old)] = connection.execute(SQL["history"], given).fetchall()
        told, unpublished = told + pruned, unpublished + untold
    return told, unpublished


def _sweeps(connection: Connection, older: timedelta) -> int:
    """Delete sweeps, the drifts of each before itself."""
    found = connection.execute(SQL["sweeps"], {"older": older}).fetchall()
    for (number,) in found:
        _pages(connection, SQL["drifts"], {"id": number})
        connection.execute(SQL["sweep"], {"id": number})
    return len(found)


def _pages(connection: Connection, statement: LiteralString, given: dict[str, object]) -> int:
    """Delete until a page is not full; returns how many."""
    deleted = 0
    while (count := connection.execute(statement, {**given, "most": PAGE}).rowcount) == PAGE:
        deleted += count
    return deleted + count
