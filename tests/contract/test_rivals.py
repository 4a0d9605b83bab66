"""Somebody else is at the same rows: the application, or another process of ours."""

from contextlib import ExitStack
from datetime import timedelta
from time import monotonic

import pytest

from reconcile.model import Kind, ObjectRef, State
from reconcile.trial import UNBRAKED
from tests.contract.stages import (
    FLAGGING,
    GRACE,
    OBSERVING,
    ORPHAN_GRACE,
    Meanwhile,
    flag,
    look,
    look_again,
    states,
    suspect,
)


def busy_and_untouched(stage, world, ref, tally):
    """Tell whether a look found its key busy, wrote no row of it, and asked for a look soon."""
    assert (tally.busy, dict(tally.acts)) == (1, {})
    return stage.looks()[ref].in_s <= 1


@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
@pytest.mark.parametrize(
    "columns",
    [{"status": "archived"}, {"size": 4}, {"deleted": True}, {"key": "elsewhere"}, {"status": "corrupted"}],
    ids=lambda columns: "-".join(map(str, *columns.items())),
)
def test_a_row_that_changed_since_the_glance_is_busy(stage, moment, columns):
    """What the HEAD was asked for is older than the row, or than its parent: look again soon, write nothing."""
    world = stage.world()
    [ref] = suspect(stage, world, "k")
    before = stage.findings()
    tally = look(Meanwhile(world, **{moment: lambda: stage.change("row of k", **columns)}), ref)
    assert busy_and_untouched(stage, world, ref, tally)
    assert stage.findings() == before
    assert stage.status("row of k") == columns.get("status", "active")


def test_a_row_that_went_since_the_glance_is_busy(stage):
    """Deleted between the glance and the transaction, or within it."""
    world = stage.world()
    first, second = suspect(stage, world, "k", "l")
    tally = look(Meanwhile(world, after_heads=lambda: stage.delete_row("row of k")), first)
    assert busy_and_untouched(stage, world, first, tally)
    tally = look(Meanwhile(world, in_transaction=lambda: stage.delete_row("row of l")), second)
    assert busy_and_untouched(stage, world, second, tally)
    look(world, first, second)
    assert stage.findings() == []


def test_a_row_that_came_since_the_glance_is_busy(stage):
    """The HEAD that found no object may be older than the upload that went with it."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")

    def upload():
        stage.row("k")
        stage.put("k")

    tally = look(Meanwhile(world, after_heads=upload), ref)
    assert busy_and_untouched(stage, world, ref, tally)
    look_again(world)
    assert stage.findings() == []


def test_a_row_that_came_and_agrees_needs_nothing(stage):
    """The commit that an event precedes: nothing is written for it."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    stage.put("k")
    tally = look(Meanwhile(world, after_heads=lambda: stage.row("k")), ref)
    assert (tally.busy, stage.findings(), stage.looks()) == (0, [], {})


@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
def test_a_finding_that_moved_on_since_the_glance_is_busy(stage, moment):
    """Two processes at one key: the second to write finds another revision and looks again."""
    one, another = stage.world(), stage.world(actor="another")
    [ref] = suspect(stage, one, "k")
    tally = look(Meanwhile(one, **{moment: lambda: look(another, ref)}), ref)
    assert busy_and_untouched(stage, one, ref, tally)
    assert stage.history() == ["suspected", "flagged"]
    assert stage.status("row of k") == "corrupted"


@pytest.mark.invariant(4)
@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
@pytest.mark.parametrize(
    ("kind", "policy"), [(Kind.MISSING, FLAGGING), (Kind.MISSING, OBSERVING), (Kind.ORPHAN, FLAGGING)]
)
def test_a_finding_that_another_followed_since_it_was_read_is_busy(stage, moment, kind, policy):
    """What was decided of one is nothing to its successor, though that stands at the same place and revision."""
    one, another, ref = stage.world(policy), stage.world(policy, actor="another"), ObjectRef(stage.bucket, "k")
    come, go = (stage.put, stage.remove) if kind is Kind.MISSING else (stage.remove, stage.put)
    if kind is Kind.MISSING:
        stage.row("k")
    else:
        stage.put("k")
    look(one, ref)
    stage.age(ORPHAN_GRACE)

    def followed():
        come("k")
        look(another, ref)
        go("k")
        look(another, ref)

    tally = look(Meanwhile(one, **{moment: followed}), ref)
    assert busy_and_untouched(stage, one, ref, tally)
    assert (stage.history(), states(stage).popitem()[1]) == (["suspected", "resolved", "suspected"], State.SUSPECTED)


@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
def test_a_finding_that_began_since_the_glance_is_busy(stage, moment):
    """Two processes see the same drift for the first time; one finding comes of it."""
    one, another = stage.world(), stage.world(actor="another")
    stage.row("k")
    ref = ObjectRef(stage.bucket, "k")
    tally = look(Meanwhile(one, **{moment: lambda: look(another, ref)}), ref)
    assert busy_and_untouched(stage, one, ref, tally)
    assert stage.history() == ["suspected"]


@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
def test_a_finding_that_ended_since_the_glance_is_busy(stage, moment):
    """It is not brought back under its old revision."""
    one, another = stage.world(), stage.world(actor="another")
    [ref] = suspect(stage, one, "k")

    def heal():
        stage.put("k")
        look(another, ref)

    tally = look(Meanwhile(one, **{moment: heal}), ref)
    assert busy_and_untouched(stage, one, ref, tally)
    assert stage.findings() == []
    assert stage.history() == ["suspected", "resolved"]


@pytest.mark.invariant(3)
def test_a_row_that_an_open_transaction_holds_is_busy(stage):
    """It is not waited for; the others of the batch are flagged, and it itself once it is free."""
    world = stage.world()
    refs = suspect(stage, world, "a", "b", "c")
    with stage.holding("row of b"):
        tally = look(world, *refs)
        assert (tally.busy, dict(tally.acts)) == (1, {"flagged": 2})
        assert [stage.status(f"row of {key}") for key in "abc"] == ["corrupted", "active", "corrupted"]
        assert stage.looks()[refs[1]].in_s <= 1
    stage.age(timedelta(seconds=1))
    look_again(world)
    assert stage.status("row of b") == "corrupted"


@pytest.mark.invariant(3)
def test_a_held_row_is_not_waited_for_at_all(live):
    """Not even where a lock might be waited for without end."""
    world = live.world()
    refs = suspect(live, world, "a", "b")
    world.database.lock_timeout, world.database.statement_timeout = "0", "2s"
    world.database.close()
    with live.holding("row of b"):
        tally = look(world, *refs)
    assert (tally.busy, dict(tally.acts)) == (1, {"flagged": 1})


@pytest.mark.invariant(3)
def test_a_held_row_does_not_keep_its_status_from_being_given_back_later(stage):
    """A give-back that meets an open transaction is done at the next look."""
    world = stage.world()
    [ref] = flag(stage, world, "k")
    stage.put("k")
    with stage.holding("row of k"):
        assert look(world, ref).busy == 1
        assert states(stage) == {"row of k": State.OPEN}
    look(world, ref)
    assert (stage.status("row of k"), stage.findings()) == ("active", [])


@pytest.mark.invariant(3)
def test_a_held_row_hinders_nothing_that_does_not_write_it(stage):
    """Suspecting, opening while observing, resolving: none of them needs the row."""
    world, observing = stage.world(), stage.world(OBSERVING)
    ref = ObjectRef(stage.bucket, "k")
    stage.row("k")
    with stage.holding("row of k"):
        assert dict(look(world, ref).acts) == {"suspected": 1}
        stage.age(GRACE)
        assert dict(look(observing, ref).acts) == {"opened": 1}
        stage.put("k")
        assert dict(look(world, ref).acts) == {"resolved": 1}


@pytest.mark.invariant(3)
@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "EXCLUSIVE", "SHARE"])
def test_a_table_that_is_locked_after_the_heads_is_waited_for_once(live, mode):
    """A migration, or an index that is built: no smaller batch would fare better, so all of it is looked at soon."""
    world = live.world(brake=UNBRAKED)
    refs = suspect(live, world, *map(str, range(400)))
    began = []
    with ExitStack() as migration:

        def locked():
            migration.enter_context(live.locking_table(mode))
            began.append(monotonic())

        tally = look(Meanwhile(world, after_heads=locked), *refs)
        assert monotonic() - began[0] < 2
    assert (tally.busy, dict(tally.acts)) == (400, {})
    assert all(one.in_s <= 1 for one in live.looks().values())
    assert dict(look(world, *refs).acts) == {"flagged": 400}


@pytest.mark.invariant(1)
def test_what_came_back_while_the_table_was_locked_is_not_flagged(stage):
    """What was seen absent before the lock is looked at anew after it."""
    world = stage.world()
    refs = suspect(stage, world, "a", "b")
    with ExitStack() as migration:
        locked = Meanwhile(world, after_heads=lambda: migration.enter_context(stage.locking_table()))
        assert look(locked, *refs).busy == 2
        stage.put("a")
    stage.age(timedelta(seconds=1))
    look_again(world)
    assert [stage.status(f"row of {key}") for key in "ab"] == ["active", "corrupted"]


@pytest.mark.invariant(1)
def test_what_came_back_while_the_process_stood_still_is_not_flagged(stage):
    """An answer of MinIO's that is older than some seconds proves nothing any more."""
    world = stage.world()
    refs = suspect(stage, world, "a", "b")

    def stopped():
        stage.stand_still(world, 7)
        stage.put("a")

    tally = look(Meanwhile(world, after_heads=stopped), *refs)
    assert (tally.busy, dict(tally.acts)) == (2, {})
    stage.age(timedelta(seconds=1))
    look_again(world)
    assert [stage.status(f"row of {key}") for key in "ab"] == ["active", "corrupted"]
