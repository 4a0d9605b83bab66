"""The one shape of everything that changes something: acts, printed, and with --apply done. No second dry run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from consumer.commands.answer import Answer
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
    """Do the acts in order if `apply`, and tell of each; `parts` is shown below."""
    rows = [_done(act) if apply else (act.act, act.subject, act.detail, "planned") for act in acts]
    notes = (HOW,) if acts and not apply else ()
    table = Table("acts", COLUMNS, rows, none=nothing, notes=notes)
    return Answer(Section(name, "", parts=(table, *parts)) if parts else table)


def _done(act: Act) -> tuple[str, str, str, str]:
    return act.act, act.subject, act.do() or act.detail, "done"
