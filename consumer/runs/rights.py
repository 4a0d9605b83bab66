"""What the database lets a sweep do with our schema: keep itself there, or at least read what is found already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import errors

from reconcile.database import Connection
from reconcile.inquiry import is_installed

WRITTEN = {
    "sweep": ("INSERT", "UPDATE"),
    "drift": ("INSERT", "UPDATE", "DELETE"),
    "lease": ("INSERT", "UPDATE", "DELETE"),
}
READ = {"finding": ("SELECT",), "look": ("SELECT",)}
STANDBY = "this database is a standby, whose rows may be old; let database.url name the primary"
READ_ONLY = (
    "this database is read-only (default_transaction_read_only); let database.url name one that can be written, or"
    " ALTER ROLE … SET default_transaction_read_only = off"
)
NO_SCHEMA = "this needs the schema reconciler, up to date and to be written: storage-reconciler init --apply"
UNREAD = (
    "the schema reconciler is there, and its findings may not be read: rows that carry the flag count as flagged by"
    " others; GRANT USAGE ON SCHEMA reconciler, and SELECT ON reconciler.finding, reconciler.look, to read them"
)
STATE = """
SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', to_regnamespace('reconciler') IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be done: `refusal` says why nothing can be kept, `''` if it can; `note` is for the report."""

    refusal: str
    reads: bool
    standby: bool
    note: str


def rights(connection: Connection) -> Rights:
    """Return what may be done over this connection."""
    [(standby, _, there)] = connection.execute(STATE).fetchall()
    reads = may_read(connection)
    refusal = cannot_write(connection) or ("" if may_write(connection) else NO_SCHEMA)
    return Rights(refusal, reads, standby, UNREAD if there and not reads else "")


def cannot_write(connection: Connection) -> str:
    """Return why this database takes no writes at all, `''` if it does."""
    [(standby, read_only, _)] = connection.execute(STATE).fetchall()
    return STANDBY if standby else READ_ONLY if read_only else ""


def may_write(connection: Connection) -> bool:
    """Tell whether our schema is there, up to date, and ours to write."""
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
