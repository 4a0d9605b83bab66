"""A range of a topic, read beside the group and without it: nothing is joined, stored or committed.

Beside member.py one of the few modules that import the driver. Where a range ends is settled before the first record
is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Self

from confluent_kafka import Message, TopicPartition

from consumer.kafka.clients import ASK_SECONDS, asking, open_consumer, record_of
from consumer.kafka.faults import HARMLESS, raised
from consumer.kafka.login import Login
from consumer.kafka.settings import NO_GROUP, Settings
from consumer.stream.events import Record
from reconcile.model import Misconfigured

QUIET_S = 10.0  # after so long without a record the broker is asked: one that is gone sends no word
Edge = int | datetime | str  # an offset, a time (aware), 'earliest' or 'latest'


@dataclass(frozen=True, slots=True)
class Range:
    """The offsets [first, end) of one partition; of those that were asked for, retention has eaten `eaten` at most.

    By offset that number is exact; by a time it is how many records there ever were before the first.
    `is_beyond`: it was to begin behind the topic's end, which was emptied or recreated, or never held so many.
    """

    partition: int
    first: int
    end: int
    eaten: int = 0
    exact: bool = True
    is_beyond: bool = False

    def __len__(self) -> int:
        return max(self.end - self.first, 0)


class RangeReader:
    """Reads ranges of one topic to their ends. One thread owns it; Kafka's troubles are raised as Unavailable."""

    def __init__(self, topic: str, kafka: Settings) -> None:
        self._topic = topic
        self._heard_at = monotonic()
        given = {**kafka, "group.id": NO_GROUP, "enable.partition.eof": True, "auto.offset.reset": "error"}
        self._login = Login(kafka)
        self._consumer = open_consumer(given)
        self._ends: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self.eaten: Counter[int] = Counter()  # by partition, while it was read
        self.beyond: set[int] = set()  # partitions that were emptied or recreated while they were read

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def ranges(self, first: Edge, last: Edge = "latest", partition: int | None = None) -> list[Range]:
        """Return the ranges between two edges, the last one not included, as the topic is now."""
        found = []
        for number in self._partitions(partition):
            place = TopicPartition(self._topic, number)
            with asking(self._topic):
                low, high = self._consumer.get_watermark_offsets(place, timeout=ASK_SECONDS)
            begin, end = (self._offset(place, edge, low, high) for edge in (first, last))
            by_time = isinstance(first, datetime) and begin <= low
            eaten = low if by_time else max(min(low, end) - begin, 0) if isinstance(first, int) else 0
            places = (min(max(begin, low), high), max(min(end, high), low))
            found.append(Range(number, *places, eaten, exact=not by_time, is_beyond=begin > high))
        return found

    def start(self, ranges: Iterable[Range]) -> None:
        """Begin to read these, and no others."""
        held = [one for one in ranges if len(one)]
        self._ends = {one.partition: one.end for one in held}
        self._next = {one.partition: one.first for one in held}
        self._assign()

    @property
    def is_over(self) -> bool:
        """Tell whether every range is read to its end."""
        return not self._ends

    def read(self, patience: float, most: int) -> list[Record]:
        """Wait so many seconds for a record, and return it with what is there already, of our ranges only."""
        self._login.renew(self._consumer)
        with asking(self._topic):
            messages = self._consumer.consume(most, patience)
        if not messages and monotonic() - self._heard_at < QUIET_S:
            return []
        if not messages:
            self._ask_of_the_rest()
        self._heard_at = monotonic()
        records = []
        for record in [record_of(message) for message in messages if message.error() is None]:
            self._next[record.partition] = record.offset + 1
            end = self._ends.get(record.partition)
            if end is not None and record.offset < end:
                records.append(record)
            if end is not None and record.offset >= end - 1:
                self._end(record.partition)
        for message in messages:
            self._judge(message)
        return records

    def _assign(self) -> None:
        """Read on where we are, what is left; a partition that was paused at its end is paused no more."""
        places = [TopicPartition(self._topic, partition, self._next[partition]) for partition in self._ends]
        with asking(self._topic):
            self._consumer.assign(places)
            self._consumer.resume(places)
        self._heard_at = monotonic()

    def _ask_of_the_rest(self) -> None:
        """Ask for what is left, of which nothing came for long: the driver waits for a broker that is gone for ever."""
        for partition in self._ends:
            with asking(self._topic):
                self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=ASK_SECONDS)

    def _judge(self, message: Message) -> None:
        fault = message.error()
        if fault is None:
            return
        if fault.name() == "_PARTITION_EOF":  # what is left of the range are marks of transactions
            self._end(message.partition() or 0)
        elif fault.name() in {"OFFSET_OUT_OF_RANGE", "_AUTO_OFFSET_RESET"}:
            self._pass_over_eaten(message.partition() or 0)
        elif fault.name() not in HARMLESS:
            raise raised(fault, self._topic)

    def _pass_over_eaten(self, partition: int) -> None:
        """Count what retention ate while it was to be read, and read on behind it."""
        end = self._ends.get(partition, 0)
        with asking(self._topic):
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition), timeout=ASK_SECONDS
            )
        if high < self._next.get(partition, 0):
            self.beyond.add(partition)
            self._end(partition)
            return
        self.eaten[partition] += max(min(low, end) - self._next.get(partition, 0), 0)
        self._next[partition] = low
        if low >= end:
            self._end(partition)
        else:
            self._assign()

    def _end(self, partition: int) -> None:
        if self._ends.pop(partition, None) is not None:
            with asking(self._topic):
                self._consumer.pause([TopicPartition(self._topic, partition)])

    def _partitions(self, wanted: int | None) -> Sequence[int]:
        with asking(self._topic):
            found = self._consumer.list_topics(self._topic, timeout=ASK_SECONDS).topics[self._topic]
        if found.error is not None:
            raise raised(found.error, self._topic)
        there = sorted(found.partitions)
        if wanted is not None and wanted not in there:
            raise Misconfigured(
                f"--partition {wanted}: topic {self._topic!r} has the partitions 0 to {there[-1]}; name one of them"
            )
        return there if wanted is None else [wanted]

    def _offset(self, place: TopicPartition, edge: Edge, low: int, high: int) -> int:
        match edge:
            case int():
                return edge
            case datetime():
                asked = TopicPartition(place.topic, place.partition, int(edge.timestamp() * 1000))
                with asking(self._topic):
                    [answer] = self._consumer.offsets_for_times([asked], timeout=ASK_SECONDS)
                return answer.offset if answer.offset >= 0 else high
            case "earliest":
                return low
            case _:
                return high
