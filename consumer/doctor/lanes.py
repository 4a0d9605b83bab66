"""The checks of what runs: whether each lane tells of the canary, and whether a sweep is wanted."""

from __future__ import annotations

from collections.abc import Iterator

from consumer.doctor.check import Check, bad, ok, unseen, warn
from consumer.doctor.checked import Checked
from consumer.duties import canary
from consumer.duties.losswatch import wanted
from reconcile import inquiry

WAYS = {
    "target_gone": "MINIO_NOTIFY_KAFKA_* in MinIO's environment, and a restart",
    "rule_removed": "storage-reconciler init --only bucket --apply, then storage-reconciler sweep --fix",
    "broker_unreachable": "start the broker, or correct its address in MINIO_NOTIFY_KAFKA_BROKERS_*",
    "not_consumed": "storage-reconciler consume",
    "stream_buffered": "stream.express = false, or take the proxy before MinIO away (docs/facts.md)",
    "no_lane": "storage-reconciler consume",
}
RUNBOOK = "docs/runbook.md, ReconcilerCanarySilent"
CANARY_ON = '[canary] interval = "1m"'
LATE = 5  # so many intervals without a canary mean that nobody sends one


def lanes(checked: Checked) -> Iterator[Check]:
    """Tell which lane is silent, and why, likely, as the process that sends the canary has it."""
    settings = checked.settings
    if not settings.canary.interval:
        yield unseen("no canary is sent, so whether the lanes work is not known", CANARY_ON)
        return
    with checked.reading() as connection:
        kept, now = canary.kept(connection), inquiry.clock(connection).timestamp()
    for bucket in checked.buckets():
        one = kept.get(bucket)
        if one and one.judged.refused:  # first: none that is refused counts as sent
            yield bad(f"{bucket}: the canary cannot be sent: {one.judged.refused}", RUNBOOK)
        elif one is None or now - one.sent_at > LATE * settings.canary.interval.total_seconds():
            yield bad(f"{bucket}: nobody sends the canary", "storage-reconciler consume")
            continue
        for lane, (cause, why) in one.judged.silent.items():
            yield bad(f"{bucket}: the {lane} lane is silent: {why}", WAYS.get(cause, RUNBOOK))
        if not (one.judged.refused or one.judged.silent):
            yield ok(f"{bucket}: {', '.join(canary.lanes(settings))}: told of the canary")


def losses(checked: Checked) -> Iterator[Check]:
    """Tell whether the stream may have missed something that no sweep has covered."""
    with checked.reading() as connection:
        found = wanted(connection)
    for one in found:
        yield warn(f"{one.bucket or 'every bucket'}: events may be lost ({one.reason})", _sweep(one.bucket))
    if not found:
        yield ok("no sweep is wanted for what the stream may have missed")


def _sweep(bucket: str) -> str:
    return f"storage-reconciler sweep --bucket {bucket} --fix" if bucket else "storage-reconciler sweep --fix"
