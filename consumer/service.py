"""The always-on service: the loop in this thread, duties, figures and each express lane in others; and their end.

Each thread has database connections of its own; they share the counters of /metrics and the word to stop. A defect in
any of them ends the process: what was not committed is read again by whoever takes over.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial

import structlog

from consumer.counting import Counting
from consumer.duties import buckets, canary, clocks, duty, outbox, rulewatch, silence
from consumer.duties.clocks import ServerClock
from consumer.duties.figures import Reader, Topics
from consumer.duties.losswatch import Heartbeat, Watch
from consumer.kafka.topic import Topic
from consumer.pages import site as pages
from consumer.pages.troubles import Process
from consumer.standstill import watched_over
from consumer.stream.events import DIALECTS
from consumer.stream.express import Lane
from consumer.stream.hold import Hold
from consumer.stream.latency import Latency
from consumer.stream.loop import Consumer, Stream
from consumer.web import Probes, Site, Web
from reconcile import opening
from reconcile.config import renewal
from reconcile.config.filters import watched
from reconcile.config.settings import Settings
from reconcile.database import Database
from reconcile.steps import Tally
from reconcile.store.objects import Objects
from reconcile.tables.mapping import Mapping
from reconcile.world import LiveWorld

log = structlog.get_logger("service")
TELL_EVERY_S = 10.0
LEAVE_S = 1.0


@dataclass
class Service:
    """What all threads are told: the settings, who we are, how our commands are called, and when to stop.

    What only plans, and `writes` nothing, may ask a standby.
    """

    settings: Settings
    stop: threading.Event
    name: str = field(default_factory=opening.ourselves)
    program: str = "storage-reconciler"
    counting: Counting = field(default_factory=Counting)
    buckets: Sequence[str] = ()
    writes: bool = True
    defect: BaseException | None = None

    @property
    def lanes(self) -> Sequence[str]:
        """The buckets that have an express lane."""
        return self.buckets if self.settings.stream.express else ()

    def database(self) -> Database:
        """Return a connection for one thread."""
        database = self.settings.database
        return Database(
            renewal.current(self.settings, "database.url"),
            name=f"storage-reconciler {self.name}",
            statement_timeout=f"{int(database.statement_timeout.total_seconds() * 1000)}ms",
            lock_timeout=f"{int(database.lock_timeout.total_seconds() * 1000)}ms",
            pooled=database.pooled,
            by_index=True,
            primary=self.writes,
        )

    def mapping(self) -> Mapping:
        """Compile the mapping over the tables as they are now, and find out which buckets there are."""
        with closing(self.database()) as database:
            mapping = opening.mapping(self.settings, database)
            self.buckets = buckets.watched(self.settings, database, mapping)
        return mapping

    def world(self, mapping: Mapping, objects: Objects) -> LiveWorld:
        """Return both sides for one thread."""
        return opening.world(self.settings, self.database(), objects, self.name, mapping)

    def is_watched(self) -> Callable[[str, str], bool]:
        """Return which (bucket, key) are ours: of the configured buckets, and passing the filters."""
        key_watched = watched(self.settings.filters.include, self.settings.filters.exclude)
        if buckets.open_to_any(self.settings):
            return lambda _, key: key_watched(key)
        named = frozenset(opening.named_buckets(self.settings))
        return lambda bucket, key: bucket in named and key_watched(key)

    def wait(self, seconds: float) -> bool:
        """Wait, and tell whether it is time to stop."""
        return self.stop.wait(seconds) if seconds > 0 else self.stop.is_set()

    def guard(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return the work of a thread, whose defect ends the process."""

        def guarded() -> None:
            try:
                work()
            except BaseException as defect:  # noqa: BLE001 - handed to the main thread, which raises it
                self.defect = self.defect or defect
                self.stop.set()

        return guarded


def settle_memory() -> None:
    """Spare the collector what lives as long as the process, and let it look rarely: events make no cycles."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def serve(settings: Settings, stop: threading.Event, program: str) -> Tally:
    """Consume until told to stop; returns what was done. Raises a thread's defect."""
    settle_memory()
    service = Service(settings, stop, program=program)
    mapping = service.mapping()
    with ExitStack() as exits:
        exits.callback(watched_over(lambda: service.counting.beat_at, stop).set)  # the last of all
        passengers = [*passengers_of(service, mapping, exits), ("web", _web(service, exits))]
        threads = [threading.Thread(target=service.guard(work), name=name, daemon=True) for name, work in passengers]
        consumer = _consumer(service, mapping, exits)
        for thread in threads:
            thread.start()
        told = Teller(service.name)
        log.info("consumer.started", topic=settings.stream.topic, flagging=settings.flagging, actor=service.name)

        def count(tally: Tally) -> None:
            told(tally)
            service.counting.turned(tally, consumer.topic.assigned())

        service.guard(lambda: consumer.run(service.counting.beating(stop.is_set), count))()
        stop.set()
    leave(threads)  # their streams are closed: none waits for what a silent server does not say
    if service.defect is not None:
        raise service.defect
    log.info("consumer.stopped", **told.words())
    return told.total


def leave(threads: Sequence[threading.Thread]) -> None:
    """Let threads end; whatever still waits for a server then ends with the process, and its leases by themselves."""
    end = time.monotonic() + LEAVE_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def _consumer(service: Service, mapping: Mapping, exits: ExitStack) -> Consumer:
    settings = service.settings
    objects = exits.enter_context(opening.objects(settings))
    world = service.world(mapping, objects)
    exits.callback(world.database.close)
    beat = Heartbeat(world.database, service.name, service.buckets)
    watch = Watch(settings.stream.topic, renewal.Kafka(settings), objects, service.buckets, exits)
    before = partial(watch.before_joining, world.database, service.name)
    topic = Topic(settings.stream.topic, renewal.Kafka(settings), settings.stream.dead_letter_topic, beat, before)
    exits.callback(topic.close)
    counting = service.counting
    return Consumer(
        topic,
        world,
        Hold(),
        stream_of(service),
        server_ahead=ServerClock(objects, service.buckets[0], counting.clock) if service.buckets else nothing,
        waits_for=counting.outage,
        beat=counting.beat,
        latency=Latency(counting.took),
        arrived=partial(canary.arrived, world.database, canary.DURABLE),
    )


def _web(service: Service, exits: ExitStack) -> Callable[[], None]:
    """Listen at once, so that a port that is taken is told before anything begins; return the thread's work."""
    settings, counting = service.settings, service.counting
    probes = Probes(counting, service.database())
    site = Site(probes)
    if settings.web.status:
        process = lambda: Process(probes.live(), counting.waits_for, counting.assigned)  # noqa: E731 - one line says it
        site.pages = pages.opened(settings, service.database(), process, service.lanes, service.program)
        exits.callback(site.pages.close)
    web = Web(site, settings.web.bind, settings.web.port)
    exits.callback(web.close)
    return lambda: web.run(service.wait)


def nothing() -> None:
    """Return nothing."""


def stream_of(service: Service) -> Stream:
    """Return what the loop reads, and how."""
    settings = service.settings
    return Stream(
        dialect=DIALECTS[settings.stream.dialect],
        watched=service.is_watched(),
        versioned=settings.mapping.version.s3_version is not None,
        batch=settings.stream.batch,
    )


def passengers_of(service: Service, mapping: Mapping, exits: ExitStack) -> list[tuple[str, Callable[[], None]]]:
    """Return the other threads' names and work."""
    settings, is_watched = service.settings, service.is_watched()
    own, of_figures = ExitStack(), ExitStack()  # what a thread works with until it has ended
    objects = own.enter_context(opening.objects(settings, 2))
    world = service.world(mapping, objects)
    todo = duty.all_duties(settings.retention, partial(service.counting.looked, "young"))
    watch = Watch(settings.stream.topic, renewal.Kafka(settings), world.objects, service.buckets, own)
    todo.append(watch.duty())
    publishing: list[tuple[str, Callable[[], None]]] = []
    if settings.stream.publish_findings:
        box = outbox.Outbox(settings.stream.findings_topic, renewal.Kafka(settings))
        beside = service.world(mapping, world.objects)  # which it asks nothing
        outbox.turn_on(beside)
        publishing = [("outbox", lambda: duty.attend(beside, [box.duty()], is_watched, service.wait))]
    else:
        todo.append(outbox.turned_off())
    telling = service.world(mapping, world.objects)  # live rows of large tables are counted for minutes
    figures = _reader(service, of_figures).duty()
    todo += [clocks.duty(objects, bucket) for bucket in service.buckets[:1]]
    todo += [
        rulewatch.duty(objects, service.buckets, settings.stream.arn),
        *silence.duties(settings, service.buckets, world, own),
    ]
    return [
        ("duties", duty.closing_after(own, lambda: duty.attend(world, todo, is_watched, service.wait))),
        ("figures", duty.closing_after(of_figures, lambda: duty.attend(telling, [figures], is_watched, service.wait))),
        *publishing,
        *((f"express {bucket}", _lane(service, mapping, bucket, exits).run) for bucket in service.lanes),
    ]


def _reader(service: Service, exits: ExitStack) -> Reader:
    """Return what reads the figures that one process exports for all."""
    settings = service.settings
    stream = settings.stream
    topics = Topics(stream.topic, stream.dead_letter_topic, renewal.Kafka(settings))
    flight = canary.lanes(settings), settings.canary.interval.total_seconds()
    return Reader(service.counting.leased, topics, service.buckets, service.lanes, exits, *flight)


def _lane(service: Service, mapping: Mapping, bucket: str, exits: ExitStack) -> Lane:
    settings = service.settings
    objects = exits.enter_context(opening.objects(settings, 4))
    versioned = settings.mapping.version.s3_version is not None
    world = service.world(mapping, objects)
    count = partial(service.counting.looked, "express")
    arrived = partial(canary.arrived, world.database, canary.EXPRESS)
    return Lane(world, objects, bucket, service.is_watched(), service.wait, versioned, count, arrived)


@dataclass
class Teller:
    """Adds up what turns came to, and says so now and then: one line for many batches, none while nothing happens."""

    name: str
    total: Tally = field(default_factory=Tally)
    since: Tally = field(default_factory=Tally)
    told_at: float = field(default_factory=time.monotonic)

    def __call__(self, tally: Tally) -> None:
        """Count one turn."""
        self.total += tally
        self.since += tally
        now = time.monotonic()
        if now - self.told_at >= TELL_EVERY_S:
            if self.since.acts.get("read") or self.since.looks:
                log.info("batch.committed", **words(self.since))
            self.since, self.told_at = Tally(), now

    def words(self) -> dict[str, int]:
        """Return the totals by name, without what is zero."""
        return words(self.total)


def words(tally: Tally) -> dict[str, int]:
    """Return a tally's counts by name, without what is zero."""
    counts = {
        "settled": tally.settled,
        "looks": tally.looks,
        "busy": tally.busy,
        "unknown": tally.unknown,
        "not_asked": tally.not_asked,
        **{act.replace(" ", "_"): count for act, count in tally.acts.items()},
    }
    return {name: count for name, count in counts.items() if count}
