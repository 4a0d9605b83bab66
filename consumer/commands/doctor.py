"""`doctor`: every precondition, each ✓, ! or ✗ with the fix; what a server away keeps from being seen is ?."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from consumer.commands.answer import Answer, Exit, Failure
from consumer.commands.call import Call, database
from consumer.doctor.check import Mark
from consumer.doctor.checked import Checked
from consumer.doctor.table import Told, run_checks
from reconcile.config.settings import NEEDED
from reconcile.opening import objects
from reconcile.reports.forms import Brief, Table

COLUMNS = ("mark", "check", "found", "fix")
NAMES = {Mark.OK: "as it should be", Mark.WARN: "to know", Mark.BAD: "to mend", Mark.UNSEEN: "not seen"}


def doctor(call: Call) -> Answer:
    """Ask everything once; the exit status is 2 if anything is ✗."""
    settings = call.settings(*NEEDED)
    with database(settings) as opened, objects(settings) as store:
        told = list(run_checks(Checked(settings, opened, store)))
    rows = [(str(check.mark), name, check.found, check.fix) for name, check in told]
    table = Table("doctor", COLUMNS, rows, notes=tuple(notes(told)), brief=Brief(COLUMNS[:3], len(rows)))
    is_bad = any(check.mark is Mark.BAD for _, check in told)
    return Answer(table, failure=Failure(Exit.USAGE, ()) if is_bad else None)


def notes(told: Sequence[Told]) -> Iterator[str]:
    """Yield each fix in full, the worst first, and how many there are of each mark."""
    for mark in (Mark.BAD, Mark.WARN, Mark.UNSEEN):
        yield from (f"{mark} {name}: {check.fix}" for name, check in told if check.mark is mark and check.fix)
    count = Counter(check.mark for _, check in told)
    yield ", ".join(f"{count[mark]} {NAMES[mark]}" for mark in Mark if count[mark])
