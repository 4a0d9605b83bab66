"""The benchmarks' wait: it returns what became true, and says what never did."""

import pytest

from benchmarks.waiting import until


def test_what_became_true_is_returned():
    """Not the first answer: the first that is true."""
    answers = iter([None, [], [7]])
    assert until(lambda: next(answers), "a list with something in it", pause_s=0) == [7]


def test_what_never_becomes_true_is_named():
    """With the last answer, so that one need not measure again to see how far it came."""
    with pytest.raises(TimeoutError, match=r"all are held: not within 0 s, the last answer was \[\]"):
        until(list[int], "all are held", 0)
