"""Waiting on the world, with a deadline."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
BUSY = 3  # so many times as long on a machine that other tests keep busy; only a failure takes it


def until(condition: Callable[[], T], seconds: float = 15.0, what: str = "") -> T:
    """Ask until the answer is true and return it; fail, saying what was waited for, when the time is up.

    `seconds` are those of an idle machine.
    """
    deadline = time.monotonic() + BUSY * seconds
    pause = threading.Event()
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {BUSY * seconds} s: {what or condition}; the last answer was {answer!r}")
        pause.wait(0.02)
    return answer
