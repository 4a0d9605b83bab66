"""Reads what is kept, for a person: findings by filter or group, one with its history, the numbers of the status.

Writes nothing and decides nothing; every function does one or two statements of inquiry.sql on a connection. A schema
that is absent, behind, or not to be read is Misconfigured, and says how to get it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg import errors, sql

from reconcile.database import Connection, Database, first_line, pending, queries, sql_file
from reconcile.model import Misconfigured

SQL = queries(sql_file("inquiry.sql"))
PAGE = 2_000
Record = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which findings; None is no condition. Without `states` those that are not closed.

    `before` is about the object's Last-Modified, or where that is not known about when it was suspected.
    """

    states: list[str] | None = None
    kinds: list[str] | None = None
    bucket: str | None = None
    prefix: str | None = None
    group: str | None = None
    owner: str | None = None
    cause: str | None = None
    principal: str | None = None
    since: datetime | None = None
    held: bool = False
    before: datetime | None = None
    least_bytes: int | None = None
    keys: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of records, their columns' names, and how many there are altogether."""

    columns: tuple[str, ...]
    records: Sequence[Record]
    total: int


@contextmanager
def reading(database: Database) -> Iterator[Connection]:
    """Lend a connection for one consistent look that cannot write."""
    with database.use() as connection, explaining(), connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


@contextmanager
def explaining() -> Iterator[None]:
    """Say what is to be done where our schema is not there."""
    try:
        yield
    except (errors.UndefinedTable, errors.InvalidSchemaName, errors.UndefinedColumn) as error:
        raise Misconfigured(
            f"the database lacks what this needs ({first_line(error)}); run storage-reconciler init --apply"
        ) from error


def is_installed(connection: Connection) -> bool:
    """Tell whether the schema reconciler is there and up to date."""
    return not pending(connection)


def now(connection: Connection) -> datetime:
    """Return the database's time."""
    [(at,)] = connection.execute("SELECT now()").fetchall()
    return at  # type: ignore[no-any-return]  # a driver's row


def clock(connection: Connection) -> datetime:
    """Return the database's clock at this moment, within a transaction too."""
    [(at,)] = connection.execute("SELECT clock_timestamp()").fetchall()
    return at  # type: ignore[no-any-return]  # a driver's row


def clock_s(connection: Connection) -> float:
    """Return the same in seconds since 1970."""
    return clock(connection).timestamp()


def findings(connection: Connection, wanted: Filter, limit: int, after: int | None) -> Page:
    """Return findings, the latest first, at most `limit`, going on after the one named by id."""
    columns, records = listed(connection, wanted, limit, after)
    [(total,)] = connection.execute(_matching("how_many"), asdict(wanted)).fetchall()
    return Page(columns, records, total)


def listed(
    connection: Connection, wanted: Filter, limit: int, after: int | None
) -> tuple[tuple[str, ...], Sequence[Record]]:
    """Return the columns and the records of the same page, uncounted: what there is beside it costs nothing."""
    cursor = connection.execute(_matching("findings"), {**asdict(wanted), "limit": limit, "after": after})
    return tuple(column.name for column in cursor.description or ()), cursor.fetchall()


def chosen(database: Database, wanted: Filter, ids: Sequence[int] | None) -> Iterator[Record]:
    """Yield (id, bucket, key, S3 version, row id, kind, state) of findings, by id or by filter, a page at a time.

    What is found after the first page was asked for is left out.
    """
    with reading(database) as connection:
        [(upto,)] = connection.execute(SQL["newest"]).fetchall()
    after = 0
    while True:
        with reading(database) as connection:
            parameters = {**asdict(wanted), "ids": None if ids is None else list(ids), "after": after, "upto": upto}
            page = connection.execute(_matching("chosen"), parameters).fetchall()
        if not page:
            return
        yield from page
        after = page[-1][0]


def purgeable(database: Database, wanted: Filter, ids: Sequence[int] | None, older: timedelta) -> Iterator[Record]:
    """Yield (id, bucket, key, S3 version, row id, state, held by, flagged since) of what may be purged, in pages."""
    after = 0
    while True:
        with reading(database) as connection:
            parameters = {**asdict(wanted), "ids": None if ids is None else list(ids), "after": after, "older": older}
            page = connection.execute(_matching("purgeable"), parameters).fetchall()
        if not page:
            return
        yield from page
        after = page[-1][0]


def grouped(connection: Connection, wanted: Filter, by: str, depth: int, limit: int) -> list[Record]:
    """Return (name, what it did, count, suspected, open, held, size, first, last) of each group, the largest first.

    Only a principal has done something: `deleted` what is missing, or `stored` what should not be there.
    """
    parameters = {**asdict(wanted), "by": by, "depth": depth, "limit": limit}
    return connection.execute(_matching("grouped"), parameters).fetchall()


def _matching(name: str) -> sql.Composed:
    return filled(SQL[name])


def filled(statement: LiteralString) -> sql.Composed:
    """Return a statement over `f`, findings or changes, with what is shared put in: a name of inquiry.sql in braces."""
    principal = sql.SQL(SQL["principal"])
    matching = sql.SQL(SQL["matching"]).format(principal=principal)
    return sql.SQL(statement).format(matching=matching, principal=principal, cause=sql.SQL(SQL["cause"]))


def finding(connection: Connection, number: int) -> Mapping[str, Any] | None:
    """Return one finding by its id, every column by name."""
    cursor = connection.execute(SQL["finding"], {"id": number})
    record = cursor.fetchone()
    names = [column.name for column in cursor.description or ()]
    return dict(zip(names, record, strict=True)) if record else None


def history(connection: Connection, numbers: Sequence[int]) -> list[Record]:
    """Return (at, act, from, to, actor, why, named by, object) of findings' changes, the latest first."""
    return connection.execute(SQL["history"], {"ids": list(numbers)}).fetchall()


def records(connection: Connection, name: LiteralString, **parameters: object) -> list[Record]:
    """Return what one of the statements answers, by its name in inquiry.sql."""
    return connection.execute(SQL[name], parameters).fetchall()


def pages(database: Database, name: LiteralString, **parameters: object) -> Iterator[list[Record]]:
    """Yield the same some at a time, as of one moment, in constant memory."""
    with reading(database) as connection, connection.cursor(name="pages") as cursor:
        cursor.execute(SQL[name], parameters)
        while page := cursor.fetchmany(PAGE):
            yield page
