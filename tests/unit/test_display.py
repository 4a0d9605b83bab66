"""What a person is told while a sweep or a replay runs."""

from collections import Counter

from consumer.commands.display import Display
from consumer.commands.replay import how_far
from consumer.runs.sweeping import Progress


def test_it_tells_both_sides_the_rate_what_differs_and_the_time_left():
    """The rate counts from the first block on, and the time left follows from the rows that are left."""
    display = Display("files")
    assert display.told(Progress("copying the rows"), 0.0) == "copying the rows"
    first = display.told(Progress("comparing", {"objects": 1_000, "rows": 1_000}, 10_000), 5.0)
    assert first == "comparing, 1,000 objects, 1,000 of 10,000 rows, 0/s, 0 differences looked at"
    later = display.told(Progress("comparing", {"objects": 3_000, "rows": 4_000, "candidates": 7}, 10_000), 7.0)
    assert later == "comparing, 3,000 objects, 4,000 of 10,000 rows, 1,000/s, 7 differences looked at, 6 s left"


def test_what_is_not_known_is_not_told():
    """Without a count of the rows, or with an estimate that was too low, neither it nor a time left is shown."""
    for of_rows in (0, 3_999):
        told = Display("files").told(Progress("comparing", {"objects": 4_000, "rows": 4_000}, of_rows), 1.0)
        assert told == "comparing, 4,000 objects, 4,000 rows, 0/s, 0 differences looked at"


def test_a_replay_tells_its_rate_and_the_time_that_is_left():
    """Before the first record nobody knows how long it will take."""
    totals = Counter(records=4_000, looked_at=7)
    assert how_far(totals, 10_000, 4.0) == "4,000 of 10,000 records, 1,000/s, 7 looked at, 6 s left"
    assert how_far(Counter(), 10_000, 4.0) == "0 of 10,000 records, 0/s, 0 looked at"
