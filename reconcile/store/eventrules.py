"""The rules by which a bucket's events reach a topic: which are wanted, which are lacking. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

EVENTS = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleDelMarkerExpiration:Delete")
KAFKA = ":kafka"  # what the name of such a target ends with


@dataclass(frozen=True, slots=True)
class RulePlan:
    """What a bucket's event rules lack, and the documents (XML) as they are and as they would be."""

    bucket: str
    arn: str
    events: tuple[str, ...]
    lacking: tuple[str, ...]
    before: str
    after: str


class EventRule(NamedTuple):
    """One rule: where its events go, which they are, and the keys that it is narrowed to (`''`: all)."""

    target: str
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""


def covers(wide: str, event: str) -> bool:
    """Tell whether one name of events, perhaps with a star at its end, holds another."""
    return wide == event or (wide.endswith("*") and event.startswith(wide[:-1]))


def target_name(arn: str) -> str:
    """Return the name in arn:minio:sqs:REGION:NAME:kafka."""
    return arn.removesuffix(KAFKA).rpartition(":")[2]


def reaches(target: str, arn: str) -> bool:
    """Tell whether a rule's target is the one that is meant, whatever region it says; where none is, any Kafka is."""
    return target.endswith(KAFKA) and (not arn or target_name(target) == target_name(arn))


def lacking(rules: Iterable[EventRule], wanted: Sequence[str] = EVENTS, arn: str = "") -> tuple[str, ...]:
    """Return the wanted events that no rule sends to our target for every key."""
    whole = [
        one for rule in rules if reaches(rule.target, arn) and not (rule.prefix or rule.suffix) for one in rule.events
    ]
    return tuple(event for event in wanted if not any(covers(one, event) for one in whole))


def state(rules: Sequence[EventRule], wanted: Sequence[str] = EVENTS, arn: str = "") -> str:
    """Return `whole`, `narrowed` where only some events, or those of some keys, come, `removed` where none does."""
    if not lacking(rules, wanted, arn):
        return "whole"
    told = [one for rule in rules if reaches(rule.target, arn) for one in rule.events]
    some = any(covers(one, event) or covers(event, one) for one in told for event in wanted)
    return "narrowed" if some else "removed"
