"""The daily report as facts and tables, and what a person reads of it first: the headline, the notes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconcile.human import Value, duration, label
from reconcile.reports.daily import Around, Cell, Daily, Flow, Line, Span, by, total
from reconcile.reports.forms import Brief, Section, Table
from reconcile.reports.pageparts import minute

MEASURES = {
    "suspected": "seen for the first time",
    "passed": "gone again within their grace",
    "opened": "still so after their grace",
    "flagged": "whose version was flagged",
    "given_back": "whose version got its status back",
    "resolved": "were open, and are healthy again",
    "set_aside": "were open, and are ignored or approved",
    "purged": "given up by a purge",
    "deleted": "whose object was deleted by a person",
    "net": "more open than before",
}
CHANGES = ("measure", "findings", "before", "means")
FLOWS = (*Flow._fields, "open", "opened_before", "resolved_before", "net_before")
BRIEF = ("opened", "flagged", "given_back", "resolved", "net", "open", "opened_before")
KINDS = ("missing", "mismatch", "orphan", "leftover")
FACTS = ("headline", "in_force", "loss_windows_uncovered")
TOP = 15

LATENCY = ("until", "path", "found", "p50_ms", "p99_ms", "most_ms", "found_before", "p99_before_ms")
LOSSES = ("id", "bucket", "reason", "from_at", "to_at", "times", "covered_at", "dismissed_at", "detail")
SWEEPS = (
    "id", "bucket", "prefix", "kind", "mode", "state", "started_at", "finished_at", "objects", "rows", "missing",
    "mismatch", "orphans", "leftovers", "healed", "lost_or_silent", "reason",
)  # fmt: skip
DEEDS = ("act", "findings", "size_bytes", "who", "why", "first_at", "last_at")
RESTRAINTS = ("at", "act", "of", "who", "why")


def shown(report: Daily) -> Section:
    """Return the whole report."""
    facts = _facts(report)
    return Section(
        "report",
        title(report.span),
        facts,
        (
            changes(report),
            around(report),
            *(table_of(report, what) for what in ("kind", "group", "cause")),
            *report.tables,
            _slots(report),
        ),
        tuple(notes(report)),
        brief=tuple(name for name in FACTS if facts[name] is not None),
    )


def title(span: Span) -> str:
    """Return what the report is of."""
    return f"Report of {duration(span.length.total_seconds())}: {minute(span.since)} to {minute(span.until)} UTC"


def headline(report: Daily) -> str:
    """Return the report in a sentence."""
    flow = total(report.flows.values())
    closed = flow.opened - flow.net
    if not flow.opened and not closed:
        return f"nothing opened, nothing closed; {report.open:,} open"
    return f"{flow.opened:,} opened, {closed:,} closed; {report.open:,} open, {report.open - flow.net:,} before"


def warnings(report: Daily) -> Iterator[str]:
    """Yield what nobody may overlook: what holds changes back now, and what no sweep has looked after."""
    yield from report.in_force
    if report.uncovered:
        windows = "window" if report.uncovered == 1 else "windows"
        yield f"{report.uncovered} {windows} in which the stream may have missed something; only a sweep finds it"


def _facts(report: Daily) -> dict[str, Value]:
    return {
        "headline": headline(report),
        "since_at": report.span.since,
        "until_at": report.span.until,
        "before_since_at": report.span.before.since,
        "open": report.open,
        "in_force": list(report.in_force) or None,
        "loss_windows_uncovered": report.uncovered or None,
        "pruned_changes_at": report.pruned.changes,
        "pruned_sweeps_at": report.pruned.sweeps,
    }


def notes(report: Daily) -> Iterator[str]:
    """Yield what the numbers leave out."""
    if report.dead_letters_unknown:
        yield f"dead letters are not counted: {report.dead_letters_unknown}"
    for at, what in ((report.pruned.changes, "changes of what is closed"), (report.pruned.sweeps, "sweeps")):
        if at is not None and at > report.span.before.since:
            which = "this window" if at > report.span.since else "the window before"
            yield f"{which} is not whole: {what} are kept no longer than since {minute(at)} UTC ([retention])"


def changes(report: Daily) -> Table:
    """Return what came and went, beside the window before."""
    now, before = total(report.flows.values()), total(report.flows_before.values())
    rows = list(zip(map(label, MEASURES), now, before, MEASURES.values(), strict=True))
    return Table(
        "changes", CHANGES, rows, "Findings that were", notes=("before: in the window before, of the same length",)
    )


def around(report: Daily) -> Table:
    """Return what else the window had, beside the window before."""
    rows = list(zip(map(label, Around._fields), report.around, report.around_before, strict=True))
    return Table("around", ("of", "count", "before"), rows, "Stream, sweeps, brakes")


def table_of(report: Daily, what: str) -> Table:
    """Return what came and went by kind, group or cause, the first of many."""
    rows: list[Sequence[Value]] = [(line.name, *numbers(line)) for line in ordered(report, what)]
    more = (f"{TOP} of {len(rows):,}; --format json has all",) if len(rows) > TOP else ()
    return Table(
        f"by_{what}", (what, *FLOWS), rows, f"By {what}", none="", notes=more, brief=Brief((what, *BRIEF), TOP)
    )


def ordered(report: Daily, what: str) -> list[Line]:
    """Return the lines; kinds in their own order, others by what moved most."""
    lines = by(report, what)
    return sorted(lines, key=lambda line: KINDS.index(line.name)) if what == "kind" else lines


def numbers(line: Line) -> tuple[int, ...]:
    """Return a line's numbers in the order of FLOWS."""
    return (*line.flow, line.open, line.before.opened, line.before.resolved, line.before.net)


def lines(report: Daily) -> Table:
    """Return what CSV and JSON lines hold: a line for each kind, cause and group."""
    cells = sorted(report.flows.keys() | report.flows_before.keys() | report.stock.keys())
    rows: list[Sequence[Value]] = []
    for cell in cells:
        now, before = (flows.get(cell, Flow()) for flows in (report.flows, report.flows_before))
        rows.append((*cell, *numbers(Line("", now, before, report.stock.get(cell, 0)))))
    return Table("changes", (*Cell._fields, *FLOWS), rows)


def _slots(report: Daily) -> Table:
    return Table("slots", ("at", "opened", "closed"), report.slots, "", none="", brief=Brief(("at",), 0))
