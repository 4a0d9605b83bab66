"""The verdict table of docs/design.md, cell by cell, and what must hold of it for any input."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.model import (
    Absent,
    Action,
    Drift,
    Finding,
    Foreign,
    Healthy,
    Hint,
    Kind,
    Known,
    NotAsked,
    ObjectRef,
    Present,
    Row,
    RowState,
    State,
    Undecided,
    Unknown,
)
from reconcile.verdict import claims, difference, judge_object, judge_row, rows_of, settled

REF = ObjectRef("b", "k")
LIVE, FLAGGED, EXPECTS = RowState.LIVE, RowState.FLAGGED, RowState.EXPECTS_ABSENCE
SIDES = {
    "same": Present(3, "e"),
    "differs": Present(4, "f"),
    "absent": Absent("NoSuchKey"),
    "marker": Absent("NoSuchKey", "v9"),
    "unknown": Unknown("HTTP 403"),
    "not asked": NotAsked(),
}


def row(state=LIVE, row_id="r", s3_version="", size=3, etag="e") -> Row:
    status = {LIVE: "active", FLAGGED: "corrupted", EXPECTS: "deleted"}[state]
    return Row(row_id, "f", "b", "k", s3_version, size, etag, status, state, None, None, None)


def finding(previous_status=None, row_id="r") -> Finding:
    return Finding(
        1, REF, row_id, Kind.MISSING, State.OPEN, 1, datetime(2025, 1, 1, tzinfo=UTC), previous_status=previous_status
    )


def meaning(verdict) -> str:
    """Name a verdict in a word."""
    match verdict:
        case Healthy():
            return "healthy"
        case Drift(kind):
            return str(kind)
        case Foreign():
            return "foreign"
        case Undecided(_, asked):
            return "again" if asked else "later"


FINDINGS = {"none": None, "observed": finding(), "flagged": finding("active")}

# What each row is judged as: its state, our finding of it, and the object's side.
ROW_TABLE = """
                   same     differs   absent   marker   unknown  not_asked
live     none      healthy  mismatch  missing  missing  again    later
live     observed  healthy  mismatch  missing  missing  again    later
live     flagged   healthy  mismatch  missing  missing  again    later
flagged  none      foreign  foreign   foreign  foreign  foreign  foreign
flagged  observed  foreign  foreign   foreign  foreign  foreign  foreign
flagged  flagged   healthy  mismatch  missing  missing  again    later
expects  none      healthy  healthy   healthy  healthy  again    later
expects  observed  healthy  healthy   healthy  healthy  again    later
expects  flagged   healthy  healthy   healthy  healthy  again    later
"""

# What the object is judged as, by the states of all rows of its key.
OBJECT_TABLE = """
                         same      differs   absent   marker   unknown  not_asked
none                     orphan    orphan    healthy  healthy  again    later
live                     healthy   healthy   healthy  healthy  again    later
flagged                  healthy   healthy   healthy  healthy  again    later
expects                  leftover  leftover  healthy  healthy  again    later
live+live                healthy   healthy   healthy  healthy  again    later
live+expects             healthy   healthy   healthy  healthy  again    later
flagged+expects          healthy   healthy   healthy  healthy  again    later
live+flagged             healthy   healthy   healthy  healthy  again    later
expects+expects          leftover  leftover  healthy  healthy  again    later
"""
STATES = {"live": LIVE, "flagged": FLAGGED, "expects": EXPECTS}


def cells(table: str, columns: int) -> list:
    """Return each cell of a written table as (its labels, the side, what is expected), named by labels and side."""
    head, *lines = [line.split() for line in table.strip().splitlines()]
    return [
        pytest.param(*line[:columns], side.replace("_", " "), word, id="-".join([*line[:columns], side]))
        for line in lines
        for side, word in zip(head, line[columns:], strict=True)
    ]


@pytest.mark.parametrize(("state", "ours", "side", "expected"), cells(ROW_TABLE, 2))
def test_the_rows_verdict_is_the_tables(state, ours, side, expected):
    """Each row is judged as the table of the design says, with and without a finding of ours."""
    assert meaning(judge_row(row(STATES[state]), FINDINGS[ours], SIDES[side])) == expected


@pytest.mark.parametrize(("states", "side", "expected"), cells(OBJECT_TABLE, 1))
def test_the_objects_verdict_is_the_tables(states, side, expected):
    """The object is judged against all rows of its key: any live or flagged one claims it."""
    named = [] if states == "none" else [row(STATES[state], str(n)) for n, state in enumerate(states.split("+"))]
    assert meaning(judge_object(named, SIDES[side])) == expected
    assert meaning(judge_object(named[::-1], SIDES[side])) == expected


def test_a_delete_marker_makes_a_missing_object_recoverable():
    """The cause names the marker, which is the evidence that the object can come back."""
    assert judge_row(row(), None, SIDES["marker"]) == Drift(Kind.MISSING, "hidden by delete marker v9: recoverable")
    assert judge_row(row(), None, SIDES["absent"]) == Drift(Kind.MISSING, "NoSuchKey")


def test_what_is_undecided_says_why():
    """The reason of an unknown answer is kept."""
    assert judge_row(row(), None, Unknown("HTTP 503")) == Undecided("HTTP 503")
    assert judge_object([], Unknown("HTTP 503")) == Undecided("HTTP 503")


def test_a_leftover_names_the_row_that_expects_absence():
    """The reason of a leftover is its row."""
    assert judge_object([row(EXPECTS)], SIDES["same"]) == Drift(Kind.LEFTOVER, "row r expects absence (status deleted)")


@pytest.mark.parametrize(
    ("size", "etag", "expected"),
    [
        pytest.param(3, "e", "", id="both agree"),
        pytest.param(None, "e", "", id="size not mapped"),
        pytest.param(3, None, "", id="etag not mapped"),
        pytest.param(None, None, "", id="nothing mapped"),
        pytest.param(0, "e", "size: row 0, object 3", id="an empty row is not an unmapped one"),
        pytest.param(4, "e", "size: row 4, object 3", id="size differs"),
        pytest.param(3, "f", "etag: row f, object e", id="etag differs"),
        pytest.param(None, "f", "etag: row f, object e", id="etag differs alone"),
        pytest.param(4, "f", "size: row 4, object 3", id="both differ"),
    ],
)
def test_what_differs_is_named(size, etag, expected):
    """Only what is mapped can differ, and the difference is told in numbers."""
    assert difference(row(size=size, etag=etag), Present(3, "e")) == expected


@pytest.mark.parametrize(
    ("of_row", "of_object", "expected"),
    [
        pytest.param("", None, True, id="no version claims the latest of an unversioned bucket"),
        pytest.param("", "v2", True, id="no version claims the latest, whatever its version"),
        pytest.param("v2", "v2", True, id="its own version"),
        pytest.param("v1", "v2", False, id="another version"),
        pytest.param("null", None, True, id="the null version where there are no versions"),
        pytest.param("null", "null", True, id="the null version where versioning is suspended"),
        pytest.param("v1", None, False, id="a version where there are none"),
    ],
)
def test_a_row_claims_its_own_version(of_row, of_object, expected):
    """A row without a version claims the latest object, one with a version that version alone."""
    present = Present(3, "e", of_object)
    assert claims(row(s3_version=of_row), present) is expected
    assert claims(row(FLAGGED, s3_version=of_row), present) is expected
    assert not claims(row(EXPECTS, s3_version=of_row), present)
    assert meaning(judge_object([row(s3_version=of_row)], present)) == ("healthy" if expected else "orphan")


def test_a_leftover_is_the_version_that_its_row_speaks_of():
    """An object in a version that no row names is an orphan, though an older version of it should be gone."""
    assert meaning(judge_object([row(EXPECTS, s3_version="v1")], Present(3, "e", "v2"))) == "orphan"


@pytest.mark.parametrize(("version", "seen"), [("v2", "v2"), ("null", None), ("null", "null")])
def test_a_leftover_in_its_own_version_is_told_at_that_versions_reference(version, seen):
    """At the latest it is neither an orphan nor a leftover: another reference speaks for it."""
    rows, present = [row(EXPECTS, s3_version=version)], Present(3, "e", seen)
    assert meaning(judge_object(rows, present)) == "healthy"
    assert meaning(judge_object(rows, present, version)) == "leftover"
    assert meaning(judge_object([], present, version)) == "healthy"


def test_a_reference_speaks_for_the_rows_of_its_version_alone():
    """Rows of other versions of the key are judged at their own references."""
    rows = (row(row_id="a"), row(row_id="b", s3_version="v1"), row(row_id="c", s3_version="v1"))
    assert [one.row_id for one in rows_of(REF, Known(rows))] == ["a"]
    assert [one.row_id for one in rows_of(ObjectRef("b", "k", "v1"), Known(rows))] == ["b", "c"]


CREATED = Hint(REF, Action.CREATED, "event", 3, "e")
REMOVED = Hint(REF, Action.REMOVED, "event")
LOOK = Hint(REF, Action.LOOK)


@pytest.mark.parametrize(
    ("hint", "rows", "expected"),
    [
        pytest.param(CREATED, [row()], True, id="created, one live row that agrees"),
        pytest.param(CREATED, [row(), row(row_id="2")], True, id="created, two live rows that agree"),
        pytest.param(CREATED, [row(), row(EXPECTS, "2", size=9)], True, id="created, live and expecting absence"),
        pytest.param(CREATED, [row(size=None, etag=None)], True, id="created, nothing mapped to compare"),
        pytest.param(CREATED, [], False, id="created, no row yet"),
        pytest.param(CREATED, [row(EXPECTS)], False, id="created, the row is pending"),
        pytest.param(CREATED, [row(FLAGGED)], False, id="created, the row is flagged"),
        pytest.param(CREATED, [row(size=4)], False, id="created, another size"),
        pytest.param(CREATED, [row(size=0)], False, id="created, the row says empty"),
        pytest.param(CREATED, [row(etag="f")], False, id="created, another etag"),
        pytest.param(CREATED, [row(), row(row_id="2", size=4)], False, id="created, one of two rows differs"),
        pytest.param(CREATED, [row(row_id="2", size=4), row()], False, id="created, the first of two rows differs"),
        pytest.param(CREATED._replace(size=None), [row()], False, id="created, an event without size"),
        pytest.param(CREATED._replace(etag=None), [row()], False, id="created, an event without etag"),
        pytest.param(REMOVED, [], True, id="removed, no row"),
        pytest.param(REMOVED, [row(EXPECTS)], True, id="removed, the row expects it"),
        pytest.param(REMOVED, [row(EXPECTS), row(EXPECTS, "2")], True, id="removed, all rows expect it"),
        pytest.param(REMOVED, [row(s3_version="v1")], True, id="removed, the latest, while rows name versions"),
        pytest.param(REMOVED, [row()], False, id="removed, a live row"),
        pytest.param(REMOVED, [row(FLAGGED)], False, id="removed, a flagged row"),
        pytest.param(REMOVED, [row(EXPECTS), row(row_id="2")], False, id="removed, one of two rows claims it"),
        pytest.param(LOOK, [row()], False, id="a look is never settled by rows"),
        pytest.param(LOOK, [], False, id="a look is never settled by their absence"),
    ],
)
def test_the_fast_cases_are_settled_and_nothing_else(hint, rows, expected):
    """Without a finding, a hint that the rows bear out needs no look; with one, every hint does."""
    assert settled(hint, Known(tuple(rows))) is expected
    assert not settled(hint, Known(tuple(rows), (finding(),)))


def test_a_row_of_another_version_does_not_settle_the_latest():
    """A new latest version that no row names is an orphan, though an older one agrees in size."""
    assert not settled(CREATED, Known((row(s3_version="v1"),)))


@pytest.mark.parametrize(
    ("of_row", "of_event", "expected"),
    [
        pytest.param("v2", "v2", True, id="the version that was created"),
        pytest.param("v1", "v2", False, id="another version"),
        pytest.param("", "v2", True, id="a row that names no version"),
        pytest.param("v2", "", False, id="an event that names no version"),
    ],
)
def test_what_was_created_in_a_version_is_settled_by_a_row_of_that_version(of_row, of_event, expected):
    """At the latest's reference the event's own version tells which rows can have been meant."""
    hint = CREATED._replace(s3_version=of_event)
    assert settled(hint, Known((row(s3_version=of_row),))) is expected


rows = st.builds(
    row,
    st.sampled_from(RowState),
    st.sampled_from("abc"),
    st.sampled_from(["", "null", "v1", "v2"]),
    st.sampled_from([None, 0, 3, 4]),
    st.sampled_from([None, "e", "f"]),
)
presents = st.builds(
    Present, st.sampled_from([0, 3, 4]), st.sampled_from("ef"), st.sampled_from([None, "null", "v1", "v2"])
)
absents = st.builds(Absent, st.sampled_from(["NoSuchKey", "NoSuchVersion", ""]), st.sampled_from([None, "v9", "null"]))
unproven = st.one_of(st.builds(Unknown, st.sampled_from(["", "late", "HTTP 403"])), st.just(NotAsked()))
findings = st.sampled_from([None, finding(), finding("active"), finding("")])
sides = st.one_of(presents, absents, unproven)


@pytest.mark.invariant(1)
@given(rows, findings, unproven)
def test_what_is_unproven_decides_nothing(one, ours, side):
    """Without an answer nothing drifts, nothing resolves, whatever the row says."""
    assert isinstance(judge_row(one, ours, side), Undecided | Foreign)
    assert isinstance(judge_object([one], side), Undecided)


@pytest.mark.invariant(1)
@given(rows, findings, sides)
def test_only_a_proven_absence_is_missing(one, ours, side):
    """Missing needs a proof, mismatch an object, and neither is ever said of a row that expects absence."""
    match judge_row(one, ours, side):
        case Drift(Kind.MISSING):
            assert isinstance(side, Absent)
            assert one.state is not EXPECTS
        case Drift(kind):
            assert kind is Kind.MISMATCH
            assert isinstance(side, Present)
            assert one.state is not EXPECTS


@pytest.mark.invariant(5)
@given(rows, sides)
def test_a_flag_of_others_is_left_alone(one, side):
    """Without a finding that holds a former status, a flagged row is never ours to judge."""
    if one.state is FLAGGED:
        assert judge_row(one, None, side) == judge_row(one, finding(), side) == Foreign()


@pytest.mark.invariant(6)
@given(st.lists(rows, max_size=4), sides)
def test_a_claimed_object_is_never_an_orphan(named, side):
    """One row that claims the object is enough, wherever it stands; without any, a present object drifts.

    But where a row expects the absence of this very version: then the drift is the version's, not the key's.
    """
    verdict = judge_object(named, side)
    if not isinstance(side, Present):
        assert not isinstance(verdict, Drift)
        return
    version = side.s3_version or "null"
    if any(one.state is not EXPECTS and one.s3_version in {"", version} for one in named):
        assert isinstance(verdict, Healthy)
    elif any(one.s3_version == "" for one in named):
        assert meaning(verdict) == "leftover"
    elif any(one.s3_version == version for one in named):
        assert isinstance(verdict, Healthy)
    else:
        assert meaning(verdict) == "orphan"


@pytest.mark.invariant(6)
@given(st.lists(rows, max_size=4), sides)
def test_a_version_is_a_leftover_by_its_own_row_or_nothing(named, side):
    """At a version's reference no object is an orphan, and only a row that expects its absence makes it a leftover."""
    named = [one._replace(s3_version="v1") for one in named]
    verdict = judge_object(named, side, "v1")
    if isinstance(verdict, Drift):
        assert isinstance(side, Present)
        assert verdict.kind is Kind.LEFTOVER
        assert any(one.state is EXPECTS for one in named)


@given(st.sampled_from(Action), st.lists(rows, max_size=3), st.sampled_from([None, 0, 3]), st.sampled_from([None, "e"]))
def test_settled_never_hides_a_drift(action, named, size, etag):
    """What is settled is healthy at once: by the event's own account where rows name no versions."""
    named = [one._replace(s3_version="") for one in named]
    hint = Hint(REF, action, "event", size, etag)
    if settled(hint, Known(tuple(named))):
        seen = Absent("NoSuchKey") if action is Action.REMOVED else Present(size or 0, etag or "")
        verdicts = [judge_row(one, None, seen) for one in named] + [judge_object(named, seen)]
        assert not any(isinstance(verdict, Drift | Undecided) for verdict in verdicts)
