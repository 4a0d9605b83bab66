"""The pictures of a sweep's page: drift over time, and bars stacked by class. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from reconcile.human import size
from reconcile.reports.pageparts import Bar, Caption, Column, bars, minute, panel, safe, time_of
from reconcile.reports.sweepreport import COMPLETE, counted
from reconcile.sweeps.drift import DRIFTS, Count, Past

PAST = DRIFTS[:4]


def history(pasts: Sequence[Past], title: str = "Drift over time") -> str:
    """Return the section of the sweeps, the oldest first; nothing if there is but one."""
    if len(pasts) < 2:  # noqa: PLR2004  # one sweep is no history
        return ""
    panels = "".join(_panel(name, pasts) for name in PAST if any(getattr(past, name) for past in pasts))
    drawn = f'<div class="panels">{panels}</div>' if panels else '<p class="none">None of them found drift.</p>'
    pale = any(past.state != COMPLETE for past in pasts)
    told = " Pale: held or incomplete, cut off at the scale of the others." if pale else ""
    return (
        f'<section><h2>{safe(title)}</h2><p class="dim">{len(pasts)} sweeps, each class on its own scale.{told}</p>'
        f"{drawn}<details><summary>As a table</summary>{_history_table(pasts)}</details></section>"
    )


def _panel(name: str, pasts: Sequence[Past]) -> str:
    """Return the columns of one class; a sweep that nobody believes is pale."""
    columns = [
        Column(f"{minute(past.started_at)} UTC, {past.state}", getattr(past, name), past.state != COMPLETE)
        for past in pasts
    ]
    first, last = (minute(past.started_at)[:10] for past in (pasts[0], pasts[-1]))
    return panel(name, columns, Caption(f"{len(pasts)} sweeps", columns[-1].number, "in the latest", first, last))


def _history_table(pasts: Sequence[Past]) -> str:
    names = Past._fields[3:-1]
    heads = "".join(f'<th scope="col" class="n">{name}</th>' for name in names)
    rows = "".join(
        f'<tr><th scope="row">{time_of(past.started_at)}</th><td>{safe(past.state)}</td>'
        + "".join(f'<td class="n">{getattr(past, name):,}</td>' for name in names)
        for past in reversed(pasts)
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Sweeps"><table class="plain">'
        '<caption class="vh">What each sweep found, the latest first</caption><thead><tr>'
        f'<th scope="col">began</th><th scope="col">state</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def counts(title: str, what: str, found: Sequence[Count]) -> str:
    """Return a bar for each count, stacked by class."""
    return bars(title, (what, "drifts", "bytes"), DRIFTS, [_bar(count) for count in found])


def _bar(count: Count) -> Bar:
    parts = [(name, getattr(count, name)) for name in DRIFTS if getattr(count, name)]
    says = ", ".join(counted(name, number) for name, number in parts)
    return Bar(count.name, parts, says, (f"{sum(number for _, number in parts):,}", size(count.size_bytes)))
