"""What a command returns, and the one place where that becomes an exit status. Commands never print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from consumer.runs.beginning import Leased
from reconcile.database import Busy, Refused
from reconcile.model import Misconfigured, Unavailable
from reconcile.reports.forms import Shown, Table
from reconcile.store.heads import FULL

EXPECTED = (Misconfigured, Unavailable, Busy, Refused, Leased)


class Exit(IntEnum):
    """The exit statuses; 1, a defect with its traceback, is Python's own."""

    OK = 0
    USAGE = 2
    DRIFT = 3
    HELD = 4
    INCOMPLETE = 5
    UNREACHABLE = 6
    LEASED = 7
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Failure:
    """An end that was expected, one line a fault."""

    status: Exit
    faults: tuple[str, ...]


def failure_of(error: Exception) -> Failure:
    """Return the end that an expected error means: its exit status, its words, the way out."""
    match error:
        case Misconfigured(faults=faults):
            return Failure(Exit.USAGE, faults)
        case Leased():
            return Failure(Exit.LEASED, (str(error),))
        case Unavailable(detail=detail):
            way_out = "make room" if detail.endswith(FULL) else "start it, or correct its address (see config show)"
            return Failure(Exit.UNREACHABLE, (f"{error}; {way_out}",))
        case _:
            return Failure(Exit.INCOMPLETE, (f"not done: {error}; try again",))


@dataclass(frozen=True, slots=True)
class Answer:
    """What is shown, as of when by the database's clock, and what the exit status tells of it.

    A `str` is shown as it is, whatever the format: a script, or SQL. `failure` is what ended it half-way.
    `page` makes an HTML page of its own; `lines` is what CSV and JSON lines hold instead, one thing a line.
    """

    shown: Shown | str
    now: datetime | None = None
    drift: bool = False
    held: bool = False
    incomplete: bool = False
    interrupted: bool = False
    failure: Failure | None = None
    page: Callable[[], str] | None = None
    lines: Table | None = None


def exit_status(outcome: Answer | Failure, *, on_drift: bool) -> int:
    """Return the process's exit status; drift counts only where it was asked for."""
    match outcome:
        case Failure(status=status) | Answer(failure=Failure(status=status)):
            return status
        case Answer(interrupted=True):
            return Exit.INTERRUPTED
        case Answer(incomplete=True):
            return Exit.INCOMPLETE
        case Answer(held=True):
            return Exit.HELD
        case Answer(drift=drift):
            return Exit.DRIFT if drift and on_drift else Exit.OK
