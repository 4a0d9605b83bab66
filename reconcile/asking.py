"""Statements that may be executed twice: asked again for some seconds where the connection breaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString

from reconcile.database import Database
from reconcile.patience import patiently
from reconcile.tables.catalog import SQL

Rows = list[tuple[Any, ...]]


def asked(database: Database, statement: LiteralString, given: Mapping[str, Any]) -> Rows:
    """Return the rows of a statement."""

    def ask() -> Rows:
        with database.use() as connection:
            return connection.execute(statement, given).fetchall()

    return patiently(ask)


def paged(database: Database, statement: LiteralString, given: Mapping[str, Any]) -> Rows:
    """Return a page by the index that has its order: of a table that has just grown the statistics know nothing."""

    def ask() -> Rows:
        with database.use() as connection, connection.transaction():
            connection.execute(SQL["plan_for_use"])
            return connection.execute(statement, given).fetchall()

    return patiently(ask)
