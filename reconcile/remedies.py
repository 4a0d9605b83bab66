"""What a person can do about a version that lost its object, each with its command line. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from reconcile.model import Finding
from reconcile.ways import Bring, NoWay, Unhide, Way

PLANS = "each prints its plan; --apply does it"


class Case(NamedTuple):
    """A finding, how its object may come back, the later version if there is one, and whether another one is live."""

    finding: Finding
    way: Way
    later: str | None
    has_other: bool


def remedies(case: Case, program: str, action: str) -> Iterator[str]:
    """Yield what would work, and what would not and why; `program` is how the command is called, `action` a purge's."""
    number = case.finding.id
    match case.way:
        case Unhide(marker):
            yield f"remove the delete marker {marker}, below which it lies: {program} restore {number}"
        case Bring(source, _, by):
            yield f"copy it from {source.bucket}/{source.key}, compared by {by}: {program} restore {number}"
        case NoWay(why):
            yield f"restore would do nothing: {why}"
    if case.finding.previous_status is None:
        return
    alone = "" if case.has_other else " --even-alone"
    why = f", superseded by {case.later}" if case.later else "" if case.has_other else ", its file's only version"
    yield f"give the version up ({action}{why}): {program} purge {number} --older-than 0s{alone}"
    yield PLANS
