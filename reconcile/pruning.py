"""Deletes what is past its retention, a page at a time: no statement meets its time-out for there being much."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import LiteralString

from reconcile.database import Connection, queries, sql_file

SQL = queries(sql_file("prune.sql"))
PAGE = 1000


def prune(
    connection: Connection,
    history: timedelta,
    findings: timedelta,
    sweeps: timedelta,
    goes_on: Callable[[], bool] = lambda: True,
) -> dict[str, int]:
    """Delete history of closed findings, closed findings, lifted restraints and sweeps; each page is committed.

    Where `goes_on` is false after a page, the rest is left to the next time. `unpublished` is how much of the history
    was pruned that the findings topic never took.
    """
    told, unpublished = _history(connection, history, findings, goes_on)
    deleted = {
        "history": told,
        "unpublished": unpublished,
        "findings": _pages(connection, SQL["findings"], {"older": findings}, goes_on),
        "restraints": connection.execute(SQL["restraints"], {"older": history}).rowcount,
        "sweeps": _sweeps(connection, sweeps, goes_on),
    }
    return {table: count for table, count in deleted.items() if count}


def _history(
    connection: Connection, older: timedelta, findings: timedelta, goes_on: Callable[[], bool]
) -> tuple[int, int]:
    """Walk through the history in the order of its ids, which is that of its time but for what was written at once."""
    told, unpublished, after, some_old = 0, 0, 0, True
    while some_old:
        given = {"older": older, "findings": findings, "after": after, "most": PAGE}
        [(pruned, untold, after, some_old)] = connection.execute(SQL["history"], given).fetchall()
        told, unpublished = told + pruned, unpublished + untold
        some_old = some_old and goes_on()
    return told, unpublished


def _sweeps(connection: Connection, older: timedelta, goes_on: Callable[[], bool]) -> int:
    """Delete sweeps, the drifts of each before itself."""
    deleted = 0
    for (number,) in connection.execute(SQL["sweeps"], {"older": older}).fetchall():
        _pages(connection, SQL["drifts"], {"id": number}, goes_on)
        if not goes_on():
            break
        connection.execute(SQL["sweep"], {"id": number})
        deleted += 1
    return deleted


def _pages(
    connection: Connection, statement: LiteralString, given: dict[str, object], goes_on: Callable[[], bool]
) -> int:
    """Delete until a page is not full; returns how many."""
    deleted = 0
    while (count := connection.execute(statement, {**given, "most": PAGE}).rowcount) == PAGE and goes_on():
        deleted += count
    return deleted + count
