"""A purge and what others do in the same moment, on real servers."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconcile.inquiry import Filter
from reconcile.model import Kind, ObjectRef, State, Unavailable
from reconcile.repair.purging import ALONE, Aims, Candidate, Purging
from reconcile.repair.triage import MOVED, Named
from tests.contract.stages import HOUR, THREE, Meanwhile, flag, look

NOW = Aims(timedelta(0), timedelta(0), even_alone=True)


@pytest.fixture
def flagged(live):
    """Flag three versions; return their world and references."""
    world = live.world()
    return world, flag(live, world, "a", "b", "c")


def purged(world, aims=NOW):
    """Purge whatever is flagged; return what became of each key."""
    run = Purging(world, aims)
    return {one.named.ref.key: one.told for one in run.apply(run.candidates(Filter(), None))}


@pytest.mark.invariant(5)
def test_an_object_that_returns_after_its_head_keeps_its_row(live, flagged):
    """Its event asked for a look meanwhile, so the purge is busy, looks again, and gives the status back."""
    world, refs = flagged

    def upload():
        if live.status("row of b") == "corrupted":
            live.put("b")
            look(Meanwhile(live.world()), refs[1])

    told = purged(Meanwhile(world, after_heads=upload))
    assert (told["a"], told["c"], live.status("row of b")) == ("purged", "purged", "active")
    assert told["b"] != "purged"


def test_an_object_that_returns_unheard_is_an_orphan_at_once(live, flagged):
    """Its row is gone in the same moment; the look that follows says so."""
    world, _ = flagged
    assert purged(Meanwhile(world, in_transaction=lambda: live.put("b"))) == dict.fromkeys("abc", "purged")
    assert [(one.key, one.kind, one.state) for one in live.findings()] == [("b", Kind.ORPHAN, State.SUSPECTED)]


def test_rows_that_are_gone_are_told_where_the_look_that_follows_has_no_answer(live, flagged):
    """What was committed is no less done for the outage that ends the run."""
    world, _ = flagged
    answers = iter((True,))

    def after() -> None:
        if not next(answers, False):
            raise Unavailable("minio", "it is away")

    run, told = Purging(Meanwhile(world, after_heads=after), NOW), []
    with pytest.raises(Unavailable):
        told.extend(one.told for one in run.apply(run.candidates(Filter(), None)))
    assert live.sql("SELECT id FROM version") == []
    assert told == ["purged", "purged", "purged"]


def test_a_row_that_the_application_is_at_is_left_alone(live, flagged):
    """Nobody waits: it is busy, and the others are purged."""
    world, _ = flagged
    with live.holding("row of b"):
        told = purged(world)
    assert told == {"a": "purged", "b": "it is gone, or busy; try again", "c": "purged"}
    assert live.status("row of b") == "corrupted"


def test_a_status_that_the_application_gave_back_is_not_purged(live, flagged):
    """Whoever took the flag off meant it."""
    world, _ = flagged
    live.change("row of b", status="active")
    assert purged(world)["b"] == "its row carries no flag of ours"
    assert live.status("row of b") == "active"


def test_the_other_version_may_go_until_the_last_moment(live, flagged):
    """The statement itself asks once more: the last of a file is refused, and the finding says so."""
    world, _ = flagged
    live.row("other")
    live.put("other")
    live.sql("UPDATE version SET parent_id = 'row of b' WHERE id = 'row of other'")
    careful = Aims(timedelta(0), timedelta(0))
    gone = Meanwhile(world, in_transaction=lambda: live.delete_row("row of other"))
    told = purged(gone, careful)
    assert (told["a"], told["c"]) == (ALONE, ALONE)
    assert "no other good version any more" in told["b"]
    assert live.status("row of b") == "corrupted"


def test_a_finding_of_the_other_version_is_seen_until_the_last_moment(live, flagged):
    """One that began after the versions were read has it stand in for none: the purge is refused, and its row stays."""
    world, _ = flagged
    live.row("other")
    live.sql("UPDATE version SET parent_id = 'row of b' WHERE id = 'row of other'")
    careful = Aims(timedelta(0), timedelta(0))
    lost = Meanwhile(world, in_transaction=lambda: look(live.world(), ObjectRef(live.bucket, "other")))
    assert "no other good version any more" in purged(lost, careful)["b"]
    assert live.status("row of b") == "corrupted"


def test_a_plan_writes_nothing(live, flagged):
    """Not a look, not a line of history; and it says what a look would do instead."""
    world, _ = flagged
    live.put("b")
    before = live.everything()
    run = Purging(world, NOW)
    told = {one.named.ref.key: outcome.told for one, outcome in run.plan(run.candidates(Filter(), None))}
    assert (told["a"], told["b"].startswith(MOVED)) == ("purged", True)
    assert live.everything() == before


@pytest.mark.invariant(7)
def test_a_purge_that_passed_the_count_meets_the_brake_in_its_transaction(live, flagged):
    """Flags are not believed at that moment, so nothing is purged, whoever counted what before."""
    world, _ = flagged
    live.sql("INSERT INTO reconciler.restraint (effect, kind, actor) VALUES ('brake', 'missing', 'test')")
    assert set(purged(world).values()) == {"held by the brake"}
    assert live.status("row of a") == "corrupted"
    live.age(HOUR)
    live.release("missing", "purge")
    assert set(purged(world).values()) == {"purged"}


@pytest.mark.invariant(7)
def test_a_run_is_counted_as_a_whole_before_its_first_row(live, flagged):
    """However small its batches are: the brake is on before any of them; a plan sets none."""
    world, _ = flagged
    world.brake = THREE
    run = Purging(world, NOW)
    mass = [
        Candidate(Named(number, ObjectRef(live.bucket, f"k{number}")), None, released=False) for number in range(1, 5)
    ]
    said = [f"all buckets: 4 within {THREE.window}, 3 are believed"]
    assert (run.restrained(mass, apply=False), live.restraints("brake")) == (said, set())
    assert (run.restrained(mass, apply=True), live.restraints("brake")) == (said, {("purge", "")})
    assert set(purged(world).values()) == {"held by the brake"}
    assert run.restrained(mass, apply=False) == [f"{live.bucket}: the brake of purges is on"]


def test_nothing_is_purged_while_a_window_is_on(live, flagged):
    """Held once, told again without another line of history; after its end it goes on."""
    world, _ = flagged
    live.sql("INSERT INTO reconciler.restraint (effect, actor) VALUES ('suppress', 'test')")
    [(window,)] = live.sql("SELECT id FROM reconciler.restraint")
    assert set(purged(world).values()) == {f"held by window {window}"}
    lines = len(live.history())
    assert set(purged(world).values()) == {f"held by window {window}"}
    assert (len(live.history()), live.status("row of a")) == (lines, "corrupted")
    live.sql("UPDATE reconciler.restraint SET lifted_at = now()")
    assert set(purged(world).values()) == {"purged"}


@pytest.mark.invariant(7)
def test_what_was_released_is_so_after_a_window_too(live, flagged):
    """The window is told as what holds it, and once it is over the purge is not counted again."""
    world, _ = flagged
    live.sql("UPDATE reconciler.finding SET held_by = 'released'")
    live.sql("INSERT INTO reconciler.restraint (effect, actor) VALUES ('suppress', 'test')")
    [(window,)] = live.sql("SELECT id FROM reconciler.restraint")
    assert set(purged(world).values()) == {f"held by window {window}"}
    assert {one.held_by for one in live.findings()} == {"released"}
    live.sql("UPDATE reconciler.restraint SET lifted_at = now()")
    world.brake = replace(THREE, floor=2)
    assert set(purged(world).values()) == {"purged"}
    assert live.restraints("brake") == set()
