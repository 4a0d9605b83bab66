"""What of the mapped tables is no fault and may surprise: what is not unique, what else an update of a status does.

Reads the catalog, and for the keys of several rows the whole table, within a bound. Errors pass through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from psycopg import errors, sql

from reconcile.database import Connection, queries, sql_file
from reconcile.model import RowState
from reconcile.tables import expressions, selection
from reconcile.tables.columns import Family, Index
from reconcile.tables.expressions import Tables
from reconcile.tables.fitness import quoted, quoted_name, uses
from reconcile.tables.template import Ref, is_template

SQL = queries(sql_file("doctor.sql"))
COUNTING = "20s"
ORM_VERSION = re.compile(r"_?(lock|row|opt)_?(version|lock)|_?version(_?(id|lock|no))?|revision", re.IGNORECASE)


class Shared(NamedTuple):
    """How many keys several rows name, and one of them."""

    keys: int
    example: str


def server(connection: Connection) -> tuple[str, str, str]:
    """Return the server's version, the database, and the role that we are."""
    [(version, database, role)] = connection.execute(SQL["server"]).fetchall()
    return version, database, role


def shared(connection: Connection, of: Tables) -> Shared | None:
    """Return how many keys are named by several rows that claim their object; None where that takes too long."""
    identity = sql.SQL(", ").join([expressions.bucket(of), expressions.key(of), *_s3_version(of)])
    counted = sql.SQL(
        "SELECT count(*), min(key) FROM (SELECT min({key}) AS key FROM {source}"
        " WHERE {key} IS NOT NULL AND {state} <> {absent} GROUP BY {identity} HAVING count(*) > 1) AS several"
    ).format(
        key=expressions.key(of),
        source=selection.source(of),
        state=expressions.state(of),
        absent=expressions.word(RowState.EXPECTS_ABSENCE),
        identity=identity,
    )
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('statement_timeout', %s, true)", [COUNTING])
            [(keys, example)] = connection.execute(counted, {}).fetchall()
    except errors.QueryCanceled:
        return None
    return Shared(keys, example or "")


def _s3_version(of: Tables) -> list[sql.Composable]:
    column = of.settings.version.s3_version
    return [expressions.of_version(column)] if column else []


def key_columns(of: Tables) -> list[str]:
    """Return the columns of the version table that name an object; none where a template composes it."""
    version, bucket = of.settings.version, of.settings.bucket.column
    if is_template(version.key):
        return []
    own = [bucket.removeprefix("version.")] if bucket and not bucket.startswith("file.") else []
    return [*own, version.key, *([version.s3_version] if version.s3_version else [])]


def unique_by(of: Tables, columns: Sequence[str]) -> Index | None:
    """Return the unique index that allows these columns once only, alone or some of them; one of all rows first."""
    for index in (*of.version.indexes, *of.version.partial):
        if index.unique and index.columns and {*index.columns} <= {*columns}:
            return index
    return None


def unique_index(of: Tables, columns: Sequence[str]) -> str:
    """Return the SQL that makes these columns unique."""
    return f"CREATE UNIQUE INDEX CONCURRENTLY ON {quoted_name(of.version)} ({', '.join(map(quoted, columns))})"


def triggers(connection: Connection, of: Tables) -> list[str]:
    """Return the triggers that setting a status fires."""
    given = {"table": quoted_name(of.version), "column": of.settings.version.status}
    return [name for (name,) in connection.execute(SQL["triggers"], given).fetchall()]


def orm_versions(of: Tables) -> Iterator[str]:
    """Yield the columns by which an ORM notices that a row has changed, by their names."""
    mapped = {use.ref for use in uses(of.settings)}
    for name, column in of.version.columns.items():
        whole = column.family is Family.INTEGER and ORM_VERSION.fullmatch(name)
        if whole and Ref("version", name) not in mapped:
            yield name


def unwritable(connection: Connection) -> list[str]:
    """Return the tables of our schema that this role cannot work with."""
    return [name for (name,) in connection.execute(SQL["unwritable"]).fetchall()]


def is_reader(connection: Connection) -> bool:
    """Tell whether this role reads our schema and writes none of it, as whoever only looks does."""
    return connection.execute(SQL["is_reader"]).fetchall() == [(True,)]
