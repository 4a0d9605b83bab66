"""Rows that a thread copies out to a spool, read while they come: the listing need not wait for the last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path

from reconcile.compare import Blocks
from reconcile.database import Connection, Database
from reconcile.spool import Spool

CANCEL_AGAIN_S = 0.2


class Copying:
    """A copy under way: one statement on a connection of its own. What goes wrong is raised to whoever reads on.

    Closing it gives up what is not copied yet.
    """

    def __init__(
        self, database: Database, lines: Callable[[Connection], Generator[bytes]], directory: Path | None = None
    ) -> None:
        self._database = database.another()
        self._database.connection()  # before anything can come in between, and so that it may be cancelled
        self._lines = lines
        self._grown = threading.Condition()
        self.spool = Spool(directory)
        self._pool = ThreadPoolExecutor(1, "copying")
        self._copy = self._pool.submit(self._copied)
        self._copy.add_done_callback(lambda _: self._tell())

    @property
    def whole(self) -> bool:
        """Whether all is there."""
        return self._copy.done() and self._copy.exception() is None

    def blocks(self, lower: str = "", upper: str | None = None) -> Blocks:
        """Yield the lines of keys in (lower, upper] as the spool does, and wait for those that are still to come."""
        return self.spool.blocks(lower, upper, reach=self._reach)

    def close(self) -> None:
        """End the copy and give the space back."""
        while not self._copy.done():
            self._database.cancel()  # in vain before the statement
            wait([self._copy], CANCEL_AGAIN_S)
        self._pool.shutdown()
        self._database.close()
        self.spool.close()

    def _copied(self) -> None:
        with self._database.use() as connection, connection.transaction():
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute("SET LOCAL statement_timeout = 0")
            with closing(self._lines(connection)) as lines:
                self.spool.write(lines, self._tell)

    def _tell(self) -> None:
        with self._grown:
            self._grown.notify_all()

    def _reach(self, place: int) -> None:
        with self._grown:
            self._grown.wait_for(lambda: self._copy.done() or self.spool.size_bytes > place)
        if self._copy.done():
            self._copy.result()
