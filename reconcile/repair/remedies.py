"""What a person can do about a version that lost its object, each with its command line. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from reconcile.model import Finding, State
from reconcile.repair.ways import Bring, NoWay, Unhide, Way

PLANS = "each prints its plan; --apply does it"


class Case(NamedTuple):
    """A finding, how its object may come back, the later version if there is one, and whether another one is live.

    `deleted` is the finding under which its object was deleted as an orphan, and from which it can be brought back.
    """

    finding: Finding
    way: Way
    later: str | None
    has_other: bool
    deleted: int | None = None


def remedies(case: Case, program: str, action: str) -> Iterator[str]:
    """Yield what would work, and what would not and why; `program` is how the command is called, `action` a purge's."""
    if isinstance(case.way, NoWay):
        yield f"restore would do nothing: {case.way.why}"
    works = [f"{what}: {program} {words}" for what, words in _working(case, action)]
    yield from (*works, PLANS) if works else ()


def _working(case: Case, action: str) -> Iterator[tuple[str, str]]:
    finding = case.finding
    match case.way:
        case Unhide(marker):
            yield f"remove the delete marker {marker}, below which it lies", f"restore {finding.id}"
        case Bring(source, _, by):
            yield f"copy it from {source.bucket}/{source.key}, compared by {by}", f"restore {finding.id}"
        case NoWay():
            pass
    if case.deleted is not None:
        yield "bring back what was deleted as an orphan", f"orphans undo {case.deleted}"
    if finding.state is State.OPEN and finding.previous_status is not None and finding.held_by != "brake":
        yield _given_up(case, action)


def _given_up(case: Case, action: str) -> tuple[str, str]:
    alone = "" if case.has_other else " --even-alone"
    why = f", superseded by {case.later}" if case.later else "" if case.has_other else ", its file's only good version"
    return f"give the version up ({action}{why})", f"purge {case.finding.id} --older-than 0s{alone}"
