"""A deletion as the reconciler keeps it, in both Worlds: begun before it is done, ended by whoever sees the absence."""

from datetime import timedelta

import pytest

from reconcile.life import Input
from reconcile.model import Action, Hint, Kind, ObjectRef, State
from reconcile.reconciler import reconcile
from reconcile.repair.triage import Deed, Named, carried_out
from tests.contract.stages import ORPHAN_GRACE, look, look_again

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(stage):
    """Start a process."""
    return stage.world()


@pytest.fixture
def begun(stage, world):
    """Approve an orphan and begin its deletion; returns its reference."""
    ref = ObjectRef(stage.bucket, "k")
    stage.put("k")
    look(world, ref)
    stage.age(ORPHAN_GRACE)
    look_again(world)
    [found] = world.glance([ref])[ref].findings
    for act, facts in ((Input.APPROVE, {"approved": {"size": 3}}), (Input.ERASE, {"erasing": {"how": "object"}})):
        deed = Deed(act, facts=lambda _, __, facts=facts: facts, after=ORPHAN_GRACE)
        [one] = carried_out(world, deed, [Named(found.id, ref)])
        assert one.done, one.told
    assert [(one.kind, one.state) for one in stage.findings()] == [(Kind.ORPHAN, State.APPROVED)]
    return ref


@pytest.mark.invariant(6)
def test_an_absence_ends_it_and_its_own_event_does_not_end_the_look_that_it_keeps(stage, world, begun):
    """The rows are read once more a grace later, whatever is heard of the removal before."""
    stage.remove("k")
    look(world, begun)
    assert (stage.findings(), stage.history()[-1]) == ([], "deleted")
    stage.age(MINUTE)
    reconcile(world, [Hint(begun, Action.REMOVED, named_by="event")])
    assert stage.looks()[begun].reason == "deleted"
    stage.age(ORPHAN_GRACE)
    stage.row("k")
    look_again(world)
    assert [one.kind for one in stage.findings()] == [Kind.MISSING]


@pytest.mark.invariant(6)
def test_the_look_that_it_keeps_ends_when_it_was_done(stage, world, begun):
    """Nothing is left to be looked at."""
    stage.remove("k")
    look(world, begun)
    stage.age(ORPHAN_GRACE)
    look_again(world)
    assert begun not in stage.looks()


@pytest.mark.invariant(6)
def test_a_row_that_appears_before_the_removal_resolves_it(stage, world, begun):
    """And an absence after that is a missing object, not a deletion."""
    stage.row("k")
    look(world, begun)
    assert stage.history()[-1] == "resolved"
    stage.remove("k")
    look(world, begun)
    assert [one.kind for one in stage.findings()] == [Kind.MISSING]
