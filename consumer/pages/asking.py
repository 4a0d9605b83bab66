"""Asks a server for a page, and waits no longer than a reader would: what is late is left to itself.

A question runs in a thread of its own, so that a server that hangs holds no thread of the web. So many may be under
way; a further one waits a moment, and is told that those before it were not answered.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from consumer.patience import within
from reconcile.database import Database
from reconcile.model import Unavailable

T = TypeVar("T")
FREE_WITHIN_S = 0.25


@dataclass
class Desk:
    """Lends connections to questions, one each; `server` is whom they ask, for whoever is told that it is late."""

    databases: list[Database]
    patience_s: float
    server: str = "postgresql"
    _free: queue.SimpleQueue[Database] = field(default_factory=queue.SimpleQueue)
    _closed: bool = False

    def __post_init__(self) -> None:
        for database in self.databases:
            self._free.put(database)

    def ask(self, question: Callable[[Database], T]) -> T:
        """Return the answer; raises Unavailable where it does not come in time, and whatever the question raises."""
        try:
            database = self._free.get(timeout=FREE_WITHIN_S)
        except queue.Empty:
            raise Unavailable(self.server, "the questions before this one have not been answered yet") from None
        silence = Unavailable(self.server, f"no answer within {self.patience_s:.0f} s")
        return within(self.patience_s, lambda: self._answer(database, question), silence)

    def _answer(self, database: Database, question: Callable[[Database], T]) -> T:
        try:
            return question(database)
        finally:
            self._free.put(database)
            if self._closed:
                self.close()

    def close(self) -> None:
        """Close what is not in use; a question under way does at its end."""
        self._closed = True
        while not self._free.empty():
            self._free.get().close()
