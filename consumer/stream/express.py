"""The express lane: removals as MinIO's listen stream tells them, at once and without any promise.

One process at a time holds the lane of a bucket, under a lease; another takes over within seconds when it dies. The
lane touches no offset: it names references to the same reconciler, and the durable lane goes on without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from consumer.stream.events import Sighting, aim, decode_minio_listen, hint_of
from reconcile import ledger
from reconcile.config.filters import OURS
from reconcile.database import Busy
from reconcile.model import Action, Hint, Misconfigured, ObjectRef, Unavailable, Undecodable
from reconcile.reconciler import reconcile
from reconcile.steps import Tally
from reconcile.store.objects import REMOVALS, Objects, Silent
from reconcile.verdict import settled
from reconcile.world import LiveWorld

log = structlog.get_logger("express")
LEASE_S = 4.0
RENEW_S = 1.0
AGAIN_S = 1.0


@dataclass(slots=True)
class Lane:
    """One bucket's express lane, in a thread with a connection of its own. `wait(seconds)` tells when to stop."""

    world: LiveWorld
    objects: Objects
    bucket: str
    watched: Callable[[str, str], bool]
    wait: Callable[[float], bool]
    versioned: bool = False
    count: Callable[[Tally], object] = lambda _: None
    arrived: Callable[[list[ObjectRef]], object] = lambda _: None
    state: str = "express.waiting"
    renewed_at: float = 0.0

    @property
    def lease(self) -> str:
        """The lease's name."""
        return f"express {self.bucket}"

    def run(self) -> None:
        """Hold the lane whenever nobody else does, until told to stop."""
        while not self.wait(0.0):
            try:
                if self.take():
                    self.keep()  # else the lease still says of us what a dead holder said of itself
                    self.listen()
                else:
                    self.wait(AGAIN_S)
            except Silent as silence:
                self.say("express.silent", str(silence))
            except (Unavailable, Misconfigured, Busy) as outage:
                self.say("express.down", str(outage))
        self.leave()

    def take(self) -> bool:
        """Take or keep the lease."""
        with self.world.database.use() as connection:
            return ledger.take_lease(connection, self.lease, self.world.actor, LEASE_S) is not None

    def keep(self) -> bool:
        """Keep the lease and say how the lane is; at most once a second, since the stream's ping comes as often."""
        if time.monotonic() - self.renewed_at < RENEW_S:
            return True
        self.renewed_at = time.monotonic()
        with self.world.database.use() as connection:
            return ledger.advance_lease(connection, self.lease, self.world.actor, LEASE_S, self.state)

    def listen(self) -> None:
        """Look at each removal as it is told, for as long as the lease is ours."""
        for line in self.objects.listen(self.bucket, REMOVALS, lambda: self.wait(0.0)):
            if self.state != "express.listening":
                self.state, self.renewed_at = "express.listening", 0.0
                log.info(self.state, bucket=self.bucket)
            if line is not None:
                self.look(self.hints(line))
            if not self.keep():
                log.warning("express.lost", bucket=self.bucket, why="another process holds the lease")
                self.state = "express.waiting"
                return

    def hints(self, line: bytes) -> list[Hint]:
        """Return what one line of the stream names; a line that does not decode is logged and passed over."""
        try:
            events = decode_minio_listen(line)
            found = [hint_of(Sighting(event), "express") for event in events]
        except Undecodable as fault:
            log.warning("express.undecodable", why=str(fault), line=line[:200])
            return []
        aimed = [one for hint in found if hint for one in aim(hint, versioned=self.versioned)]
        ours = [hint.ref for hint in found if hint and hint.action is Action.REMOVED and hint.ref.key.startswith(OURS)]
        if ours:
            self.arrived(ours)
        return [hint for hint in aimed if self.watched(*hint.ref[:2])]

    def look(self, hints: list[Hint]) -> None:
        """Look at what a glance does not settle."""
        known = self.world.glance([hint.ref for hint in hints])
        self.count(reconcile(self.world, [hint for hint in hints if not settled(hint, known[hint.ref])]))

    def say(self, event: str, why: str) -> None:
        """Report a lane that does not work, keep the lease's word of it, and wait a little."""
        if self.state != event:
            log.warning(event, bucket=self.bucket, why=why, meanwhile="the durable lane goes on alone")
        self.state, self.renewed_at = event, 0.0
        try:
            if self.take():  # a silence outlasts the lease
                self.keep()
        except Unavailable:
            log.info("express.unsaid", why="the database is away, too")
        self.wait(AGAIN_S)

    def leave(self) -> None:
        """Let another process have the lane at once."""
        try:
            with self.world.database.use() as connection:
                ledger.drop_lease(connection, self.lease, self.world.actor)
        except Unavailable:
            log.info("express.left", why="the lease runs out by itself")
        self.world.database.close()
