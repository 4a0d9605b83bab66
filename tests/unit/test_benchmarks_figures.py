"""A table of figures: Markdown as the documents keep it, lines that scripts read, and how the machine was meanwhile."""

from __future__ import annotations

from benchmarks.figures import Table
from benchmarks.machine import Moment, meanwhile, moment


def test_a_table_can_be_pasted_into_a_document(capsys):
    """The median and the spread in each cell, nothing where a way lacks the figure, no row that no way has."""
    table = Table("scaling", {"ratio": "ratio", "rate": "a second", "rss_mb": "MB"}, "1 000 rows")
    for rate in (1_000.0, 3_000.0, 2_000.0):
        table.note_all({"rate": rate, "ratio": 1.0, "other": 5.0}, "10 000")
    table.note_all({"rate": 0.5}, "by batch, 8 threads")
    table.show()
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("scaling: 1 000 rows; load ")
    assert said[3:8] == [
        "|  | 10 000 | by batch, 8 threads |",
        "|---|---|---|",
        "| ratio | 1 |  |",
        "| a second | 2 000 (1 000 - 3 000) | 0.5 |",
        "",
    ]
    assert said[8:] == [
        "RESULT scaling.10_000.ratio=1",
        "RESULT scaling.10_000.rate=2000",
        "RESULT scaling.by_batch_8_threads.rate=0.5",
    ]


def test_what_other_guests_took_is_told_of_the_run_alone():
    """Not of all the time since the machine started."""
    told = meanwhile(Moment(0.25, 1_000, 900, 40.0), Moment(9.0, 2_000, 950, 81.0))
    assert told == (
        "load 0.2 at the beginning; 5.0% of the CPU taken by other guests; "
        "a turn of a loop in Python 40 ns, 81 ns at the end"
    )


def test_a_kernel_that_does_not_tell_what_was_taken_says_nothing_of_it():
    """Rather than that nothing was taken."""
    assert "guests" not in meanwhile(Moment(0.0, 0, 0, 40.0), Moment(0.0, 0, 0, 40.0))


def test_the_machine_is_looked_at():
    """It has a load and a speed, and its ticks go on."""
    first, second = moment(), moment()
    assert second.turn_ns > 0
    assert second.ticks >= first.ticks
