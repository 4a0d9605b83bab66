"""The brake in real numbers, with its default values: what it believes, what it holds, what passes."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.model import (
    Absent,
    Brake,
    Finding,
    Kind,
    NotAsked,
    ObjectRef,
    Present,
    Row,
    RowState,
    State,
    Unknown,
)
from reconcile.restraint import (
    ALL_BUCKETS,
    HELD_LOOK,
    PURGES,
    Restraints,
    Trip,
    braked,
    counted,
    most_flags,
    restrain,
    silence,
)
from reconcile.steps import Change, Flag, GiveBack, Look, Purge, Step
from reconcile.store.heads import NO_NAME

BRAKE = Brake()
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
LATER = Look(timedelta(minutes=1), 1, "open")
MISSING, ORPHAN = Kind.MISSING, Kind.ORPHAN


def finding(kind=MISSING, state=State.SUSPECTED, held_by=None) -> Finding:
    return Finding(1, ObjectRef("a", "k"), "", kind, state, 1, NOW, held_by=held_by)


def change(act="flagged", kind=MISSING, effect=None, before=None, row_id="r") -> Change:
    row = Row(row_id, None, "a", "k", "", 3, None, "active", RowState.LIVE, None, None, None)
    row = None if kind in {ORPHAN, Kind.LEFTOVER} else row
    return Change(before or finding(kind), row_id, row, kind, "", State.OPEN, act, effect=effect)


RELEASED = finding(state=State.OPEN, held_by="released")


def step(bucket, number, *changes) -> Step:
    return Step(ObjectRef(bucket, f"{number:05}"), changes, LATER)


def flags(count, bucket="a", act="flagged", before=None) -> list[Step]:
    """Make a step with one flag for each of so many keys of a bucket."""
    return [step(bucket, n, change(act, effect=Flag("r", "active"), before=before)) for n in range(count)]


def orphans(count, bucket="a", kind=ORPHAN, before=None) -> list[Step]:
    """Make a step that opens one orphan for each of so many keys."""
    return [step(bucket, n, change("opened", kind, before=before)) for n in range(count)]


def passed(steps: Iterable[Step]) -> int:
    """Count what the brake let pass: flags, and orphans that open."""
    return sum(change.act in {"flagged", "flagged after release", "opened"} for one in steps for change in one.changes)


def held(steps: Iterable[Step]) -> int:
    """Count what is held."""
    return sum(change.act == "held" for one in steps for change in one.changes)


@pytest.mark.parametrize(
    ("live", "believed"),
    [
        pytest.param({}, 100, id="before the first count"),
        pytest.param({"a": 0}, 100, id="no rows"),
        pytest.param({"a": 9_999}, 100, id="one per cent is less than the floor"),
        pytest.param({"a": 10_000}, 100, id="one per cent is the floor"),
        pytest.param({"a": 10_100}, 101, id="one per cent is more"),
        pytest.param({"a": 15_050, "b": 15_000}, 300, id="over all buckets, rounded down"),
        pytest.param({"a": 100_000}, 1_000, id="one per cent is the most"),
        pytest.param({"a": 50_000_000}, 1_000, id="never more than the most"),
    ],
)
def test_as_many_flags_as_are_believed_pass_and_one_more_trips(live, believed):
    """More than min(max(100, 1 % of the live rows), 1 000) within the window is not believed."""
    assert most_flags(sum(live.values()), BRAKE) == believed
    live = {bucket: count for bucket, count in live.items() if bucket != "a"} | ({"z": live["a"]} if live else {})
    steps, trips = restrain(flags(believed), Restraints(live=live), BRAKE)
    assert (passed(steps), trips) == (believed, [])
    steps, trips = restrain(flags(believed + 1), Restraints(live=live), BRAKE)
    assert (passed(steps), held(steps)) == (0, believed + 1)
    assert [(trip.kind, trip.bucket) for trip in trips] == [(MISSING, ALL_BUCKETS)]


def test_flags_of_the_window_count():
    """What was flagged within the window, in whatever bucket, is part of the mass."""
    recent = Restraints(recent={(MISSING, "a"): 30, (MISSING, "z"): 40})
    steps, trips = restrain(flags(30), recent, BRAKE)
    assert (passed(steps), trips) == (30, [])
    steps, trips = restrain(flags(31), recent, BRAKE)
    assert (passed(steps), held(steps)) == (0, 31)
    assert trips == [Trip(MISSING, ALL_BUCKETS, "101 within 0:10:00, 100 are believed")]


def test_flags_of_all_buckets_are_one_mass():
    """A hundred and one over two buckets trip the brake for all buckets."""
    steps, trips = restrain(flags(50, "a") + flags(51, "b"), Restraints(), BRAKE)
    assert (passed(steps), held(steps)) == (0, 101)
    assert [trip.bucket for trip in trips] == [ALL_BUCKETS]


@pytest.mark.parametrize(
    ("live", "recent", "wanted", "trips"),
    [
        pytest.param(40, 0, 20, False, id="half of the bucket"),
        pytest.param(40, 0, 21, True, id="more than half"),
        pytest.param(41, 0, 20, False, id="less than half of an odd number"),
        pytest.param(41, 0, 21, True, id="more than half of an odd number"),
        pytest.param(20, 0, 19, False, id="nearly all of a small bucket, below twenty"),
        pytest.param(20, 0, 20, True, id="all of a small bucket, twenty"),
        pytest.param(1, 0, 19, False, id="more than there are, below twenty"),
        pytest.param(0, 0, 20, True, id="no live row is left"),
        pytest.param(40, 15, 5, False, id="half, with those of the window"),
        pytest.param(40, 15, 6, True, id="more than half, with those of the window"),
        pytest.param(40, 21, 1, True, id="more than half already"),
    ],
)
def test_more_than_half_of_a_bucket_trips_for_that_bucket(live, recent, wanted, trips):
    """At least twenty flags that are more than half of the bucket's live rows hold that bucket, and no other."""
    known = Restraints(recent={(MISSING, "a"): recent}, live={"a": live, "b": 1_000})
    steps, tripped = restrain(flags(wanted, "a") + flags(30, "b"), known, BRAKE)
    assert [(trip.kind, trip.bucket) for trip in tripped] == ([(MISSING, "a")] if trips else [])
    assert passed(one for one in steps if one.ref.bucket == "a") == (0 if trips else wanted)
    assert passed(one for one in steps if one.ref.bucket == "b") == 30


def test_a_bucket_that_was_not_counted_has_no_half():
    """Before its rows are counted a bucket is measured by the floor alone."""
    steps, trips = restrain(flags(90), Restraints(live={"b": 5}), BRAKE)
    assert (passed(steps), trips) == (90, [])


def test_each_bucket_trips_for_itself():
    """Two emptied buckets are two restraints, each with its numbers."""
    known = Restraints(live={"a": 30, "b": 30, "c": 30})
    _, trips = restrain(flags(20, "a") + flags(20, "b") + flags(20, "c")[:15], known, BRAKE)
    assert trips == [
        Trip(MISSING, "a", "20 of 30 live rows within 0:10:00"),
        Trip(MISSING, "b", "20 of 30 live rows within 0:10:00"),
    ]


def test_a_mass_over_all_buckets_needs_no_trip_of_its_buckets():
    """One restraint for all is enough."""
    _, trips = restrain(flags(101, "a"), Restraints(live={"a": 101}), BRAKE)
    assert [trip.bucket for trip in trips] == [ALL_BUCKETS]


@pytest.mark.invariant(7)
def test_the_whole_batch_that_would_cross_is_held():
    """Not the hundred and first alone: nothing of the batch is flagged, all of it is marked as held."""
    steps, _ = restrain(flags(101), Restraints(), BRAKE)
    assert [change.effect for one in steps for change in one.changes] == [None] * 101
    for one in steps:
        [waiting] = one.changes
        assert (waiting.act, waiting.state, waiting.held_by) == ("held", State.SUSPECTED, "brake")
        assert (waiting.effect, waiting.previous_status) == (None, None)
        assert one.look == HELD_LOOK


@pytest.mark.invariant(7)
@pytest.mark.parametrize(
    ("active", "holds_a", "holds_b"),
    [
        pytest.param({(MISSING, ALL_BUCKETS)}, True, True, id="all buckets"),
        pytest.param({(MISSING, "a")}, True, False, id="that bucket"),
        pytest.param({(ORPHAN, ALL_BUCKETS), (ORPHAN, "a")}, False, False, id="the orphans' brake"),
    ],
)
def test_a_latched_brake_holds_a_single_flag(active, holds_a, holds_b):
    """However few follow, until a person releases it; and it does not trip again."""
    steps, trips = restrain(flags(1, "a") + flags(1, "b"), Restraints(frozenset(active)), BRAKE)
    assert [held([one]) == 1 for one in steps] == [holds_a, holds_b]
    assert trips == []


def test_what_is_covered_does_not_trip_the_others():
    """Flags that a latched bucket holds are no part of the mass of the other buckets."""
    latched = Restraints(frozenset({(MISSING, "a")}))
    steps, trips = restrain(flags(90, "a") + flags(90, "b"), latched, BRAKE)
    assert (passed(steps), held(steps), trips) == (90, 90, [])


def test_what_waits_already_changes_nothing():
    """A look at a held finding keeps it held, without a word in the history, and looks again in an hour."""
    latched = Restraints(frozenset({(MISSING, ALL_BUCKETS)}))
    steps, _ = restrain(flags(3, before=finding(held_by="brake")), latched, BRAKE)
    assert [(one.changes, one.look) for one in steps] == [((), HELD_LOOK)] * 3


def test_what_was_open_stays_open_while_it_is_held():
    """A finding opened while only observing waits for its flag alone."""
    latched = Restraints(frozenset({(MISSING, ALL_BUCKETS)}))
    [one], _ = restrain(flags(1, before=finding(state=State.OPEN)), latched, BRAKE)
    assert [(waiting.act, waiting.state) for waiting in one.changes] == [("held", State.OPEN)]


@pytest.mark.invariant(5)
@pytest.mark.invariant(7)
def test_giving_back_goes_on():
    """Under a latched brake, in a batch that trips, even in the very step that is held."""
    back = change("given back", effect=GiveBack("s", "active"), row_id="s")
    flag = change(effect=Flag("r", "active"))
    resolved = change("resolved", Kind.MISMATCH)
    latched = Restraints(frozenset({(MISSING, ALL_BUCKETS), (ORPHAN, ALL_BUCKETS)}))
    steps = [step("a", 200, back), step("a", 201, flag, back), step("a", 202, resolved)]
    for known, more in ((latched, 0), (Restraints(), 100)):
        after, _ = restrain(flags(more) + steps, known, BRAKE)
        assert after[more:][0] == steps[0]
        assert [waiting.act for waiting in after[more:][1].changes] == ["held", "given back"]
        assert after[more:][1].changes[1].effect == GiveBack("s", "active")
        assert after[more:][2] == steps[2]


@pytest.mark.invariant(7)
def test_what_was_released_passes_and_is_not_counted():
    """A release frees the held ones, does not trip on them, and leaves its full measure to others."""
    freed = flags(500, act="flagged after release")
    steps, trips = restrain(freed + flags(100, "b"), Restraints(), BRAKE)
    assert (passed(steps), trips) == (600, [])
    freed = orphans(500, before=finding(ORPHAN, held_by="released"))
    steps, trips = restrain(freed + orphans(100, "b"), Restraints(), BRAKE)
    assert (passed(steps), trips) == (600, [])
    latched = Restraints(frozenset({(MISSING, ALL_BUCKETS), (ORPHAN, ALL_BUCKETS)}))
    steps, _ = restrain(freed + flags(500, act="flagged after release"), latched, BRAKE)
    assert passed(steps) == 1000


def test_orphans_have_a_brake_of_their_own():
    """A mass of orphans holds orphans, leftovers among them, and flags go on; and the other way round."""
    steps, trips = restrain(orphans(60) + orphans(41, "b", Kind.LEFTOVER) + flags(100), Restraints(), BRAKE)
    assert [(trip.kind, trip.bucket) for trip in trips] == [(ORPHAN, ALL_BUCKETS)]
    assert (held(steps[:101]), passed(steps[101:])) == (101, 100)
    steps, trips = restrain(orphans(100) + flags(101), Restraints(), BRAKE)
    assert [(trip.kind, trip.bucket) for trip in trips] == [(MISSING, ALL_BUCKETS)]
    assert (passed(steps[:100]), held(steps[100:])) == (100, 101)
    steps, trips = restrain(orphans(101) + flags(101), Restraints(), BRAKE)
    assert ({trip.kind for trip in trips}, held(steps)) == ({MISSING, ORPHAN}, 202)


def test_a_bucket_has_no_half_of_orphans():
    """How many rows are live says nothing about how many objects may be orphans."""
    steps, trips = restrain(orphans(100), Restraints(live={"a": 30}), BRAKE)
    assert (passed(steps), trips) == (100, [])


def test_a_held_orphan_stays_suspected():
    """It is not opened, so that no triage can approve it."""
    steps, _ = restrain(orphans(101), Restraints(), BRAKE)
    assert {(waiting.act, waiting.state) for one in steps for waiting in one.changes} == {("held", State.SUSPECTED)}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        pytest.param(change(effect=Flag("r", "active")), MISSING, id="a flag"),
        pytest.param(change("flagged after release", effect=Flag("r", "active")), None, id="a flag after a release"),
        pytest.param(change("given back", effect=GiveBack("r", "active")), None, id="a status given back"),
        pytest.param(change("opened"), None, id="missing, while only observing"),
        pytest.param(change("opened", Kind.MISMATCH), None, id="a mismatch"),
        pytest.param(change("opened", ORPHAN), ORPHAN, id="an orphan that opens"),
        pytest.param(change("opened", Kind.LEFTOVER), ORPHAN, id="a leftover that opens"),
        pytest.param(change("opened", ORPHAN, before=finding(ORPHAN, held_by="released")), None, id="one released"),
        pytest.param(change("suspected", ORPHAN), None, id="an orphan that is suspected"),
        pytest.param(change("resolved", ORPHAN), None, id="an orphan that resolves"),
        pytest.param(change("refused"), None, id="a write that was refused"),
        pytest.param(change("purged", effect=Purge("r")), PURGES, id="a purge"),
        pytest.param(change("purged", effect=Purge("r"), before=RELEASED), None, id="a purge after a release"),
    ],
)
def test_a_brake_counts_new_flags_and_orphans_that_open(one, expected):
    """And nothing else."""
    assert braked(one) == expected


def test_a_batch_is_counted_for_the_brakes_that_it_may_set():
    """What opens unflagged while only observing, or was released, asks for no count of the window."""
    unflagged = [step("a", 1, change("opened")), step("a", 2, change("opened", Kind.MISMATCH))]
    released = [*flags(2, act="flagged after release", before=RELEASED), *orphans(2, before=RELEASED)]
    assert counted([*unflagged, *released]) == {}
    assert counted([*unflagged, *flags(3, "b"), *orphans(2)]) == {(MISSING, "b"): 3, (ORPHAN, "a"): 2}


def test_a_held_key_is_looked_at_when_another_subject_of_it_asks_sooner():
    """The grace of a second row is not made longer by the first row's hold."""
    grace = Look(timedelta(seconds=30), 0, "grace")
    second = change("suspected", row_id="s", before=None)
    one = Step(ObjectRef("a", "k"), (change(effect=Flag("r", "active")), second), grace)
    latched = Restraints(frozenset({(MISSING, ALL_BUCKETS)}))
    assert restrain([one], latched, BRAKE)[0][0].look == grace


counts = st.integers(0, 130)


@pytest.mark.invariant(7)
@given(counts, counts, counts, st.dictionaries(st.sampled_from("ab"), st.integers(0, 300)))
def test_within_the_window_no_more_pass_than_are_believed(recent, in_a, in_b, live):
    """Whatever came before: either the sum stays within the measure, or nothing of the batch passes."""
    known = Restraints(recent={(MISSING, "a"): recent}, live=live)
    steps, trips = restrain(flags(in_a, "a") + flags(in_b, "b"), known, BRAKE)
    count = passed(steps)
    assert count == 0 or recent + count <= most_flags(sum(live.values()), BRAKE)
    assert count + held(steps) == in_a + in_b
    assert bool(trips) == (held(steps) > 0)


UNKNOWN, SEEN, ASKED_LATER = Unknown("HTTP 403"), Present(3, "e"), NotAsked()


@pytest.mark.parametrize(
    ("sides", "silent", "answered"),
    [
        pytest.param([UNKNOWN] * 10, {"a": 10}, set(), id="unknowns are counted"),
        pytest.param([UNKNOWN] * 10 + [SEEN], {}, {"a"}, id="one answer is enough"),
        pytest.param([UNKNOWN] * 10 + [Absent("NoSuchKey")], {}, {"a"}, id="an absence is an answer"),
        pytest.param([UNKNOWN] * 9 + [ASKED_LATER] * 9, {"a": 9}, set(), id="what was not asked is no silence"),
        pytest.param([ASKED_LATER] * 30, {}, set(), id="nothing was asked"),
        pytest.param([NO_NAME] * 30, {}, set(), id="a name that MinIO cannot hold says nothing"),
        pytest.param([SEEN], {}, {"a"}, id="one answer"),
        pytest.param([], {}, set(), id="nothing"),
    ],
)
def test_silence_is_counted_until_a_bucket_answers(sides, silent, answered):
    """Only what was asked counts, and only where nothing of the bucket was answered."""
    objects = {ObjectRef("a", str(n)): side for n, side in enumerate(sides)}
    assert silence(objects) == (silent, answered)


def test_each_bucket_is_silent_for_itself():
    """A silent bucket says nothing about another."""
    objects = {ObjectRef("a", str(n)): UNKNOWN for n in range(20)} | {ObjectRef("b", "k"): SEEN}
    assert silence(objects) == ({"a": 20}, {"b"})


def purges(count) -> list[Step]:
    """Make a step with one purge of a flagged row for each of so many keys."""
    flagged = Finding(1, ObjectRef("a", "k"), "r", MISSING, State.OPEN, 1, NOW, previous_status="active")
    return [step("a", n, change("purged", effect=Purge("r"), before=flagged)) for n in range(count)]


def test_purges_have_a_brake_of_their_own_and_pass_none_of_flags():
    """A mass of them holds no flag; while flags are held nothing is purged; what waits keeps its status."""
    steps, trips = restrain(purges(101) + flags(100, "b"), Restraints(), BRAKE)
    assert (passed(steps), [(trip.kind, trip.bucket) for trip in trips]) == (100, [(PURGES, ALL_BUCKETS)])
    [waiting] = steps[0].changes
    assert (waiting.act, waiting.state, waiting.previous_status) == ("held", State.OPEN, "active")
    assert restrain(flags(5), Restraints(frozenset({(PURGES, ALL_BUCKETS)})), BRAKE) == (flags(5), [])
    steps, trips = restrain(purges(5), Restraints(frozenset({(MISSING, "a")})), BRAKE)
    assert ({one.changes[0].act for one in steps}, trips) == ({"held"}, [])
    half = Restraints(live={"a": 30})
    assert [trip.bucket for trip in restrain(purges(20), half, BRAKE)[1]] == ["a"]


def test_a_purge_that_was_released_from_its_brake_still_meets_that_of_flags():
    """In its bucket, or in all of them; a brake of purges that is on holds it no more."""
    freed = [step("a", n, change("purged", effect=Purge("r"), before=RELEASED)) for n in range(5)]
    for bucket in ("a", ALL_BUCKETS):
        steps, trips = restrain(freed, Restraints(frozenset({(MISSING, bucket)})), BRAKE)
        assert ([one.changes for one in steps], trips) == ([()] * 5, [])
    assert restrain(freed, Restraints(frozenset({(PURGES, "a"), (MISSING, "b")})), BRAKE) == (freed, [])
