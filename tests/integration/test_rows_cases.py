"""What single rows may hold: nothing in a required place, times beyond the calendar, statuses of nobody."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from reconcile import rows
from reconcile.config.settings import load
from reconcile.model import RowState
from reconcile.tables import catalog
from tests.support.shapes import REST

TABLES = """
    CREATE TABLE folder (id int PRIMARY KEY, kind text, deleted_at timestamptz);
    CREATE TABLE item (
        id int PRIMARY KEY, folder_id int, path text, status text, created_at timestamptz, moved timestamp);
    CREATE INDEX ON item (path);
    INSERT INTO folder VALUES (1, 'user', NULL), (2, 'team', NULL), (3, NULL, NULL), (4, 'user', now());
"""
MAPPING = {
    "version": {"table": "item", "file_id": "folder_id", "key": "path", "status": "status", "created_at": "created_at"},
    "file": {"table": "folder", "deleted": "deleted_at"},
    "status": {"expects_absence": ["pending"], "live": ["", "active"]},
    "bucket": {"column": "file.kind", "map": {"user": "users"}},
}


@pytest.fixture
def items(connection) -> psycopg.Connection:
    """Create the tables."""
    connection.execute(TABLES)
    return connection


def put(connection: psycopg.Connection, *values: str) -> None:
    """Insert items, each written as SQL."""
    for value in values:
        insert = f"INSERT INTO item (id, folder_id, path, status, created_at) VALUES ({value})"  # noqa: S608  # our own
        connection.execute(insert.encode())


def compiled(connection: psycopg.Connection, **sections: object):
    """Compile the mapping, some of its sections replaced."""
    return catalog.compiled(connection, load(REST | {"mapping": MAPPING | sections}, {}, str).mapping)


def test_a_row_without_key_or_bucket_is_none(items):
    """It claims nothing, is not found, and is counted where somebody looks: under no bucket."""
    put(items, "1, 1, NULL, 'active', now()", "2, 2, 'k', 'active', now()", "3, 3, 'k', 'active', now()")
    put(items, "5, 1, 'k', 'active', now()")
    mapping = compiled(items)
    assert [row.row_id for row in rows.lookup(items, mapping, ["k"])] == ["5"]
    assert [row.row_id for row in rows.by_id(items, mapping, ["1", "2", "3", "5"])] == ["5"]
    assert rows.live_counts(items, mapping) == {"users": 1, "": 2}


def test_several_rows_may_name_one_key(items):
    """All of them are returned, in whatever bucket; a name stands for what the map leaves open."""
    put(items, "1, 1, 'k', 'active', now()", "2, 2, 'k', 'active', now()", "3, 3, 'k', 'pending', now()")
    put(items, "4, 1, 'k', 'active', now()", "5, 99, 'k', 'active', now()", "6, NULL, 'k', 'active', now()")
    mapping = compiled(items, bucket=MAPPING["bucket"] | {"name": "rest"})
    found = sorted((row.row_id, row.bucket, str(row.state)) for row in rows.lookup(items, mapping, ["k", "k"]))
    assert found == [
        ("1", "users", "live"),
        ("2", "rest", "live"),
        ("3", "rest", "expects_absence"),
        ("4", "users", "live"),
        ("5", "rest", "live"),
        ("6", "rest", "live"),
    ]


def test_what_is_gone_goes_before_the_flag_and_unlisted_statuses_are_of_others(items):
    """A deleted parent outweighs the flag; a value in no list claims its object and is never flagged."""
    put(items, "1, 4, 'k', 'corrupted', now()", "2, 1, 'k', 'corrupted', now()", "3, 1, 'k', 'quarantine', now()")
    put(items, "4, 1, 'k', NULL, now()")
    states = {row.row_id: row.state for row in rows.lookup(items, compiled(items), ["k"])}
    assert states == {
        "1": RowState.EXPECTS_ABSENCE,
        "2": RowState.FLAGGED,
        "3": RowState.FLAGGED,
        "4": RowState.FLAGGED,
    }


def test_a_status_that_was_null_is_null_again(items):
    """NULL is read as an empty status, compared as one, and given back as NULL."""
    put(items, "1, 1, 'k', NULL, now()")
    mapping = compiled(items, status={})
    [row] = rows.lookup(items, mapping, ["k"])
    assert (row.status, row.state) == ("", RowState.LIVE)
    assert rows.flag(items, mapping, [("1", "")]) == {"1"}
    assert rows.give_back(items, mapping, [("1", "")]) == {"1"}
    assert items.execute("SELECT status FROM item").fetchone() == (None,)


def test_a_time_beyond_the_calendar_spoils_no_batch(items):
    """Infinity, the years before Christ and beyond 9999 are no creation time; the rows are as good as others."""
    times = ("'infinity'", "'-infinity'", "'0044-03-15 BC'", "'0001-01-01 00:00+14'", "'12026-01-01'", "now()")
    for n, time in enumerate(times):
        put(items, f"{n}, 1, 'k', 'active', {time}")
    found = {row.row_id: row.created_at for row in rows.lookup(items, compiled(items), ["k"])}
    assert [n for n, time in sorted(found.items()) if time is None] == ["0", "1", "2", "3", "4"]
    assert found["5"] is not None
    young = rows.young(items, compiled(items), datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC), 9)
    assert [row.row_id for row in young] == ["5"]


def test_an_hour_that_the_clock_repeats_is_still_found(items):
    """A time without a zone is read in the configured one, in summer and in winter."""
    items.execute(
        "INSERT INTO item (id, folder_id, path, status, moved) VALUES (1, 1, 'k', 'active', '2026-07-01 12:00')"
    )
    items.execute(
        "INSERT INTO item (id, folder_id, path, status, moved) VALUES (2, 1, 'k', 'active', '2026-12-01 12:00')"
    )
    version = MAPPING["version"] | {"created_at": "moved"}
    mapping = compiled(items, version=version, timezone="Europe/Paris")
    found = {row.row_id: row.created_at for row in rows.lookup(items, mapping, ["k"])}
    assert found == {"1": datetime(2026, 7, 1, 10, tzinfo=UTC), "2": datetime(2026, 12, 1, 11, tzinfo=UTC)}
    moment = datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert [row.row_id for row in rows.young(items, mapping, moment, found["2"], 9)] == ["2"]
    assert [row.row_id for row in rows.young(items, mapping, moment.replace(hour=9), moment, 9)] == ["1"]


def test_the_search_path_may_change_after_compiling(items):
    """Names are resolved once; what another schema holds under the same name is never read."""
    put(items, "1, 1, 'k', 'active', now()")
    mapping = compiled(items)
    items.execute("CREATE SCHEMA other; SET search_path = other; CREATE TABLE item (id int, path text)")
    assert len(rows.lookup(items, mapping, ["k"])) == 1


def test_nothing_asked_is_nothing_found(items):
    """Empty batches are served."""
    mapping = compiled(items)
    assert rows.lookup(items, mapping, []) == rows.by_id(items, mapping, []) == rows.lock(items, mapping, []) == []
    assert rows.flag(items, mapping, []) == rows.give_back(items, mapping, []) == set()


def test_a_written_number_is_looked_up_as_any_integer(items):
    """An id beyond the column's own range has no row."""
    put(items, "1, 1, 'k', 'active', now()")
    assert [row.row_id for row in rows.by_id(items, compiled(items), ["1", str(2**40), str(-(2**63)), str(2**63)])] == [
        "1"
    ]
