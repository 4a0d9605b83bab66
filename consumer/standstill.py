"""The ends of a process that does not end by itself: cut off after a signal, or since its loop stands still.

A call into a driver may never return, and no signal is heard in it; whoever started the process starts it again.
"""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Callable

import structlog

from consumer.commands.answer import Exit

log = structlog.get_logger("consumer")
TICK_S = 5.0
TICKS = 18  # a minute and a half: a turn has deadlines of seconds, and one minute at most in all
LOG_S = 1.0  # for the last words: whoever reads them may stand still, too


def watch(beat: Callable[[], float], tick_s: float) -> None:
    """Return once the beat has been the same for so many ticks: seconds would pass while we ourselves are stopped."""
    seen, ticks = beat(), 0
    while ticks < TICKS:
        time.sleep(tick_s)
        now = beat()
        seen, ticks = now, ticks + 1 if now == seen else 0


def give_up(beat: Callable[[], float]) -> None:
    """End the process when its loop stands still, and tell where each thread stands."""
    watch(beat, TICK_S)
    faulthandler.dump_traceback()
    cut_off(after_s=TICKS * TICK_S, why="the loop stands still: a call of a driver has not returned")


def cut_off(*, after_s: float, why: str) -> None:
    """End the process as it is: what was not committed is read again."""
    faulthandler.dump_traceback_later(LOG_S, exit=True)
    log.error("consumer.cut_off", after_s=after_s, why=why)
    os._exit(Exit.INCOMPLETE)
