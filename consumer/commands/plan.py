"""The one shape of everything that changes something: acts, printed, and with --apply done. No second dry run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from consumer.commands.answer import EXPECTED, Answer, Failure, failure_of
from reconcile.report import Section, Table

COLUMNS = ("act", "subject", "detail", "status")
HOW = "nothing was changed; --apply does it"


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
    rows, failure = done(acts) if apply else ([(*_words(act), "planned") for act in acts], None)
    notes = (HOW,) if acts and not apply else ()
    table = Table("acts", COLUMNS, rows, none=nothing, notes=notes)
    return Answer(Section(name, "", parts=(table, *parts)) if parts else table, failure=failure)


def done(acts: Sequence[Act]) -> tuple[list[tuple[str, ...]], Failure | None]:
    """Do the acts up to the first that fails; returns what became of each, and the failure."""
    rows: list[tuple[str, ...]] = []
    for at, act in enumerate(acts):
        try:
            told = act.do()
        except EXPECTED as error:
            rows.append((*_words(act), "failed"))
            rows += [(*_words(left), "not tried") for left in acts[at + 1 :]]
            return rows, failure_of(error)
        rows.append((act.act, act.subject, told or act.detail, "done"))
    return rows, None


def _words(act: Act) -> tuple[str, str, str]:
    return act.act, act.subject, act.detail
