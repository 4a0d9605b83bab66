"""Waits for what a benchmark needs of the world, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(true: Callable[[], T | None], what: str, patience_s: float = 120.0, pause_s: float = 0.05) -> T:
    """Ask again and again until the answer is true, and return it; raises TimeoutError that says what never was so."""
    deadline = time.monotonic() + patience_s
    while not (answer := true()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {patience_s:.0f} s, the last answer was {answer!r}")
        time.sleep(pause_s)
    return answer
