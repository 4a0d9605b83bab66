"""What happened in a window of time, beside the window before it: by kind, cause and group, and what is open. Pure.

A change is counted by the state that it leads to: *opened* and what ends that (resolved, set aside, purged) add up to
`net`, so that what was open before and `net` are what is open afterwards.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from reconcile.reports.forms import Table

STEPS = (*(timedelta(minutes=n) for n in (1, 5, 15, 60, 360)), timedelta(days=1), timedelta(days=7))
MOST_SLOTS = 31


class Span(NamedTuple):
    """From `since` on, and before `until`."""

    since: datetime
    until: datetime

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.until - self.since

    @property
    def before(self) -> Span:
        """The window of the same length that ends where this one begins."""
        return Span(self.since - self.length, self.since)

    @property
    def slot(self) -> timedelta:
        """How long a slot is, so that there are some thirty at most."""
        fitting = (step for step in STEPS if self.length <= MOST_SLOTS * step)
        return next(fitting, self.length / MOST_SLOTS)


class Cell(NamedTuple):
    """What changes are counted by."""

    kind: str
    cause: str
    group: str


class Flow(NamedTuple):
    """How many findings came and went. `passed` went away within their grace; `resolved` were open."""

    suspected: int = 0
    passed: int = 0
    opened: int = 0
    flagged: int = 0
    given_back: int = 0
    resolved: int = 0
    set_aside: int = 0
    purged: int = 0
    deleted: int = 0
    net: int = 0


class Slot(NamedTuple):
    """A part of the window, and how many findings became open in it, or were open no more."""

    at: datetime
    opened: int
    closed: int


class Around(NamedTuple):
    """What else a window had; dead letters are None where nobody could tell."""

    loss_windows: int = 0
    lost_or_silent: int = 0
    dead_letters: int | None = None
    sweeps_complete: int = 0
    sweeps_not_complete: int = 0
    brakes_set: int = 0


class Pruned(NamedTuple):
    """Before which times changes of closed findings, and sweeps, are gone; None where nothing was pruned yet."""

    changes: datetime | None = None
    sweeps: datetime | None = None

    def further(self, later: Pruned) -> Pruned:
        """Return the later time of each."""
        return Pruned(*(max(filter(None, both), default=None) for both in zip(self, later, strict=True)))


@dataclass(frozen=True, slots=True)
class Daily:
    """The report. `stock` is what was open at the window's end; the tables tell the rest as it was kept.

    `in_force` names the brakes that are on now, `uncovered` counts the loss windows that no sweep has covered,
    however old.
    """

    span: Span
    now: datetime
    flows: Mapping[Cell, Flow]
    flows_before: Mapping[Cell, Flow]
    stock: Mapping[Cell, int]
    slots: Sequence[Slot]
    tables: Sequence[Table]
    in_force: Sequence[str] = ()
    uncovered: int = 0
    around: Around = field(default_factory=Around)
    around_before: Around = field(default_factory=Around)
    dead_letters_unknown: str = ""
    pruned: Pruned = field(default_factory=Pruned)

    @property
    def open(self) -> int:
        """How many findings were open at the window's end."""
        return sum(self.stock.values())


class Line(NamedTuple):
    """What something had: a kind, a cause, a group."""

    name: str
    flow: Flow
    before: Flow
    open: int


def total(flows: Iterable[Flow]) -> Flow:
    """Add up."""
    return Flow(*map(sum, zip(*flows, strict=True)))


def by(report: Daily, what: str) -> list[Line]:
    """Return the lines by one part of a cell, what moved most first."""
    now, before = _summed(report.flows, what), _summed(report.flows_before, what)
    stock: Counter[str] = Counter()
    for cell, count in report.stock.items():
        stock[getattr(cell, what)] += count
    names = now.keys() | before.keys() | stock.keys()
    lines = [Line(name, now.get(name, Flow()), before.get(name, Flow()), stock[name]) for name in names]
    return sorted(lines, key=lambda line: (-line.flow.opened, -line.open, -line.flow.resolved, line.name))


def _summed(flows: Mapping[Cell, Flow], what: str) -> dict[str, Flow]:
    named: defaultdict[str, list[Flow]] = defaultdict(list)
    for cell, flow in flows.items():
        named[getattr(cell, what)].append(flow)
    return {name: total(each) for name, each in named.items()}


def slots(span: Span, found: Iterable[tuple[int, int, int]]) -> list[Slot]:
    """Return every slot of a window, also those in which nothing happened; `found` is (number, opened, closed)."""
    counted = {number: (opened, closed) for number, opened, closed in found}
    how_many = -(-span.length // span.slot)
    return [Slot(span.since + at * span.slot, *counted.get(at, (0, 0))) for at in range(how_many)]
