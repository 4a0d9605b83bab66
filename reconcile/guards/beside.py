"""What the guards do beside an application's own work, on connections of their own: marks, looks, intents.

Threads share it. A mark follows the same rules as everywhere, since it is a reconcile() of its reference. Nothing here
breaks what it stands beside, but an intent, which was asked for.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import TypeVar

import psycopg
import structlog
from psycopg.types.json import Jsonb

from reconcile import rows
from reconcile.config.filters import Watched
from reconcile.database import Busy, Connection, queries, sql_file
from reconcile.guards.lending import Worlds
from reconcile.inquiry import explaining
from reconcile.life import grace, step
from reconcile.model import (
    Absent,
    Facts,
    Hint,
    Kind,
    Known,
    Misconfigured,
    ObjectRef,
    ObjectSide,
    Policy,
    Row,
    RowState,
    Told,
    Unavailable,
)
from reconcile.reconciler import reconcile
from reconcile.steps import Step
from reconcile.verdict import rows_of

log = structlog.get_logger("reconcile.guards")
SQL = queries(sql_file("guards.sql"))
LOOKS = 2
NO_GRACE = timedelta(0)
PATIENCE = timedelta(minutes=1)  # how long an intent waits for the next sign of life
SIGN_S = 10.0
T = TypeVar("T")


@dataclass
class Beside:
    """Marks, looks and intents; `source` names the process that they come from."""

    worlds: Worlds
    is_watched: Watched
    source: str

    def row(self, version_id: str) -> Row | None:
        """Return a row as everybody sees it."""
        return _persistent(lambda: self._row(version_id))

    def _row(self, version_id: str) -> Row | None:
        with self.worlds.lent() as world, world.database.use() as connection:
            return next(iter(rows.by_id(connection, world.mapping, [version_id])), None)

    def look(self, ref: ObjectRef, facts: Facts) -> None:
        """Look at a reference now and do what follows: mark, or give back; whatever fails is logged."""
        if self.is_watched(ref.key):
            with self._harmless("not marked", ref):
                hint = Hint(ref, named_by="read", evidence=self._told("read", facts))
                _persistent(lambda: self._look(hint))

    def _look(self, hint: Hint) -> None:
        """Look twice where the first look begins a suspicion: it is over at once for a row older than its grace."""
        with self.worlds.lent() as world:
            if not self.worlds.has_kept(world):
                log.info("read.not_marked", why="the schema reconciler is not in this database, or behind")
                return
            for _ in range(LOOKS):
                if not reconcile(world, [hint], at_once).acts.get("suspected"):
                    return

    def ask(self, ref: ObjectRef, after: timedelta, facts: Facts) -> None:
        """Ask for a look; whatever fails is logged."""
        if self.is_watched(ref.key):
            hint = Hint(ref, named_by="upload", evidence=self._told("upload", facts))
            with self._harmless("no look asked for", ref):
                _persistent(lambda: self._ask(hint, after))

    def _ask(self, hint: Hint, after: timedelta) -> None:
        with self.worlds.lent() as world:
            if self.worlds.has_kept(world):
                world.ask([hint], after, "an upload failed")

    def intend(self, ref: ObjectRef, facts: Facts) -> Intent:
        """Keep what an upload is about to do; raises Unavailable or Misconfigured where that cannot be kept."""
        named = {"bucket": ref.bucket, "key": ref.key, "id": uuid.uuid4().hex}
        intent = {**named, "patience": PATIENCE, "intent": Jsonb({**facts, "id": named["id"], "source": self.source})}
        _persistent(lambda: self._intend(intent))
        return Intent(self, ref, named)

    def _intend(self, intent: Mapping[str, object]) -> None:
        with self.worlds.lent() as world:
            if not self.worlds.has_kept(world):
                raise Misconfigured(
                    "intent: there is no schema reconciler to keep it in; run storage-reconciler init --apply, "
                    "or store without an intent"
                )
            with world.database.use() as connection, explaining():
                connection.execute(SQL["intend"], intent)

    @contextmanager
    def kept(self, what: str, ref: ObjectRef) -> Iterator[Connection]:
        """Lend a connection to our schema; whatever fails is logged."""
        with self._harmless(what, ref), self.worlds.lent() as world, world.database.use() as connection:
            yield connection

    def _told(self, name: str, facts: Facts) -> Told:
        return Told({"named_by": name, name: {**facts, "source": self.source}})

    @contextmanager
    def _harmless(self, what: str, ref: ObjectRef) -> Iterator[None]:
        """Log what fails, and go on: a read and an upload are worth more than what is kept of them."""
        try:
            yield
        except (Unavailable, Misconfigured, Busy, psycopg.Error) as error:
            log.warning("guard.failed", what=what, bucket=ref.bucket, object_key=ref.key, why=str(error))
        except Exception:
            log.exception("guard.failed", what=what, bucket=ref.bucket, object_key=ref.key)


@dataclass
class Intent:
    """A look that comes due when the upload gives no sign of life any more, and tells then what was intended."""

    beside: Beside
    ref: ObjectRef
    named: dict[str, str]

    def __post_init__(self) -> None:
        self._signed = monotonic()

    def sign(self) -> None:
        """Put the look off, at most every few seconds."""
        if monotonic() - self._signed > SIGN_S:
            self._signed = monotonic()
            with self.beside.kept("intent not put off", self.ref) as connection:
                connection.execute(SQL["put_off"], {**self.named, "patience": PATIENCE})

    def fulfilled(self) -> None:
        """Leave nothing of it."""
        with self.beside.kept("intent not ended", self.ref) as connection:
            connection.execute(SQL["fulfilled"], self.named)


def _persistent(work: Callable[[], T]) -> T:
    """Do it once more where a connection broke, since that may have been while it was idle."""
    try:
        return work()
    except Unavailable as error:
        if error.server != "postgresql":
            raise
        return work()


def at_once(ref: ObjectRef, known: Known, side: ObjectSide, now: datetime, policy: Policy) -> Step:
    """Decide as a look does, but do not wait for the grace of an absent object whose rows are all older than that."""
    live = [row for row in rows_of(ref, known) if row.state == RowState.LIVE]
    if isinstance(side, Absent) and all(_is_older(row, now, policy) for row in live):
        policy = replace(policy, missing_grace=NO_GRACE, young_age=NO_GRACE)
    return step(ref, known, side, now, policy)


def _is_older(row: Row, now: datetime, policy: Policy) -> bool:
    return row.created_at is not None and now - row.created_at >= grace(Kind.MISSING, row, now, policy)
