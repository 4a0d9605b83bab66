"""A sweep's report as Table and Section: what a terminal, JSON, JSONL and CSV are made of. Pure.

JSON keeps every name whatever the sweep found; text leaves out what is empty, and shows the first of what is long.
The page for a browser is in sweeppage.py, the metrics are in sweepmetrics.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconcile.human import Value
from reconcile.reports.forms import Brief, Section, Table
from reconcile.sweeps.drift import DRIFTS, Class, Count, Drift, OfKind, Past, SweepReport

COMPLETE, HELD, INCOMPLETE = "complete", "held", "incomplete"
TOP = 20
PLURALS = {"mismatch": "mismatches", "orphan": "orphans", "leftover": "leftovers", "lookalike": "lookalikes"}
TOTALS = {"still": "still_there"}
NAMED = (
    "objects",
    "rows",
    "agreed",
    "candidates",
    "young",
    "omitted_by_list",
    "flagged_by_others",
    "unknown",
    "healed",
    "new",
    "still",
)
FACTS = ("state", "reason", "to_do", "mode", "prefix", "started_at", "took_s", "at_stake_bytes")
DRIFT = (
    "kind",
    "bucket",
    "key",
    "s3_version",
    "row_id",
    "cause",
    "size_bytes",
    "group",
    "owner",
    "since",
    "counterpart",
    "is_new",
    "known",
    "meter",
)
BRIEF_DRIFT = ("kind", "key", "cause", "size_bytes", "is_new")


def shown(report: SweepReport) -> Section:
    """Return the whole report."""
    facts = _facts(report)
    return Section(
        "sweep",
        headline(report),
        facts,
        (
            _by_kind(report),
            _totals(report.totals),
            counts("by_group", "group", report.by_group),
            counts("by_prefix", "prefix", report.by_prefix),
            counts("by_age", "age", report.by_age),
            _meter(report),
            drifts(report),
            _history(report),
        ),
        tuple(report.notes),
        brief=tuple(name for name in FACTS if facts[name] is not None),
    )


def headline(report: SweepReport) -> str:
    """Return in one sentence which bucket was swept and what that came to; loud if it cannot be relied upon."""
    return f"Sweep of {report.bucket}: {state(report)}: {outcome(report)}"


def state(report: SweepReport) -> str:
    """Return the state as a word, in capitals if a person must act."""
    return report.state.upper() if report.state in {HELD, INCOMPLETE} else report.state


def outcome(report: SweepReport) -> str:
    """Return what was found among how much: `3 missing, 12 orphans among 200,000 objects and 199,991 rows`."""
    found = ", ".join(counted(kind.name, kind.found) for kind in of_drifts(report) if kind.found)
    finished = report.state == COMPLETE
    so_far = "" if finished or not found else " so far"
    nothing = "no drift" if finished else "nothing found so far"
    return f"{found or nothing}{so_far}{_among(report.totals)}"


def counted(kind: str, count: int) -> str:
    """Return a count with its class: `1 orphan`, `3 missing`, `2 mismatches`."""
    return f"{count:,} {kind if count == 1 else PLURALS.get(kind, kind)}"


def _among(totals: Mapping[str, int]) -> str:
    sides = [
        f"{totals[name]:,} {name.removesuffix('s') if totals[name] == 1 else name}"
        for name in ("objects", "rows")
        if name in totals
    ]
    return f" among {' and '.join(sides)}" if sides else ""


def advice(report: SweepReport) -> str | None:
    """Return what to do about a sweep that is held or incomplete."""
    match report.state:
        case "held":
            return "Look at the drifts (explain KEY tells both sides), mend what the reason names, then sweep again."
        case "incomplete" if report.resumable:
            return f"Mend what the reason names, then go on: sweep --bucket {report.bucket} --resume"
        case "incomplete":
            return "Mend what the reason names, then sweep again."
        case _:
            return None


def caution(report: SweepReport) -> str | None:
    """Return how far the numbers of a sweep that is held or incomplete can be relied upon."""
    match report.state:
        case "held":
            return "A guard does not believe these numbers."
        case "incomplete":
            return "What is listed was looked at and stands; of what is not listed nothing is known."
        case _:
            return None


def elapsed_s(report: SweepReport) -> float | None:
    """Return how long the sweep took, None while it runs."""
    return (report.finished_at - report.started_at).total_seconds() if report.finished_at else None


def of_drifts(report: SweepReport) -> list[OfKind]:
    """Return the counts of what is drift; what healed is counted, and no drift."""
    return [kind for kind in report.by_kind if kind.name in DRIFTS]


def healed_in(report: SweepReport) -> int:
    """Return how many findings are none any more."""
    return report.totals.get("healed") or sum(kind.found for kind in report.by_kind if kind.name == Class.HEALED)


def at_stake_bytes(report: SweepReport) -> int:
    """Return the bytes of all drifts."""
    return sum(kind.size_bytes for kind in of_drifts(report))


def drifts(report: SweepReport) -> Table:
    """Return the drifts that the report holds; a table, so that CSV and JSONL have one line for each."""
    rows = [_drift(drift) for drift in report.drifts]
    listed, total = len(rows), max(report.total_drifts, len(rows))
    told = min(listed, TOP)
    others = "all" if listed == total else f"the first {listed:,}"
    notes = (f"{told:,} of {total:,}; --format json has {others}",) if told < total else ()
    return Table("drifts", DRIFT, rows, "Drifts", none="", notes=notes, brief=_filled(DRIFT, rows, BRIEF_DRIFT))


def _drift(drift: Drift) -> list[Value]:
    """Return the fields in the order of DRIFT."""
    return [getattr(drift, name) for name in DRIFT]


def _facts(report: SweepReport) -> dict[str, Value]:
    return {
        "headline": headline(report),
        "id": report.id,
        "bucket": report.bucket,
        "prefix": report.prefix or None,
        "mode": report.mode or None,
        "state": report.state,
        "reason": report.reason or None,
        "to_do": advice(report),
        "started_at": report.started_at,
        "finished_at": report.finished_at,
        "took_s": elapsed_s(report),
        "total_drifts": report.total_drifts,
        "at_stake_bytes": at_stake_bytes(report) if report.by_kind else None,
        "notes": [],
    }


def _totals(totals: Mapping[str, int]) -> Section:
    """Return the totals, under the same names whichever the sweep counted."""
    names = (*NAMED, *(name for name in totals if name not in NAMED))
    facts: dict[str, Value] = {TOTALS.get(name, name): totals.get(name) for name in names}
    return Section("totals", "Totals", facts, brief=tuple(name for name, value in facts.items() if value))


def _by_kind(report: SweepReport) -> Table:
    columns = ("kind", "found", "new", "still_there", "size_bytes")
    rows = [(kind.name, kind.found, kind.new, kind.found - kind.new, kind.size_bytes) for kind in of_drifts(report)]
    healed = healed_in(report)
    notes = (f"{healed:,} healed since the last complete sweep",) if healed else ()
    return Table("by_kind", columns, rows, "By kind", none="", notes=notes)


def counts(name: str, what: str, found: Sequence[Count]) -> Table:
    """Return the counts by one thing, the first of many."""
    columns = (what, *Count._fields[1:])
    rows = found[:TOP]
    notes = (f"{TOP} of {len(found):,}",) if len(found) > TOP else ()
    brief = _filled(columns, rows, columns)
    return Table(name, columns, rows, f"By {what}", none="", notes=notes, brief=brief)


def _meter(report: SweepReport) -> Table:
    columns = ("kind", "age", "lost_or_silent", "never_an_event", "unmeasured")
    return Table("meter", columns, report.meter, "Should the stream have told?", none="")


def _history(report: SweepReport) -> Table:
    brief = Brief(tuple(name for name in Past._fields if name != "brought"), TOP // 2)
    return Table("history", Past._fields, report.history, "Sweeps before", none="", brief=brief)


def _filled(columns: tuple[str, ...], rows: Sequence[Sequence[Value]], wanted: Sequence[str]) -> Brief:
    """Return the wanted columns without those that are empty throughout."""
    filled = {name for name, column in zip(columns, zip(*rows, strict=True), strict=False) if any(column)}
    return Brief(tuple(name for name in wanted if name in filled or name == columns[0]), TOP)
