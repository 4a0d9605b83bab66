"""The durable lane: a topic's records, their offsets, its dead letters, and the one recovery from an outage.

Knows what must not be lost; knows nothing of events' contents or of the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic, sleep
from typing import NamedTuple

from consumer.kafka.faults import missing
from consumer.kafka.letterbox import Letterbox
from consumer.kafka.member import Member
from consumer.kafka.settings import Settings
from consumer.letters.letter import beginning_of, letter_of
from consumer.stream.events import Poison, Record
from consumer.stream.hold import PATIENCE_MOST, Partition
from reconcile.model import Unavailable

BACK_OFF_SECONDS = 0.2  # the first wait of an outage; each further one is twice as long
BACK_OFF_MOST_SECONDS = 5.0
CREATION_SECONDS = 2.0  # how long a topic just created may be unknown to the broker
OWED_SECONDS = 30.0  # how long commits may leave something owed, as in rebalances
IDLE_SECONDS = 0.1  # how long one idle poll may keep a stop waiting


class Batch(NamedTuple):
    """What one poll brought; `revoked` since the last one: what is held of those is no longer ours."""

    records: list[Record]
    next_offsets: dict[Partition, int]
    revoked: frozenset[Partition]


class Topic:
    """A topic read by a group, and the topic of its dead letters; joins when made, leaves at `close`.

    One thread owns it. While Kafka is Unavailable nothing is committed, and `wait_out` returns to what was. A topic
    that does not exist is Misconfigured, at the first poll. `beat` tells what a commit carries, given whether something
    was written since the last; `before` is done before it joins, or else once a broker answers and before it reads.
    """

    def __init__(
        self,
        name: str,
        kafka: Settings,
        dead_letter: str = "",
        beat: Callable[[bool], str] = lambda _: "",
        before: Callable[[], object] = lambda: None,
    ) -> None:
        self._name = name
        self._dead_letter = dead_letter or f"{name}.dead-letter"
        self._kafka = kafka
        self._letterbox = Letterbox(self._dead_letter, kafka)
        self._beat = beat
        self._before = before
        self._outages = 0  # since a turn last ended well
        self._owed_since: float | None = None  # since when each commit left something owed
        self.wrote = False  # whether something was written that no commit has told of
        self._join()

    def _join(self) -> None:
        self._looked_back = False
        with suppress(Unavailable):  # else before it reads; but a member that does not poll yet holds up its group
            self._look_back()
        self._member = Member(self._name, self._kafka)
        self._checked = False

    def poll(self, patience: float, most: int = 1000) -> Batch:
        """Wait so many seconds (at most 0.25) for a record, and return it with what is there already, `most` in all."""
        if not self._checked:
            self._check()
        records = self._member.read(min(patience, PATIENCE_MOST), most)
        next_offsets = {(record.topic, record.partition): record.offset + 1 for record in records}
        return Batch(records, next_offsets, self._member.assignment.told_revoked())

    def bury(self, poison: Sequence[Poison]) -> None:
        """Begin to write what never decodes into the dead letter topic; no offset passes before that is confirmed."""
        self._letterbox.send(list(map(letter_of, poison)))

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit the next offsets to read, once the broker has confirmed each dead letter, and see that they are held.

        A turn that ends well calls it always. Offsets of lost partitions are let go; those that met a rebalance are
        committed with the next. Unavailable if that does not come about for half a minute.
        """
        self._confirm_letters()
        assignment = self._member.assignment
        owed = assignment.owing(offsets)
        if owed and self._member.commit(owed, self._beat(self.wrote)):
            assignment.committed()
            self.wrote, owed = False, {}
        self._owed_since = (self._owed_since or monotonic()) if owed else None
        if self._owed_since is not None and monotonic() > self._owed_since + OWED_SECONDS:
            why = self._member.complaint or "without a word"
            raise Unavailable("kafka", f"the group has not taken a commit for {OWED_SECONDS:g} s: {why}")
        self._outages = 0

    def _confirm_letters(self) -> None:
        still_large = self._letterbox.deliver(list(map(beginning_of, self._letterbox.confirm())))
        if still_large:
            raise Unavailable("kafka", f"{self._dead_letter} takes not even a few kilobytes: see its max.message.bytes")

    def wait_out(
        self, outage: Unavailable, stopping: Callable[[], bool], probe: Callable[[], bool] | None = None
    ) -> None:
        """Return to what is committed, and stay in the group without reading until `probe` finds the server well.

        Without a probe it waits once, longer each time until a turn ends well. Kafka itself is always probed.
        """
        well = probe or (self.answers if outage.server == "kafka" else _hopefully)
        self._member.pause()
        self._letterbox.forget()
        self._owed_since = None
        while not stopping():
            self._idle(min(BACK_OFF_SECONDS * 2 ** min(self._outages, 9), BACK_OFF_MOST_SECONDS), stopping)
            self._outages += 1
            if well() and self._go_back():
                return

    def answers(self) -> bool:
        """Tell whether a broker answers within two seconds."""
        return self._member.answers()

    def assigned(self) -> int | None:
        """Return how many partitions are ours; None while the group has not said."""
        return self._member.assigned()

    def lag(self) -> dict[Partition, int]:
        """Return how many records each partition we read is behind, as far as it is known without asking."""
        return self._member.lag()

    def close(self) -> None:
        """Leave the group at once, so that others take over; nothing is committed."""
        self._member.close()

    def _check(self) -> None:
        """Look for both topics; one just created may be unknown to the broker for a moment, so it is asked again."""
        end = monotonic() + CREATION_SECONDS
        for name in (self._name, self._dead_letter):
            while not self._member.exists(name):
                if monotonic() > end:
                    raise missing(name)
                sleep(CREATION_SECONDS / 20)
        self._look_back()
        self._checked = True

    def _look_back(self) -> None:
        if not self._looked_back:
            self._before()
            self._looked_back = True

    def _idle(self, seconds: float, stopping: Callable[[], bool]) -> None:
        end = monotonic() + seconds
        while monotonic() < end and not stopping():
            self._member.idle(IDLE_SECONDS)

    def _go_back(self) -> bool:
        if not self._member.is_broken():
            return self._member.go_back()
        self._member.close()
        self._join()
        return True


def _hopefully() -> bool:
    return True
