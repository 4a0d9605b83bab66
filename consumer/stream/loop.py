"""One turn of the consumer, and turns for ever: the topic's events become looks, and offsets follow the outcomes.

One thread owns the topic, the world and the hold. An offset is committed only after the transaction that holds the
outcome of its event; what a turn cannot finish because a server is away is read again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, zip_longest

import structlog

from consumer.kafka.topic import Batch, Topic
from consumer.stream.events import Dialect, Poison, Record
from consumer.stream.hold import Hold
from consumer.stream.latency import Latency, Sample
from consumer.stream.sheet import Sheet, decode_all
from reconcile.batch import removals_of
from reconcile.model import Action, Hint, ObjectRef, Unavailable
from reconcile.reconciler import World, reconcile
from reconcile.steps import NO_DELAY, Tally
from reconcile.verdict import settled

log = structlog.get_logger("consumer")
CHUNK = 500
DUE_S = 0.05
CLOCK_S = 10.0
NO_CLOCK_S = 60.0  # a server that does not answer costs the loop a time-out
AGAIN_S = 70.0  # a look that was claimed is due again a minute later
SAMPLES = 8  # events of a chunk whose latency is measured
TURN_S = 0.25  # a turn that takes longer reads fewer records the next time
FEWEST_READ = 250  # however long turns take


@dataclass(frozen=True, slots=True)
class Stream:
    """What the loop reads and how: the dialect, whether rows name S3 versions, which (bucket, key) are watched.

    A turn asks MinIO for at most `looks` references; while more events are waiting for at most `looks_behind`, half of
    them new.
    """

    dialect: Dialect
    watched: Callable[[str, str], bool]
    versioned: bool = False
    batch: int = 3000
    looks: int = 400
    looks_behind: int = 50


@dataclass(slots=True)
class Reading:
    """The decoding of one batch, by chunks, so that the database reads one while the next is decoded.

    `bury` is told of each chunk's poison at once, so that its delivery goes on beside.
    """

    stream: Stream
    read_at: float
    bury: Callable[[Sequence[Poison]], object] = lambda _: None
    poison: list[Poison] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    ours: list[ObjectRef] = field(default_factory=list)
    skipped: int = 0

    def hints(self, records: Sequence[Record]) -> Iterator[Sheet]:
        """Yield the hints of each chunk that are watched."""
        for start in range(0, len(records), CHUNK):
            chunk = records[start : start + CHUNK]
            stream = self.stream
            decoded = decode_all(
                chunk, stream.dialect, self.read_at, versioned=stream.versioned, watched=stream.watched
            )
            if decoded.poison:
                self.bury(decoded.poison)
                self.poison += decoded.poison
            self.samples += decoded.hints.samples(SAMPLES)
            self.skipped += decoded.ignored
            self.ours += decoded.ours
            yield decoded.hints


@dataclass(slots=True)
class Consumer:
    """What one loop works with; `now` is monotonic seconds and serves the hold alone.

    `server_ahead` measures how far MinIO's clock (seconds since 1970) is ahead of `now`, None if it cannot be had;
    `waits_for` is told which server is waited for, and `""` once a turn ended well; `beat` that a turn goes on, at each
    batch that the database is asked for; `arrived` which deletions below our own prefix were read; `pause` waits so
    many seconds. `busy` says that more is waiting, `early` that most of the turn's first batch came before their rows,
    `most` how many records the next turn reads.
    """

    topic: Topic
    world: World
    hold: Hold
    stream: Stream
    now: Callable[[], float] = time.monotonic
    server_ahead: Callable[[], float | None] = lambda: None
    waits_for: Callable[[str], object] = lambda _: None
    beat: Callable[[], object] = lambda: None
    latency: Latency = field(default_factory=Latency)
    arrived: Callable[[Sequence[ObjectRef]], object] = lambda _: None
    pause: Callable[[float], object] = time.sleep
    busy: bool = False
    early: bool = False
    due_at: float = 0.0
    clock_at: float = 0.0
    away: str = ""
    away_at: float = 0.0
    asked: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.most = self.modest

    def turn(self) -> Tally:
        """Read what has come, settle what can be settled at a glance, look at the rest, commit what is done."""
        most = self.how_many()
        batch = self.topic.poll(0.0 if self.busy else self.hold.patience(self.now()), most)
        began, behind = self.now(), len(batch.records) >= most
        self.take(batch, behind=behind)
        reading = Reading(self.stream, self.now(), self.topic.bury)
        late, settled_now = self.glance(reading.hints(batch.records))
        self.note(reading)
        tally, is_more_due = self.look(late, behind=behind)
        self.commit(wrote=bool(late))
        self.busy = behind or is_more_due
        self.set_pace(self.now() - began, behind=behind)
        acts = {"read": len(batch.records), "skipped": reading.skipped, "buried": len(reading.poison)}
        buried = Counter(one.reason for one in reading.poison)
        return tally + Tally(0, settled_now, held=len(self.hold), acts=acts, buried=buried)

    def take(self, batch: Batch, *, behind: bool) -> None:
        """Take in what was read, and drop what is another's by now."""
        self.hold.forget(batch.revoked)
        self.latency.forget(batch.revoked)
        self.hold.behind = behind
        self.set_clock()
        self.hold.read(batch.next_offsets, (), self.now())

    def note(self, reading: Reading) -> None:
        """Keep when events came, and tell which of them are of our own objects."""
        self.latency.read(reading.samples, self.server_now(reading.read_at))
        if reading.ours:
            self.arrived(reading.ours)

    def look(self, late: Sequence[Hint], *, behind: bool) -> tuple[Tally, bool]:
        """Look at what a glance did not settle, and at what is due; tells whether more may be due."""
        looks = self.stream.looks_behind if behind else self.stream.looks
        room = looks // 2 if behind else looks
        due = self.due(looks - min(len(late), room))
        tally = reconcile(self.world, [*late[:room], *due])
        self.world.ask(late[room:], NO_DELAY, "not asked")
        return tally + Tally(not_asked=len(late[room:])), bool(due)

    def commit(self, *, wrote: bool) -> None:
        """Commit the offsets up to the oldest record that is held."""
        self.topic.wrote = self.topic.wrote or wrote
        offsets = self.hold.offsets()
        self.topic.commit(offsets)
        self.latency.committed(offsets, self.server_now(self.now()))

    def set_clock(self) -> None:
        """Measure MinIO's clock now and then: what happened too long before it was read is not held."""
        if self.now() >= self.clock_at:
            ahead = self.server_ahead()
            self.hold.server_ahead = self.hold.server_ahead if ahead is None else ahead
            self.clock_at = self.now() + (NO_CLOCK_S if ahead is None else CLOCK_S)

    def server_now(self, at: float) -> float | None:
        """Return a moment of ours by MinIO's clock, in seconds since 1970; None while that is not known."""
        return None if self.hold.server_ahead is None else at + self.hold.server_ahead

    def how_many(self) -> int:
        """Return how many records to read: no more than may be held, and where that is little, a moment later."""
        if self.hold.room() < CHUNK:
            self.pause(self.hold.patience(self.now()))
        return min(self.most, max(self.hold.room(), 1))

    def set_pace(self, took: float, *, behind: bool) -> None:
        """Read less at once while turns take long, so that fresh events are soon done beside a burst of others.

        What a burst is of is not known before it is read, so that each begins with less.
        """
        if took > TURN_S:
            self.most = max(self.most // 2, min(FEWEST_READ, self.stream.batch))
        elif not behind:
            self.most = min(self.most, self.modest)
        elif took < TURN_S / 2:
            self.most = min(self.most * 2, self.stream.batch)

    @property
    def modest(self) -> int:
        """How many records a burst begins with."""
        return max(self.stream.batch // 4, 1)

    def due(self, limit: int) -> list[Hint]:
        """Claim looks that are due; asked for twenty times a second at the most, while more follow at once."""
        if self.now() < self.due_at:
            return []
        due = self.world.due(limit)
        self.due_at = self.now() + (0.0 if due else DUE_S)
        return due

    def glance(self, batches: Iterable[Sheet]) -> tuple[list[Hint], int]:
        """Return what is late, and how many were settled; what may settle by itself is held."""
        late: list[Hint] = []
        settled_now = 0
        tries, whole = self.hold.due_tries(self.now())
        again = [*whole, *(tries[start : start + CHUNK] for start in range(0, len(tries), CHUNK))]
        by_turns = chain.from_iterable(zip_longest(self.at_first_sight(batches), again, fillvalue=()))
        for number, unsettled in enumerate(self.world.unsettled(self.noting(by_turns), self.hold.removed)):
            now = self.now()
            left = [
                (hint, known)
                for hint, known in unsettled.told
                if not settled(hint, known) or (hint.action is Action.CREATED and self.hold.recently_removed(hint, now))
            ]
            not_yet = len(left) + len(unsettled.unknown)
            settled_now -= not_yet
            late += self.hold.keep([hint for hint, _ in left], {hint.ref: known for hint, known in left}, now)
            late += self.hold.keep_whole(unsettled.unknown, now)
            if number == 0 and self.hold.behind:
                self.early = not_yet > CHUNK // 2
        return late, settled_now + self.asked

    def at_first_sight(self, batches: Iterable[Sheet]) -> Iterator[Sequence[Hint]]:
        """Yield what is worth a glance now.

        While more events are waiting and most come before their rows, as the first batch of each turn tells, the
        others are held at once: their first glance would be in vain.
        """
        for number, sheet in enumerate(batches):
            unseen = number and self.early and self.hold.behind
            yield self.hold.keep_unseen(sheet, self.now()) if unseen else sheet

    def noting(self, batches: Iterable[Sequence[Hint]]) -> Iterator[Sequence[Hint]]:
        """Yield the batches, and note the removals of each before it is glanced at."""
        self.asked = 0
        for hints in filter(None, batches):
            self.beat()
            self.asked += len(hints)
            self.hold.read({}, removals_of(hints), self.now())
            yield hints

    def run(self, stopping: Callable[[], bool], count: Callable[[Tally], None]) -> None:
        """Take turns until told to stop; a server that is away pauses the reading, and nothing is skipped."""
        while not stopping():
            try:
                tally = self.turn()
            except Unavailable as outage:  # the one recovery, the same as a restart
                if outage.server != self.away:  # said once, however often it is tried
                    log.warning("outage.begun", server=outage.server, why=outage.detail)
                self.hold.clear()
                self.latency.clear()
                self.away, self.away_at = outage.server, self.now()
                self.waits_for(outage.server)
                self.topic.wait_out(outage, stopping, self.meanwhile if outage.server == "kafka" else None)
                log.info("outage.waited", server=outage.server, why=outage.detail)
            else:
                count(tally)
                self.went_well(tally)

    def went_well(self, tally: Tally) -> None:
        """Tell that an outage is over; that of MinIO not before it was asked again, or nothing is left to ask.

        Every turn asks the others; what MinIO did not answer comes again within a minute, or to another process.
        """
        if self.away and (self.away != "minio" or tally.looks or self.now() > self.away_at + AGAIN_S):
            log.info("outage.ended", server=self.away)
            self.away = ""
            self.waits_for("")

    def meanwhile(self) -> bool:
        """Do looks that are due, so that the express lane's go on without a broker; tell whether one answers."""
        with suppress(Unavailable):
            reconcile(self.world, self.due(self.stream.looks))
        return self.topic.answers()
