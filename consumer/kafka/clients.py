"""The driver's clients, made of a user's settings, and what it says of them in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.kafka.faults import raised
from consumer.kafka.settings import Settings, for_admin, for_consumer, for_producer
from consumer.logs import handed_on
from consumer.stream.events import Record
from reconcile.model import Misconfigured

Driver = TypeVar("Driver", Consumer, Producer, AdminClient)

ASK_SECONDS = 2.0  # for one question to a broker


def open_consumer(
    kafka: Settings,
    note_trouble: Callable[[KafkaError], None] | None = None,
    note_commit: Callable[[KafkaError | None, Sequence[TopicPartition]], None] | None = None,
) -> Consumer:
    """Make a consumer of a user's `[kafka]`."""
    told = {"error_cb": note_trouble or _ignore} | ({"on_commit": note_commit} if note_commit else {})
    return made(Consumer, for_consumer(kafka) | told)


def open_producer(kafka: Settings) -> Producer:
    """Make a producer of a user's `[kafka]`."""
    return made(Producer, for_producer(kafka) | {"error_cb": _ignore})


def open_admin(kafka: Settings) -> AdminClient:
    """Make what asks of topics and groups."""
    return made(AdminClient, for_admin(kafka) | {"error_cb": _ignore})


@contextmanager
def asking(topic: str = "") -> Iterator[None]:
    """Say in our words what a question to a broker came to."""
    try:
        yield
    except KafkaException as fault:
        raise raised(fault.args[0], topic) from fault


def made(driver: type[Driver], settings: dict[str, Any]) -> Driver:
    """Make one of the driver's; Misconfigured says what it does not take."""
    try:
        return driver(settings, logger=handed_on("kafka"))
    except KafkaException as fault:
        raise Misconfigured(f"[kafka] {fault.args[0].str()}; the names are those of librdkafka.") from fault


def _ignore(_: KafkaError) -> None:
    """Leave a trouble to whoever asks."""


def record_of(message: Message) -> Record:
    """Return a message's parts; made as a plain tuple, in half the time, since this runs for every record."""
    headers = message.headers()
    told = tuple(headers) if isinstance(headers, list) else ()
    place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
    return tuple.__new__(Record, (*place, message.value(), message.key(), told, message.timestamp()[1]))
