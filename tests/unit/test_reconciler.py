"""What is pure between the decision and the ledger: who is believed to explain what, and what is told of it."""

from datetime import UTC, datetime, timedelta

import pytest

from reconcile.model import (
    Absent,
    Action,
    Hint,
    Kind,
    Known,
    NotAsked,
    ObjectRef,
    Policy,
    Present,
    Row,
    RowState,
    State,
    Told,
    Unknown,
)
from reconcile.reconciler import overtaken, refused
from reconcile.steps import Change, Flag, GiveBack, Look, Step, Tally
from reconcile.testimony import explains, named_by, side_facts
from reconcile.testimony import testimony as told_of

REF = ObjectRef("b", "k")
NOW = datetime(2025, 6, 1, tzinfo=UTC)
LOOK = Look(timedelta(seconds=30), 0, "grace")
ROW = Row("r", None, "b", "k", "", 3, None, "active", RowState.LIVE, None, None, None)


def change(act="flagged", effect=None, before=None) -> Change:
    return Change(before, "r", ROW, Kind.MISSING, "NoSuchKey", State.OPEN, act, effect=effect)


@pytest.mark.parametrize(
    ("action", "kinds"),
    [
        (Action.REMOVED, {Kind.MISSING}),
        (Action.CREATED, {Kind.ORPHAN, Kind.LEFTOVER, Kind.MISMATCH}),
        (Action.LOOK, set()),
    ],
)
def test_an_event_explains_what_it_can_have_caused(action, kinds):
    """A removal explains a missing object, a creation whatever is there and should not be, a look nothing."""
    assert {kind for kind in Kind if explains(Hint(REF, action), kind)} == kinds


CREATED, REMOVED = (
    {"event": f"s3:Object{what}", "principal": "bob", "named_by": "event"} for what in ("Created:Put", "Removed:Delete")
)


@pytest.mark.parametrize(
    ("facts", "side", "who"),
    [
        (REMOVED, Absent("NoSuchKey"), "bob"),
        (CREATED, Absent("NoSuchKey"), None),
        (CREATED, Present(3, "e"), "bob"),
        (REMOVED, Present(3, "e"), None),
        (CREATED, Unknown("HTTP 503"), "bob"),
    ],
)
@pytest.mark.parametrize("stored", [True, False])
def test_nobody_is_named_for_what_he_did_not_do(facts, side, who, stored):
    """An uploader deleted nothing, whether the event itself or a look that it left behind names him."""
    action = Action.CREATED if facts is CREATED else Action.REMOVED
    hint = Hint(REF, evidence=Told(facts)) if stored else Hint(REF, action, "event", evidence=Told(facts))
    told = told_of(hint, side)
    assert told.get("principal") == who
    assert told.get("named_by") == "event" or (not stored and who is None)


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (None, "look"),
        (Hint(REF), "look"),
        (Hint(REF, named_by="event"), "event"),
        (Hint(REF, evidence=Told({"named_by": "express"})), "express"),
        (Hint(REF, named_by="sweep", evidence=Told({"named_by": "express"})), "sweep"),
    ],
)
def test_a_stored_look_is_named_by_whoever_asked_for_it(hint, expected):
    """Any other hint is named by its source."""
    assert named_by(hint) == expected


@pytest.mark.parametrize(
    ("side", "seen"),
    [
        (Present(3, "e", "v1", NOW), {"seen": "present", "size": 3, "etag": "e", "s3_version": "v1", "modified": NOW}),
        (Absent("NoSuchKey", "v9"), {"seen": "absent", "code": "NoSuchKey", "delete_marker": "v9"}),
        (Unknown("HTTP 403"), {"seen": "unknown", "reason": "HTTP 403"}),
        (NotAsked(), {"seen": "not asked"}),
    ],
)
def test_what_head_said_is_kept_as_plain_values(side, seen):
    """Each answer is told apart, with all that it said."""
    assert side_facts(side) == seen


@pytest.mark.parametrize(
    ("step", "after", "expected"),
    [
        pytest.param(Step(REF, (change(),), LOOK), Known(), False, id="nothing moved"),
        pytest.param(Step(REF, (change(),)), Known((ROW,)), True, id="a row came, and something would be written"),
        pytest.param(Step(REF, (), LOOK), Known((ROW,)), True, id="a row came, and a look would be planned"),
        pytest.param(Step(REF), Known((ROW,)), False, id="a row came, and nothing follows"),
        pytest.param(Step(REF, (change(),), LOOK), Known(asks=3, attempt=2), False, id="somebody asked meanwhile"),
    ],
)
def test_a_look_is_overtaken_by_rows_and_findings_alone(step, after, expected):
    """Only where something would be written can the HEAD be too old for it."""
    assert overtaken(step, Known(), after) is expected


def test_a_refusal_takes_the_place_of_what_would_have_been_written():
    """Changes that write no row are as they were; the look comes back ever more rarely."""
    suspected = change("suspected")
    step = refused(Step(REF, (change(effect=Flag("r", "active")), suspected), LOOK), "no", 3, Policy())
    assert [(one.act, one.effect, one.why) for one in step.changes] == [
        ("refused", None, "no"),
        ("suspected", None, ""),
    ]
    assert step.look == Look(timedelta(minutes=8), 4, "refused")
    given = refused(Step(REF, (change("given back", GiveBack("r", "active")),)), "no", 0, Policy())
    assert [(one.act, one.held_by) for one in given.changes] == [("refused", "refused")]


def test_tallies_add_up():
    """Number by number, act by act; of what is held the latest counts."""
    one = Tally(1, 2, 3, 4, 5, 6, {"opened": 1, "flagged": 2})
    another = Tally(10, 20, 30, 40, 50, 60, {"flagged": 3})
    assert one + another == Tally(11, 22, 30, 44, 55, 66, {"opened": 1, "flagged": 5})
    assert sum([one], Tally()) == one
