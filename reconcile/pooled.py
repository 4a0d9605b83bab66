"""A connection through a pooler in transaction mode, by which each transaction may come to another session.

Nothing that a session keeps is used: no setting of its own, no prepared statement. What our sessions have otherwise
stands at the head of each transaction, and no statement runs outside of one. Knows psycopg; not what the settings are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus


class Pooled(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose every transaction begins with `ours`."""

    ours: sql.Composed = sql.Composed([])

    def keep(self, settings: Mapping[str, str]) -> None:
        """Have each transaction begin with these settings, and be READ COMMITTED whatever the server's default is."""
        self.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        each = (
            sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value))
            for name, value in settings.items()
        )
        self.ours = sql.SQL("; ").join(each)

    @property
    def is_idle(self) -> bool:
        """Tell whether no transaction is open."""
        return self.info.transaction_status is TransactionStatus.IDLE

    @contextmanager
    def transaction(
        self,
        savepoint_name: str | None = None,
        force_rollback: bool = False,  # noqa: FBT001, FBT002 - the driver's signature
    ) -> Iterator[psycopg.Transaction]:
        """Open a transaction, or a savepoint in the one that is open."""
        begins = self.is_idle
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if begins:
                psycopg.Cursor(self).execute(self.ours)
            yield transaction

    @contextmanager
    def pipeline(self) -> Iterator[psycopg.Pipeline]:
        """Open a pipeline, in a transaction."""
        if self.is_idle:
            with self.transaction(), super().pipeline() as pipeline:
                yield pipeline
        else:
            with super().pipeline() as pipeline:
                yield pipeline


class Cursor(psycopg.Cursor[Any]):
    """A cursor of any connection, which gives a statement on a pooled one a transaction where it has none."""

    def execute(self, *arguments: Any, **options: Any) -> Cursor:
        """Execute one statement."""
        connection = self.connection
        if not isinstance(connection, Pooled) or not connection.is_idle:
            return super().execute(*arguments, **options)
        with connection.transaction():
            return super().execute(*arguments, **options)
