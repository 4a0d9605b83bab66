"""A time for what the driver takes none for: a thread waits in our place, and is left behind if it must be."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

from reconcile.model import Unavailable

T = TypeVar("T")


def within(seconds: float, ask: Callable[[], T], what: str) -> T:
    """Return or raise what asking comes to; Unavailable if it has come to nothing in so many seconds."""
    answer: Future[T] = Future()
    Thread(target=_answer, args=(answer, ask), name=f"kafka {what}", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError as silence:
        raise Unavailable("kafka", f"the driver came to no end of its {what} in {seconds:g} s") from silence


def _answer(answer: Future[T], ask: Callable[[], T]) -> None:
    try:
        answer.set_result(ask())
    except BaseException as fault:  # noqa: BLE001  # it is raised where it was asked
        answer.set_exception(fault)
