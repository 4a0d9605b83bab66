"""What `status` tells of the way that events take: each bucket's rules, and the canary by lane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from consumer.duties import rulewatch
from consumer.duties.canary import Canary
from reconcile.human import Value
from reconcile.inquiry import Record
from reconcile.reports.forms import Table

CANARY = ("bucket", "lane", "canary", "took_ms", "told_at", "why")
RULES = ("bucket", "rules", "lacking", "changed_at")


def rules_of(leases: Sequence[Record]) -> Table:
    """Return how each bucket's event rules are, as the duty that watches them saw them last."""
    kept = [checkpoint for task, _, checkpoint, _ in leases if task == f"duty {rulewatch.NAME}"]
    return Table("rules", RULES, list(rule_rows(kept[0] if kept else None)), "Event rules of the buckets")


def rule_rows(kept: str | None) -> Iterator[tuple[Value, ...]]:
    """Yield each bucket's state, what is lacking, and when it changed."""
    for bucket, one in rulewatch.read(kept).items():
        lacks = one.why or ", ".join(one.lacking)
        yield bucket, one.state, lacks, datetime.fromtimestamp(one.changed_at, UTC) if one.changed_at else None


def canary_of(kept: Mapping[str, Canary]) -> Table:
    """Return what each lane told of the canary last, and why it is silent or not sent, likely."""
    return Table("canary", CANARY, list(canary_rows(kept)), "Canary, by lane")


def canary_rows(kept: Mapping[str, Canary]) -> Iterator[tuple[Value, ...]]:
    """Yield each bucket's lanes."""
    for bucket, one in kept.items():
        if one.judged.refused:
            yield bucket, None, "refused", None, None, one.judged.refused
        for lane, arrival in sorted(one.lanes.items()):
            cause, why = one.judged.silent.get(lane, ("", ""))
            took = None if arrival.took_s is None else round(arrival.took_s * 1000, 1)
            at = None if arrival.at is None else datetime.fromtimestamp(arrival.at, UTC)
            state = f"silent: {cause}" if cause else "heard" if arrival.at else "not yet"
            yield bucket, lane, state, took, at, why
