"""One turn of the consumer, and turns for ever: the topic's events become looks, and offsets follow the outcomes.

One thread owns the topic, the world and the hold. An offset is committed only after the transaction that holds the
outcome of its event; what a turn cannot finish because a server is away is read again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from consumer.events import Dialect, decode_all
from consumer.hold import Hold
from consumer.topic import Topic
from reconcile.model import Action, Hint, ObjectRef, Unavailable
from reconcile.reconciler import NOW, World, reconcile
from reconcile.steps import Tally
from reconcile.verdict import settled

log = structlog.get_logger("consumer")


@dataclass(frozen=True, slots=True)
class Stream:
    """What the loop reads and how: the dialect, whether rows name S3 versions, which references are watched.

    A turn asks MinIO for at most `looks` references, `looks_behind` of them new when more events are waiting.
    """

    dialect: Dialect
    watched: Callable[[ObjectRef], bool]
    versioned: bool = False
    batch: int = 1000
    looks: int = 400
    looks_behind: int = 100


@dataclass(slots=True)
class Consumer:
    """What one loop works with; `now` is monotonic seconds and serves the hold alone."""

    topic: Topic
    world: World
    hold: Hold
    stream: Stream
    now: Callable[[], float] = time.monotonic
    busy: bool = False

    def turn(self) -> Tally:
        """Read what has come, settle what can be settled at a glance, look at the rest, commit what is done."""
        batch = self.topic.poll(0.0 if self.busy else self.hold.patience(self.now()))
        self.hold.forget(batch.revoked)
        decoded = decode_all(batch.records, self.stream.dialect, self.now(), versioned=self.stream.versioned)
        self.topic.bury(decoded.poison)
        hints = [hint for hint in decoded.hints if self.stream.watched(hint.ref)]
        self.hold.read(batch.next_offsets, hints, self.now())
        late, glanced = self.glance(hints + self.hold.due_tries(self.now()))
        behind = len(batch.records) >= self.stream.batch
        room = self.stream.looks_behind if behind else self.stream.looks
        due = self.world.due(self.stream.looks - min(len(late), room))
        tally = reconcile(self.world, late[:room] + due)
        self.world.ask(late[room:], NOW, "not asked")
        self.topic.commit(self.hold.offsets())
        self.busy = behind or bool(due)
        skipped = len(decoded.hints) - len(hints) + decoded.ignored
        return tally + Tally(
            settled=glanced - len(late),
            acts={"read": len(batch.records), "skipped": skipped},
            not_asked=len(late[room:]),
        )

    def glance(self, asking: Sequence[Hint]) -> tuple[list[Hint], int]:
        """Return what is late, and how many were glanced at; what may settle by itself is held."""
        known = self.world.glance(list({hint.ref for hint in asking})) if asking else {}
        now = self.now()
        unsettled = [
            hint
            for hint in asking
            if not settled(hint, known[hint.ref])
            or (hint.action is Action.CREATED and self.hold.recently_removed(hint.ref, now))
        ]
        return self.hold.keep(unsettled, known, now), len(asking)

    def run(self, stopping: Callable[[], bool], count: Callable[[Tally], None]) -> None:
        """Take turns until told to stop; a server that is away pauses the reading, and nothing is skipped."""
        while not stopping():
            try:
                count(self.turn())
            except Unavailable as outage:  # the one recovery, the same as a restart
                log.warning("outage.begun", server=outage.server, why=outage.detail)
                self.hold.clear()
                self.topic.wait_out(outage, stopping)
                log.info("outage.waited", server=outage.server)
