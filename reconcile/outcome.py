"""What a batch came to: its count, and the lines of the log. Decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from reconcile.model import Absent, Hint, Kind, NotAsked, ObjectRef, ObjectSide, Present, Unknown
from reconcile.restraint import Trip, holder
from reconcile.steps import Step, Tally
from reconcile.testimony import testimony

if TYPE_CHECKING:
    from reconcile.reconciler import Look

log = structlog.get_logger("reconciler")
FOUND = frozenset({"opened", "flagged", "flagged after release", "refused"})


def count(steps: Sequence[Step], look: Look, busy: int) -> Tally:
    """Add up what a batch came to."""
    acts = Counter(change.act for one in steps for change in one.changes)
    held = Counter(map(holder, steps))
    answers = Counter(answer_of(look.objects[ref]) for ref in look.refs)
    del answers[""]
    return Tally(
        looks=len(look.refs),
        busy=busy,
        unknown=answers["unknown"],
        acts=acts,
        answers=answers,
        braked=held["braked"],
        suppressed=held["suppressed"],
    )


def answer_of(side: ObjectSide) -> str:
    """Return in one word what an answer proved; none where nothing was asked."""
    match side:
        case Present():
            return "present"
        case Absent():
            return "absent"
        case Unknown():
            return "unknown"
        case NotAsked():
            return ""


def tell(steps: Sequence[Step], trips: Sequence[Trip], hints: Mapping[ObjectRef, Hint]) -> None:
    """Log what was committed: files that are gone, and brakes that tripped."""
    for trip in trips:
        log.error("brake.tripped", kind=trip.kind, bucket=trip.bucket or "(all)", why=trip.why)
    for one in steps:
        for change in one.changes:
            flagged = change.before is not None and change.before.previous_status is not None  # a purge was refused
            if change.kind is Kind.MISSING and change.act in FOUND and not flagged:
                facts = testimony(hints.get(one.ref), one.side)
                log.warning(
                    "FILE_NOT_FOUND_IN_STORAGE",
                    file_id=change.row.file_id if change.row else None,
                    version_id=change.row_id,
                    bucket=one.ref.bucket,
                    object_key=one.ref.key,
                    principal=facts.get("principal"),
                    source_address=facts.get("source_address"),
                    act=change.act,
                )
