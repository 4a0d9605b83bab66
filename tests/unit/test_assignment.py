"""Whose partition is whose, through any order of rebalances, against what must hold."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.kafka.assignment import Assignment
from consumer.stream.events import Record


class Named(NamedTuple):
    """A partition as a driver names it."""

    topic: str
    partition: int


ZERO, ONE = Named("t", 0), Named("t", 1)


def record(place, offset) -> Record:
    return Record(place.topic, place.partition, offset, b"")


def owning(*places) -> Assignment:
    assignment = Assignment()
    assignment.assign(None, places)
    return assignment


@pytest.mark.invariant(2)
def test_records_of_a_partition_that_moved_during_the_call_are_dropped():
    """The driver may return them all the same; the next owner reads them."""
    assignment = owning(ZERO, ONE)
    assignment.begin()
    assignment.revoke(None, [ONE])
    assert assignment.kept([record(ZERO, 5), record(ONE, 6)]) == [record(ZERO, 5)]
    assert assignment.told_revoked() == {ONE}
    assert assignment.told_revoked() == frozenset()
    assert not assignment.is_torn()


@pytest.mark.invariant(2)
def test_a_partition_that_comes_back_within_a_call_is_torn():
    """Nobody can say which of its records were read before, so it has to be read again."""
    assignment = owning(ZERO)
    assignment.begin()
    assignment.revoke(None, [ZERO])
    assignment.assign(None, [ZERO])
    assert assignment.is_torn()
    assert not assignment.kept([record(ZERO, 9)])
    assert assignment.return_to == {}
    assignment.begin()
    assert not assignment.is_torn()
    assert assignment.kept([record(ZERO, 3)]) == [record(ZERO, 3)]


@pytest.mark.invariant(2)
def test_one_returns_to_the_first_record_read_until_something_is_committed():
    """Where nothing was committed yet the broker knows no place to return to, but we do."""
    assignment = owning(ZERO)
    assignment.kept([record(ZERO, 5), record(ZERO, 6)])
    assignment.kept([record(ZERO, 7)])
    assert assignment.return_to == {ZERO: 5}
    assert assignment.owing({ZERO: 7}) == {ZERO: 7}
    assert assignment.return_to == {ZERO: 5}
    assignment.committed()
    assert assignment.return_to == {ZERO: 7}


@pytest.mark.invariant(2)
def test_what_met_a_rebalance_stays_owed_unless_the_partition_is_lost():
    """A later commit takes it along; that of a lost partition belongs to its next owner."""
    assignment = owning(ZERO, ONE)
    assignment.owing({ZERO: 5, ONE: 8})
    assert assignment.owing({ZERO: 6}) == {ZERO: 6, ONE: 8}
    assignment.revoke(None, [ONE])
    assignment.assign(None, [ONE])
    assert assignment.owing({}) == {ZERO: 6}
    assignment.committed()
    assert assignment.owing({}) == {}
    assert assignment.owing({Named("elsewhere", 0): 3}) == {}


@pytest.mark.invariant(2)
def test_what_an_older_commit_undid_is_owed_again():
    """The driver repeats a commit that was refused for a moment, and it may come after a later one."""
    assignment = owning(ZERO, ONE)
    assignment.owing({ZERO: 50, ONE: 8})
    assignment.committed()
    assignment.overtaken({ZERO: 50, ONE: 8})
    assert assignment.owing({}) == {}
    assignment.overtaken({ZERO: 25, Named("elsewhere", 0): 3})
    assert assignment.owing({}) == {ZERO: 50}
    assert assignment.owing({ZERO: 60}) == {ZERO: 60}


@pytest.mark.invariant(2)
def test_one_returns_to_where_offsets_began_anew():
    """A topic that was recreated is read from its beginning: what was committed of the old one is no place in it."""
    assignment = owning(ZERO, ONE)
    assignment.kept([record(ZERO, 1000), record(ONE, 7)])
    assignment.owing({ZERO: 1001, ONE: 8})
    assignment.committed()
    assignment.owing({ZERO: 1002, ONE: 9})
    assignment.kept([record(ZERO, 0), record(ZERO, 1), record(ONE, 9)])
    assert assignment.return_to == {ZERO: 0, ONE: 8}
    assert assignment.owing({}) == {ONE: 9}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["assign", "revoke", "read", "commit", "refused"]),
        st.sampled_from([ZERO, ONE]),
        st.integers(1, 5),
    ),
    max_size=40,
)


@given(STEPS)
@pytest.mark.invariant(2)
def test_a_return_never_skips_what_was_read_and_not_committed(steps):
    """Whatever happens to a partition, one returns to its first uncommitted record."""
    assignment = Assignment()
    position, safe = {}, {}  # what the driver delivers next; what is committed, both of owned partitions
    for act, place, count in steps:
        assignment.begin()
        if act == "assign" and place not in position:
            assignment.assign(None, [place])
            position[place] = safe[place] = 10
        elif act == "revoke":
            assignment.revoke(None, [place])
            position.pop(place, None)
            safe.pop(place, None)
        elif act == "read" and place in position:
            assignment.kept([record(place, position[place] + number) for number in range(count)])
            position[place] += count
        elif act in ("commit", "refused") and place in position and position[place] > safe[place]:
            owed = assignment.owing({place: position[place]})
            if act == "commit":
                assignment.committed()
                safe |= owed
    assert assignment.owned == set(position)
    assert assignment.return_to == {place: safe.get(place) for place in assignment.return_to}
    assert {place for place in position if position[place] > safe[place]} <= set(assignment.return_to)
