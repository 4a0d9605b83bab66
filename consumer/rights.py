"""What the database lets a sweep do with our schema: keep itself there, or at least read what is found already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import errors

from reconcile.database import Connection
from reconcile.inquiry import is_installed

WRITTEN = {
    "sweep": ("INSERT", "UPDATE"),
    "drift": ("INSERT", "UPDATE", "DELETE"),
    "lease": ("INSERT", "UPDATE", "DELETE"),
}
READ = {"finding": ("SELECT",), "look": ("SELECT",)}


def may_keep(connection: Connection) -> bool:
    """Tell whether our schema is there and up to date, and ours to write."""
    return _may(connection, WRITTEN)


def may_read(connection: Connection) -> bool:
    """Tell whether our findings are there and ours to read; without them a flag in a row is nobody's."""
    return _may(connection, READ)


def _may(connection: Connection, wanted: Mapping[str, Sequence[str]]) -> bool:
    asked = [(f"reconciler.{table}", privilege) for table, privileges in wanted.items() for privilege in privileges]
    try:
        return is_installed(connection) and all(
            connection.execute("SELECT has_table_privilege(%s, %s)", one).fetchall() == [(True,)] for one in asked
        )
    except errors.InsufficientPrivilege:
        return False
