"""What is copied out of a real PostgreSQL, and the spool that the rows are copied to."""

from __future__ import annotations

from contextlib import closing

import pytest
from psycopg import errors, sql

from consumer.runs.sides import Scope, copied
from reconcile.database import Database
from reconcile.sweeps.compare import Facts, key_of
from reconcile.sweeps.copied import copied_out
from reconcile.sweeps.spool import Spool
from reconcile.tables.catalog import compiled
from tests.support.shapes import S3_VERSIONS as SHAPE
from tests.support.waiting import until

GONE_OR_IDLE = """
SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %(pid)s)
    OR EXISTS (SELECT FROM pg_stat_activity WHERE pid = %(pid)s AND state = 'idle in transaction'
               AND state_change < clock_timestamp() - interval '300 milliseconds')
"""


NUMBERS = sql.SQL("COPY (SELECT {} FROM generate_series(1, %(upto)s) AS n) TO STDOUT")


def test_every_line_comes_once_and_in_order(connection):
    """Those that the driver waited for, and those that had arrived with them; an empty copy has none."""
    for upto in (0, 1, 2, 200_000):
        copied_lines = list(copied_out(connection, NUMBERS.format(sql.SQL("n")), {"upto": upto}))
        assert copied_lines == [b"%d\n" % number for number in range(1, upto + 1)]
    assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_copy_that_the_database_gives_up_is_no_short_one(connection):
    """Its error is raised, whatever came before, and the connection goes on."""
    with pytest.raises(errors.DivisionByZero):
        list(copied_out(connection, NUMBERS.format(sql.SQL("1 / (150000 - n)")), {"upto": 200_000}))
    assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_copy_that_is_left_midway_leaves_the_connection(connection):
    """Whoever stops reading can go on with other statements."""
    lines = copied_out(connection, NUMBERS.format(sql.SQL("n")), {"upto": 200_000})
    assert next(lines) == b"1\n"
    lines.close()
    assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_disk_that_is_slower_than_the_database_costs_no_copy(database, connection, monkeypatch):
    """The server may have sent all long before it is written: its patience with idle transactions does not count."""
    SHAPE.create(connection)
    connection.execute("CREATE INDEX ON file_object (key)")
    [at] = connection.execute("SELECT now()").fetchone()
    SHAPE.put(connection, "a", 1, "live", at)
    write = Spool.write
    with closing(Database(database)) as opened, opened.use() as ours:
        ours.execute("SET idle_in_transaction_session_timeout = '50ms'")
        pid = ours.info.backend_pid

        def slowly(spool, lines):
            first = next(lines)
            until(lambda: connection.execute(GONE_OR_IDLE, {"pid": pid}).fetchone() == (True,))
            return write(spool, [first, *lines])

        monkeypatch.setattr(Spool, "write", slowly)
        with closing(copied(ours, compiled(connection, SHAPE.settings()), Scope(SHAPE.bucket), Facts())) as rows:
            assert [key_of(line) for block in rows.blocks() for line in block] == [b"a"]
