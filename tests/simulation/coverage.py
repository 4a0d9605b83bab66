"""What stories must exercise: the cells of the verdict's table, the lines of a finding's life, the invariants.

Cells are counted here, lines and invariants where a commit is judged (watch.py).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import pytest

from reconcile import life
from reconcile.model import Absent, Finding, NotAsked, ObjectSide, Present, Row, RowState, Unknown

WHO = ("none", "live", "flagged by us", "flagged by others", "expects absence")
STATES = {state: str(state).replace("_", " ") for state in RowState}
WHAT = ("agrees", "absent", "hidden by a marker", "unknown")
CELLS = {f"verdict: {who} x {what}" for who, what in product(WHO, WHAT)} | {
    f"verdict: {who} x {what}" for who, what in product(("live", "flagged by us"), ("differs", "differs by its ETag"))
}
RARE = {"life: approved, other", "life: ignored, foreign"}  # once in some ten thousand stories; asked of a million
INVARIANTS = {
    "invariant 1: flagged on a proven absence",
    "invariant 1: nothing was proven",
    "invariant 1: the absence was fresh",
    "invariant 1: purged on a proven absence",
    "invariant 2: a drift was passed",
    "invariant 2: poison was passed",
    "invariant 3: beside a row that the application held",
    "invariant 4: decided on what was looked at since",
    "invariant 4: flagged after its grace",
    "invariant 4: opened after its grace",
    "invariant 5: a status was given back",
    "invariant 6: a deletion rested on an approval",
    "invariant 6: withdrawn before the removal",
    "invariant 7: held by a window",
    "invariant 7: held by the brake",
    "invariant 7: missing counted by its brake",
    "invariant 7: orphan counted by its brake",
    "invariant 7: purge counted by its brake",
    "invariant 7: ignored by a rule",
    "invariant 8: drifts at the end",
    "invariant 8: findings equal the truth",
    "invariant 9: nothing was flagged while observing",
}


LINES = {
    (state, act): f"life: {state or 'nothing'}, {said.name.lower()}" for (state, said), (_, act) in life.LIFE.items()
}
ALIKE = {"flagged": "opened", "flagged after release": "opened", "refused": "opened", "given back": "resolved"}


def line_of(before: life.State | None, act: str) -> str:
    """Name the line of a finding's life by which it became what it is; none where it only waits, or is tried again."""
    return LINES.get((before, ALIKE.get(act, act)), "")


@contextmanager
def counting(counts: Counter[str]) -> Iterator[None]:
    """Count cells for as long as this is open."""
    judge_row, judge_object = life.judge_row, life.judge_object

    def of_row(row: Row, finding: Finding | None, side: ObjectSide, *hashed: Any) -> Any:
        counts[f"verdict: {who(row, finding)} x {what(row, side)}"] += 1
        return judge_row(row, finding, side, *hashed)

    def of_object(rows: Sequence[Row], side: ObjectSide, *version: str) -> Any:
        if not rows:
            counts[f"verdict: none x {what(None, side)}"] += 1
        return judge_object(rows, side, *version)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(life, "judge_row", of_row)
        patch.setattr(life, "judge_object", of_object)
        yield


def who(row: Row, finding: Finding | None) -> str:
    """Name a row of the table."""
    if row.state != RowState.FLAGGED:
        return STATES[row.state]
    return "flagged by us" if finding is not None and finding.previous_status is not None else "flagged by others"


def what(row: Row | None, side: ObjectSide) -> str:
    """Name a column of the table."""
    match side:
        case Present():
            return differing(row, side) if row and row.state != RowState.EXPECTS_ABSENCE else "agrees"
        case Absent(_, None):
            return "absent"
        case Absent():
            return "hidden by a marker"
        case Unknown():
            return "unknown"
        case NotAsked():
            return "not asked"


def differing(row: Row, present: Present) -> str:
    """Name the column of an object that is there, for a row that claims it."""
    if row.size != present.size:
        return "differs"
    return "agrees" if row.etag in {None, present.etag} else "differs by its ETag"


def never(counts: Counter[str], *, rare: bool = False) -> list[str]:
    """Return what was never exercised, of all that there is; what is rare only if that is asked."""
    lines = set(LINES.values()) - (set() if rare else RARE)
    return sorted(name for name in CELLS | lines | INVARIANTS if not counts[name])
