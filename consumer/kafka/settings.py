"""What a user's `[kafka]` becomes: our defaults beneath it, what safety needs above it. Pure.

The names are librdkafka's own, and what is not named here goes to it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconcile.config.checks import OURS_TO_SET

Settings = Mapping[str, object]  # a user's [kafka] and [kafka.topic] in one

SAFETY: Settings = dict.fromkeys(OURS_TO_SET, False)
NO_GROUP = "storage-reconciler-reads-beside"  # the driver wants a name; nobody joins it
CONSUMER_DEFAULTS: Settings = {
    "auto.offset.reset": "earliest",
    "fetch.queue.backoff.ms": 5,  # librdkafka's own second would idle us each time so small a queue is full
    "group.id": "storage-reconciler",
    "queued.max.messages.kbytes": 4096,
}
CLASSIC_DEFAULTS: Settings = {
    "heartbeat.interval.ms": 1000
}  # by which a member hears that another has left its partitions
PRODUCER_DEFAULTS: Settings = {
    "message.timeout.ms": 10_000,
    "topic.metadata.propagation.max.ms": 5_000,  # so that a missing topic is told before the time-out
}
ACKNOWLEDGEMENTS = ("acks", "request.required.acks")  # without all of them a delivery report confirms nothing
CONSUMER_ONLY = (
    "auto.offset.",
    "check.crcs",
    "enable.auto.",
    "enable.partition.",
    "fetch.",
    "group.",
    "heartbeat.",
    "isolation.",
    "max.partition.",
    "max.poll.",
    "partition.assignment.",
    "queued.",
    "session.",
)


def for_consumer(kafka: Settings) -> dict[str, object]:
    """Return the settings of a consumer."""
    classic = kafka.get("group.protocol", "classic") == "classic"
    return {**CONSUMER_DEFAULTS, **(CLASSIC_DEFAULTS if classic else {}), **kafka, **SAFETY}


def for_producer(kafka: Settings) -> dict[str, object]:
    """Return the settings of a producer of dead letters or findings."""
    theirs = {name: value for name, value in for_admin(kafka).items() if name not in ACKNOWLEDGEMENTS}
    return {**PRODUCER_DEFAULTS, **theirs, "acks": "all"}


def for_admin(kafka: Settings) -> dict[str, object]:
    """Return the settings that concern more than consumers."""
    return {name: value for name, value in kafka.items() if not name.startswith(CONSUMER_ONLY)}
