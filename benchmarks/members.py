"""Members of one consumer group: the real loop, each in a process of its own that goes on until SIGTERM."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

from confluent_kafka import Consumer as Driver
from confluent_kafka import KafkaException, TopicPartition

from benchmarks.measuring import READY, ran_one, running
from benchmarks.serving import loop, until_sigterm
from benchmarks.stream import Place
from reconcile.steps import Tally


@dataclass(frozen=True)
class Member(Place):
    """A place, and what a member has of it: its group, and how many partitions are its share."""

    group: str = ""
    share: int = 1


def member(place: Member) -> dict[str, float]:
    """Run the real loop until SIGTERM, without the service's other threads; says so once it has its share."""
    options = {"group.id": place.group, "heartbeat.interval.ms": 300}
    with loop(place.settings(), options) as (consumer, service):
        said = False

        def say(_: Tally) -> None:
            nonlocal said
            if not said and consumer.topic.assigned() == place.share:
                said = True
                print(READY, flush=True)

        until_sigterm(consumer, service, say)
    return {}


def members(place: Place, group: str, number: int, partitions: int) -> AbstractContextManager[list[int]]:
    """Start so many members that share the partitions; gives their processes once each owns its share."""
    one = Member(**asdict(place), group=group, share=partitions // number)
    return running("benchmarks.members", "member", one, number)


def watching(place: Place, group: str) -> Driver:
    """Return what asks for a group's committed offsets, and is no member of it."""
    return Driver({"bootstrap.servers": place.bootstrap, "group.id": group, "enable.auto.commit": False})


def committed(watcher: Driver, place: TopicPartition) -> int:
    """Return the group's committed offset, -1 while there is none or the broker is still finding its coordinator."""
    try:
        return watcher.committed([place], timeout=10)[0].offset
    except KafkaException:
        return -1


if __name__ == "__main__":
    ran_one(sys.argv[1:], {"member": member}, Member)
