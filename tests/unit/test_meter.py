"""The loss meter's rule, case by case, and how it is counted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconcile.model import Policy
from reconcile.sweeps.drift import Class, Drift, Meter, Metered
from reconcile.sweeps.meter import by_age, metered

LAST = datetime(2025, 6, 10, 2, tzinfo=UTC)
NOW = LAST + timedelta(days=1)
BEFORE, AT, AFTER = LAST - timedelta(hours=1), LAST, LAST + timedelta(hours=1)
SECOND = timedelta(seconds=2)
POLICY = Policy(orphan_grace=timedelta())
LOST, NEVER, UNMEASURED = Meter.LOST, Meter.NEVER, Meter.UNMEASURED
ON_OBJECTS = (Class.ORPHAN, Class.LEFTOVER, Class.MISMATCH)


def drift(kind=Class.MISSING, since=BEFORE, **changes):
    """Make a drift that the meter counts."""
    return Drift(kind, "bucket", "key", since=since, **changes)


@pytest.mark.parametrize(
    ("one", "meter"),
    [
        pytest.param(drift(since=BEFORE), LOST, id="the row was there before the sweep, so a deletion came after it"),
        pytest.param(drift(since=AT), LOST, id="the row was there when the sweep began"),
        pytest.param(drift(since=AFTER), NEVER, id="a new row, whose upload perhaps never came"),
        *[pytest.param(drift(kind, AFTER), LOST, id=f"{kind} of an object written after it") for kind in ON_OBJECTS],
        *[pytest.param(drift(kind, AT), LOST, id=f"{kind} of an object of its second") for kind in ON_OBJECTS],
        *[pytest.param(drift(kind, BEFORE), NEVER, id=f"{kind} of an older object") for kind in ON_OBJECTS],
        *[
            pytest.param(drift(kind, None), UNMEASURED, id=f"{kind} of no date")
            for kind in (Class.MISSING, *ON_OBJECTS)
        ],
        *[pytest.param(drift(Class.LOOKALIKE, at), NEVER, id=f"lookalike {at}") for at in (None, BEFORE, AFTER)],
        pytest.param(drift(known=True), UNMEASURED, id="the stream told of it"),
        pytest.param(drift(is_new=False), UNMEASURED, id="counted by the sweep before"),
    ],
)
def test_the_meter_tells_what_an_event_should_have_told(one, meter):
    """One case for each kind and time; nothing is measured before the first sweep, or while the stream may lag."""
    assert metered(one, LAST, POLICY, passed=True) is meter
    assert metered(one, LAST, POLICY, passed=False) is UNMEASURED
    assert metered(one, None, POLICY, passed=True) is UNMEASURED


@pytest.mark.parametrize("kind", [Class.MISSING, Class.ORPHAN, Class.LEFTOVER])
def test_what_was_too_young_for_the_last_sweep_is_unmeasured(kind):
    """It was not reported then whether or not it was so already: its event may have been lost before, or never been."""
    age = timedelta(minutes=30)
    policy = Policy(orphan_grace=age, young_age=age)
    told = [metered(drift(kind, LAST - age + moment), LAST, policy, passed=True) for moment in (-SECOND, SECOND)]
    assert told == [LOST if kind is Class.MISSING else NEVER, UNMEASURED]
    assert metered(drift(kind, AFTER), LAST, policy, passed=True) is not UNMEASURED


def test_a_row_of_another_size_is_never_too_young_for_the_object_that_it_names():
    """A mismatch has no grace for its object's age."""
    policy = Policy(orphan_grace=timedelta(hours=5))
    assert metered(drift(Class.MISMATCH, BEFORE), LAST, policy, passed=True) is NEVER


def test_counts_are_by_kind_and_age_of_what_is_new_and_unknown():
    """Known drifts and those of the last sweep are left out; kinds and ages come in their order."""
    day = timedelta(days=1)
    found = [
        drift(Class.ORPHAN, NOW - day * 30, meter=NEVER),
        drift(since=NOW, meter=LOST),
        drift(since=NOW - day + timedelta(seconds=1), meter=NEVER),
        drift(since=NOW - day, meter=LOST),
        drift(since=NOW - day * 7, meter=LOST),
        drift(since=None),
        drift(since=NOW, meter=LOST, known=True),
        drift(since=NOW, meter=LOST, is_new=False),
    ]
    assert by_age(found, NOW) == [
        Metered("missing", "today", 1, 1, 0),
        Metered("missing", "this week", 1, 0, 0),
        Metered("missing", "older", 1, 0, 0),
        Metered("missing", "unknown", 0, 0, 1),
        Metered("orphan", "older", 0, 1, 0),
    ]
    assert by_age([replace(one, known=True) for one in found], NOW) == []
