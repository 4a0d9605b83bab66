"""What one check of `doctor` found: a mark, words, and the way out as a command or a line of SQL. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Mark(StrEnum):
    """How a check ended; only BAD is a reason not to start."""

    OK = "✓"
    WARN = "!"
    BAD = "✗"
    UNSEEN = "?"


class Check(NamedTuple):
    """What was found, and how it is mended; `fix` is empty where nothing has to be."""

    mark: Mark
    found: str
    fix: str = ""


def ok(found: str) -> Check:
    """Return that it is as it should be."""
    return Check(Mark.OK, found)


def warn(found: str, fix: str = "") -> Check:
    """Return what works, and will surprise somebody one day."""
    return Check(Mark.WARN, found, fix)


def bad(found: str, fix: str = "") -> Check:
    """Return what keeps the service from doing its work, or loses something."""
    return Check(Mark.BAD, found, fix)


def unseen(found: str, fix: str = "") -> Check:
    """Return what could not be seen from here; `fix` is where to look."""
    return Check(Mark.UNSEEN, found, fix)


def of_fault(fault: str) -> Check:
    """Return a fault of the configuration or the tables, its way out behind the last semicolon."""
    found, _, fix = fault.rpartition("; ")
    return bad(found, fix) if found else bad(fault)


def stands(checks: Iterable[Check]) -> bool:
    """Tell whether other checks can build on these."""
    return all(one.mark in {Mark.OK, Mark.WARN} for one in checks)
