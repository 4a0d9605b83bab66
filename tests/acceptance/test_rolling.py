"""Two consumers are replaced one after the other while a stream goes on: it never pauses for long, and nothing is lost.

The group's settings are those that users have who set none.
"""

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import monotonic

import confluent_kafka as ck
import pytest

from tests.support import consuming, scraping
from tests.support.waiting import until

OLD = datetime(2025, 9, 7, tzinfo=UTC)  # of a row that is no longer young, so that only an event can name it
PAUSE_S = 5.0
OK = 200
END_S = 5.0
BEAT_S = 0.02
MOST_GONE = 80  # more than a hundred would not be believed
PARTITIONS = range(4)
WORDS = ("consume", "--log-format", "json")
OUT_OF_THE_BOX = {"RECONCILER_KAFKA__SESSION_TIMEOUT_MS": "", "RECONCILER_KAFKA__HEARTBEAT_INTERVAL_MS": ""}
QUICK = {
    **OUT_OF_THE_BOX,
    "RECONCILER_POLICY__MISSING_GRACE": "300ms",
    "RECONCILER_FLAGGING": "true",
    "RECONCILER_BRAKE__BUCKET_FLOOR": "1000",
    "RECONCILER_STREAM__EXPRESS": "false",
}


@dataclass
class Stream:
    """A stream of events in all partitions, fed by a thread, and watched by another: how long no commit came."""

    site: consuming.Site
    gone: list[str] = field(default_factory=list)
    poison: int = 0
    longest_s: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def feed(self) -> None:
        """Send some events each beat: of what is whole, now and then of what is gone, and poison."""
        number = 0
        while not self.stop.wait(BEAT_S):
            number += 1
            whole = self.site.created("whole")
            for partition in PARTITIONS:
                values: list[bytes | None] = [whole, whole]
                if number % 20 == 0 and len(self.gone) < MOST_GONE:
                    key = f"gone {partition} {number}"
                    self.site.row(key, created_at=OLD)
                    self.gone.append(key)
                    values.append(self.site.removed(key))
                if number % 50 == 0:
                    self.poison += 1
                    values.append(b"poison")
                self.site.send(values, partition)

    def watch(self) -> None:
        """Note for how long a partition's committed offset stood still at the longest, while its end moved on."""
        places = [ck.TopicPartition(self.site.topic, partition) for partition in PARTITIONS]
        group = {"bootstrap.servers": self.site.kafka["bootstrap.servers"], "group.id": self.site.kafka["group.id"]}
        asker = ck.Consumer(group)
        moved = {}
        while not self.stop.wait(BEAT_S):
            for place in asker.committed(places, timeout=10):
                offset, at = moved.get(place.partition, (-1, monotonic()))
                self.longest_s = max(self.longest_s, monotonic() - at)
                if place.offset != offset:
                    moved[place.partition] = place.offset, monotonic()
        asker.close()


@contextmanager
def streaming(site) -> Iterator[Stream]:
    """Feed and watch a stream that already flows."""
    stream = Stream(site)
    with consuming.beside(stream.feed, stream.stop):
        until(lambda: len(site.committed()) == len(PARTITIONS), 20, "a commit in each partition")
        with consuming.beside(stream.watch, stream.stop):
            yield stream


@contextmanager
def consumer(site, number: int) -> Iterator[subprocess.Popen[str]]:
    """Start one of the consumers, and wait until it is ready, as whoever rolls a restart out does."""
    own = replace(site.program, file=site.program.file.with_name(f"consumer-{number}.toml"))
    with own.running(*WORDS, **QUICK) as process:
        page = scraping.page(own)
        until(lambda: page.ask("/readyz").status == OK, 30, "ready")
        yield process


@pytest.mark.invariant(2)
@pytest.mark.timeout(180)
def test_a_rolling_restart_pauses_little_and_loses_nothing(site):
    """Each of two is ended by SIGTERM, and followed by another; every event has its outcome at the end."""
    site.put("whole")
    site.row("whole")
    with ExitStack() as exits:
        running = [exits.enter_context(consumer(site, number)) for number in (1, 2)]
        until(lambda: len(site.members()) == len(running), 30, "two in the group")
        with streaming(site) as stream:
            for number, old in enumerate(running, 3):
                begun = monotonic()
                old.send_signal(signal.SIGTERM)
                assert old.wait(20) == 0
                assert monotonic() - begun < END_S
                exits.enter_context(consumer(site, number))
            fed = sum(site.ends().values())
            until(lambda: sum(site.committed().values()) > fed, 30, "the new ones read")
        until(site.caught_up, 30, "the stream is worked off")
        until(lambda: site.open() == {(key, "missing", "open") for key in stream.gone}, 30, "what is gone, all of it")
    assert stream.longest_s < PAUSE_S
    assert len(site.letters()) == stream.poison
