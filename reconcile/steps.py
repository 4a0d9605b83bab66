"""What follows from a look: changes, their effect on a row, the next look, and the count of it all. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from reconcile.model import Facts, Finding, Kind, NotAsked, ObjectRef, ObjectSide, Row, State

NOT_ASKED = NotAsked()


@dataclass(frozen=True, slots=True)
class Flag:
    """Set the row's status to the flag, if it still is `status`."""

    row_id: str
    status: str


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Set the row's status back to `status`, if it still carries the flag."""

    row_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Purge:
    """Do with the row what the mapping says is done with what is given up, if it still carries the flag.

    `alone` allows it for a row whose file has no other live version.
    """

    row_id: str
    alone: bool = False


Effect = Flag | GiveBack | Purge


@dataclass(frozen=True, slots=True)
class Change:
    """One step of one finding's life, with what it does to the application's row.

    `before` is None for a new finding, `row` where the finding is the object's or its row is gone. `act` is the
    word kept in the history, `facts` go into the evidence.
    """

    before: Finding | None
    row_id: str
    row: Row | None
    kind: Kind
    cause: str
    state: State
    act: str
    previous_status: str | None = None
    held_by: str | None = None
    effect: Effect | None = None
    why: str = ""
    facts: Facts = field(default_factory=dict)


NO_DELAY = timedelta(0)  # of a look that is due at once


@dataclass(frozen=True, slots=True)
class Look:
    """When a reference is to be looked at again, counted from now by the database's clock."""

    after: timedelta
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from one look at one reference: changes of findings, and the next look (None: all is well).

    `side` is what the object side was seen to be; it goes into the evidence.
    """

    ref: ObjectRef
    changes: tuple[Change, ...] = ()
    look: Look | None = None
    side: ObjectSide = NOT_ASKED

    @property
    def moved(self) -> set[str]:
        """Which rows get their status back, though this reference has them no more."""
        return {one.row_id for one in self.changes if isinstance(one.effect, GiveBack) and one.row is None}


@dataclass(frozen=True, slots=True)
class Tally:
    """What a batch came to; added up and counted by others. `held` is how many records wait, as of the latest.

    `answers` counts what MinIO's answers proved (`present`, `absent`, `unknown`), `buried` dead letters by reason.
    `braked` and `suppressed` are how many references a brake or a suppression window holds, newly or still.
    """

    looks: int = 0
    settled: int = 0
    held: int | None = None
    busy: int = 0
    unknown: int = 0
    not_asked: int = 0
    acts: Mapping[str, int] = field(default_factory=dict)
    answers: Mapping[str, int] = field(default_factory=dict)
    buried: Mapping[str, int] = field(default_factory=dict)
    braked: int = 0
    suppressed: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.looks + other.looks,
            self.settled + other.settled,
            self.held if other.held is None else other.held,
            self.busy + other.busy,
            self.unknown + other.unknown,
            self.not_asked + other.not_asked,
            _added(self.acts, other.acts),
            _added(self.answers, other.answers),
            _added(self.buried, other.buried),
            self.braked + other.braked,
            self.suppressed + other.suppressed,
        )


def _added(counts: Mapping[str, int], more: Mapping[str, int]) -> Mapping[str, int]:
    if not more:
        return counts
    return {name: counts.get(name, 0) + more.get(name, 0) for name in (*counts, *more)}
