"""The one shape of everything that changes something: acts, printed, and with --apply done. No second dry run.

What is done one by one is an Act each; what is done to many findings comes as Outcomes (reconcile/repair/triage.py).
Both end alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from consumer.commands.answer import EXPECTED, Answer, Failure, failure_of
from reconcile.reports.forms import Section, Table

COLUMNS = ("act", "subject", "detail", "status")
HOW = "nothing was changed; --apply does it"
Line = tuple[str, str, str, str]  # as COLUMNS
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Act:
    """One thing to be done. `do` returns what came of it, where that is more than `detail`."""

    act: str
    subject: str
    detail: str
    do: Callable[[], str | None] = field(repr=False, compare=False)


def carry_out(
    name: str, acts: Sequence[Act], *, apply: bool, nothing: str, parts: tuple[Section | Table, ...] = ()
) -> Answer:
    """Do the acts in order if `apply`, and tell of each; `parts` is shown below. An act that fails ends it."""
    lines: list[Line] = []
    failure = ended_by(_done(acts) if apply else ((*_words(act), "planned") for act in acts), lines.append)
    table = acts_table(lines, has_more=bool(acts) and not apply, nothing=nothing)
    return Answer(Section(name, "", parts=(table, *parts)) if parts else table, failure=failure)


def ended_by(outcomes: Iterable[T], take: Callable[[T], object]) -> Failure | None:
    """Take down each outcome as it comes; returns what ended them before the last, if that was expected."""
    try:
        for one in outcomes:
            take(one)
    except EXPECTED as error:
        return failure_of(error)
    return None


def acts_table(lines: Sequence[Line], *, has_more: bool, nothing: str, notes: tuple[str, ...] = ()) -> Table:
    """Return acts as they are shown; `has_more`: some are planned, and not done yet."""
    return Table("acts", COLUMNS, lines, none=nothing, notes=(*notes, HOW) if has_more else notes)


def _done(acts: Sequence[Act]) -> Iterator[Line]:
    """Do the acts up to the first that fails; tells of those after it, too, before that is raised."""
    for at, act in enumerate(acts):
        try:
            told = act.do()
        except EXPECTED:
            yield (*_words(act), "failed")
            yield from ((*_words(left), "not tried") for left in acts[at + 1 :])
            raise
        yield act.act, act.subject, told or act.detail, "done"


def _words(act: Act) -> tuple[str, str, str]:
    return act.act, act.subject, act.detail
