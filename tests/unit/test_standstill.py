"""When a loop is taken to stand still, and what a call of a driver may take."""

import os
import subprocess
import sys
from contextlib import suppress
from itertools import count
from threading import Event

import pytest

from consumer import standstill
from consumer.patience import within
from reconcile.model import Unavailable
from tests.support.command import ROOT

SILENCE = Unavailable("kafka", "no end of its question in 0.05 s")


def test_only_a_beat_that_stays_the_same_for_all_ticks_is_a_standstill():
    """Each change begins the counting anew."""
    asked = count()

    def beat() -> float:
        return min(next(asked) // standstill.TICKS, 3)

    assert standstill.watch(beat, 0.0, Event())
    assert next(asked) == 4 * standstill.TICKS + 1


def test_what_is_over_stands_still_rightly():
    """The watch ends with what it watches."""
    over = Event()
    over.set()
    assert not standstill.watch(lambda: 0.0, 0.0, over)


@pytest.mark.parametrize("stderr", ["full", "closed"])
def test_a_process_is_cut_off_though_nobody_hears_its_last_words(stderr):
    """A log whose reader stands still would hold up each thread; and there may be none."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(65536))
    os.set_blocking(writing, True)
    closes = "2>&-" if stderr == "closed" else ""
    words = (
        "from consumer import logs, standstill; logs.configure('info', 'json');"
        "standstill.cut_off(after_s=1, why='so', stacks=True)"
    )
    command = f'exec "$0" -c "$1" {closes}'
    ended = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, words], stderr=writing, cwd=ROOT, timeout=30, check=False
    )
    os.close(reading)
    os.close(writing)
    assert ended.returncode == 5


HELD = """
import ctypes, sys, time
from itertools import count
from consumer import standstill
from consumer.commands import consume

standstill.TICK_S, standstill.TICKS, consume.END_WITHIN_S = 0.02, 25, 0.5
ending = consume.Ending()
over = standstill.watched_over(count().__next__, ending.stop)
time.sleep(1)
if sys.argv[1] == "at its end":
    standstill.TICKS = 10_000
    time.sleep(0.1)
    ending.begin(15, None)
    time.sleep(0.1)
if sys.argv[1] == "over":
    over.set()
    ending.over()
ctypes.PyDLL(None).usleep(900_000 if sys.argv[1] == "over" else 10_000_000)
"""


@pytest.mark.parametrize(("when", "status"), [("at work", 1), ("at its end", 1), ("over", 0)])
def test_a_driver_that_holds_up_each_thread_ends_the_process_all_the_same(when, status):
    """Nothing of Python runs while a call keeps its lock; while it runs, and once all is over, nothing is ended."""
    ended = subprocess.run(
        [sys.executable, "-c", HELD, when], capture_output=True, text=True, cwd=ROOT, timeout=30, check=False
    )
    assert ended.returncode == status, ended.stderr
    assert ("Timeout" in ended.stderr) == (when != "over")


def test_a_call_is_waited_for_and_what_it_comes_to_is_ours():
    """Its result, or what it raised."""
    assert within(10, lambda: 7, SILENCE) == 7
    with pytest.raises(LookupError, match="no such thing"):
        within(10, lambda: (_ for _ in ()).throw(LookupError("no such thing")).__next__(), SILENCE)


def test_a_call_that_does_not_return_is_left_behind():
    """It is an outage of the broker, and told as one."""
    with pytest.raises(Unavailable, match=r"no end of its question in 0\.05 s"):
        within(0.05, Event().wait, SILENCE)
