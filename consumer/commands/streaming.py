"""What `status` tells of the way that events take: each bucket's rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from consumer import rulewatch
from reconcile.human import Value
from reconcile.inquiry import Record
from reconcile.report import Table

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
