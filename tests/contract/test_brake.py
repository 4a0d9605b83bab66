"""A mass of flags is not believed, through the statements that count it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconcile.model import Brake, Kind, ObjectRef, State
from tests.contract.stages import (
    FLAGGING,
    GRACE,
    HOUR,
    MINUTE,
    THREE,
    Meanwhile,
    flag,
    look,
    look_again,
    states,
    suspect,
)


@pytest.mark.invariant(7)
def test_the_brake_holds_the_batch_that_would_cross_it(stage):
    """Three are believed: four in one batch are held, all of them, and it latches."""
    world = stage.world(brake=THREE)
    look(world, *suspect(stage, world, *"abcd"))
    assert stage.restraints("brake") == {("missing", "")}
    assert {(one.state, one.held_by) for one in stage.findings()} == {(State.SUSPECTED, "brake")}
    assert {stage.status(f"row of {key}") for key in "abcd"} == {"active"}
    assert {round(one.in_s / 60) for one in stage.looks().values()} == {60}
    assert stage.history() == ["suspected"] * 4 + ["held"] * 4


@pytest.mark.invariant(7)
def test_the_brake_counts_what_was_flagged_within_its_window(stage):
    """By the history, whoever flagged it, in whatever bucket; what is older does not count."""
    one, another = stage.world(brake=THREE), stage.world(brake=THREE, actor="another")
    flag(stage, one, "a", "b")
    look(another, *suspect(stage, another, "c"))
    assert stage.restraints("brake") == set()
    stage.age(timedelta(minutes=11))
    flag(stage, another, "d", "e", "f")
    assert stage.restraints("brake") == set()
    look(one, *suspect(stage, one, "g"))
    assert stage.restraints("brake") == {("missing", "")}
    assert stage.status("row of g") == "active"


@pytest.mark.invariant(7)
def test_a_latched_brake_holds_whatever_comes_until_it_is_released(stage):
    """Also when the window is over, and also a single one; the hold changes nothing a second time."""
    world = stage.world(brake=THREE)
    look(world, *suspect(stage, world, *"abcd"))
    stage.age(HOUR)
    [late] = suspect(stage, world, "late")
    look(world, late)
    assert stage.status("row of late") == "active"
    before = stage.history()
    stage.age(HOUR)
    look_again(world)
    assert stage.history() == before
    assert {one.held_by for one in stage.findings()} == {"brake"}
    assert {round(one.in_s / 60) for one in stage.looks().values()} == {60}


@pytest.mark.invariant(5)
@pytest.mark.invariant(7)
def test_under_the_brake_giving_back_goes_on(stage):
    """What was flagged before is healed; what is held resolves when its object is there."""
    world = stage.world(brake=THREE)
    [flagged] = flag(stage, world, "flagged")
    refs = suspect(stage, world, *"abcd")
    look(world, *refs)
    assert stage.restraints("brake") == {("missing", "")}
    stage.put("flagged")
    stage.put("a")
    look(world, flagged, *refs)
    assert stage.status("row of flagged") == "active"
    assert sorted(states(stage)) == ["row of b", "row of c", "row of d"]


@pytest.mark.invariant(7)
def test_a_release_frees_what_was_held_and_does_not_trip_on_it(stage):
    """Each is looked at anew, and none of them is counted."""
    world = stage.world(brake=THREE)
    look(world, *suspect(stage, world, *"abcde"))
    stage.put("e")
    stage.release()
    assert stage.restraints("brake") == set()
    assert {one.held_by for one in stage.findings()} == {"released"}
    tally = look_again(world)
    assert dict(tally.acts) == {"flagged after release": 4, "resolved": 1}
    assert {stage.status(f"row of {key}") for key in "abcd"} == {"corrupted"}
    flag(stage, world, "f", "g", "h")
    assert stage.restraints("brake") == set()
    look(world, *suspect(stage, world, "i"))
    assert stage.restraints("brake") == {("missing", "")}


@pytest.mark.invariant(7)
def test_more_than_half_of_a_bucket_is_not_believed(stage):
    """By the count of its live rows; another bucket goes on."""
    world = stage.world(brake=Brake(bucket_floor=2))
    stage.count_live(stage.bucket, 4)
    stage.count_live(stage.other, 400)
    flag(stage, world, "a", "b")
    refs = suspect(stage, world, "c")
    stage.row("d", bucket=stage.other)
    there = ObjectRef(stage.other, "d")
    look(world, there)
    stage.age(GRACE)
    look(world, *refs, there)
    assert stage.restraints("brake") == {("missing", stage.bucket)}
    assert [stage.status(f"row of {key}") for key in "cd"] == ["active", "corrupted"]


@pytest.mark.invariant(7)
def test_orphans_have_a_brake_of_their_own(stage):
    """A mass of orphans is held unopened, counted by the history; flags go on; a release opens them uncounted."""
    world = stage.world(replace(FLAGGING, orphan_grace=MINUTE), THREE)

    def drift(*keys):
        for key in keys:
            stage.put(key)
        look(world, *(ObjectRef(stage.bucket, key) for key in keys))
        stage.age(MINUTE)
        return dict(look_again(world).acts)

    assert drift("a", "b") == {"opened": 2}
    stage.row("d", status="deleted")
    assert drift("c", "d") == {"held": 2}
    assert stage.restraints("brake") == {("orphan", "")}
    assert {one.key: (one.kind, one.state, one.held_by) for one in stage.findings() if one.key in "cd"} == {
        "c": (Kind.ORPHAN, State.SUSPECTED, "brake"),
        "d": (Kind.LEFTOVER, State.SUSPECTED, "brake"),
    }
    flag(stage, world, "x", "y", "z")
    stage.release()
    assert dict(look_again(world).acts)["opened"] == 2
    assert drift("e", "f", "g") == {"opened": 3}
    assert drift("h") == {"held": 1}


@pytest.mark.invariant(7)
def test_the_defaults_believe_a_hundred(stage):
    """A hundred and one in one batch are held; a hundred are flagged."""
    world = stage.world()
    keys = [f"{n:03}" for n in range(101)]
    refs = suspect(stage, world, *keys)
    look(world, *refs[:100])
    assert stage.restraints("brake") == set()
    assert {stage.status(f"row of {key}") for key in keys[:100]} == {"corrupted"}
    look(world, refs[100])
    assert stage.restraints("brake") == {("missing", "")}
    assert stage.status("row of 100") == "active"


@pytest.mark.invariant(7)
def test_the_brake_is_one_for_all_processes(stage):
    """While one counts, another does not: its flags wait for a look, and are counted with those of the first."""
    one, another = stage.world(brake=THREE), stage.world(brake=THREE, actor="another")
    ours, theirs = suspect(stage, one, "a", "b"), suspect(stage, another, "c", "d")
    tallies = []
    look(Meanwhile(one, before_commit=lambda: tallies.append(look(another, *theirs))), *ours)
    assert (tallies[0].busy, dict(tallies[0].acts)) == (2, {})
    stage.age(MINUTE)
    look(another, *theirs)
    assert [stage.status(f"row of {key}") for key in "abcd"] == ["corrupted", "corrupted", "active", "active"]
    assert stage.restraints("brake") == {("missing", "")}


@pytest.mark.invariant(7)
def test_a_release_begins_the_count_of_its_own_kind_alone(stage):
    """Releasing the orphans' brake gives no missing object more room."""
    world = stage.world(replace(FLAGGING, orphan_grace=MINUTE), THREE)
    for key in "abcd":
        stage.put(key)
    look(world, *(ObjectRef(stage.bucket, key) for key in "abcd"))
    stage.age(MINUTE)
    look_again(world)
    assert stage.restraints("brake") == {("orphan", "")}
    flag(stage, world, "x", "y", "z")
    stage.release()
    look(world, *suspect(stage, world, "late"))
    assert stage.restraints("brake") == {("missing", "")}


@pytest.mark.invariant(7)
def test_a_release_frees_its_own_kind_alone(stage):
    """What the other brake holds stays held, and that brake stays latched."""
    world = stage.world(replace(FLAGGING, orphan_grace=MINUTE), THREE)
    for key in "abcd":
        stage.put(key)
    look(world, *(ObjectRef(stage.bucket, key) for key in "abcd"))
    look(world, *suspect(stage, world, *"wxyz"))
    stage.age(MINUTE)
    look_again(world)
    assert stage.restraints("brake") == {("orphan", ""), ("missing", "")}
    stage.release("missing")
    assert stage.restraints("brake") == {("orphan", "")}
    assert {one.held_by for one in stage.findings() if one.kind is Kind.MISSING} == {"released"}
    assert {one.held_by for one in stage.findings() if one.kind is Kind.ORPHAN} == {"brake"}
    assert dict(look_again(world).acts) == {"flagged after release": 4}


@pytest.mark.invariant(7)
def test_a_batch_that_is_halved_passes_no_more_than_is_believed(stage):
    """A refused write in the same batch has it committed in parts; together they stay within the measure."""
    world = stage.world(brake=THREE)
    [healed] = flag(stage, world, "z")
    stage.age(timedelta(minutes=11))
    refs = suspect(stage, world, *"abcde")
    stage.put("z")
    stage.refuse("row of z")
    look(world, *refs, healed)
    assert stage.restraints("brake") == {("missing", "")}
    assert sum(stage.status(f"row of {key}") == "corrupted" for key in "abcde") <= 3
    assert {one.held_by for one in stage.findings() if one.key == "z"} == {"refused"}


@pytest.mark.invariant(7)
def test_a_brake_that_trips_says_why_and_when(live):
    """The restraint keeps the numbers, for whoever has to release it."""
    world = live.world(brake=THREE, actor="one")
    look(world, *suspect(live, world, *"abcd"))
    [(actor, why, lifted)] = live.sql("SELECT actor, why, lifted_at FROM reconciler.restraint")
    assert (actor, why, lifted) == ("one", "4 within 0:10:00, 3 are believed", None)
