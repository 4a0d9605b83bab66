"""`sweep` where a side cannot be read, for a moment or for good."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from reconcile.model import Unavailable
from reconcile.sweeps.keeping import Kept
from tests.acceptance.test_commands import add_row
from tests.support import sweeping
from tests.support.proxy import BUSY, Pass, Slow
from tests.support.sweeping import FOUND, IN_ORDER, MANY, THOUSANDS, TOTALS
from tests.support.sweeps import AT_ONCE, WORDS, found, number_of, report_of, swept, told, whole
from tests.support.waiting import until


def test_a_page_that_breaks_once_is_read_again(many, lists):
    """The listing breaks in its midst, and once more when the driver tries; nothing is left out or counted twice."""
    lists.at, lists.times = 5, 2
    assert whole(swept(many, RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)
    assert lists.broken == 2


@pytest.mark.parametrize("at", [1, 5])
def test_a_listing_that_breaks_for_good_is_incomplete_and_goes_on_later(many, lists, at):
    """Status 5, nothing is believed of what was not read, and --resume comes to the same once the server answers."""
    lists.at, lists.times = at, 1_000_000
    ended = many.run(*WORDS, **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url)
    assert ended.returncode == 5, ended.stderr
    report = told(ended)
    assert report["state"] == "incomplete"
    assert "--resume" in report["reason"]
    assert found(report) == set()
    lists.at = 0
    assert whole(swept(many, "--resume", RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)


def test_a_sweep_that_breaks_takes_nothing_as_healed(many, lists):
    """It read a page and no more: what the last complete sweep found behind that may all be there still."""
    assert whole(swept(many, RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)
    lists.asked, lists.at, lists.times = 0, 2, 1_000_000
    ended = many.run(*WORDS, **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url)
    assert ended.returncode == 5, ended.stderr
    assert not told(ended)["totals"]["healed"]
    lists.at = 0
    report = swept(many, "--resume", RECONCILER_MINIO__ENDPOINT=lists.url)
    assert (whole(report), report["totals"]["healed"]) == ((FOUND, TOTALS), 0)


def test_of_a_broken_sweep_only_the_ranges_are_believed_that_were_read(many, lists):
    """With several ranges the report holds the drifts of those that came to their end, and of no other."""
    lists.at, lists.times = 5 + THOUSANDS // 5, 1_000_000
    ended = many.run(*WORDS, "--ranges", "8", **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url)
    assert ended.returncode == 5, ended.stderr
    seen = found(told(ended))
    assert seen
    assert seen < FOUND
    last = max(key for _, key in seen)
    assert seen == {one for one in FOUND if one[1] <= last}
    lists.at = 0
    assert whole(swept(many, "--resume", RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)


ROW_BYTES = 12  # less than any line of the copy
by_both_ways = pytest.mark.parametrize("index", ["", IN_ORDER], ids=["copied", "by pages"])


@by_both_ways
def test_rows_that_break_once_in_their_midst_are_read_again(many, connection, rows, index):
    """The copy has brought some rows when its connection goes: nothing is left out or counted twice."""
    if index:
        connection.execute(index)
    rows.after, rows.times = MANY * ROW_BYTES // 4, 1
    assert whole(swept(many, RECONCILER_DATABASE__URL=rows.database)) == (FOUND, TOTALS)
    assert rows.broken == 1


@by_both_ways
def test_rows_that_break_for_good_are_incomplete_and_go_on_later(many, connection, rows, index):
    """Status 5: rows that were not read to their end are no rows that lack; --resume comes to the same."""
    if index:
        connection.execute(index)
    rows.after, rows.times = MANY * ROW_BYTES // 4, 1_000_000
    ended = many.run(*WORDS, **AT_ONCE, RECONCILER_DATABASE__URL=rows.database)
    assert ended.returncode == 5, ended.stderr
    assert "--resume" in ended.stderr + ended.stdout
    assert found(told(ended)) == set()
    rows.times = 0
    assert whole(swept(many, "--resume", RECONCILER_DATABASE__URL=rows.database)) == (FOUND, TOTALS)


def test_heads_that_break_for_a_moment_are_asked_again(many, lists):
    """Neither an object nor the bucket answers, twice over: the sweep waits a little, and comes to the same."""
    lists.what, lists.at, lists.times = b"HEAD /", 2, 2 * (TOTALS["candidates"] + 1) + 3
    assert whole(swept(many, RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)
    assert lists.broken == lists.times


def test_heads_that_break_for_good_are_incomplete_and_go_on_later(many, lists):
    """Status 5 after some seconds of patience; nothing is believed, and --resume comes to the same."""
    lists.what, lists.at, lists.times = b"HEAD /", 2, 1_000_000
    began = time.monotonic()
    ended = many.run(*WORDS, **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url)
    assert ended.returncode == 5, ended.stderr
    assert time.monotonic() - began < 40, "the patience has an end"
    report = told(ended)
    assert report["state"] == "incomplete"
    assert "--resume" in report["reason"]
    assert found(report) == set()
    lists.at = 0
    assert whole(swept(many, "--resume", RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)


def test_a_server_that_is_busy_for_a_moment_does_not_stall_the_sweep(many, lists):
    """503 with Retry-After 60: it is asked again within seconds, and the sweep goes on."""
    lists.set(Slow(0.05))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    with many.running(*WORDS, **AT_ONCE, **slow) as sweep:
        until(lambda: lists.asked, what="a page that is asked for")
        lists.set(BUSY)
        refused = lists.requests
        until(lambda: lists.requests > refused + 2, what="it is asked again")
        lists.set(Pass())
        began = time.monotonic()
        assert whole(report_of(sweep)) == (FOUND, TOTALS)
    assert time.monotonic() - began < 30, "Retry-After is not obeyed"


FLAGGED = "SELECT object_key FROM file_versions WHERE status = 'corrupted'"


@pytest.fixture
def before_repair(installed, connection, objects, bucket, lists) -> int:
    """Make a world with one missing, behind the proxy; returns how many HEADs come before a repair."""
    for number in range(30):
        sweeping.put(objects, bucket, f"fine/{number:02}")
        add_row(connection, f"fine/{number:02}")
    add_row(connection, "gone")
    lists.what = b"HEAD /"
    swept(installed, RECONCILER_MINIO__ENDPOINT=lists.url)
    before, lists.asked = lists.asked, 0
    return before


def test_a_repair_waits_a_moment_for_a_server_that_is_away(installed, connection, lists, before_repair):
    """MinIO goes away when --fix looks anew at what was found: it is asked again, and the row is flagged."""
    lists.at, lists.times = before_repair + 1, 7
    assert found(swept(installed, "--fix", RECONCILER_MINIO__ENDPOINT=lists.url)) == {("missing", "gone")}
    assert lists.broken == lists.times
    assert connection.execute(FLAGGED).fetchall() == [("gone",)]


def test_a_repair_whose_server_stays_away_ends_with_its_report(installed, connection, lists, before_repair):
    """Status 5, and all that was found is told; --resume repairs it."""
    lists.at, lists.times = before_repair + 1, 1_000_000
    ended = installed.run(*WORDS, "--fix", **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url)
    assert ended.returncode == 5, ended.stderr
    report = told(ended)
    assert (report["state"], found(report)) == ("incomplete", {("missing", "gone")})
    assert "--resume" in report["reason"]
    assert connection.execute(FLAGGED).fetchall() == []
    lists.at = 0
    assert swept(installed, "--fix", "--resume")["id"] == report["id"]
    assert connection.execute(FLAGGED).fetchall() == [("gone",)]


def test_a_key_that_never_answers_keeps_no_other_from_its_repair(installed, connection, lists, before_repair):
    """Status 5 says that one gave no answer, each night; what did is flagged all the same."""
    add_row(connection, "mute")
    lists.what, lists.at, lists.times = b"/mute ", 1, 1_000_000
    ended = installed.run(*WORDS, "--fix", **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url)
    report = told(ended)
    assert (ended.returncode, report["state"]) == (5, "incomplete")
    assert "gave no answer" in report["reason"]
    assert found(report) == {("missing", "gone")}
    assert connection.execute(FLAGGED).fetchall() == [("gone",)]


def test_a_database_that_goes_away_after_the_comparison_leaves_a_report(installed, before_repair, monkeypatch):
    """Status 5, not hours of work without a word; --resume brings it to its end."""
    assert before_repair
    with monkeypatch.context() as patch:
        patch.setattr(Kept, "healed", away)
        ended = installed.run(*WORDS, **AT_ONCE)
    report = told(ended)
    assert (ended.returncode, report["state"]) == (5, "incomplete"), ended.stderr
    assert "--resume" in report["reason"]
    assert found(swept(installed, "--resume")) == {("missing", "gone")}


def away(*_: object) -> None:
    """Be a database that is gone."""
    raise Unavailable("postgresql", "it is away")


WAITS = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
HELD = "SELECT FROM reconciler.lease WHERE task = %s FOR UPDATE"


@contextmanager
def locking(database: str, connection: psycopg.Connection, task: str) -> Iterator[psycopg.Connection]:
    """Hold the leases of a task as another transaction may, and lend that once the sweep waits for it."""
    with psycopg.connect(database) as other:
        other.execute("SET deadlock_timeout = '1min'")
        other.execute(HELD, [task])
        until(lambda: connection.execute(WAITS).fetchall(), 30, "a checkpoint that waits")
        yield other


def test_a_checkpoint_that_is_in_a_deadlock_is_tried_again(many, connection, database, lists):
    """PostgreSQL refuses it: the page is kept once the other is gone, and nothing is counted twice."""
    lists.set(Slow(0.05))
    with many.running(*WORDS, **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url) as sweep:
        number = number_of(connection)
        until(lambda: sweep.pid in sweeping.holders(connection), what="a range that is taken")
        with locking(database, connection, f"sweep of {many.bucket}") as other:
            other.execute(HELD, [f"sweep {number}"])
        assert whole(report_of(sweep)) == (FOUND, TOTALS)


def test_a_checkpoint_that_cannot_be_kept_ends_with_a_report(many, connection, database, lists):
    """Status 5 after some seconds, with what was compared by then; --resume comes to the same once it is free."""
    lists.set(Slow(0.05))
    with many.running(*WORDS, **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url) as sweep:
        number = number_of(connection)
        until(lambda: sweep.pid in sweeping.holders(connection), what="a range that is taken")
        with locking(database, connection, f"sweep {number}"):
            out, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 5, many.log()
    report = told(subprocess.CompletedProcess((), 5, out, ""))
    assert (report["state"], report["id"]) == ("incomplete", number)
    assert "locked" in report["reason"]
    sweeping.expire(connection)
    assert whole(swept(many, "--resume")) == (FOUND, TOTALS)


ENDED = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name LIKE 'storage-reconciler%' AND datname = current_database()
"""
COMPARED = "SELECT FROM reconciler.lease WHERE task ~ '^sweep [0-9]+$' AND tally ? 'done'"


def test_a_database_that_restarts_is_gone_on_with(many, connection, lists):
    """Its connections end while the sides are compared, and while second looks are waited for: it comes to the same."""
    lists.set(Slow(0.05))
    late = AT_ONCE | {"RECONCILER_POLICY__MISSING_GRACE": "1s"}
    with many.running(*WORDS, **late, RECONCILER_MINIO__ENDPOINT=lists.url) as sweep:
        until(lambda: sweep.pid in sweeping.holders(connection), what="a range that is taken")
        assert connection.execute(ENDED).fetchall()
        until(lambda: connection.execute(COMPARED).fetchall(), 30, "all is compared")
        assert connection.execute(ENDED).fetchall()
        assert whole(report_of(sweep)) == (FOUND, TOTALS)
