"""`sweep` where a guard holds it, and a person believes it all the same."""

from __future__ import annotations

import pytest

from reconcile.sweeps import belief
from tests.acceptance.test_commands import add_row
from tests.support.sweeping import put
from tests.support.sweeps import AT_ONCE, WORDS, found, held, swept, told

WHY = ("--believe", "--why", "the volume was moved", "--who", "ann")
KEPT = "SELECT state, reason FROM reconciler.sweep ORDER BY id"
FLAGGED = "SELECT count(*) FROM file_versions WHERE status = 'corrupted'"


@pytest.fixture
def emptied(connection) -> None:
    """Make thirty rows and no object."""
    for number in range(30):
        add_row(connection, f"k/{number:02}")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--believe",), "needs --why"),
        (("--believe", "--why", "  "), "needs --why"),
        (("--why", "so"), "give it with --fix, --baseline or --believe"),
        ((*WHY, "--join", "1"), "whoever leads"),
    ],
)
def test_believing_needs_a_reason_and_a_leader(installed, emptied, words, why):
    """Status 2 tells what is lacking, before anything is compared."""
    ended = installed.run("sweep", *words, **AT_ONCE)
    assert ended.returncode == 2
    assert why in ended.stderr


def test_what_is_held_names_the_way_out_and_is_believed_by_name(connection, installed, emptied):
    """The held report says how; then it is complete, and who believed, why, and against what is kept."""
    held = installed.run(*WORDS, **AT_ONCE)
    assert held.returncode == 4
    assert "sweep again with --believe --why" in told(held)["reason"]
    report = swept(installed, *WHY)
    assert report["totals"]["missing"] == 30
    [(first, _), (state, reason)] = connection.execute(KEPT).fetchall()
    assert (first, state) == ("held", "complete")
    assert reason.startswith("believed by ann: the volume was moved; the listing is empty")
    assert report["reason"] == reason


@pytest.mark.parametrize("mode", ["--fix", "--baseline"])
def test_the_history_keeps_who_had_a_sweep_change_something_and_why(connection, installed, mode):
    """Of each change: the person's name, and the reason beside what the change itself tells."""
    add_row(connection, "gone")
    swept(installed, mode, "--who", "ann", "--why", "ticket 7")
    history = connection.execute("SELECT actor, why FROM reconciler.history WHERE finding_id IS NOT NULL").fetchall()
    assert history
    assert {actor for actor, _ in history} == {"ann"}
    assert [why for _, why in history if "ticket 7" not in why] == []


@pytest.mark.invariant(7)
def test_believing_leaves_the_brake_as_it_is(connection, installed, emptied):
    """With --fix the brake holds what it always holds: nothing is flagged, and status 4 says so."""
    for _ in range(2):  # what is held already is held still
        ended = installed.run(*WORDS, "--fix", *WHY, **AT_ONCE | {"RECONCILER_BRAKE__FLOOR": "10"})
        assert connection.execute(FLAGGED).fetchall() == [(0,)]
        assert ended.returncode == 4, ended.stderr
        report = told(ended)
        assert report["state"] == "complete"
        assert report["totals"]["held_by_brake"] == 30
        assert any("brake release" in note for note in report["notes"])


def test_sides_with_nothing_in_common_are_given_up_unless_believed(connection, installed, objects, bucket, monkeypatch):
    """Beyond so many differences not every key is asked for; who believes has each looked at, to the end."""
    monkeypatch.setattr(belief, "DIFFERING", 20)
    for number in range(30):
        put(objects, bucket, f"a/{number:02}")
        add_row(connection, f"b/{number:02}")
    reason = held(installed)["reason"]
    assert "keys differ" in reason
    assert "--believe" in reason
    assert len(found(swept(installed, *WHY))) == 60


def test_a_place_that_no_row_names_is_no_reason_to_give_up(connection, installed, objects, bucket, monkeypatch):
    """It may be the first in the bucket, or a whole range of a shared sweep: all the rows that there are count."""
    monkeypatch.setattr(belief, "DIFFERING", 20)
    for number in range(70):
        put(objects, bucket, f"fine/{number:02}")
        add_row(connection, f"fine/{number:02}")
    for number in range(30):
        put(objects, bucket, f"backup/{number:02}")
    assert found(swept(installed, "--ranges", "2")) == {("orphan", f"backup/{number:02}") for number in range(30)}


def test_what_is_known_of_both_sides_is_no_reason_to_give_up(connection, installed, objects, bucket, monkeypatch):
    """An old bucket differs more than it agrees, and its baseline knows that: the next sweeps come to their end."""
    for number in range(30):
        put(objects, bucket, f"orphan/{number:02}")
    for number in range(20):
        put(objects, bucket, f"fine/{number:02}")
        add_row(connection, f"fine/{number:02}")
    swept(installed, "--baseline")
    monkeypatch.setattr(belief, "DIFFERING", 20)
    report = swept(installed)
    assert len(found(report)) == 30
    assert (report["totals"]["candidates"], report["totals"]["known"]) == (30, 30)
