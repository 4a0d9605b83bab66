"""What an ignore rule covers is quiet from the moment it is found; at the rule's end it is looked at anew."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconcile.config.filters import below
from reconcile.model import Kind, ObjectRef, State
from tests.contract.stages import FLAGGING, GRACE, HOUR, MINUTE, THREE, Meanwhile, flag, look, look_again, suspect

DAY = timedelta(days=1)
PATIENT = replace(FLAGGING, orphan_grace=MINUTE)


def held(stage):
    """Return the state of each finding, and whether a rule holds it."""
    return {one.key: (one.state, (one.held_by or "").split(" ")[0]) for one in stage.findings()}


def test_what_a_rule_covers_is_ignored_from_the_beginning_and_never_flagged(stage):
    """Rows and objects alike; what lies beside it goes its way."""
    world = stage.world(PATIENT)
    number = stage.ignore(DAY, below("backup/"))
    stage.put("backup/orphan")
    stage.put("orphan")
    for key in ("backup/row", "row"):
        stage.row(key)
    look(world, *(ObjectRef(stage.bucket, key) for key in ("backup/orphan", "orphan", "backup/row", "row")))
    assert sorted(stage.history()) == ["ignored", "ignored", "suspected", "suspected"]
    assert {one.held_by for one in stage.findings()} == {f"rule {number}", None}
    stage.age(HOUR)
    look_again(world)
    assert held(stage) == {
        "backup/orphan": (State.IGNORED, "rule"),
        "orphan": (State.OPEN, ""),
        "backup/row": (State.IGNORED, "rule"),
        "row": (State.OPEN, ""),
    }
    assert [stage.status(f"row of {key}") for key in ("backup/row", "row")] == ["active", "corrupted"]
    stage.age(HOUR)
    look_again(world)
    assert min(one.in_s for ref, one in stage.looks().items() if ref.key.startswith("backup/")) > HOUR.total_seconds()


def test_what_was_suspected_before_the_rule_is_ignored_where_it_would_open(stage):
    """It is neither flagged nor counted by the brake."""
    world = stage.world(brake=THREE)
    refs = suspect(stage, world, *"abcde")
    stage.ignore(DAY, "/**")
    assert dict(look(world, *refs).acts) == {"ignored": 5}
    assert {stage.status(f"row of {key}") for key in "abcde"} == {"active"}
    assert stage.restraints("brake") == set()


def test_a_rule_for_one_kind_leaves_the_others(stage):
    """A missing row below it is flagged."""
    world = stage.world(PATIENT)
    stage.ignore(DAY, "/**", Kind.ORPHAN)
    stage.put("orphan")
    look(world, ObjectRef(stage.bucket, "orphan"), *suspect(stage, world, "row"))
    assert held(stage) == {"orphan": (State.IGNORED, "rule"), "row": (State.OPEN, "")}
    assert stage.status("row of row") == "corrupted"


def test_at_its_end_all_that_it_held_is_looked_at_anew(stage):
    """What still drifts is opened and flagged, with its grace already over; what is over resolves."""
    world = stage.world(PATIENT)
    stage.ignore(HOUR, "/**")
    stage.put("orphan")
    for key in ("gone", "back"):
        stage.row(key)
    look(world, *(ObjectRef(stage.bucket, key) for key in ("orphan", "gone", "back")))
    stage.age(2 * MINUTE)
    stage.end_rules(world)
    assert stage.restraints("ignore") == {("", stage.bucket)}
    stage.age(HOUR)
    stage.put("back")
    stage.end_rules(world)
    assert stage.restraints("ignore") == set()
    assert {one.state for one in stage.findings()} == {State.SUSPECTED}
    assert dict(look_again(world).acts) == {"opened": 1, "flagged": 1, "resolved": 1}
    assert held(stage) == {"orphan": (State.OPEN, ""), "gone": (State.OPEN, "")}
    assert stage.status("row of gone") == "corrupted"


def test_what_a_rule_ignores_in_the_moment_of_its_end_is_looked_at_anew(stage):
    """Whoever reads a rule takes no lock: it may be closed before that one commits."""
    world = stage.world()
    stage.row("a")
    stage.ignore(HOUR, "/**")

    def its_end():
        stage.age(2 * HOUR)
        stage.end_rules(stage.world())
        assert stage.restraints("ignore") == set()

    look(Meanwhile(world, before_commit=its_end), ObjectRef(stage.bucket, "a"))
    stage.end_rules(stage.world())
    assert held(stage) == {"a": (State.SUSPECTED, "")}
    stage.age(GRACE)
    assert dict(look_again(world).acts) == {"flagged": 1}


@pytest.mark.invariant(5)
def test_under_a_rule_healing_goes_on(stage):
    """What was flagged before it is given back; what it ignores resolves when it is seen to be well."""
    world = stage.world()
    [before] = flag(stage, world, "before")
    stage.ignore(DAY, "/**")
    stage.row("held")
    ref = ObjectRef(stage.bucket, "held")
    look(world, ref)
    stage.put("before")
    stage.put("held")
    assert dict(look(world, before, ref).acts) == {"given back": 1, "resolved": 1}
    assert stage.findings() == []


def test_a_flag_from_before_stays_where_a_rule_ignores_what_it_becomes(stage):
    """A flagged row whose object is back as another one is open, so that nobody forgets the flag."""
    world = stage.world()
    [ref] = flag(stage, world, "a")
    stage.ignore(DAY, "/**")
    stage.put("a", b"another")
    assert dict(look(world, ref).acts) == {"changed": 1}
    assert held(stage) == {"a": (State.OPEN, "")}
    assert stage.status("row of a") == "corrupted"


def test_where_a_rule_and_a_window_meet_the_rule_goes_first(stage):
    """It is ignored, and not held a second time."""
    world = stage.world()
    refs = suspect(stage, world, "a")
    stage.suppress(DAY)
    stage.ignore(DAY, "/**")
    look(world, *refs)
    assert held(stage) == {"a": (State.IGNORED, "rule")}
    stage.age(GRACE)
    look_again(world)
    assert stage.history() == ["suspected", "ignored"]
