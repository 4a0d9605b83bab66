"""How far a group is behind, in records and in seconds: the age of the oldest record that it has not committed.

Beside member.py one of the few modules that import the driver. Joins nothing, commits nothing; the consumer stays open
between questions, and fetches a little of each partition that lags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from time import monotonic
from typing import NamedTuple, Self

from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition

from consumer.kafka.clients import ASK_SECONDS, asking, open_admin, open_consumer, record_of
from consumer.kafka.faults import raised
from consumer.kafka.login import Login
from consumer.kafka.settings import Settings

IMPATIENT_S = 0.2  # for each further partition, once one did not answer: many may be silent together
OLDEST_S = 2.0  # for the oldest records of all partitions that lag
SMALL: Settings = {"fetch.message.max.bytes": 16_384, "queued.min.messages": 1, "queued.max.messages.kbytes": 1_024}


class GroupOffset(NamedTuple):
    """How far a group is with one partition; `committed` is None before its first commit.

    `metadata` is what the commit carries beside the offset.
    """

    partition: int
    committed: int | None
    low_watermark: int
    high_watermark: int
    metadata: str = ""

    @property
    def is_beyond(self) -> bool:
        """Whether more is committed than there is: the topic was emptied or recreated."""
        return (self.committed or 0) > self.high_watermark

    @property
    def next_offset(self) -> int:
        """What the group reads next; what the broker has dropped cannot be read any more."""
        return self.low_watermark if self.is_beyond else max(self.committed or 0, self.low_watermark)

    @property
    def lag(self) -> int:
        """How many records are not committed; a group without a commit begins at the oldest."""
        return max(self.high_watermark - self.next_offset, 0)


class Lag(NamedTuple):
    """One partition: records not committed, and when the oldest of them was written, where that could be had."""

    partition: int
    records: int
    oldest_ms: int | None = None


class Held(NamedTuple):
    """How many records a topic holds, and how many were ever written to it."""

    now: int
    ever: int


def group_offsets(topic: str, kafka: Settings) -> list[GroupOffset]:
    """Ask how far the group is with a topic, without joining it."""
    consumer = open_consumer(kafka)
    with closing(consumer):
        return offsets_of(consumer, topic)


def offsets_of(consumer: Consumer, topic: str) -> list[GroupOffset]:
    """Ask the same of an open consumer, which is a member of nothing."""
    with asking(topic):
        places = _places(consumer, topic)
        marks = {place.partition: consumer.get_watermark_offsets(place, timeout=ASK_SECONDS) for place in places}
        return _committed(consumer, places, marks)


def answered_offsets_of(consumer: Consumer, topic: str) -> list[GroupOffset]:
    """Ask the same, and leave out the partitions that do not answer, unless none does."""
    with asking(topic):
        places, marks = _places(consumer, topic), dict[int, tuple[int, int]]()
        fault: KafkaException | None = None
        for place in places:
            try:
                marks[place.partition] = consumer.get_watermark_offsets(
                    place, timeout=IMPATIENT_S if fault else ASK_SECONDS
                )
            except KafkaException as silent:  # one without a leader, or whose leader is away, hides no other
                fault = silent
        if fault and not marks:
            raise fault
        return _committed(consumer, [place for place in places if place.partition in marks], marks)


def _places(consumer: Consumer, topic: str) -> list[TopicPartition]:
    found = consumer.list_topics(topic, timeout=ASK_SECONDS).topics[topic]
    if found.error is not None:
        raise raised(found.error, topic)
    return [TopicPartition(topic, partition) for partition in sorted(found.partitions)]


def _committed(
    consumer: Consumer, places: list[TopicPartition], marks: Mapping[int, tuple[int, int]]
) -> list[GroupOffset]:
    return [
        GroupOffset(one.partition, one.offset if one.offset >= 0 else None, *marks[one.partition], one.metadata or "")
        for one in consumer.committed(places, timeout=ASK_SECONDS)
    ]


class Asker:
    """Asks again and again; one thread owns it. Kafka's troubles are raised as Unavailable."""

    def __init__(self, topic: str, kafka: Settings) -> None:
        self._topic = topic
        self._login = Login(kafka)
        self._consumer = open_consumer({**kafka, **SMALL})
        self._admin = open_admin(kafka)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def lags(self) -> list[Lag]:
        """Return the lag of each partition that answers."""
        self._renew()
        found = answered_offsets_of(self._consumer, self._topic)
        behind = [(one.partition, one.next_offset) for one in found if one.lag]
        written = self._oldest(behind) if behind else {}
        return [Lag(one.partition, one.lag, written.get(one.partition)) for one in found]

    def offsets(self) -> list[GroupOffset]:
        """Return how far the group is with every partition."""
        return self._offsets(self._topic)

    def topic_id(self) -> str:
        """Return what tells the topic from another of the same name; `''` where the broker has no such ids."""
        with asking(self._topic):
            asked = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=ASK_SECONDS)
            return str(asked[self._topic].result().topic_id or "")

    def held(self, topic: str) -> Held:
        """Return how many records another topic holds, and held."""
        found = self._offsets(topic)
        return Held(
            sum(one.high_watermark - one.low_watermark for one in found), sum(one.high_watermark for one in found)
        )

    def _offsets(self, topic: str) -> list[GroupOffset]:
        self._renew()
        return offsets_of(self._consumer, topic)

    def _renew(self) -> None:
        self._login.renew(self._consumer, self._admin)

    def _oldest(self, behind: Iterable[tuple[int, int]]) -> dict[int, int]:
        """Return when the record at each place was written, in milliseconds since 1970, of those that came in time."""
        places = [TopicPartition(self._topic, partition, offset) for partition, offset in behind]
        written: dict[int, int] = {}
        ends = monotonic() + OLDEST_S
        with asking(self._topic):
            self._consumer.assign(places)
            while len(written) < len(places) and (left := ends - monotonic()) > 0:
                message = self._consumer.poll(left)
                if message is not None and message.error() is None:
                    record = record_of(message)
                    written.setdefault(record.partition, record.timestamp_ms)
            self._consumer.unassign()
        return {partition: at for partition, at in written.items() if at >= 0}
