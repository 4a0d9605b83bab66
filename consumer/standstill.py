"""The ends of a process that does not end by itself: cut off after a signal, or since its loop stands still.

A call into a driver may never return, and no signal is heard in it; whoever started the process starts it again.
The driver of Kafka may even wait so with the interpreter's lock held (confluent-kafka 2.16, where it hands the group's
decision on), and then no thread of ours runs: a clock that needs none ends the process, with Python's own status.
"""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from threading import Event, Thread

import structlog

from consumer.commands.answer import Exit

log = structlog.get_logger("consumer")
TICK_S = 5.0
TICKS = 60  # five minutes: longer than a pooler keeps one waiting, and than many refusals take to be narrowed
LAST_WORDS_S = 1.0  # whoever reads them may stand still, too


def watch(beat: Callable[[], float], tick_s: float, over: Event) -> bool:
    """Tell that the beat was the same for so many ticks, or else, once all is over, that it never was.

    Ticks are counted, since seconds would pass while we ourselves are stopped.
    """
    seen, ticks = beat(), 0
    while ticks < TICKS and not over.wait(tick_s):
        now = beat()
        seen, ticks = now, ticks + 1 if now == seen else 0
    return ticks == TICKS


def watched_over(beat: Callable[[], float], stop: Event) -> Event:
    """Have the process end when its loop stands still; return what is to be set once all is over.

    Once it is told to stop, a clock that whoever told it has wound up is left alone.
    """
    over = Event()
    Thread(target=_give_up, args=(beat, stop, over), name="standstill", daemon=True).start()
    return over


def _give_up(beat: Callable[[], float], stop: Event, over: Event) -> None:
    def wound() -> float:
        if not stop.is_set():
            wind(TICKS * TICK_S)
        return beat()

    if watch(wound, TICK_S, over):
        why = "the loop stands still: a call of a driver has not returned"
        cut_off(after_s=TICKS * TICK_S, why=why, stacks=True)


def wind(seconds: float) -> None:
    """Have the process end after so many seconds, though nothing of Python runs; wound again, they begin anew.

    These are seconds: a process that is stopped for longer ends when it is continued.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=_stderr())


def unwind() -> None:
    """Stop that clock."""
    faulthandler.cancel_dump_traceback_later()


def cut_off(*, after_s: float, why: str, stacks: bool = False) -> None:
    """End the process as it is: what was not committed is read again."""
    words = Thread(target=_last_words, kwargs={"after_s": after_s, "why": why, "stacks": stacks}, daemon=True)
    words.start()
    words.join(LAST_WORDS_S)
    os._exit(Exit.INCOMPLETE)


def _last_words(*, after_s: float, why: str, stacks: bool) -> None:
    log.error("consumer.cut_off", after_s=after_s, why=why)
    if stacks:
        faulthandler.dump_traceback(_stderr())


@cache
def _stderr() -> int:
    """Return a way to stderr of our own, on which no write waits for a reader; nowhere, if there is none."""
    with suppress(OSError):
        return os.open("/proc/self/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
    with suppress(OSError):  # a socket, as journald's, cannot be opened
        return os.dup(2)
    return os.open(os.devnull, os.O_WRONLY)
