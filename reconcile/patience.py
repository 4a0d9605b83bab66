"""Tries again after a short outage: for some six seconds, with a longer pause each time.

Only for what may be done twice: a read, or a write that has no effect if it failed or was done before.
"""

from __future__ import annotations

from collections.abc import Callable
from time import sleep
from typing import TypeVar

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from reconcile.model import Unavailable

T = TypeVar("T")
TRIES, LAST_TRY_S = 8, 6.0  # what times out (5 s) is tried twice, and given up after 10 s


def patiently(
    ask: Callable[[], T],
    pause: Callable[[float], None] = sleep,
    over: type[Exception] | tuple[type[Exception], ...] = Unavailable,
) -> T:
    """Return what `ask` returns, trying again while a server is unavailable; at last what it raised passes.

    `over` names the exceptions after which it is tried again, instead of Unavailable.
    """
    trying = Retrying(
        stop=stop_after_attempt(TRIES) | stop_before_delay(LAST_TRY_S),
        wait=wait_random_exponential(multiplier=0.2, max=2),
        retry=retry_if_exception_type(over),
        reraise=True,
        sleep=pause,
    )
    return trying(ask)
