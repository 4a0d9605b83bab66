"""While a suppression window is on, drift is observed and nothing is flagged; at its end all is looked at again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconcile import windows
from reconcile.config.filters import below
from reconcile.database import Busy, Database
from reconcile.model import Kind, ObjectRef, State
from tests.contract.live import PERSON
from tests.contract.stages import FLAGGING, GRACE, HOUR, MINUTE, THREE, Meanwhile, flag, look, look_again, suspect

DAY = timedelta(days=1)


def held_by(stage):
    """Return by what each finding is held, and in which state it is."""
    return {one.key: (one.state, (one.held_by or "").split(" ")[0]) for one in stage.findings()}


def test_under_a_window_a_finding_stays_suspected_and_is_not_flagged(stage):
    """Its grace is over, it is held by the window once, and looked at again every hour."""
    world = stage.world()
    stage.suppress(DAY)
    look(world, *suspect(stage, world, "a"))
    assert stage.status("row of a") == "active"
    assert held_by(stage) == {"a": (State.SUSPECTED, "window")}
    stage.age(HOUR)
    look_again(world)
    assert stage.history() == ["suspected", "held"]
    assert {round(one.in_s / 60) for one in stage.looks().values()} == {60}


@pytest.mark.parametrize("key", ["orphan", "other size"])
def test_every_kind_stays_suspected_and_opens_at_the_end(stage, key):
    """Orphans and mismatches do not open either, and nothing says afterwards that they are held."""
    world = stage.world(replace(FLAGGING, orphan_grace=MINUTE))
    stage.suppress(DAY)
    stage.put(key, b"A")
    if key == "other size":
        stage.row(key)
    look(world, ObjectRef(stage.bucket, key))
    stage.age(MINUTE)
    assert dict(look_again(world).acts) == {"held": 1}
    assert held_by(stage) == {key: (State.SUSPECTED, "window")}
    stage.lift_windows()
    look_again(world)
    assert held_by(stage) == {key: (State.OPEN, "")}


def test_when_its_time_is_over_what_it_held_is_flagged_by_its_own_look(stage):
    """The look comes due with the window's end, whether or not anybody has closed it."""
    world = stage.world()
    stage.suppress(10 * MINUTE)
    look(world, *suspect(stage, world, "a"))
    assert all(one.in_s <= 600 for one in stage.looks().values())
    stage.age(10 * MINUTE)
    assert dict(look_again(world).acts) == {"flagged": 1}
    assert stage.status("row of a") == "corrupted"
    assert held_by(stage) == {"a": (State.OPEN, "")}


def test_when_it_is_lifted_all_that_it_covered_is_looked_at_again(stage):
    """What was flagged before it, too, though its own look is an hour away."""
    world = stage.world()
    flag(stage, world, "before")
    stage.suppress(DAY)
    look(world, *suspect(stage, world, "a", "b"))
    stage.age(HOUR)
    look_again(world)
    stage.put("before")
    stage.put("b")
    stage.lift_windows()
    assert dict(look_again(world).acts) == {"given back": 1, "flagged": 1, "resolved": 1}
    assert [stage.status(f"row of {key}") for key in ("before", "a", "b")] == ["active", "corrupted", "active"]
    assert stage.restraints("suppress") == set()


def test_when_its_time_is_over_all_that_it_covered_is_looked_at_again(stage):
    """As when it is lifted; and only then is it closed."""
    world = stage.world()
    flag(stage, world, "before")
    stage.suppress(HOUR)
    stage.end_windows()
    assert stage.restraints("suppress") == {("", stage.bucket)}
    stage.age(HOUR)
    look_again(world)
    stage.put("before")
    stage.end_windows()
    assert dict(look_again(world).acts) == {"given back": 1}
    assert stage.restraints("suppress") == set()


@pytest.mark.invariant(5)
def test_under_a_window_giving_back_goes_on(stage):
    """Healing and resolving are not held."""
    world = stage.world()
    [before] = flag(stage, world, "before")
    [held] = suspect(stage, world, "held")
    stage.suppress(DAY)
    look(world, held)
    stage.put("before")
    stage.put("held")
    assert dict(look(world, before, held).acts) == {"given back": 1, "resolved": 1}
    assert stage.status("row of before") == "active"


def test_a_window_covers_its_own_prefix_and_bucket_alone(stage):
    """What lies beside it is flagged; a prefix is what it is, whatever it looks like as a pattern."""
    world = stage.world()
    stage.suppress(DAY, below("a*[b]/"))
    keys = ("a*[b]/in", "axb/out", "c/a*[b]/out")
    refs = suspect(stage, world, *keys)
    stage.row("there", bucket=stage.other)
    there = ObjectRef(stage.other, "there")
    look(world, there)
    stage.age(GRACE)
    look(world, *refs, there)
    assert [stage.status(f"row of {key}") for key in (*keys, "there")] == ["active"] + ["corrupted"] * 3


@pytest.mark.invariant(7)
def test_a_mass_under_a_window_is_not_counted_and_meets_the_brake_at_its_end(stage):
    """Nothing of it would be flagged, so nothing trips; when it would be, it does."""
    world = stage.world(brake=THREE)
    stage.suppress(HOUR)
    look(world, *suspect(stage, world, *"abcd"))
    assert stage.restraints("brake") == set()
    stage.age(HOUR)
    look_again(world)
    assert stage.restraints("brake") == {("missing", "")}
    assert {one.held_by for one in stage.findings()} == {"brake"}
    assert {stage.status(f"row of {key}") for key in "abcd"} == {"active"}


def test_what_a_brake_holds_it_holds_under_a_window_as_well(stage):
    """The window's end does not free it."""
    world = stage.world(brake=THREE)
    look(world, *suspect(stage, world, *"abcd"))
    stage.suppress(HOUR)
    stage.age(HOUR)
    stage.end_windows()
    look_again(world)
    assert {one.held_by for one in stage.findings()} == {"brake"}
    assert {one.kind for one in stage.findings()} == {Kind.MISSING}


def test_a_finding_passes_from_one_window_to_the_next(stage):
    """It is flagged when none covers it any more."""
    world = stage.world()
    stage.suppress(HOUR)
    stage.suppress(2 * HOUR)
    look(world, *suspect(stage, world, "a"))
    stage.age(HOUR)
    look_again(world)
    assert stage.history() == ["suspected", "held", "held"]
    assert stage.status("row of a") == "active"
    stage.age(HOUR)
    look_again(world)
    assert stage.status("row of a") == "corrupted"


def test_once_a_window_is_set_nothing_is_flagged(live):
    """It waits for whoever is flagging at that moment, so that no flag comes after it."""
    world, database = live.world(), Database(live.url, lock_timeout="50ms")
    refs = suspect(live, world, "a")
    [(until,)] = live.sql("SELECT now() + interval '1 day'")
    refused = []

    def meanwhile():
        with pytest.raises(Busy) as error:
            windows.add(database, PERSON, windows.Window(live.bucket, None, until))
        refused.append(error)

    look(Meanwhile(world, before_commit=meanwhile), *refs)
    assert len(refused) == 1
    assert live.restraints("suppress") == set()
    database.close()
