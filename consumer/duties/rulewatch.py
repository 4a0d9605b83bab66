"""Watches the rules by which each bucket's events reach the topic: removed, narrowed or changed is noticed, and kept.

What is kept lies in the duty's lease, where metrics and `status` find it. Which of MinIO's targets sends to the topic
is what the settings say, or what `init` named last; where neither does, any Kafka target counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import msgspec
import structlog

from consumer.duties.duty import Duty, Turn, each
from reconcile import inquiry
from reconcile.database import Connection
from reconcile.model import Misconfigured
from reconcile.store import bucketrules
from reconcile.store.eventrules import EVENTS, lacking, state
from reconcile.store.objects import Objects

log = structlog.get_logger("rules")
NAME = "rules"
RULE_ADDED = "event rule added"
INTERVAL_S = 30.0
REFUSED = "refused"
WHOLE = "whole"


class Watched(msgspec.Struct, frozen=True):
    """One bucket's rules as they were read last: `changed_at` is 0 while they are as they were at first.

    `arn` is the target that they are to reach, `''` if none is known.
    """

    state: str
    lacking: tuple[str, ...] = ()
    document: str = ""
    changed_at: float = 0.0
    why: str = ""
    arn: str = ""


def duty(objects: Objects, buckets: Sequence[str], arn: str = "") -> Duty:
    """Return the duty."""
    in_turn = deque(buckets)
    return Duty(NAME, INTERVAL_S, lambda turn: watch(turn, objects, in_turn, arn))


def watch(turn: Turn, objects: Objects, buckets: deque[str], arn: str = "") -> None:
    """Read each bucket's rules, and keep what they are and when they changed; of one that is silent what was known."""
    before = read(turn.checkpoint)
    with turn.world.database.use() as connection:
        now = inquiry.clock_s(connection)
    found = {bucket: before[bucket] for bucket in buckets if bucket in before}

    def look(bucket: str) -> None:
        with turn.world.database.use() as connection:
            target = arn or named(connection, bucket) or (before[bucket].arn if bucket in before else "")
        found[bucket] = _compared(before.get(bucket), _read(objects, bucket, target), now)
        tell(bucket, before.get(bucket), found[bucket])

    outage = each(buckets, look)
    turn.keep(msgspec.json.encode(found).decode())
    if outage:
        raise outage


def named(connection: Connection, bucket: str) -> str:
    """Return the target that `init` named last for a bucket, `''` if that is not known."""
    told = inquiry.records(connection, "target", act=RULE_ADDED, bucket=bucket)
    return str(told[0][0]) if told else ""


def known(connection: Connection, bucket: str) -> str:
    """Return the same, or else the target that the rules were watched for last."""
    kept = [one for task, _, one, _ in inquiry.records(connection, "leases") if task == f"duty {NAME}"]
    watched = read(kept[0] if kept else None).get(bucket)
    return named(connection, bucket) or (watched.arn if watched else "")


def _read(objects: Objects, bucket: str, arn: str) -> Watched:
    try:
        rules = bucketrules.event_rules(objects, bucket)
    except Misconfigured as refusal:
        return Watched(REFUSED, why=str(refusal), arn=arn)
    document = msgspec.json.encode(sorted(rules)).decode()
    return Watched(state(rules, arn=arn), lacking(rules, arn=arn), document, arn=arn)


def _compared(before: Watched | None, found: Watched, now: float) -> Watched:
    """Return what was found, with when it changed; what could not be read has not changed."""
    if before is None:
        return found
    if found.state == REFUSED:
        return msgspec.structs.replace(found, document=before.document, changed_at=before.changed_at)
    changed = bool(before.document) and before.document != found.document
    return msgspec.structs.replace(found, changed_at=now if changed else before.changed_at)


def tell(bucket: str, before: Watched | None, found: Watched) -> None:
    """Log what became of the rules, once."""
    if before is not None and (before.state, before.document) == (found.state, found.document):
        return
    if found.state != WHOLE:
        log.warning("rules.lacking", bucket=bucket, state=found.state, lacking=found.lacking, why=found.why)
    elif before is not None:
        log.warning("rules.changed", bucket=bucket, state=found.state)


def read(kept: str | None) -> Mapping[str, Watched]:
    """Read what is kept, by bucket."""
    try:
        return msgspec.json.decode(kept, type=dict[str, Watched]) if kept else {}
    except msgspec.DecodeError:
        return {}


def missing(one: Watched) -> Mapping[str, bool]:
    """Return of each wanted event whether it does not come."""
    return {event: event in one.lacking for event in EVENTS}
