"""When a loop is taken to stand still, and what a call of a driver may take."""

from itertools import count
from threading import Event

import pytest

from consumer import standstill
from consumer.kafka.patience import within
from reconcile.model import Unavailable


def test_only_a_beat_that_stays_the_same_for_all_ticks_is_a_standstill():
    """Each change begins the counting anew."""
    asked = count()

    def beat() -> float:
        number = next(asked)
        return min(number // standstill.TICKS, 3)

    standstill.watch(beat, 0.0)
    assert next(asked) == 4 * standstill.TICKS + 1


def test_a_call_is_waited_for_and_what_it_comes_to_is_ours():
    """Its result, or what it raised."""
    assert within(10, lambda: 7, "question") == 7
    with pytest.raises(LookupError, match="no such thing"):
        within(10, lambda: (_ for _ in ()).throw(LookupError("no such thing")).__next__(), "question")


def test_a_call_that_does_not_return_is_left_behind():
    """It is an outage of the broker, and told as one."""
    with pytest.raises(Unavailable, match=r"no end of its question in 0\.05 s"):
        within(0.05, Event().wait, "question")
