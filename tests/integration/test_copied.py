"""The rows copied out to a spool, on a real PostgreSQL."""

from __future__ import annotations

from contextlib import closing

from consumer.runs.sides import Scope, copied
from reconcile.database import Database
from reconcile.sweeps.compare import Facts, key_of
from reconcile.sweeps.spool import Spool
from reconcile.tables.catalog import compiled
from tests.support.shapes import S3_VERSIONS as SHAPE
from tests.support.waiting import until

GONE_OR_IDLE = """
SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %(pid)s)
    OR EXISTS (SELECT FROM pg_stat_activity WHERE pid = %(pid)s AND state = 'idle in transaction'
               AND state_change < clock_timestamp() - interval '300 milliseconds')
"""


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
