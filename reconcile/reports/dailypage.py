"""The daily report as one self-contained page for a browser: what is open, what came and went, and when. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from reconcile.human import duration, label
from reconcile.reports import pageparts
from reconcile.reports.daily import Daily, Flow, Line, Slot, total
from reconcile.reports.dailyreport import KINDS, around, changes, headline, notes, ordered, table_of, warnings
from reconcile.reports.forms import Table, shortened
from reconcile.reports.pageparts import Bar, Caption, Column, bars, figure, minute, panel, safe, table, time_of
from reconcile.reports.sweepreport import counted

FIGURES = ("opened", "resolved", "flagged", "given_back", "suspected")
ENDED = frozenset({"resolved", "given_back"})
DAY_S = 86_400


def page(report: Daily) -> str:
    """Return the page."""
    return pageparts.page(
        "report",
        headline(report),
        {
            "header": _header(report),
            "figures": _figures(report),
            "history": _history(report),
            "groups": _bars(report, "group"),
            "causes": _bars(report, "cause"),
            "tables": _tables(report),
            "footer": _footer(report),
        },
    )


def _header(report: Daily) -> str:
    span = report.span
    length = duration(span.length.total_seconds())
    over = "Daily report" if span.length.total_seconds() == DAY_S else f"Report of {length}"
    said = headline(report)
    return (
        f'<header><p class="over">{over}: objects and rows</p><h1>{safe(said[0].upper() + said[1:])}</h1>'
        f'<p class="when">{time_of(span.since)} to {time_of(span.until)} · beside the {length} before</p></header>'
        f"{_alarm(report)}"
    )


def _alarm(report: Daily) -> str:
    """Return what nobody may overlook."""
    said = "".join(f"<p>{safe(each)}</p>" for each in warnings(report))
    return f'<div class="alarm held" role="alert"><h2>To be looked at</h2>{said}</div>' if said else ""


def _figures(report: Daily) -> str:
    """Return what is open by kind, and below it what came and went."""
    kinds = {line.name: line for line in ordered(report, "kind")}
    first = "".join(_of_kind(kinds.get(name) or Line(name, Flow(), Flow(), 0)) for name in KINDS)
    now, before = total(report.flows.values()), total(report.flows_before.values())
    second = "".join(
        figure(label(name), f"{getattr(now, name):,}", f"{getattr(before, name):,} before", style=_style(name))
        for name in FIGURES
    )
    return (
        f'<h2 class="vh">Open at the end</h2><dl class="figures">{first}</dl>'
        f'<h2 class="vh">Came and went</h2><dl class="figures second">{second}</dl>'
    )


def _style(name: str) -> str:
    return "opened" if name == "opened" else "closed" if name in ENDED else ""


def _of_kind(line: Line) -> str:
    was = line.open - line.flow.net
    moved = f"{was:,} before" if was != line.open else "as before"
    came = f"{line.flow.opened:,} opened" if line.flow.opened else ""
    return figure(f"{line.name}, open", f"{line.open:,}", moved if was or line.open else "", came, style=line.name)


def _history(report: Daily) -> str:
    """Return what opened and closed over time, each on its own scale."""
    slots = report.slots
    if not any(slot.opened or slot.closed for slot in slots):
        return ""
    panels = "".join(_panel(name, slots) for name in Slot._fields[1:])
    length = duration(report.span.slot.total_seconds())
    return (
        f'<section><h2>Over time</h2><p class="dim">Findings, {length} a column, each class on its own scale.</p>'
        f'<div class="panels">{panels}</div></section>'
    )


def _panel(name: str, slots: Sequence[Slot]) -> str:
    columns = [Column(f"{minute(slot.at)} UTC", getattr(slot, name)) for slot in slots]
    moved = sum(column.number for column in columns)
    first, last = minute(slots[0].at), minute(slots[-1].at)
    return panel(name, columns, Caption(f"{len(slots)} parts of the time", moved, "together", first, last))


def _bars(report: Daily, what: str) -> str:
    """Return a bar for each group or cause: what is open at the end, stacked by kind, and what opened."""
    return bars(f"Open by {what}", (what, "open", "opened"), KINDS, list(_lines(report, what)))


def _lines(report: Daily, what: str) -> Iterator[Bar]:
    stock: dict[str, Counter[str]] = defaultdict(Counter)
    for cell, count in report.stock.items():
        stock[getattr(cell, what)][cell.kind] += count
    for line in sorted(ordered(report, what), key=lambda line: -line.open):
        parts = [(kind, stock[line.name][kind]) for kind in KINDS if stock[line.name][kind]]
        says = ", ".join(counted(kind, count) for kind, count in parts) or "none is open"
        yield Bar(line.name, parts, says, (f"{line.open:,}", f"{line.flow.opened:,}"))


def _tables(report: Daily) -> str:
    shown: Iterable[Table] = (changes(report), around(report), table_of(report, "kind"), *report.tables)
    return "".join(table(shortened(each)) for each in shown)


def _footer(report: Daily) -> str:
    said = "".join(f"<li>{safe(note)}</li>" for note in notes(report))
    listed = f'<ul class="notes">{said}</ul>' if said else ""
    return f"<footer>{listed}<p>storage-reconciler · made {time_of(report.now)}</p></footer>"
