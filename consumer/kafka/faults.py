"""What Kafka's errors mean for us, by their names in librdkafka. Pure.

Most errors mean that the broker is away for a while, and that is what an unknown one is taken for.
"""

from __future__ import annotations

from typing import Protocol

from reconcile.model import Misconfigured, Unavailable

# The group moves on without us for a moment. What was not committed stays owed, or its next owner reads it again.
GROUP_MOVES = frozenset(
    {
        "ILLEGAL_GENERATION",
        "REBALANCE_IN_PROGRESS",
        "STALE_MEMBER_EPOCH",
        "UNKNOWN_MEMBER_ID",
        "_ASSIGNMENT_LOST",
        "_STATE",
    }
)
COORDINATOR_MOVES = frozenset(
    {"COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "_TIMED_OUT", "_WAIT_COORD"}
)
NOT_THERE = frozenset({"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"})
HARMLESS = frozenset({"_MAX_POLL_EXCEEDED", "_PARTITION_EOF"})  # the group was left, and the next poll joins it again
NOT_ALLOWED = "_AUTHORIZATION_FAILED"  # of a topic, the group, the cluster: nobody but a person mends it
TOO_LARGE = frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"})
NOT_MADE = frozenset({"INVALID_PARTITIONS", "INVALID_REPLICATION_FACTOR"})  # of a topic that was asked for
FATAL = "_FATAL"  # the driver does nothing any more, as after another took the same group.instance.id
ALL_BROKERS_DOWN = "_ALL_BROKERS_DOWN"


class Fault(Protocol):
    """What the driver says of an error."""

    def name(self) -> str:
        """Return the name of its code."""

    def str(self) -> str:
        """Return what a person reads."""


def raised(fault: Fault, topic: str = "") -> Unavailable | Misconfigured:
    """Return what an error that lasts is for the caller."""
    if fault.name() in NOT_THERE:
        return missing(topic)
    if fault.name().endswith(NOT_ALLOWED):
        return refused(fault, topic)
    if fault.name() in NOT_MADE:
        return Misconfigured(
            f"[kafka] topic {topic!r}: {fault.str()} ({fault.name()}); say other --partitions or another --replication"
        )
    return Unavailable("kafka", f"{fault.name()}: {fault.str()}")


def refused(fault: Fault, topic: str) -> Misconfigured:
    """Return the fault of a right that lacks, with the way out."""
    return Misconfigured(
        f"[kafka] the broker does not let this user do that ({' of '.join(filter(None, (fault.name(), topic)))}); "
        "storage-reconciler roles acls prints what allows it"
    )


def missing(topic: str) -> Misconfigured:
    """Return the fault of a topic that does not exist, with the way out."""
    return Misconfigured(
        f"[kafka] topic {topic!r} does not exist on this broker. Correct its name, or create it with "
        "`storage-reconciler init --only kafka --apply`."
    )
