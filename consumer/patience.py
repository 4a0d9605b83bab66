"""A time for what takes none itself: a thread waits in our place, and is left behind if it must be."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

from reconcile.model import Unavailable

T = TypeVar("T")


def within(seconds: float, ask: Callable[[], T], silence: Unavailable) -> T:
    """Return or raise what asking comes to; raise the silence if it has come to nothing in so many seconds."""
    answer: Future[T] = Future()
    Thread(target=_answer, args=(answer, ask), name="waiting", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise silence from None


def _answer(answer: Future[T], ask: Callable[[], T]) -> None:
    try:
        answer.set_result(ask())
    except BaseException as fault:  # noqa: BLE001 - raised by whoever waits for the answer
        answer.set_exception(fault)
