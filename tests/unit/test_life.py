"""A finding's life: every pair of state and input, what each step does to the row, and when is looked again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.life import AFTER_OPENING, Input, Subject, backoff, by_hand, grace, step
from reconcile.model import (
    FINAL,
    NOTHING_KNOWN,
    Absent,
    Drift,
    Finding,
    Foreign,
    Kind,
    Known,
    NotAsked,
    ObjectRef,
    Policy,
    Present,
    Row,
    RowState,
    State,
    Unknown,
)
from reconcile.steps import Flag, GiveBack, Look, Step

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
REF = ObjectRef("b", "k")
LIVE, FLAGGED, EXPECTS = RowState.LIVE, RowState.FLAGGED, RowState.EXPECTS_ABSENCE
OBSERVING = Policy()
FLAGGING = Policy(flagging=True)
THERE = Present(3, "e")
OTHER = Present(4, "e")
GONE = Absent("NoSuchKey")
SILENT = Unknown("HTTP 503")


def row(state=LIVE, status="active", row_id="r", created_at=None, s3_version="") -> Row:
    return Row(row_id, "f", "b", "k", s3_version, 3, "e", status, state, None, None, created_at)


def flagged_row(row_id="r") -> Row:
    return row(FLAGGED, "corrupted", row_id)


def finding(state=State.SUSPECTED, kind=Kind.MISSING, age=timedelta(0), row_id="r", **more) -> Finding:
    return Finding(7, REF, row_id, kind, state, 4, NOW - age, **more)


def look_at(side, rows=(), findings=(), policy=OBSERVING, attempt=0, ref=REF) -> Step:
    """Decide what follows from one look."""
    return step(ref, Known(tuple(rows), tuple(findings), 0, attempt), side, NOW, policy)


def told(one: Step) -> list[tuple]:
    """Return each change as (row, act, state)."""
    return [(change.row_id, change.act, change.state) for change in one.changes]


def flagged_by(one: Step) -> int:
    """Return how many rows a step would flag."""
    return sum(isinstance(change.effect, Flag) for change in one.changes)


# ----- the table: every state against every input -----

MISSING_INPUTS = {
    "drift": (row(), GONE, SECOND),
    "ripe": (row(), GONE, DAY),
    "other": (row(), OTHER, DAY),
    "healthy": (row(), THERE, DAY),
    "foreign": (flagged_row(), GONE, DAY),
    "unknown": (row(), SILENT, DAY),
    "not asked": (row(), NotAsked(), DAY),
}
NOTHING = None
TABLE = {
    ("suspected", "drift"): NOTHING,
    ("suspected", "ripe"): ("opened", State.OPEN),
    ("suspected", "other"): ("changed", State.SUSPECTED),
    ("suspected", "healthy"): ("resolved", State.RESOLVED),
    ("suspected", "foreign"): ("flagged by others", State.RESOLVED),
    ("open", "drift"): NOTHING,
    ("open", "ripe"): NOTHING,
    ("open", "other"): ("changed", State.SUSPECTED),
    ("open", "healthy"): ("resolved", State.RESOLVED),
    ("open", "foreign"): ("flagged by others", State.RESOLVED),
    ("ignored", "drift"): NOTHING,
    ("ignored", "ripe"): NOTHING,
    ("ignored", "other"): ("changed", State.SUSPECTED),
    ("ignored", "healthy"): ("resolved", State.RESOLVED),
    ("ignored", "foreign"): ("flagged by others", State.RESOLVED),
    ("approved", "drift"): NOTHING,
    ("approved", "ripe"): NOTHING,
    ("approved", "other"): ("changed", State.SUSPECTED),
    ("approved", "healthy"): ("resolved", State.RESOLVED),
    ("approved", "foreign"): NOTHING,
    **{(state, said): NOTHING for state in ("resolved", "deleted") for said in ("drift", "ripe", "other", "healthy")},
    **{(state, "foreign"): NOTHING for state in ("resolved", "deleted")},
    **{(state, said): NOTHING for state in State for said in ("unknown", "not asked")},
}


OF_OBJECTS = {Input.APPROVE, Input.ERASE, Input.DELETE}
BY_HAND = {
    Input.IGNORE: {State.SUSPECTED: (State.IGNORED, "ignored"), State.OPEN: (State.IGNORED, "ignored")},
    Input.REOPEN: {State.IGNORED: (State.OPEN, "reopened"), State.APPROVED: (State.OPEN, "approval withdrawn")},
    Input.APPROVE: {State.OPEN: (State.APPROVED, "approved")},
    Input.ERASE: {State.APPROVED: (State.APPROVED, "deletion begun")},
    Input.DELETE: {State.APPROVED: (State.DELETED, "deleted")},
    Input.PURGE: {State.OPEN: (State.RESOLVED, "purged")},
    Input.ADOPT: {},
}


@pytest.mark.parametrize("act", BY_HAND)
@pytest.mark.parametrize("state", State)
def test_a_persons_act_does_what_the_table_says(act, state):
    """It changes the state alone: the flag and who holds the finding stay until it closes, and the row stays."""
    kind = Kind.ORPHAN if act in OF_OBJECTS else Kind.MISSING
    before = finding(state, previous_status="active", held_by="brake", kind=kind)
    change = by_hand(Subject("r", row(), before, Drift(kind, "NoSuchKey")), act)
    expected = BY_HAND[act].get(state)
    assert (change and (change.state, change.act)) == expected
    if change is not None:
        kept = (None, None) if change.state in FINAL else ("active", "brake")
        assert ((change.previous_status, change.held_by), change.effect) == (kept, None)


@pytest.mark.invariant(6)
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("state", State)
def test_only_what_no_row_claims_is_approved_and_deleted_and_only_what_is_missing_purged(kind, state):
    """A mismatch has the same life as others, and no act of it ends in a deletion."""
    subject = Subject("r", row(), finding(state, kind=kind), Drift(kind, "differs"))
    allowed = {act for act in (*OF_OBJECTS, Input.PURGE) if by_hand(subject, act)}
    of_object = kind in {Kind.ORPHAN, Kind.LEFTOVER}
    assert allowed <= (OF_OBJECTS if of_object else {Input.PURGE} if kind is Kind.MISSING else set())


@pytest.mark.invariant(6)
@pytest.mark.parametrize(("erasing", "act"), [(True, "deleted"), (False, "resolved")])
def test_an_absence_after_a_deletion_was_begun_is_its_end(erasing, act):
    """Whoever sees it first, after a crash, too; what is deleted keeps a look for another grace."""
    [change], look = told_and_next([], GONE, finding(State.APPROVED, Kind.ORPHAN, row_id="", erasing=erasing))
    assert (change.act, look) == (act, Look(OBSERVING.orphan_grace, 0, "deleted") if erasing else None)
    [change], _ = told_and_next([row()], THERE, finding(State.APPROVED, Kind.ORPHAN, row_id="", erasing=erasing))
    assert change.act == "resolved"


def told_and_next(rows, side, of_object):
    """Return the changes of the object's finding, and the next look."""
    one = look_at(side, rows, [of_object])
    return [change for change in one.changes if change.row_id == ""], one.look


def test_what_was_ignored_before_it_was_flagged_is_suspected_again():
    """Only a finding whose row carries our flag is open at once."""
    before = finding(State.IGNORED)
    change = by_hand(Subject("r", row(), before, Drift(Kind.MISSING, "NoSuchKey")), Input.REOPEN)
    assert change.state is State.SUSPECTED


def test_a_flag_of_others_is_adopted_as_an_open_finding():
    """There is no finding yet; the status to go back to is whoever adopts to say."""
    change = by_hand(Subject("r", flagged_row(), None, Foreign()), Input.ADOPT)
    assert (change.before, change.state, change.kind) == (None, State.OPEN, Kind.MISSING)


def test_the_table_is_total():
    """Every pair of a state and an input is written down here, those that change nothing, too."""
    assert set(TABLE) == {(str(state), said) for state in State for said in MISSING_INPUTS}
    assert len(Input) == len(MISSING_INPUTS) - 2 + len(BY_HAND)


@pytest.mark.parametrize(("state", "said", "expected"), [(*pair, expected) for pair, expected in TABLE.items()])
def test_each_pair_does_what_the_table_says(state, said, expected):
    """A finding of a row takes the one step that its state and the input allow, and nothing else."""
    named, side, age = MISSING_INPUTS[said]
    one = look_at(side, [named], [finding(State(state), age=age)])
    assert told(one) == ([("r", *expected)] if expected else [])
    assert flagged_by(one) == 0


@pytest.mark.parametrize(
    ("rows", "side", "expected"),
    [
        pytest.param([row()], GONE, [("r", "suspected", State.SUSPECTED)], id="missing"),
        pytest.param([row()], OTHER, [("r", "suspected", State.SUSPECTED)], id="mismatch"),
        pytest.param([], THERE, [("", "suspected", State.SUSPECTED)], id="orphan"),
        pytest.param([row(EXPECTS)], THERE, [("", "suspected", State.SUSPECTED)], id="leftover"),
        pytest.param([row()], THERE, [], id="healthy"),
        pytest.param([], GONE, [], id="nothing anywhere"),
        pytest.param([row(EXPECTS)], GONE, [], id="gone as expected"),
        pytest.param([flagged_row()], GONE, [], id="flagged by others"),
        pytest.param([flagged_row()], THERE, [], id="flagged by others, the object is there"),
        pytest.param([row()], SILENT, [], id="unknown"),
        pytest.param([], SILENT, [], id="unknown without rows"),
        pytest.param([row()], NotAsked(), [], id="not asked"),
    ],
)
def test_without_a_finding_only_drift_begins_one(rows, side, expected):
    """A new finding is suspected, visible at once, and flags nothing, whatever the graces."""
    no_grace = replace(FLAGGING, missing_grace=timedelta(0), orphan_grace=timedelta(0))
    for policy in (OBSERVING, FLAGGING, no_grace):
        one = look_at(side, rows, policy=policy)
        assert told(one) == expected
        assert all(change.before is None and change.effect is None for change in one.changes)


def test_the_object_of_a_key_has_a_life_of_its_own():
    """An orphan opens after its grace, becomes suspected again as a leftover, and resolves once a row claims it."""
    orphan = finding(State.SUSPECTED, Kind.ORPHAN, 16 * MINUTE, row_id="")
    assert told(look_at(THERE, [], [orphan])) == [("", "opened", State.OPEN)]
    orphan = replace(orphan, state=State.OPEN)
    assert told(look_at(THERE, [row(EXPECTS)], [orphan])) == [("", "changed", State.SUSPECTED)]
    assert told(look_at(THERE, [row()], [orphan])) == [("", "resolved", State.RESOLVED)]
    assert told(look_at(THERE, [flagged_row()], [orphan])) == [("", "resolved", State.RESOLVED)]
    assert told(look_at(GONE, [], [orphan])) == [("", "resolved", State.RESOLVED)]
    assert told(look_at(SILENT, [], [orphan])) == []


def test_rows_and_object_of_one_key_are_judged_side_by_side():
    """Several rows that name one key each have a finding, in the order of the rows, the object's last."""
    rows = [row(row_id="a"), row(EXPECTS, row_id="b"), row(row_id="c")._replace(size=9)]
    assert told(look_at(GONE, rows)) == [("a", "suspected", State.SUSPECTED), ("c", "suspected", State.SUSPECTED)]
    one = look_at(THERE, rows, [finding(State.OPEN, Kind.ORPHAN, DAY, "")])
    assert told(one) == [("c", "suspected", State.SUSPECTED), ("", "resolved", State.RESOLVED)]


def test_a_version_is_judged_for_its_rows_alone():
    """At a version's reference there is no orphan, and rows of other versions do not count."""
    version = ObjectRef("b", "k", "v1")
    assert look_at(THERE, ref=version) == Step(version, side=THERE)
    assert told(look_at(GONE, [row(s3_version="v1"), row(row_id="other")], ref=version)) == [
        ("r", "suspected", State.SUSPECTED)
    ]


def test_a_version_whose_row_expects_absence_is_a_leftover():
    """A version's object is there although its own row says it should be gone."""
    one = look_at(THERE, [row(EXPECTS, s3_version="v1")], ref=ObjectRef("b", "k", "v1"))
    assert [change.kind for change in one.changes] == [Kind.LEFTOVER]


def test_a_change_keeps_what_was_seen():
    """A change names the kind and the cause of the verdict, its row, and its finding as it was."""
    before = finding(State.SUSPECTED, age=DAY, cause="old", held_by=None)
    [change] = look_at(GONE, [row()], [before]).changes
    assert (change.before, change.row, change.kind, change.cause) == (before, row(), Kind.MISSING, "NoSuchKey")
    [change] = look_at(OTHER, [row()], [before]).changes
    assert (change.kind, change.cause) == (Kind.MISMATCH, "size: row 3, object 4")
    [change] = look_at(THERE, [row()], [before]).changes
    assert (change.kind, change.cause, change.why) == (Kind.MISSING, "old", "the object is there and agrees")


# ----- graces -----


@pytest.mark.invariant(4)
@pytest.mark.parametrize(
    ("kind", "rows", "side", "patience"),
    [
        (Kind.MISSING, [row()], GONE, timedelta(seconds=30)),
        (Kind.MISMATCH, [row()], OTHER, timedelta(seconds=30)),
        (Kind.ORPHAN, [], THERE, timedelta(minutes=15)),
        (Kind.LEFTOVER, [row(EXPECTS)], THERE, timedelta(minutes=15)),
    ],
)
def test_a_finding_opens_at_the_end_of_its_grace_and_not_before(kind, rows, side, patience):
    """A moment before the end it waits for the rest of it; at the end it opens."""
    row_id = "" if kind in {Kind.ORPHAN, Kind.LEFTOVER} else "r"
    early = look_at(side, rows, [finding(State.SUSPECTED, kind, patience - SECOND, row_id)])
    assert told(early) == []
    assert early.look == Look(SECOND, 0, "grace")
    assert told(look_at(side, rows, [finding(State.SUSPECTED, kind, patience, row_id)])) == [
        (row_id, "opened", State.OPEN)
    ]


@pytest.mark.parametrize(
    ("age", "young_age", "expected"),
    [
        pytest.param(MINUTE, timedelta(0), timedelta(seconds=30), id="nothing is young out of the box"),
        pytest.param(MINUTE, 2 * MINUTE, timedelta(minutes=5), id="younger than the age"),
        pytest.param(2 * MINUTE, 2 * MINUTE, timedelta(seconds=30), id="as old as the age"),
        pytest.param(-MINUTE, 2 * MINUTE, timedelta(minutes=5), id="created in the future, by another clock"),
        pytest.param(None, 2 * MINUTE, timedelta(seconds=30), id="no time of creation"),
    ],
)
def test_a_young_row_has_the_longer_grace(age, young_age, expected):
    """A row younger than `young_age` is given the young grace, for missing and mismatch alike."""
    policy = replace(OBSERVING, young_age=young_age)
    young = row(created_at=None if age is None else NOW - age)
    assert grace(Kind.MISSING, young, NOW, policy) == expected
    assert grace(Kind.MISMATCH, young, NOW, policy) == expected
    assert grace(Kind.ORPHAN, young, NOW, policy) == policy.orphan_grace
    assert grace(Kind.MISSING, None, NOW, policy) == policy.missing_grace
    assert look_at(GONE, [young], policy=policy).look == Look(expected, 0, "grace")


def test_the_young_grace_is_never_the_shorter_one():
    """A missing grace that was made longer holds for young rows, too."""
    policy = replace(OBSERVING, young_age=DAY, missing_grace=timedelta(hours=1))
    assert grace(Kind.MISSING, row(created_at=NOW), NOW, policy) == timedelta(hours=1)


def test_another_kind_of_drift_begins_a_new_grace():
    """What is suspected of something else waits its whole grace again."""
    one = look_at(OTHER, [row()], [finding(State.OPEN, Kind.MISSING, DAY)])
    assert one.look == Look(timedelta(seconds=30), 0, "grace")


def test_without_a_grace_both_sides_are_looked_at_twice_all_the_same():
    """A grace of nothing makes the second look due at once; only that one opens."""
    policy = replace(FLAGGING, missing_grace=timedelta(0))
    first = look_at(GONE, [row()], policy=policy)
    assert told(first) == [("r", "suspected", State.SUSPECTED)]
    assert first.look == Look(timedelta(0), 0, "grace")
    assert told(look_at(GONE, [row()], [finding()], policy)) == [("r", "flagged", State.OPEN)]


# ----- flags -----


@pytest.mark.parametrize(
    ("policy", "named", "flags"),
    [
        pytest.param(FLAGGING, row(), True, id="flagging, live, with a status"),
        pytest.param(FLAGGING, row(status=""), True, id="the status is empty, or NULL"),
        pytest.param(OBSERVING, row(), False, id="observing"),
        pytest.param(FLAGGING, row(status=None), False, id="no status mapped"),
        pytest.param(replace(FLAGGING, flag=None), row(), False, id="no flag configured"),
    ],
)
def test_a_flag_is_set_when_a_finding_opens(policy, named, flags):
    """Only what is configured to flag does, and only live rows with a mapped status; all of them open."""
    [change] = look_at(GONE, [named], [finding(age=DAY)], policy).changes
    assert change.state is State.OPEN
    assert change.act == ("flagged" if flags else "opened")
    assert change.effect == (Flag("r", named.status) if flags else None)
    assert change.previous_status == (named.status if flags else None)


@pytest.mark.parametrize("state", State)
def test_nothing_is_flagged_in_any_state_but_open(state):
    """A row is flagged by the step to open, or while it is open, never before, never behind an act of a person."""
    one = look_at(GONE, [row()], [finding(state, age=DAY)], FLAGGING)
    assert flagged_by(one) == (state in {State.SUSPECTED, State.OPEN})
    assert flagged_by(look_at(GONE, [row()], [finding(state, age=SECOND)], FLAGGING)) == (state is State.OPEN)


@pytest.mark.parametrize("kind", [Kind.MISMATCH, Kind.ORPHAN, Kind.LEFTOVER])
def test_only_what_is_missing_is_flagged(kind):
    """A mismatch, an orphan, a leftover are reported; no row's status changes."""
    rows = {Kind.MISMATCH: [row()], Kind.ORPHAN: [], Kind.LEFTOVER: [row(EXPECTS)]}[kind]
    side = OTHER if kind is Kind.MISMATCH else THERE
    row_id = "r" if kind is Kind.MISMATCH else ""
    for state in (State.SUSPECTED, State.OPEN):
        assert flagged_by(look_at(side, rows, [finding(state, kind, DAY, row_id)], FLAGGING)) == 0


def test_what_was_opened_while_observing_is_flagged_at_the_next_look_after_flagging_is_turned_on():
    """The finding stays open and only the flag is added, with the status to give back."""
    opened = finding(State.OPEN, age=DAY)
    assert told(look_at(GONE, [row()], [opened])) == []
    [change] = look_at(GONE, [row()], [opened], FLAGGING).changes
    assert (change.act, change.state, change.before) == ("flagged", State.OPEN, opened)
    assert (change.previous_status, change.effect) == ("active", Flag("r", "active"))
    assert change.cause == "NoSuchKey"


def test_a_row_whose_flag_the_application_took_off_is_not_flagged_again():
    """The application's word stands as long as the finding is open."""
    ours = finding(State.OPEN, age=DAY, previous_status="active")
    one = look_at(GONE, [row(status="restored")], [ours], FLAGGING)
    assert one.changes == ()
    assert one.look is not None


def test_the_flag_of_an_opened_finding_waits_for_a_proven_absence():
    """Unknown and healthy looks at an open finding flag nothing."""
    opened = finding(State.OPEN, age=DAY)
    assert flagged_by(look_at(SILENT, [row()], [opened], FLAGGING)) == 0
    assert flagged_by(look_at(THERE, [row()], [opened], FLAGGING)) == 0
    mismatched = replace(opened, kind=Kind.MISMATCH)
    assert flagged_by(look_at(GONE, [row()], [mismatched], FLAGGING)) == 0


def test_what_a_brake_held_and_a_person_released_is_flagged_under_another_name():
    """The act tells a flag after a release apart, and the hold is over."""
    held = finding(State.SUSPECTED, age=DAY, held_by="released")
    [change] = look_at(GONE, [row()], [held], FLAGGING).changes
    assert (change.act, change.held_by) == ("flagged after release", None)
    [change] = look_at(GONE, [row()], [replace(held, state=State.OPEN)], FLAGGING).changes
    assert (change.act, change.held_by) == ("flagged after release", None)
    [change] = look_at(GONE, [row()], [replace(held, held_by="brake")], FLAGGING).changes
    assert (change.act, change.held_by) == ("flagged", None)


def test_what_holds_a_finding_ends_with_it():
    """A hold is kept through changes and forgotten when the finding resolves."""
    held = finding(State.SUSPECTED, age=DAY, held_by="brake")
    [change] = look_at(OTHER, [row()], [held], FLAGGING).changes
    assert (change.act, change.held_by) == ("changed", "brake")
    [change] = look_at(THERE, [row()], [held], FLAGGING).changes
    assert (change.act, change.held_by) == ("resolved", None)


# ----- giving back -----

OURS = finding(State.OPEN, age=DAY, previous_status="active")


@pytest.mark.invariant(5)
@pytest.mark.parametrize("policy", [OBSERVING, FLAGGING])
@pytest.mark.parametrize("state", [State.OPEN, State.IGNORED])
def test_the_status_is_given_back_when_the_object_returns(policy, state):
    """Also while only observing, and also for a finding that a person ignored."""
    [change] = look_at(THERE, [flagged_row()], [replace(OURS, state=state)], policy).changes
    assert (change.act, change.state) == ("given back", State.RESOLVED)
    assert (change.effect, change.previous_status) == (GiveBack("r", "active"), None)


@pytest.mark.invariant(5)
def test_an_empty_status_is_given_back_like_any_other():
    """A status that was empty, or NULL, is a former status, too."""
    [change] = look_at(THERE, [flagged_row()], [replace(OURS, previous_status="")], FLAGGING).changes
    assert change.effect == GiveBack("r", "")


@pytest.mark.invariant(5)
@pytest.mark.parametrize("side", [THERE, OTHER, GONE])
def test_the_status_is_given_back_when_the_row_no_longer_claims_the_object(side):
    """A row that expects absence does not keep our flag, whatever the object does."""
    change = look_at(side, [row(EXPECTS, "corrupted")], [OURS], FLAGGING).changes[0]
    assert (change.row_id, change.act, change.effect) == ("r", "given back", GiveBack("r", "active"))


@pytest.mark.invariant(5)
@pytest.mark.parametrize("side", [THERE, GONE, SILENT, NotAsked()])
def test_a_row_that_is_gone_from_the_key_is_given_back_by_its_id(side):
    """Wherever its key is now: the object of the old key has no say."""
    change = look_at(side, [], [OURS], FLAGGING).changes[0]
    assert (change.row_id, change.row, change.act, change.effect) == ("r", None, "given back", GiveBack("r", "active"))


def test_a_finding_whose_row_is_gone_resolves():
    """Nothing is given back where nothing was flagged."""
    for state in (State.SUSPECTED, State.OPEN, State.IGNORED, State.APPROVED):
        assert told(look_at(GONE, [], [finding(state)], FLAGGING)) == [("r", "resolved", State.RESOLVED)]


def test_a_flagged_row_whose_object_returns_different_stays_flagged():
    """Missing becomes mismatch without a new grace, and back; the status to give back is kept."""
    one = look_at(OTHER, [flagged_row()], [OURS], FLAGGING)
    [change] = one.changes
    assert (change.act, change.state, change.kind) == ("changed", State.OPEN, Kind.MISMATCH)
    assert (change.effect, change.previous_status) == (None, "active")
    mismatched = replace(OURS, kind=Kind.MISMATCH)
    [change] = look_at(GONE, [flagged_row()], [mismatched], FLAGGING).changes
    assert (change.state, change.kind, change.effect, change.previous_status) == (
        State.OPEN,
        Kind.MISSING,
        None,
        "active",
    )
    [change] = look_at(THERE, [flagged_row()], [mismatched], FLAGGING).changes
    assert change.act == "given back"


def test_a_flagged_row_whose_object_is_unknown_stays_as_it_is():
    """Neither the flag nor the finding moves without an answer."""
    for side in (SILENT, NotAsked()):
        assert look_at(side, [flagged_row()], [OURS], FLAGGING).changes == ()
    assert look_at(GONE, [flagged_row()], [OURS], FLAGGING).changes == ()


# ----- the next look -----


def test_a_healthy_key_needs_no_look():
    """Where nothing is wrong nothing is planned, and so a pending look ends."""
    for rows, findings in (([row()], []), ([row()], [finding()]), ([flagged_row()], [OURS]), ([flagged_row()], [])):
        assert look_at(THERE, rows, findings, FLAGGING).look is None
    assert look_at(GONE).look is None


@pytest.mark.invariant(1)
@pytest.mark.parametrize(
    ("attempt", "seconds"), [(0, 5), (1, 10), (2, 20), (10, 5120), (14, 81920), (15, 86400), (24, 86400), (900, 86400)]
)
def test_what_is_unknown_is_looked_at_again_ever_more_rarely(attempt, seconds):
    """The wait doubles from five seconds to a day, for what has no row, too."""
    for rows in ([row()], []):
        assert look_at(SILENT, rows, attempt=attempt).look == Look(timedelta(seconds=seconds), attempt + 1, "HTTP 503")


def test_what_was_not_asked_is_due_at_once_and_costs_no_back_off():
    """A question that was never sent says nothing about the server."""
    assert look_at(NotAsked(), [row()], attempt=5).look == Look(timedelta(0), 5, "not asked")


@pytest.mark.parametrize(("attempt", "minutes"), [(0, 1), (1, 2), (5, 32), (10, 1024), (11, 1440), (500, 1440)])
@pytest.mark.parametrize("state", [State.OPEN, State.APPROVED])
def test_what_is_known_is_looked_at_ever_more_rarely(state, attempt, minutes):
    """An open finding and an approved one keep a look: from a minute to a day."""
    one = look_at(GONE, [row()], [finding(state, age=DAY)], attempt=attempt)
    assert one.look == Look(timedelta(minutes=minutes), attempt + 1, str(state))


def test_what_is_ignored_is_looked_at_once_a_day():
    """There may be a great many, and nobody waits for them."""
    one = look_at(GONE, [row()], [finding(State.IGNORED, age=DAY)], attempt=3)
    assert one.look == Look(DAY, 3, "ignored")


@pytest.mark.parametrize("policy", [OBSERVING, FLAGGING])
def test_opening_begins_the_back_off_anew(policy):
    """However often it was looked at before: a minute after it opened both sides are looked at again."""
    one = look_at(GONE, [row()], [finding(age=DAY)], policy, attempt=9)
    assert one.look == Look(MINUTE, 1, "open")
    late = look_at(GONE, [row()], [finding(State.OPEN, age=DAY)], FLAGGING, attempt=9)
    assert late.look == Look(MINUTE, 1, "open")


def test_the_soonest_of_several_looks_counts():
    """A key is looked at again when the first of its subjects asks for it."""
    rows = [row(row_id="a"), row(row_id="b")]
    findings = [finding(State.OPEN, age=DAY, row_id="a"), finding(State.SUSPECTED, age=20 * SECOND, row_id="b")]
    assert look_at(GONE, rows, findings, attempt=8).look == Look(10 * SECOND, 0, "grace")


def test_the_back_off_is_capped_by_the_policy():
    """The longest wait is configuration."""
    policy = replace(OBSERVING, look_again_most=timedelta(seconds=7))
    assert backoff(policy.look_again, 0, policy) == timedelta(seconds=5)
    assert backoff(policy.look_again, 1, policy) == timedelta(seconds=7)
    assert backoff(AFTER_OPENING, 0, policy) == timedelta(seconds=7)


# ----- any input -----

STATUS = {LIVE: "active", FLAGGED: "corrupted", EXPECTS: "deleted"}
row_states = st.sampled_from(RowState)
row_ids = st.sampled_from("abc")
rows_by_id = st.dictionaries(row_ids, row_states, max_size=3)
open_states = st.sampled_from([State.SUSPECTED, State.OPEN, State.IGNORED, State.APPROVED])
ages = st.sampled_from([timedelta(0), SECOND, timedelta(seconds=30), 15 * MINUTE, DAY])
flags_kept = st.sampled_from([None, "active", ""])
holds = st.sampled_from([None, "brake", "released", "refused"])
row_kinds = st.sampled_from([Kind.MISSING, Kind.MISMATCH])
row_findings = st.builds(
    finding, open_states, row_kinds, ages, row_ids, previous_status=flags_kept, held_by=holds
).filter(lambda one: one.state is not State.SUSPECTED or one.previous_status is None)
object_findings = st.builds(finding, open_states, st.sampled_from([Kind.ORPHAN, Kind.LEFTOVER]), ages, st.just(""))
known_findings = st.lists(st.one_of(row_findings, object_findings), unique_by=lambda one: one.row_id, max_size=4)
all_sides = st.sampled_from([THERE, OTHER, GONE, Absent("NoSuchKey", "v9"), SILENT, NotAsked()])
policies = st.sampled_from(
    [OBSERVING, FLAGGING, replace(FLAGGING, missing_grace=timedelta(0), orphan_grace=timedelta(0))]
)
whole = (rows_by_id, known_findings, all_sides, policies, st.integers(0, 30))


def anything(states, findings, side, policy, attempt) -> tuple[Step, dict[str, Finding]]:
    """Take the step of any known state, and return it with the findings as it leaves them."""
    rows = [row(state, STATUS[state], row_id) for row_id, state in sorted(states.items())]
    one = look_at(side, rows, findings, policy, attempt)
    return one, {one.row_id: one for one in findings}


@given(*whole)
def test_every_finding_that_is_not_final_has_a_look(states, findings, side, policy, attempt):
    """Healing never depends on an event; and where nothing is left open, only the unproven is looked at again."""
    one, kept = anything(states, findings, side, policy, attempt)
    after = {row_id: before.state for row_id, before in kept.items()}
    after |= {change.row_id: change.state for change in one.changes}
    pending = any(state not in FINAL for state in after.values())
    if pending:
        assert one.look is not None
        assert timedelta(0) <= one.look.after <= DAY
    elif not isinstance(side, Unknown | NotAsked):
        assert one.look is None


@pytest.mark.invariant(1)
@given(*whole)
def test_a_flag_needs_a_proven_absence_a_live_row_and_an_open_finding(states, findings, side, policy, attempt):
    """Whatever is known besides."""
    one, kept = anything(states, findings, side, policy, attempt)
    for change in one.changes:
        if isinstance(change.effect, Flag):
            assert policy.flagging
            assert isinstance(side, Absent)
            assert states[change.row_id] is LIVE
            assert change.state is State.OPEN
            assert change.previous_status == change.effect.status == "active"
            assert kept[change.row_id].previous_status is None


@pytest.mark.invariant(5)
@given(*whole)
def test_a_flag_of_ours_is_kept_in_the_finding_until_it_is_given_back(states, findings, side, policy, attempt):
    """No step forgets the status to give back, but the one that gives it back; none resolves over a flag."""
    one, kept = anything(states, findings, side, policy, attempt)
    for change in one.changes:
        before = kept.get(change.row_id)
        if before is not None and before.previous_status is not None:
            if change.state in FINAL:
                assert change.effect == GiveBack(change.row_id, before.previous_status)
            else:
                assert change.effect is None
                assert change.previous_status == before.previous_status
        assert change.state is not State.SUSPECTED or change.previous_status is None


@pytest.mark.invariant(1)
@given(rows_by_id, known_findings, st.sampled_from([SILENT, NotAsked()]), policies, st.integers(0, 30))
def test_an_unproven_side_moves_no_finding_of_a_row_that_is_there(states, findings, side, policy, attempt):
    """But those of rows that are gone, or that others have flagged, for which the object has no say."""
    one, kept = anything(states, findings, side, policy, attempt)
    for change in one.changes:
        others = states.get(change.row_id) is FLAGGED and kept[change.row_id].previous_status is None
        assert change.row_id not in states or others
        assert change.row_id != ""
    if not kept and not states:
        assert one.look is not None


@given(*whole)
def test_a_step_changes_each_finding_at_most_once(states, findings, side, policy, attempt):
    """One statement keeps all changes of a batch, so none may come twice."""
    one, kept = anything(states, findings, side, policy, attempt)
    named = [change.row_id for change in one.changes]
    assert len(named) == len(set(named))
    assert all(change.before == kept.get(change.row_id) for change in one.changes)


def test_nothing_known_and_nothing_there_is_nothing():
    """The commonest look of all writes nothing."""
    assert step(REF, NOTHING_KNOWN, GONE, NOW, FLAGGING) == Step(REF, side=GONE)
