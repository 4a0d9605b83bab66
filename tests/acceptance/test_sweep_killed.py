"""`sweep` as a process that is killed at any point, and goes on."""

from __future__ import annotations

import os

import pytest

from tests.support import sweeping
from tests.support.sweeping import FOUND, TOTALS
from tests.support.sweeps import AT_ONCE, WORDS, number_of, swept, whole

POINTS = [("begun", 1), ("looked", 3), ("seeing again", 1), ("finishing", 1)]
MORE = [("advanced", 1), ("advanced", 5), ("seen again", 1)]  # which the next test passes, too


@pytest.mark.parametrize(("point", "count"), POINTS + MORE if os.environ.get("RECONCILER_TEST_LONG") else POINTS)
def test_a_sweep_killed_at_any_point_goes_on_and_comes_to_the_same(many, connection, point, count):
    """SIGKILL before, between and within its steps; --resume ends the same sweep with the same drifts and totals."""
    sweeping.killed_at(many, point, count, *WORDS, **AT_ONCE)
    killed = number_of(connection)
    sweeping.expire(connection)
    report = swept(many, "--resume")
    assert whole(report) == (FOUND, TOTALS)
    assert report["id"] == killed


def test_a_sweep_killed_again_and_again_comes_to_the_same(many, connection):
    """Each resumption is killed in turn, and no page is counted twice."""
    sweeping.killed_at(many, "advanced", 1, *WORDS, **AT_ONCE)
    for point, count in (("looked", 2), ("advanced", 2), ("seen again", 1)):
        sweeping.expire(connection)
        sweeping.killed_at(many, point, count, *WORDS, "--resume", **AT_ONCE)
    sweeping.expire(connection)
    assert whole(swept(many, "--resume")) == (FOUND, TOTALS)
