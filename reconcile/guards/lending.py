"""Both sides for many threads: opened as often as they are needed at once, and lent.

Knows neither what they are wanted for nor who asks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from reconcile import opening
from reconcile.config import renewal
from reconcile.config.settings import Settings
from reconcile.database import Database
from reconcile.inquiry import is_installed
from reconcile.model import Unavailable
from reconcile.store.objects import Objects
from reconcile.tables.mapping import Mapping
from reconcile.world import LiveWorld

LEND_S = 5.0
CONNECT_S = 1.0


@dataclass
class Worlds:
    """At most `most` connections to the database, each with the consent to flag; kept open until the end."""

    settings: Settings
    objects: Objects
    actor: str
    most: int
    _free: list[LiveWorld] = field(default_factory=list)
    _opened: list[Database] = field(default_factory=list)
    _mapping: Mapping | None = None
    _has_kept: bool = False

    def __post_init__(self) -> None:
        self._room = threading.BoundedSemaphore(self.most)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all connections."""
        for database in self._opened:
            database.close()

    def mapping(self) -> Mapping:
        """Return the mapping, compiled when it is first needed; raises Unavailable or Misconfigured."""
        with self._lock:
            if self._mapping is None:
                database = self._database()
                try:
                    self._mapping = opening.mapping(self.settings, database)
                finally:
                    database.close()
            return self._mapping

    @contextmanager
    def lent(self) -> Iterator[LiveWorld]:
        """Lend both sides to one thread; raises Unavailable where all are in use for long."""
        mapping = self.mapping()
        if not self._room.acquire(timeout=LEND_S):
            raise Unavailable("postgresql", f"all {self.most} connections beside the application's are in use")
        try:
            with self._lock:
                world = self._free.pop() if self._free else self._world(mapping)
            try:
                yield world
            finally:
                self._free.append(world)
        finally:
            self._room.release()

    def has_kept(self, world: LiveWorld) -> bool:
        """Tell whether our schema is there and up to date; once it is, it is not asked again."""
        if not self._has_kept:
            with world.database.use() as connection:
                self._has_kept = is_installed(connection)
        return self._has_kept

    def _database(self) -> Database:
        database = self.settings.database
        return Database(
            renewal.current(self.settings, "database.url"),
            name=self.actor,
            statement_timeout=f"{int(database.statement_timeout.total_seconds() * 1000)}ms",
            lock_timeout=f"{int(database.lock_timeout.total_seconds() * 1000)}ms",
            pooled=database.pooled,
            patience_s=CONNECT_S,
        )

    def _world(self, mapping: Mapping) -> LiveWorld:
        database = self._database()
        self._opened.append(database)
        world = opening.world(self.settings, database, self.objects, self.actor, mapping)
        world.policy = replace(world.policy, flagging=True)
        return world
