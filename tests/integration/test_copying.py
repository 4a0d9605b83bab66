"""Rows that are copied out and read at the same time, on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from reconcile import spool
from reconcile.copying import Copying
from reconcile.database import Database
from reconcile.model import Unavailable
from tests.support.waiting import until

LINES = [b"%04d\t\t\t\t\n" % number for number in range(2_000)]
COPY = "COPY (SELECT n || E'\\t' FROM generate_series(1, 5) AS n, pg_sleep(600)) TO STDOUT"


@pytest.fixture
def small(monkeypatch) -> None:
    """Let a spool be read after each few lines."""
    monkeypatch.setattr(spool, "BLOCK_BYTES", 100)
    monkeypatch.setattr(spool, "TOGETHER", 10)


@pytest.mark.usefixtures("small")
def test_what_is_there_is_read_while_the_rest_is_still_to_come(database):
    """The reader waits for what is not written yet, and comes to the end of all."""
    go_on = threading.Event()

    def lines(_) -> Iterator[bytes]:
        yield from LINES[:1_000]
        assert go_on.wait(30)
        yield from LINES[1_000:]

    with closing(Copying(Database(database), lines)) as copying:
        blocks = copying.blocks("0005")
        read = [next(blocks), next(blocks)]
        assert (read[0][0], copying.whole) == (b"0006\t\t\t\t", False)
        go_on.set()
        read += blocks
        assert [line + b"\n" for block in read for line in block] == LINES[6:]
        assert (copying.whole, copying.spool.lines) == (True, 2_000)
        assert [line for block in copying.blocks("1998") for line in block] == [b"1999\t\t\t\t"]


@pytest.mark.usefixtures("small")
def test_a_copy_that_breaks_off_is_no_end_of_the_rows(database):
    """What went wrong is raised in the place of the rows that are lacking."""

    def lines(connection) -> Iterator[bytes]:
        yield from LINES[:1_000]
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with closing(Copying(Database(database), lines)) as copying:
        with pytest.raises(Unavailable, match="terminating connection"):
            list(copying.blocks())
        assert not copying.whole


def test_a_copy_that_nobody_reads_any_more_is_given_up(database, connection):
    """The database does not sort on for a sweep that has ended; closing returns at once."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = %s"

    def lines(copying) -> Iterator[bytes]:
        with copying.cursor() as cursor, cursor.copy(COPY) as rows:
            yield from map(bytes, rows)

    def running() -> bool:
        return connection.execute(asked, [COPY]).fetchone() == (1,)

    with closing(Copying(Database(database), lines)) as copying:
        until(running, what="the copy")
    assert not copying.whole
    assert not running()
