"""Looks are planned, claimed, ended, and never lost; what is not known is looked at again."""

from datetime import timedelta

import pytest

from reconcile.model import Action, Hint, Known, NotAsked, ObjectRef, State
from reconcile.reconciler import Look, reconcile
from reconcile.steps import Step
from tests.contract.stages import (
    GRACE,
    HOUR,
    MINUTE,
    Meanwhile,
    NarrowPool,
    Unanswering,
    flag,
    hints,
    look,
    look_again,
    states,
)


# ----- looks -----
def test_a_look_ends_when_all_is_well(stage):
    """What was asked for is done."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    world.ask(hints(ref), timedelta(0), "asked")
    look_again(world)
    assert stage.looks() == {}


@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
def test_a_look_that_was_asked_for_again_meanwhile_does_not_end(stage, moment):
    """A hint that arrives during the look may know more than the HEAD did."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    world.ask(hints(ref), timedelta(0), "asked")
    asking = Meanwhile(world, **{moment: lambda: world.ask(hints(ref), timedelta(0), "asked again")})
    reconcile(asking, world.due(10))
    assert (stage.looks()[ref].asks, stage.looks()[ref].in_s <= 0) == (2, True)
    look_again(world)
    assert stage.looks() == {}


@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
def test_what_was_asked_for_meanwhile_is_not_put_off_by_a_grace(stage, moment):
    """A look that is planned does not take the place of one that somebody has asked for since."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    stage.row("k")
    world.ask(hints(ref), timedelta(0), "asked")
    asking = Meanwhile(world, **{moment: lambda: world.ask(hints(ref), timedelta(0), "asked again")})
    reconcile(asking, world.due(10))
    assert states(stage) == {"row of k": State.SUSPECTED}
    assert stage.looks()[ref].in_s <= 0


@pytest.mark.parametrize("asked", [True, False], ids=["a look was pending", "none was"])
@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
def test_a_look_that_another_planned_meanwhile_does_not_end(stage, moment, asked):
    """Every finding keeps its look: who saw the object does not end the look of who saw it gone."""
    one, another = stage.world(), stage.world(actor="another")
    stage.row("k")
    stage.put("k")
    ref = ObjectRef(stage.bucket, "k")
    if asked:
        one.ask(hints(ref), timedelta(0), "asked")

    def lose():
        stage.remove("k")
        look(another, ref)

    reconcile(Meanwhile(one, **{moment: lose}), one.due(10) or hints(ref))
    assert states(stage) == {"row of k": State.SUSPECTED}
    assert stage.looks()[ref].in_s <= 31


def test_a_pending_look_is_planned_anew(stage):
    """The next look of an open finding takes the place of the one that led to it."""
    world = stage.world()
    [ref] = flag(stage, world, "k")
    assert (round(stage.looks()[ref].in_s / 60), stage.looks()[ref].attempt) == (1, 1)
    stage.age(MINUTE)
    look_again(world)
    assert (round(stage.looks()[ref].in_s / 60), stage.looks()[ref].attempt) == (2, 2)
    look(world, ref)
    assert (round(stage.looks()[ref].in_s / 60), stage.looks()[ref].attempt) == (4, 3)
    assert stage.looks()[ref].reason == "open"


def test_asking_makes_a_look_sooner_and_never_later(stage):
    """Every ask counts, whoever asks."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    world.ask(hints(ref), HOUR, "first")
    assert stage.looks()[ref].in_s == pytest.approx(3600, abs=5)
    world.ask(hints(ref), MINUTE, "second")
    assert stage.looks()[ref].in_s == pytest.approx(60, abs=5)
    world.ask(hints(ref), HOUR, "third")
    assert stage.looks()[ref].in_s == pytest.approx(60, abs=5)
    assert (stage.looks()[ref].asks, stage.looks()[ref].attempt, stage.looks()[ref].reason) == (3, 0, "first")
    world.ask([], HOUR, "nothing")
    world.ask(hints(ref, ref), HOUR, "twice in one batch")
    assert list(stage.looks()) == [ref]


def test_a_claimed_look_is_invisible_for_a_while(stage):
    """Nobody else gets it, and it comes back if whoever claimed it never does."""
    one, another = stage.world(), stage.world(actor="another")
    ref = ObjectRef(stage.bucket, "k")
    one.ask(hints(ref), timedelta(0), "asked")
    assert [hint.ref for hint in one.due(10)] == [ref]
    assert another.due(10) == one.due(10) == []
    stage.age(timedelta(seconds=55))
    assert another.due(10) == []
    stage.age(timedelta(seconds=10))
    assert [hint.ref for hint in another.due(10)] == [ref]


def test_the_oldest_looks_are_claimed_first(stage):
    """As many as there is room for; what is not due is left."""
    world = stage.world()
    refs = [ObjectRef(stage.bucket, key) for key in "abc"]
    for ref, after in zip(refs, (20, 10, 30), strict=True):
        world.ask(hints(ref), timedelta(seconds=after), "asked")
    world.ask(hints(ObjectRef(stage.bucket, "later")), HOUR, "asked")
    stage.age(MINUTE)
    assert world.due(0) == []
    assert {hint.ref for hint in world.due(2)} == {refs[0], refs[1]}
    assert [hint.ref for hint in world.due(2)] == [refs[2]]


def test_a_look_tells_who_first_named_its_reference(stage):
    """The evidence of a hint comes back with the look, and names the source in the next one, too."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    world.ask([Hint(ref, Action.REMOVED, "express")], timedelta(0), "why")
    [hint] = world.due(10)
    assert (hint.action, hint.named_by) == (Action.LOOK, "look")
    assert hint.evidence.facts() == {"named_by": "express", "look": "why"}


# ----- what is not known -----
@pytest.mark.invariant(1)
def test_what_is_unknown_changes_nothing_and_is_looked_at_again(stage):
    """A bucket that is not there proves no absence; the look backs off, whether rows name the key or not."""
    world = stage.world()
    row_id = stage.row("k", bucket=stage.missing)
    refs = [ObjectRef(stage.missing, "k"), ObjectRef(stage.missing, "no row")]
    tally = look(world, *refs)
    assert (tally.looks, tally.unknown) == (2, 2)
    assert (stage.findings(), stage.status(row_id)) == ([], "active")
    assert [(round(one.in_s), one.attempt) for one in stage.looks().values()] == [(5, 1)] * 2
    stage.age(timedelta(seconds=6))
    look_again(world)
    assert [(round(one.in_s), one.attempt) for one in stage.looks().values()] == [(10, 2)] * 2


@pytest.mark.invariant(1)
def test_a_flagged_row_whose_object_is_unknown_keeps_its_flag(stage):
    """And its finding, with a look."""
    world = stage.world()
    stage.make_bucket(stage.missing)
    row_id = stage.row("k", bucket=stage.missing)
    ref = ObjectRef(stage.missing, "k")
    look(world, ref)
    stage.age(GRACE)
    look_again(world)
    stage.lose_bucket(stage.missing)
    look(world, ref)
    assert (states(stage), stage.status(row_id)) == ({row_id: State.OPEN}, "corrupted")
    assert ref in stage.looks()


@pytest.mark.invariant(1)
def test_many_unknowns_make_a_bucket_unreadable_until_it_answers(stage):
    """Its looks wait while one probe a back-off goes out; one answer, to whoever, lets them go on."""
    one, another = stage.world(), stage.world(actor="another")
    refs = [ObjectRef(stage.missing, str(n)) for n in range(12)]
    look(one, *refs)
    assert stage.restraints("unreadable") == {("", stage.missing)}
    assert one.due(100) == []
    stage.age(timedelta(seconds=6))
    [probe] = one.due(100)
    reconcile(one, [probe])
    assert one.due(100) == another.due(100) == []
    stage.make_bucket(stage.missing)
    stage.age(timedelta(seconds=12))
    reconcile(another, another.due(100))
    assert stage.restraints("unreadable") == set()
    stage.age(MINUTE)
    look_again(one)
    assert stage.looks() == {}


@pytest.mark.invariant(1)
def test_unknowns_of_many_batches_add_up(stage):
    """A slow trickle makes a bucket unreadable, too; an answer in between begins the count anew."""
    world = stage.world()
    for n in range(9):
        look(world, ObjectRef(stage.missing, str(n)))
    stage.make_bucket(stage.missing)
    look(world, ObjectRef(stage.missing, "answered"))
    stage.lose_bucket(stage.missing)
    for n in range(9):
        look(world, ObjectRef(stage.missing, str(n)))
    assert stage.restraints("unreadable") == set()
    look(world, ObjectRef(stage.missing, "the tenth"))
    assert stage.restraints("unreadable") == {("", stage.missing)}


@pytest.mark.invariant(1)
def test_an_unreadable_bucket_is_probed_ever_more_rarely(stage):
    """One look goes out after five seconds, after twice as long, and at least every ten minutes."""
    world = stage.world()
    look(world, *(ObjectRef(stage.missing, str(n)) for n in range(12)))
    waits = []
    while sum(waits) < 3000:
        waits.append(1)
        stage.age(timedelta(seconds=1.001))
        while len(reconciled := world.due(100)) == 0:
            waits[-1] += 10
            stage.age(timedelta(seconds=10))
        assert len(reconciled) == 1
        reconcile(world, reconciled)
    assert waits == sorted(waits)
    assert 590 <= waits[-1] <= 612
    assert len(waits) < 14


@pytest.mark.invariant(1)
def test_an_unreadable_bucket_keeps_no_other_from_being_looked_at(stage):
    """Its looks wait; those of other buckets are claimed as ever."""
    world = stage.world()
    look(world, *(ObjectRef(stage.missing, str(n)) for n in range(12)))
    ref = ObjectRef(stage.bucket, "k")
    world.ask(hints(ref), timedelta(0), "asked")
    assert [hint.ref for hint in world.due(100)] == [ref]


@pytest.mark.invariant(5)
def test_an_event_that_met_no_answer_is_followed_soon_however_old_the_finding(stage):
    """The object of a version flagged long ago returns, and MinIO is late once: the status is back within a minute."""
    world = stage.world()
    [ref] = flag(stage, world, "k")
    for _ in range(12):
        stage.age(HOUR * 24)
        look_again(world)
    assert stage.looks()[ref].attempt == 13
    stage.put("k")
    look(Unanswering(world), ref)
    stage.age(MINUTE)
    look_again(world)
    assert (stage.status("row of k"), stage.findings()) == ("active", [])


def test_what_there_was_no_room_for_is_looked_at_at_once(stage):
    """Not asked is not unknown: no back-off, nothing held against the bucket, and the others go on."""
    world = stage.world()
    refs = [ObjectRef(stage.bucket, key) for key in "abc"]
    for key in "abc":
        stage.row(key)
    tally = look(NarrowPool(world, 1), *refs)
    assert (tally.looks, tally.not_asked, tally.unknown, dict(tally.acts)) == (1, 2, 0, {"suspected": 1})
    assert [(stage.looks()[ref].in_s <= 0, stage.looks()[ref].attempt) for ref in refs[1:]] == [(True, 0)] * 2
    assert {hint.ref for hint in world.due(10)} == {refs[1], refs[2]}


@pytest.mark.invariant(8)
def test_the_look_of_a_finding_is_not_ended_by_who_saw_none(stage):
    """Another look was ended and this one planned meanwhile, with as many asks: no finding is left without a look."""
    world = stage.world()
    stage.row("k")
    ref = ObjectRef(stage.bucket, "k")
    reconcile(world, [Hint(ref)])
    before = Known(asks=stage.looks()[ref].asks)
    with world.transaction([ref]) as txn:
        txn.write([Step(ref)], [], Look([ref], {ref: Hint(ref)}, {ref: before}, {ref: NotAsked()}), set())
    assert set(stage.looks()) == {ref}
