"""Threads that go on point by point, only when they are told to: so that every order of two of them can be played.

Nobody sleeps: one is waited for until it stands at its next point, has ended, or waits for a lock in the database.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import psycopg

from reconcile.model import ObjectRef, ObjectSide
from reconcile.world import LiveWorld

WAITS = "SELECT FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
GLANCE_S = 0.01
MOST = 500 if os.environ.get("RECONCILER_TEST_LONG") else 16
LONG_S = 30.0
Pause = Callable[[], None]
Work = Callable[[Pause], Any]


class Racer:
    """Work in a thread, which stands before its first point; `name` is its connection's in the database.

    `waited` tells whether it was ever seen to wait for a lock, `answer` what it came to.
    """

    def __init__(self, observer: psycopg.Connection[Any], name: str, work: Work) -> None:
        self.name = name
        self.waited = False
        self.answer: Any = None
        self._fault: BaseException | None = None
        self._observer = observer
        self._moved = threading.Condition()
        self._reached = self._allowed = 0
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Tell whether its work is done."""
        return not self._thread.is_alive()

    def go_on(self) -> None:
        """Let it go to its next point, and wait until it is there, has ended, or waits for a lock."""
        with self._moved:
            self._allowed += 1
            self._moved.notify_all()
        for _ in range(int(LONG_S / GLANCE_S)):
            with self._moved:
                if self._moved.wait_for(lambda: self._reached > self._allowed or self.ended, GLANCE_S):
                    return
            if self._observer.execute(WAITS, [self.name]).fetchall():
                self.waited = True
                return
        raise AssertionError(f"{self.name} neither goes on nor waits for a lock")

    def end(self) -> Any:
        """Return what its work came to; raises what it raised."""
        self._thread.join(LONG_S)
        assert self.ended, f"{self.name} does not end"
        if self._fault is not None:
            raise self._fault
        return self.answer

    def _run(self, work: Work) -> None:
        try:
            self._stand()
            self.answer = work(self._stand)
        except BaseException as fault:  # noqa: BLE001 - raised by `end`
            self._fault = fault
        finally:
            with self._moved:
                self._reached = 1 << 30
                self._moved.notify_all()

    def _stand(self) -> None:
        """Wait at a point until it may go on."""
        with self._moved:
            self._reached += 1
            self._moved.notify_all()
            mine = self._reached
            assert self._moved.wait_for(lambda: self._allowed >= mine, LONG_S), "nobody lets it go on"


def orders(one: int, other: int, case: int = 0) -> list[tuple[bool, ...]]:
    """Return the orders of so many steps of one and of the other; True is a step of the first.

    Of many only some, which are others for each `case`, and of more in the long form.
    """
    every = [
        tuple(number in places for number in range(one + other)) for places in combinations(range(one + other), one)
    ]
    return random.Random(case).sample(every, min(len(every), MOST))  # noqa: S311 - a choice, not a secret


def race(one: Racer, other: Racer, order: Sequence[bool]) -> None:
    """Let both go on in an order, then in turn until both have ended."""
    for first in order:
        (one if first else other).go_on()
    while not (one.ended and other.ended):
        for racer in (one, other):
            if not racer.ended:
                racer.go_on()
    one.end()
    other.end()


class Standing:
    """A World that stands after its HEADs, its first read, and its lock, and before it commits."""

    def __init__(self, world: LiveWorld, pause: Pause) -> None:
        self._world = world
        self._pause = pause
        self._inside = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def heads(self, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, ObjectSide]:
        """Look at the objects; then stand."""
        sides = self._world.heads(refs)
        self._pause()
        return sides

    @contextmanager
    def transaction(self, refs: Sequence[ObjectRef]) -> Iterator[Any]:
        """Read, and stand at each point of the transaction."""
        with self._world.transaction(refs) as txn:
            self._pause()
            read = self._world.read

            def locked(*given: Any) -> Any:
                self._pause()
                return read(*given)

            self._world.read = locked  # type: ignore[method-assign]  # the second read comes after the lock
            try:
                yield txn
            finally:
                self._world.read = read  # type: ignore[method-assign]
            self._pause()
