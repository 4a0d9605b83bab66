"""What a command returns, and the one place where that becomes an exit status. Commands never print."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from reconcile.report import Shown


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
class Answer:
    """What is shown, as of when by the database's clock, and what the exit status tells of it.

    A `str` is shown as it is, whatever the format: a script, or SQL.
    """

    shown: Shown | str
    now: datetime | None = None
    drift: bool = False
    held: bool = False
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An end that was expected, one line a fault."""

    status: Exit
    faults: tuple[str, ...]


def exit_status(outcome: Answer | Failure, *, on_drift: bool) -> int:
    """Return the process's exit status; drift counts only where it was asked for."""
    match outcome:
        case Failure(status=status):
            return status
        case Answer(incomplete=True):
            return Exit.INCOMPLETE
        case Answer(held=True):
            return Exit.HELD
        case Answer(drift=True) if on_drift:
            return Exit.DRIFT
        case Answer():
            return Exit.OK
