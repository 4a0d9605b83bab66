"""A bucket's event rules as MinIO keeps them: read, completed, and ours taken away; nobody else's rule is touched.

S3 replaces the whole document, so a change of somebody else in the same moment may be lost: keep `before`. Errors come
out as in objects.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from xml.etree import ElementTree as ET

from minio.notificationconfig import NotificationConfig, QueueConfig

from reconcile.model import Misconfigured
from reconcile.store.eventrules import EVENTS, EventRule, RulePlan, covers, target_name
from reconcile.store.objects import Objects, asking

RULE_ID = "storage-reconciler"


def document(store: Objects, bucket: str) -> str:
    """Return the bucket's event rules, the whole document as XML."""
    return _xml(_read(store, bucket))


def event_rules(store: Objects, bucket: str) -> list[EventRule]:
    """Return the rules by which the bucket's events go to a queue, each with what it is narrowed to."""
    return [_told(rule) for rule in _read(store, bucket).queue_config_list]


def plan(store: Objects, bucket: str, arn: str, events: Sequence[str] = EVENTS) -> RulePlan:
    """Say what is lacking for the events to reach the target; changes nothing."""
    rules = _read(store, bucket)
    merged, lacking = _merged(rules, arn, events)
    return RulePlan(bucket, arn, tuple(events), lacking, _xml(rules), _xml(merged))


def apply(store: Objects, planned: RulePlan) -> RulePlan:
    """Put what is lacking in force, merged anew into the rules as they are now; returns what was done."""
    rules = _read(store, planned.bucket)
    merged, lacking = _merged(rules, planned.arn, planned.events)
    if lacking:
        with _naming(planned.arn):
            _write(store, planned.bucket, merged)
    return RulePlan(planned.bucket, planned.arn, planned.events, lacking, _xml(rules), _xml(merged))


def ours(store: Objects, bucket: str, arn: str) -> list[EventRule]:
    """Return the rules to the target that `init` made; one that it only completed is its owner's."""
    return [_told(rule) for rule in _read(store, bucket).queue_config_list if _is_ours(rule, arn)]


def remove(store: Objects, bucket: str, arn: str) -> str:
    """Take our rules to the target away; returns the document (XML) as it was."""
    rules = _read(store, bucket)
    queues = [rule for rule in rules.queue_config_list if not _is_ours(rule, arn)]
    _write(store, bucket, NotificationConfig(rules.cloud_func_config_list, queues, rules.topic_config_list))
    return _xml(rules)


def _read(store: Objects, bucket: str) -> NotificationConfig:
    with asking(f"event rules of {bucket!r}"):
        return store.client.get_bucket_notification(bucket_name=bucket)


def _write(store: Objects, bucket: str, rules: NotificationConfig) -> None:
    with asking(f"event rules of {bucket!r}"):
        store.client.set_bucket_notification(bucket_name=bucket, config=rules)


@contextmanager
def _naming(arn: str) -> Iterator[None]:
    """Say how a target comes to be that MinIO does not know; it names none, and may mean that of another's rule."""
    try:
        yield
    except Misconfigured as refusal:
        if "destination" not in str(refusal):
            raise
        raise Misconfigured(
            f"{refusal} If that is {arn}, set MINIO_NOTIFY_KAFKA_*_{target_name(arn)} as init prints, and restart"
            " MinIO; or name one that it has by --arn or stream.arn"
        ) from refusal


def _merged(rules: NotificationConfig, arn: str, events: Sequence[str]) -> tuple[NotificationConfig, tuple[str, ...]]:
    """Return the rules with ours in them, and which events were lacking; a filtered rule does not count."""
    mine = next((rule for rule in rules.queue_config_list if rule.queue == arn and not _filtered(rule)), None)
    had = tuple(mine.events) if mine else ()
    lacking = tuple(event for event in events if not any(covers(one, event) for one in had))
    if not lacking:
        return rules, ()
    kept = [one for one in had if not any(covers(event, one) for event in lacking)]
    merged = QueueConfig(events=[*kept, *lacking], config_id=(mine.config_id if mine else None) or RULE_ID, queue=arn)
    queues = [rule for rule in rules.queue_config_list if rule is not mine]
    changed = NotificationConfig(rules.cloud_func_config_list, [*queues, merged], rules.topic_config_list)
    return changed, lacking


def _is_ours(rule: QueueConfig, arn: str) -> bool:
    return rule.queue == arn and rule.config_id == RULE_ID


def _told(rule: QueueConfig) -> EventRule:
    prefix, suffix = rule.prefix_filter_rule, rule.suffix_filter_rule
    narrowed = (prefix.value if prefix else "", suffix.value if suffix else "")
    return EventRule(rule.queue or "", tuple(sorted(rule.events)), *narrowed)


def _filtered(rule: QueueConfig) -> bool:
    return rule.prefix_filter_rule is not None or rule.suffix_filter_rule is not None


def _xml(rules: NotificationConfig) -> str:
    return ET.tostring(rules.toxml(None), encoding="unicode")
