"""Reads what `COPY … TO STDOUT` sends, line by line, without the driver's wait for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psycopg import errors, pq, sql

from reconcile.database import Connection


def copied_out(connection: Connection, copy: sql.Composed, parameters: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield what `COPY … TO STDOUT` sends, a line each.

    The driver waits anew for each line; of what has arrived the rest is taken here without it, in half of the time.
    """
    arrived = connection.pgconn.get_copy_data
    with connection.cursor() as cursor, cursor.copy(copy, parameters) as lines:
        while line := lines.read():
            yield bytes(line)
            size, line = arrived(1)
            while size > 0:
                yield bytes(line)
                size, line = arrived(1)
            if size < 0:  # all were sent, or the server gave up: the driver does not know that they were read
                _ended(list(iter(connection.pgconn.get_result, None)))
                return


def _ended(results: Sequence[pq.abc.PGresult]) -> None:
    for result in results:
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise errors.error_from_result(result)
