"""A letterbox: letters are sent at once, and confirmed each by its own report.

Beside member.py one of the few modules that import the driver. Knows nothing of what a letter says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from consumer.kafka import faults
from consumer.kafka.clients import open_producer
from consumer.kafka.faults import raised
from consumer.kafka.login import Login
from consumer.kafka.settings import Settings
from consumer.letters.letter import Letter

BURY_SECONDS = 15.0  # longer than message.timeout.ms, so that each letter has its report


class Letterbox:
    """Writes letters to one topic; opened at the first, so that a consumer without poison has no producer."""

    def __init__(self, topic: str, kafka: Settings) -> None:
        self._topic = topic
        self._kafka = kafka
        self._login = Login(kafka)
        self._producer: Producer | None = None
        self._sent: list[Letter] = []
        self._reports: list[KafkaError | None] = []

    def deliver(self, letters: Sequence[Letter]) -> list[Letter]:
        """Send and confirm."""
        self.send(letters)
        return self.confirm()

    def send(self, letters: Sequence[Letter]) -> None:
        """Hand letters to the driver, which sends them meanwhile; nothing is sure before `confirm`."""
        if not letters:
            return
        if self._producer is None:
            self._login, self._producer = Login(self._kafka), open_producer(self._kafka)
        self._login.renew(self._producer)
        for letter in letters:
            number = len(self._sent)
            self._sent.append(letter)
            self._reports.append(KafkaError(KafkaError.REQUEST_TIMED_OUT))
            self._send(self._producer, letter, partial(self._reports.__setitem__, number))
        self._producer.poll(0)

    def confirm(self) -> list[Letter]:
        """Wait for the own report of each letter sent so far, and return those that are too large; else raise."""
        if self._producer is None or not self._sent:
            return []
        self._producer.flush(BURY_SECONDS)  # an empty queue proves nothing
        outcomes = list(zip(self._sent, self._reports, strict=True))
        self.forget()
        refused = [(letter, fault) for letter, fault in outcomes if fault is not None]
        for _, fault in refused:
            if fault.name() not in faults.TOO_LARGE:
                self._producer = None  # its driver may know no broker any more
                raise raised(fault, self._topic)
        return [letter for letter, _ in refused]

    def forget(self) -> None:
        """Wait for no letter sent so far: it will be sent again."""
        self._sent, self._reports = [], []

    def _send(self, producer: Producer, letter: Letter, report: Callable[[KafkaError | None], None]) -> None:
        def delivered(fault: KafkaError | None, _: Message) -> None:
            report(fault)

        try:
            producer.produce(self._topic, letter.value, letter.key, on_delivery=delivered, headers=list(letter.headers))
        except KafkaException as fault:
            report(fault.args[0])
        except BufferError:
            report(KafkaError(KafkaError.THROTTLING_QUOTA_EXCEEDED))
