"""The daily report's arithmetic: windows, slots, sums, and what was pruned."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.reports.daily import MOST_SLOTS, Around, Cell, Daily, Flow, Pruned, Slot, Span, by, slots, total
from reconcile.reports.dailyreport import headline, notes, shown
from reconcile.reports.forms import plain, text

NOW = datetime(2025, 6, 3, tzinfo=UTC)
DAY = timedelta(days=1)
SPAN = Span(NOW - DAY, NOW)
CELLS = [Cell("missing", "gone", "a"), Cell("missing", "gone", "b"), Cell("orphan", "no row", "")]
FLOWS = dict(
    zip(CELLS, (Flow(opened=3, resolved=1, net=2), Flow(resolved=2, net=-2), Flow(opened=1, net=1)), strict=True)
)
REPORT = Daily(SPAN, NOW, FLOWS, {CELLS[1]: Flow(opened=9)}, {CELLS[0]: 5, CELLS[2]: 1}, slots(SPAN, []), ())


@pytest.mark.parametrize(
    ("hours", "slot"), [(0.25, timedelta(minutes=1)), (24, timedelta(hours=1)), (168, timedelta(hours=6)), (720, DAY)]
)
def test_a_slot_is_a_length_that_a_person_knows(hours, slot):
    """A day has hours, a week quarters of a day, a month days."""
    assert Span(NOW - timedelta(hours=hours), NOW).slot == slot


@given(st.timedeltas(timedelta(seconds=1), timedelta(days=3650)))
def test_slots_cover_the_whole_window_and_are_few(length):
    """From its begin to its end, none empty of time, whatever the length."""
    span = Span(NOW - length, NOW)
    found = slots(span, [(0, 7, 0)])
    assert 1 <= len(found) <= MOST_SLOTS + 1
    assert found[0] == Slot(span.since, 7, 0)
    assert found[-1].at < span.until <= found[-1].at + span.slot


def test_the_window_before_has_the_same_length_and_ends_where_this_begins():
    """Nothing lies between, nothing in both."""
    assert SPAN.before == Span(NOW - 2 * DAY, NOW - DAY)


def test_lines_add_up_whatever_they_are_by():
    """Kinds, causes and groups: the same sum; also of a group that only the window before, or the stock, has."""
    for what in Cell._fields:
        lines = by(REPORT, what)
        assert total(line.flow for line in lines) == total(FLOWS.values())
        assert (sum(line.open for line in lines), sum(line.before.opened for line in lines)) == (6, 9)
    assert [line.name for line in by(REPORT, "group")] == ["a", "", "b"]
    assert total([]) == Flow()


def test_the_headline_tells_what_moved_and_what_is_left():
    """Closed is all that is open no more, in whatever way."""
    assert headline(REPORT) == "4 opened, 3 closed; 6 open, 5 before"
    quiet = Daily(SPAN, NOW, {}, {}, {}, slots(SPAN, []), ())
    assert headline(quiet) == "nothing opened, nothing closed; 0 open"


def test_what_was_pruned_stays_so():
    """The later time of each counts, also where one run pruned only one of them."""
    one, two = Pruned(NOW, None), Pruned(NOW - DAY, NOW - DAY)
    assert one.further(two) == two.further(one) == Pruned(NOW, NOW - DAY)
    assert Pruned().further(Pruned()) == Pruned()


def test_the_text_has_no_holes():
    """A part that text leaves out leaves no empty lines behind."""
    written = plain(text(shown(REPORT), NOW))
    assert "\n\n\n" not in written
    assert not written.endswith("\n\n")
    assert list(notes(REPORT)) == []
    assert Around().dead_letters is None
