"""Topics: which of those that are wanted are missing, and creating these: what `init` does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from confluent_kafka import KafkaError
from confluent_kafka.cimpl import NewTopic

from consumer.kafka.clients import ASK_SECONDS, asking, open_admin
from consumer.kafka.settings import Settings

ADMIN_SECONDS = 20.0


class WantedTopic(NamedTuple):
    """A topic that should exist; `replication` of -1 is the broker's default."""

    name: str
    partitions: int = 4
    replication: int = -1
    config: Mapping[str, str] = MappingProxyType({})


def missing_topics(kafka: Settings, wanted: Iterable[WantedTopic]) -> list[WantedTopic]:
    """Return which topics would have to be created: what `init` plans."""
    with asking():
        there = open_admin(kafka).list_topics(timeout=ASK_SECONDS).topics
    return [topic for topic in wanted if topic.name not in there]


def create_topics(kafka: Settings, missing: Sequence[WantedTopic]) -> None:
    """Create the topics of a plan; one that came to be meanwhile is as good."""
    new = [NewTopic(topic.name, topic.partitions, topic.replication, config={**topic.config}) for topic in missing]
    admin = open_admin(kafka)  # kept in a name: its answers end with it
    for name, created in (admin.create_topics(new, request_timeout=ADMIN_SECONDS) if new else {}).items():
        with asking(name):
            refusal = created.exception()
            if refusal is None or refusal.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                created.result()
