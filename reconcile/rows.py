"""The application's rows, by the mapping's statements: the only module that writes to its tables.

glance.py, sweeps/spool.py and tables/condition.py read them in ways of their own.
Every function takes a connection and does one statement on it; transactions are their caller's. Errors pass through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from psycopg import sql

from reconcile.checksum import hex_of
from reconcile.database import Connection
from reconcile.model import Row, RowState
from reconcile.pooled import Cursor
from reconcile.tables.mapping import Mapping, young_parameters
from reconcile.tables.selection import Lists, Parameters


class Sibling(NamedTuple):
    """Another version of a row's file; `later` by number, else by its time, False where neither is mapped."""

    of: str
    row_id: str
    number: int | None
    state: RowState
    later: bool


def as_rows(_: object) -> Callable[[Sequence[Any]], Row]:
    """Return psycopg's row factory for the mapping's statements, whose columns are the model's fields."""
    return partial(tuple.__new__, Row)


def _rows(connection: Connection, query: sql.Composed, parameters: Lists | Parameters) -> list[Row]:
    with Cursor(connection, row_factory=as_rows) as cursor:  # a caller's connection may make others
        return cursor.execute(query, parameters, binary=True).fetchall()


def _first_columns(connection: Connection, query: sql.Composed, parameters: Parameters) -> list[str]:
    with connection.cursor(binary=True) as cursor:
        return [fields[0] for fields in cursor.execute(query, parameters)]


def lookup(connection: Connection, mapping: Mapping, keys: Sequence[str]) -> list[Row]:
    """Return all rows naming any of the keys, in whatever bucket and version, in no order."""
    return _rows(connection, mapping.lookup, mapping.parameters(keys))


def by_id(connection: Connection, mapping: Mapping, ids: Sequence[str]) -> list[Row]:
    """Return the rows of the given ids that name an object."""
    return _rows(connection, mapping.by_id, mapping.ids(ids))


def lock(connection: Connection, mapping: Mapping, ids: Sequence[str]) -> list[str]:
    """Lock rows in key order until the transaction ends, and return the ids of those that nobody else holds."""
    return _first_columns(connection, mapping.lock, mapping.ids(ids))


def flag(connection: Connection, mapping: Mapping, pairs: Sequence[tuple[str, str]]) -> set[str]:
    """Flag each (row id, status) that still has this status; return the ids of those that had."""
    return _update(connection, mapping, mapping.flag, pairs)


def give_back(connection: Connection, mapping: Mapping, pairs: Sequence[tuple[str, str]]) -> set[str]:
    """Give each (row id, former status) its status back, if it still carries the flag; return the ids of those."""
    return _update(connection, mapping, mapping.give_back, pairs)


def purge(connection: Connection, mapping: Mapping, wanted: Sequence[tuple[str, bool]]) -> set[str]:
    """Do what is configured with each flagged (row id, even if alone); return the ids of those it was done to."""
    pairs = [(row_id, "alone" if alone else "") for row_id, alone in wanted]
    return _update(connection, mapping, mapping.purge, pairs)


def siblings(connection: Connection, mapping: Mapping, ids: Sequence[str]) -> list[Sibling]:
    """Return the other versions of each row's file, in no order."""
    if mapping.siblings is None:
        return []
    with connection.cursor(binary=True) as cursor:
        return [Sibling(*fields) for fields in cursor.execute(mapping.siblings, mapping.ids(ids))]


def checksums(connection: Connection, mapping: Mapping, ids: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 (lower-case hex) of the rows that have one that can be read."""
    if mapping.checksums is None:
        return {}
    with connection.cursor(binary=True) as cursor:
        found = [(row_id, hex_of(written)) for row_id, written in cursor.execute(mapping.checksums, mapping.ids(ids))]
    return {row_id: read for row_id, read in found if read is not None}


def keys_in_order(connection: Connection, mapping: Mapping, bounds: Parameters, limit: int) -> list[str]:
    """Return the keys within the bounds (mapping.in_order_parameters) that rows claim, ascending; some named twice."""
    page = sql.SQL("SELECT r.key FROM ({}) AS r WHERE r.state <> {} LIMIT %(row_limit)s").format(
        mapping.in_order, sql.Literal(RowState.EXPECTS_ABSENCE.value)
    )
    return _first_columns(connection, page, {**bounds, "row_limit": limit})


def flagged(connection: Connection, mapping: Mapping, after: str | None, limit: int) -> list[Row]:
    """Return rows that carry the flag, whoever set it, in the order of their ids, going on after one of them."""
    if mapping.flagged is None:
        return []
    parameters: Parameters = {"row_after": after, "row_limit": limit}
    return _rows(connection, mapping.flagged, parameters)


def has_status(connection: Connection, mapping: Mapping, status: str) -> bool:
    """Tell whether any row has a status, whatever it means."""
    return bool(mapping.in_status and _first_columns(connection, mapping.in_status, {"row_status": status}))


def near(connection: Connection, mapping: Mapping, key: str) -> list[Row]:
    """Return rows whose keys stand next to this one in the index, three a side; none for a composed key."""
    return _rows(connection, mapping.near, {"row_key": key}) if mapping.near else []


def _update(
    connection: Connection, mapping: Mapping, query: sql.Composed | None, pairs: Sequence[tuple[str, str]]
) -> set[str]:
    return set(_first_columns(connection, query, mapping.pairs(pairs))) if query and pairs else set()


def young(
    connection: Connection, mapping: Mapping, lower: datetime, upper: datetime, limit: int, after: str | None = None
) -> list[Row]:
    """Return live rows created in (lower, upper], oldest first; none where no time is mapped.

    With `after`, the id of the last row seen, those created at `lower` itself and behind it are returned, too: rows of
    one transaction often share their time.
    """
    if mapping.young is None:
        return []
    return _rows(connection, mapping.young, young_parameters(lower, upper, limit, after))


def live_counts(connection: Connection, mapping: Mapping) -> dict[str, int]:
    """Return how many live rows each bucket has, `''` for those that name none; reads the whole table."""
    with connection.cursor(binary=True) as cursor:
        return dict(cursor.execute(mapping.live_counts, {}).fetchall())


def flagged_counts(connection: Connection, mapping: Mapping) -> dict[str, int]:
    """Return how many rows of each bucket carry the flag, whoever set it; reads the whole table."""
    with connection.cursor(binary=True) as cursor:
        return dict(cursor.execute(mapping.flagged_counts, {}).fetchall())
