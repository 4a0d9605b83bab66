"""The checks of Kafka: configured and reached, the topics and how long they keep a record, and whose the group is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from consumer.doctor.check import Check, bad, ok, unseen, warn
from consumer.doctor.checked import Checked
from consumer.duties.losswatch import beat_of
from consumer.kafka.positions import group_offsets
from reconcile.human import duration, size

LEAST, WEEKEND, WEEK = timedelta(days=1), timedelta(days=3), timedelta(days=7)
CREATE = "storage-reconciler init --only kafka --apply"
OWN_GROUP = 'give the service a group of its own: kafka."group.id" = "storage-reconciler-2"'


def configured(checked: Checked) -> Iterator[Check]:
    """Tell whether there is a stream at all."""
    if checked.settings.kafka:
        yield ok(f"[kafka] is configured; the topic is {checked.settings.stream.topic!r}")
    else:
        yield unseen("no [kafka] is configured: sweeps alone find drift", 'kafka."bootstrap.servers" = "HOST:9092"')


def reached(checked: Checked) -> Iterator[Check]:
    """Tell whether a broker lets us in; raises Unavailable."""
    count = len(checked.topics())
    yield ok(f"{checked.settings.kafka.get('bootstrap.servers')} answers, and shows {count} topics")


def topics(checked: Checked) -> Iterator[Check]:
    """Tell whether every topic is there that we read or write."""
    stream = checked.settings.stream
    wanted = [stream.topic, stream.dead_letter_topic, *([stream.findings_topic] if stream.publish_findings else [])]
    missing = [name for name in wanted if name not in checked.topics()]
    for name in missing:
        yield bad(f"there is no topic {name!r}, or we may not see it", CREATE)
    if not missing:
        yield ok(", ".join(wanted))


def retention(checked: Checked) -> Iterator[Check]:
    """Tell whether events are kept as long as the consumer may be away."""
    topic, config = checked.settings.stream.topic, _config(checked)
    kept = timedelta(milliseconds=int(config.get("retention.ms", -1)))
    most = int(config.get("retention.bytes", -1))
    told = f"a record is kept for {duration(kept.total_seconds())}"
    fix = _alter(checked, f"retention.ms={int(WEEK.total_seconds() * 1000)}")
    if most >= 0:
        yield warn(
            f"a partition keeps no more than {size(most)}: a burst shortens how long the consumer may be away",
            _alter(checked, "retention.bytes=-1"),
        )
    if timedelta(0) <= kept < LEAST:
        yield bad(f"{topic!r}: {told}: what a consumer that was away longer has not read is lost", fix)
    elif timedelta(0) <= kept < WEEKEND:
        yield warn(f"{topic!r}: {told}, which is less than a long weekend", fix)
    else:
        yield ok(f"{topic!r}: {told if kept >= timedelta(0) else 'records are kept for ever'}")


def compaction(checked: Checked) -> Iterator[Check]:
    """Tell whether the topic keeps every event, not only a key's last."""
    policy = _config(checked).get("cleanup.policy", "delete")
    if "compact" in policy:
        told = f"cleanup.policy is {policy}: of an object's events only the last is kept, so who deleted it may be lost"
        yield bad(told, _alter(checked, "cleanup.policy=delete"))
    else:
        yield ok("cleanup.policy is delete: every event is kept")


def group(checked: Checked) -> Iterator[Check]:
    """Tell whether nobody else commits as our group."""
    topic = checked.settings.stream.topic
    name, foreign = checked.group(), checked.broker.foreign(topic)
    for other in foreign:
        yield bad(f"the group {name!r} reads {other!r}, too: each rebalance of the one stops the other", OWN_GROUP)
    theirs = [
        str(one.partition)
        for one in group_offsets(topic, checked.kafka)
        if one.committed is not None and beat_of(one.metadata)[0] is None
    ]
    if theirs:
        told = f"offsets of {topic!r} (partitions {', '.join(theirs)}) were committed by another program, or by hand"
        yield bad(f"{told}: it reads what we then do not", OWN_GROUP)
    if not foreign and not theirs:
        yield ok(f"the group {name!r} is ours alone")


def _config(checked: Checked) -> dict[str, str]:
    return dict(checked.broker.config(checked.settings.stream.topic))


def _alter(checked: Checked, setting: str) -> str:
    servers, topic = checked.settings.kafka.get("bootstrap.servers"), checked.settings.stream.topic
    command = f"kafka-configs.sh --bootstrap-server {servers} --alter --entity-type topics --entity-name {topic}"
    return f"{command} --add-config {setting}"
