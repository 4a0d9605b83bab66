"""What a run of a scrub came to: as sections and tables, and as figures for node_exporter. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from reconcile.human import Value
from reconcile.reports.forms import Brief, Section, Table
from reconcile.reports.sweepmetrics import Sample, families
from reconcile.reports.sweepreport import BRIEF_DRIFT, DRIFT, TOP
from reconcile.scrubs.contents import Fault
from reconcile.sweeps.drift import HELD_BY_BRAKE, HELD_BY_WINDOW, Drift

COUNTED = (
    "rows", "objects", "read_bytes", "agreed", "mismatch", "missing", "healed", "changed_meanwhile", "without_checksum",
    "unreadable_checksum", "unnameable", "unknown",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """One run, and the cycle that it is part of. `state` is complete, running (to be gone on with), held or incomplete.

    `totals` are of this run, `cycle` of the whole cycle; `last` are those of the last complete cycle.
    """

    bucket: str
    prefix: str
    mode: str
    state: str
    id: int
    began_at: datetime
    took_s: float
    started_at: datetime
    checkpoint: str
    reason: str = ""
    totals: Mapping[str, int] = field(default_factory=dict)
    cycle: Mapping[str, int] = field(default_factory=dict)
    drifts: Sequence[Drift] = ()
    faults: Sequence[Fault] = ()
    last_started_at: datetime | None = None
    last_finished_at: datetime | None = None
    last: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def total_drifts(self) -> int:
        """How many drifts this run found; it may list the first of many."""
        return sum(self.totals.get(kind, 0) for kind in ("mismatch", "missing", "leftover"))


def shown(report: ScrubReport) -> Section:
    """Return the whole report."""
    facts = _facts(report)
    counts = _counts(report.totals) | {name: report.totals.get(name, 0) for name in (HELD_BY_BRAKE, HELD_BY_WINDOW)}
    run = Section("run", "This run", counts, brief=_told(report.totals))
    cycle = Section("cycle", "The cycle so far", _counts(report.cycle), brief=_told(report.cycle))
    faults = Table(
        "faults", Fault._fields, report.faults, "Could not be told", none="", brief=Brief(Fault._fields, TOP)
    )
    brief = tuple(name for name, value in facts.items() if value not in (None, ""))
    parts = (run, cycle, drifts(report), faults)
    return Section("scrub", headline(report), facts, parts, tuple(report.notes), brief=brief)


def headline(report: ScrubReport) -> str:
    """Return in one sentence what was read, and what that came to."""
    found = f"{report.total_drifts:,} drifts" if report.total_drifts else "no drift"
    state = report.state.upper() if report.state in {"held", "incomplete"} else report.state
    return f"Scrub of {report.bucket}: {state}: {found} among {report.totals.get('objects', 0):,} objects read"


def drifts(report: ScrubReport) -> Table:
    """Return the drifts, one a line."""
    rows = [[getattr(one, name) for name in DRIFT] for one in report.drifts]
    total = max(report.total_drifts, len(rows))
    notes = (f"{len(rows):,} of {total:,}",) if len(rows) < total else ()
    return Table("drifts", DRIFT, rows, "Drifts", none="", notes=notes, brief=Brief(BRIEF_DRIFT, TOP))


def _facts(report: ScrubReport) -> dict[str, Value]:
    return {
        "headline": headline(report),
        "id": report.id,
        "bucket": report.bucket,
        "prefix": report.prefix or None,
        "mode": report.mode,
        "state": report.state,
        "reason": report.reason or None,
        "took_s": report.took_s,
        "rate_bytes": int(report.totals.get("read_bytes", 0) / max(report.took_s, 1e-3)),
        "cycle_began_at": report.started_at,
        "stopped_after": report.checkpoint if report.state != "complete" else None,
        "last_complete_cycle_at": report.last_finished_at,
    }


def _counts(totals: Mapping[str, int]) -> dict[str, Value]:
    return {name: totals.get(name, 0) for name in COUNTED}


def _told(totals: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(name for name in COUNTED if totals.get(name) or name in {"rows", "objects"})


def metrics(report: ScrubReport) -> str:
    """Return the figures as text for node_exporter's textfile collector."""
    own = {"bucket": report.bucket} | ({"prefix": report.prefix} if report.prefix else {})
    return families("reconciler_scrub", own, _families(report))


def _families(report: ScrubReport) -> Iterator[tuple[str, str, Sequence[Sample]]]:
    complete = [Sample(report.last_finished_at.timestamp())] if report.last_finished_at else []
    yield "last_complete_timestamp_seconds", "When the last complete cycle ended.", complete
    yield "cycle_began_timestamp_seconds", "When the cycle began.", [Sample(report.started_at.timestamp())]
    yield "duration_seconds", "How long this run took.", [Sample(report.took_s)]
    yield "held", "Whether a guard holds the scrub.", [Sample(report.state == "held")]
    for name in COUNTED:
        yield f"cycle_{name}", f"Of the cycle so far: {name.replace('_', ' ')}.", [Sample(report.cycle.get(name, 0))]
