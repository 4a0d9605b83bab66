"""What changes while a sweep runs is no drift."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from reconcile.model import ObjectRef
from reconcile.sweeps.confirm import Confirmed
from reconcile.sweeps.drift import Class, Drift
from reconcile.sweeps.sweep import Range
from reconcile.sweeps.unkept import Unkept
from tests.acceptance.test_commands import add_row
from tests.support import sweeping
from tests.support.sweeping import IN_ORDER, Application, put
from tests.support.sweeps import AT_ONCE, WORDS, found, report_of, swept
from tests.support.waiting import until

ROUNDS = 20 if os.environ.get("RECONCILER_TEST_LONG") else 4


@pytest.mark.timeout(180)
def test_what_changes_meanwhile_is_no_drift(installed, connection, minio, objects, bucket):
    """Uploads, overwrites and deletes in every order beside sweep after sweep: only what truly differs is reported."""
    for number in range(100):
        put(objects, bucket, f"base/{number:03}")
        add_row(connection, f"base/{number:03}")
    add_row(connection, "base/gone")
    put(objects, bucket, "base/short", 7)
    add_row(connection, "base/short")
    wanted = {("missing", "base/gone"), ("mismatch", "base/short")}
    database = installed.environ["RECONCILER_DATABASE__URL"]
    sweeps, different = [], 0
    with (
        Application(database, minio, bucket, "app/one") as one,
        Application(database, minio, bucket, "app/two") as two,
        Application(database, minio, bucket, "last") as three,
    ):
        until(lambda: min(one.acts, two.acts, three.acts) > 1, what="changes")
        for number in range(ROUNDS):
            if number == ROUNDS // 2:  # from here on rows are read by pages, each at a moment of its own
                connection.execute(IN_ORDER)
            grace = ("15m", "0s")[number % 2]
            report = swept(installed, "--margin", "2", RECONCILER_POLICY__ORPHAN_GRACE=grace)
            assert ("by pages" in report["notes"][0]) is (number >= ROUNDS // 2)
            sweeps.append(found(report))
            different += report["totals"]["candidates"] - len(wanted)
            assert [app.fault for app in (one, two, three)] == [None] * 3
    assert sweeps == [wanted] * ROUNDS
    assert different > 0, "nothing changed before the sweeps' eyes"
    assert found(swept(installed)) == wanted


def test_a_drift_that_becomes_another_is_sighted_anew(installed, connection, objects, bucket):
    """Two looks must see the same: an orphan that is a mismatch at the second look, and then agrees, is none."""
    for number in range(30):
        put(objects, bucket, f"fine/{number:02}")
        add_row(connection, f"fine/{number:02}")
    put(objects, bucket, "busy")
    kinds = "SELECT kind FROM reconciler.drift WHERE key = 'busy'"
    with installed.running(*WORDS, "--margin", "3", **AT_ONCE) as sweep:
        until(lambda: ("orphan",) in connection.execute(kinds).fetchall(), what="the first look")
        add_row(connection, "busy", size=sweeping.SIZE + 1)
        until(lambda: ("mismatch",) in connection.execute(kinds).fetchall(), what="the second look")
        connection.execute("UPDATE file_versions SET size = %s WHERE object_key = 'busy'", [sweeping.SIZE])
        assert found(report_of(sweep)) == set()


def test_a_drift_that_becomes_another_is_sighted_anew_in_memory():
    """Without a schema what the second look sees otherwise waits for a third."""
    ref, once = ObjectRef("files", "busy"), Range("", None, "", {})
    orphan, leftover = (Drift(kind, *ref) for kind in (Class.ORPHAN, Class.LEFTOVER))
    keeper = Unkept()
    keeper.advance(once, "busy", {}, Confirmed([orphan]), done=True)
    keeper.seen_again([ref], Confirmed([leftover]))
    assert keeper.to_see_again(timedelta(0)) == ([ref], True)
    keeper.seen_again([ref], Confirmed([leftover]))
    assert keeper.to_see_again(timedelta(0)) == ([], False)
    assert list(keeper.found.values()) == [leftover]
