"""What `--fix` and `--baseline` came to, as a sweep's report tells it."""

from __future__ import annotations

from dataclasses import replace

from reconcile.steps import Tally
from reconcile.sweeps.drift import SweepReport
from reconcile.sweeps.feeding import held_back


def braked(report: SweepReport, tally: Tally) -> SweepReport:
    """Return the report with what the brake, or a suppression window, held back of --fix."""
    totals, notes = held_back(tally)
    return replace(report, totals={**report.totals, **totals}, notes=(*report.notes, *notes))


def known(report: SweepReport, flagged: int) -> SweepReport:
    """Return the report with what --baseline left as it is."""
    if not flagged:
        return report
    note = f"{flagged:,} of them are flagged already and were left as they are: restore, purge or findings ignore"
    return replace(report, notes=(*report.notes, note))
