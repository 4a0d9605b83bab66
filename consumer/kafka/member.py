"""Kafka behind our types: a member of a group that reads.

One of the few modules that import the driver; it knows nothing of events, holds or databases. One thread owns a member.
An exception inside the driver loses the records it had taken, so callbacks only note, and signal handlers must do the
same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from time import monotonic, sleep
from typing import NamedTuple

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.kafka import faults
from consumer.kafka.assignment import Assignment, partition_of
from consumer.kafka.clients import ASK_SECONDS, asking, open_admin, open_consumer, record_of
from consumer.kafka.faults import raised
from consumer.kafka.login import Login
from consumer.kafka.settings import Settings
from consumer.patience import within
from consumer.stream.events import Record
from consumer.stream.hold import Partition
from reconcile.model import Misconfigured, Unavailable

log = structlog.get_logger("kafka")
SILENCE_SECONDS = 10.0  # without a record, after which a broker is asked whether it still answers
PROBE_SECONDS = 1.0  # for the same question by a new client, while ours is not answered
LOST_SECONDS = 15.0  # how long new clients alone may be answered; longer than a driver waits before it connects anew
COMMIT_SECONDS = 30.0  # for what the group holds: as long as it may be without a coordinator
COORDINATOR_SECONDS = 0.1  # before one that moves is asked again
ANSWER_SECONDS = 240.0  # for the driver's own answer: three tries of a minute, and a session without coordinator
LEAVE_SECONDS = 8.0  # for leaving the group
QUIET_SECONDS = 0.05  # without a further decision of the group, before it is left


class Open(NamedTuple):
    """A commit on its way."""

    since: float
    offsets: Mapping[Partition, int]


class Member:
    """One member of a group that reads one topic; joins when made, leaves at `close`.

    Nothing is asked of a broker before the first call; what lasts of its troubles is raised as Unavailable.
    """

    def __init__(self, topic: str, kafka: Settings) -> None:
        self.assignment = noted = Assignment()
        self._topic = topic
        self._trouble: KafkaError | None = None
        self._refused: KafkaError | None = None  # what a commit came to, if only a person can mend it
        self._open: list[Open] = []  # commits that the driver has not answered, the oldest first
        self.complaint = ""  # of the last commit that was refused
        self._broken = False
        self._left = False
        self._kafka = kafka
        self._heard_at = monotonic()  # when a broker was last known to answer us
        self._lost_since: float | None = None  # since when only new clients are answered
        self._unsure = False  # the driver may have taken records that never reached us
        self._login = Login(kafka)
        self._consumer = open_consumer(kafka, self._note_trouble, self._note_commit)
        self._consumer.subscribe([topic], on_assign=noted.assign, on_revoke=noted.revoke, on_lost=noted.revoke)

    def read(self, patience: float, most: int) -> list[Record]:
        """Wait so many seconds for a record, and return it with what is there already."""
        messages: list[Message] = []
        try:
            self._receive(messages, patience, most)
        except KafkaException as fault:
            self._unsure = True
            raise self._heard(fault.args[0]) from fault
        finally:  # whatever the driver did, what reached us is read again from its first
            records = self.assignment.kept(record_of(message) for message in messages if message.error() is None)
        self._judge(messages)
        return records

    def commit(self, offsets: Mapping[Partition, int], metadata: str = "") -> bool:
        """Store and commit, and ask what the group holds; False if it is not this, as while the group is moving on.

        What is no longer ours cannot be stored. Unless they are named, the driver commits none below its last commit.
        It is asked, not waited for: of a commit that met a broker's restart the driver may never give an answer.
        """
        try:
            stored = [TopicPartition(*place, offset, metadata) for place, offset in offsets.items()]
            self._consumer.store_offsets(offsets=stored)
            self._consumer.commit(offsets=stored, asynchronous=True)
            self._open.append(Open(monotonic(), dict(offsets)))
            return self._held(offsets) == offsets
        except KafkaException as fault:
            if fault.args[0].name() in faults.GROUP_MOVES:
                return False
            raise self._heard(fault.args[0]) from fault

    def pause(self) -> None:
        """Stop reading, and drop what the driver has read ahead; what it brings all the same is read again later."""
        self.assignment.fresh = False
        with suppress(KafkaException):
            self._consumer.pause(self._consumer.assignment())

    def idle(self, patience: float) -> None:
        """Stay in the group without reading; partitions assigned meanwhile are paused as well."""
        self._login.renew(self._consumer)
        try:
            message = self._consumer.poll(patience)
        except KafkaException as fault:
            self._heard(fault.args[0])
            self._unsure, message = True, None
        self.assignment.begin()
        if message is not None:
            self._idled(message)
        if self.assignment.fresh:
            self.pause()

    def go_back(self) -> bool:
        """Seek to where each partition must be read again, and read on; False if that is not possible yet."""
        try:
            places = (self._unread() if self._unsure else {}) | self.assignment.return_to
            for place, offset in places.items():
                self._consumer.seek(TopicPartition(*place, offset))
            self._consumer.resume(self._consumer.assignment())
        except KafkaException:
            return False
        self._unsure = False
        return True

    def is_broken(self) -> bool:
        """Tell whether the driver gave up for good; only a new member helps."""
        return self._broken

    def exists(self, topic: str) -> bool:
        """Ask whether a topic exists: the driver waits for a missing one without a word."""
        with asking(topic):
            error = self._consumer.list_topics(topic, timeout=ASK_SECONDS).topics[topic].error
        if error is not None and error.name() not in faults.NOT_THERE:
            raise raised(error, topic)
        return error is None

    def answers(self) -> bool:
        """Tell whether a broker answers within two seconds; where new clients alone are answered, the driver is broken.

        It may know no broker any more, as one told it that there were none, and then never asks again.
        """
        if _answers(self._consumer, self._topic, ASK_SECONDS):
            self._heard_at, self._lost_since = monotonic(), None
            return True
        if not _answers(open_admin(self._kafka), self._topic, PROBE_SECONDS):
            self._lost_since = None
            return False
        self._lost_since = self._lost_since or monotonic()
        self._broken = self._broken or monotonic() > self._lost_since + LOST_SECONDS
        return self._broken

    def assigned(self) -> int | None:
        """Return how many partitions are ours; None while the group has not said."""
        return len(self.assignment.owned) if self.assignment.told else None

    def lag(self) -> dict[Partition, int]:
        """Return how many records each partition we read is behind its high watermark, asking nobody."""
        behind: dict[Partition, int] = {}
        for place, offset in self.assignment.return_to.items():
            _, high_watermark = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
            if high_watermark >= 0:
                behind[place] = max(high_watermark - offset, 0)
        return behind

    def close(self) -> None:
        """Leave the group at once, so that others take over; nothing is committed."""
        if self._left:
            return
        self._left = True
        silence = Unavailable("kafka", f"the driver came to no end of its leaving in {LEAVE_SECONDS:g} s")
        try:
            within(LEAVE_SECONDS, self._leave, silence)
        except Unavailable:  # its partitions are given to others once the group misses it
            log.warning("kafka.left_behind", why=silence.detail)

    def _leave(self) -> None:
        """Close the driver once it has told what the group decided meanwhile, and nothing more comes for a moment.

        Told of two decisions while it closes, it may never return, nor let any thread run (confluent-kafka 2.16: with
        the interpreter's lock it asks its own thread, which answers nothing once the group is left).
        """
        try:
            self.pause()
            owned = None
            while owned != self.assignment.owned:
                owned = set(self.assignment.owned)
                self.idle(QUIET_SECONDS)
        finally:
            self._consumer.close()

    def _note_trouble(self, trouble: KafkaError) -> None:
        if trouble.name() == faults.ALL_BROKERS_DOWN:
            self._trouble = trouble

    def _note_commit(self, trouble: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        """Note the driver's answer to a commit, which comes in a later poll."""
        answered = {partition_of(place): place.offset for place in places}
        for one in self._open[:]:
            if not answered or one.offsets == answered:
                self._open.remove(one)
                break
        self.complaint = ""
        for error in filter(None, (trouble, *(place.error for place in places))):
            self.complaint = f"{error.name()}: {error.str()}"
            if error.name() == faults.FATAL or error.name().endswith(faults.NOT_ALLOWED):
                self._refused = error
        self.assignment.overtaken({partition_of(place): place.offset for place in places if place.error is None})

    def _heard(self, error: KafkaError) -> Unavailable | Misconfigured:
        """Return what an error that lasts is; that the driver gave up for good it says once, to any call."""
        self._broken = self._broken or error.name() == faults.FATAL
        return raised(error, self._topic)

    def _idled(self, message: Message) -> None:
        """Note what came while nothing was read; a record of it is read again."""
        error = message.error()
        if error is None:
            self.assignment.kept([record_of(message)])
        else:
            self._heard(error)

    def _receive(self, messages: list[Message], patience: float, most: int) -> None:
        self._login.renew(self._consumer)
        first = self._consumer.poll(patience)  # comes after every callback of its call
        self.assignment.begin()
        if first is not None:
            messages.append(first)
            messages += self._consumer.consume(most - 1, 0) if most > 1 else []
        if self.assignment.fresh:  # a partition that was paused when it was lost comes back paused
            self._consumer.resume(self._consumer.assignment())
            self.assignment.fresh = False

    def _judge(self, messages: Sequence[Message]) -> None:
        """Raise what the broker or the driver complained of, if it lasts."""
        if self.assignment.is_torn():
            self._unsure = True
            raise Unavailable("kafka", "partitions went and came back within one poll")
        for error in filter(None, map(Message.error, messages)):
            if error.name() not in faults.HARMLESS:
                raise self._heard(error)
        refused, self._refused = self._refused, None
        if refused is not None:
            raise self._heard(refused)
        self._miss_answers()
        trouble = self._trouble
        if messages:
            self._heard_at = monotonic()
        silent = trouble is not None or monotonic() > self._heard_at + SILENCE_SECONDS
        if silent and not messages and (not self.answers() or self._broken):
            raise raised(trouble, self._topic) if trouble else Unavailable("kafka", "no broker answers")
        self._trouble = None

    def _miss_answers(self) -> None:
        """Raise where the driver has lost a commit, since it then ends no rebalance: only a new member helps."""
        if self._open and monotonic() > self._open[0].since + ANSWER_SECONDS:
            self._broken = True
            raise Unavailable("kafka", f"the driver has not answered a commit for {ANSWER_SECONDS:g} s")

    def _held(self, offsets: Mapping[Partition, int]) -> dict[Partition, int]:
        """Return what the group holds; asked in short questions, so that a signal is heard between them."""
        end = monotonic() + COMMIT_SECONDS
        while True:
            try:
                return self._committed(offsets)
            except KafkaException as fault:
                if fault.args[0].name() not in faults.COORDINATOR_MOVES or monotonic() > end:
                    raise
                sleep(COORDINATOR_SECONDS)

    def _unread(self) -> dict[Partition, int]:
        """Return what the broker holds as committed; where that is nothing, the beginning."""
        held = self._committed(self.assignment.owned)
        return {place: max(offset, OFFSET_BEGINNING) for place, offset in held.items()}

    def _committed(self, places: Iterable[Partition]) -> dict[Partition, int]:
        answers = self._consumer.committed([TopicPartition(*place) for place in places], ASK_SECONDS)
        return {partition_of(answer): answer.offset for answer in answers}


def _answers(client: Consumer | AdminClient, topic: str, seconds: float) -> bool:
    try:
        return bool(client.list_topics(topic, timeout=seconds).brokers)
    except KafkaException:
        return False
