"""The pictures of a sweep's page as inline SVG: drift over time, and bars stacked by class. Pure.

A picture stretches with its place and holds no text; every word and number stands beside it. Colours are the page's,
by the class of an element.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from reconcile.drift import Count, Past
from reconcile.human import size, visible
from reconcile.report import iso
from reconcile.sweepreport import COMPLETE, DRIFTS, counted

PAST = DRIFTS[:4]
TOP, SLOTS = 20, 14
LEAST_PERCENT = 0.8


def safe(text: str) -> str:
    """Return text for HTML: markup escaped, and spelled out what would steer a terminal or turn the writing round."""
    return escape(visible(text))


def time_of(at: datetime) -> str:
    """Return a time as an element."""
    return f'<time datetime="{iso(at)}">{minute(at)} UTC</time>'


def minute(at: datetime) -> str:
    """Return a time in UTC, to the minute."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def history(pasts: Sequence[Past]) -> str:
    """Return the section of the sweeps, the oldest first; nothing if there is but one."""
    if len(pasts) < 2:  # noqa: PLR2004  # one sweep is no history
        return ""
    panels = "".join(_panel(name, pasts) for name in PAST if any(getattr(past, name) for past in pasts))
    drawn = f'<div class="panels">{panels}</div>' if panels else '<p class="none">None of them found drift.</p>'
    pale = any(past.state != COMPLETE for past in pasts)
    told = " Pale: held or incomplete, cut off at the scale of the others." if pale else ""
    return (
        f'<section><h2>Drift over time</h2><p class="dim">{len(pasts)} sweeps, each class on its own scale.{told}</p>'
        f"{drawn}<details><summary>As a table</summary>{_history_table(pasts)}</details></section>"
    )


def _panel(name: str, pasts: Sequence[Past]) -> str:
    """Return the columns of one class; a sweep that nobody believes does not set the scale, and is cut off by it."""
    believed = [past for past in pasts if past.state == COMPLETE] or pasts
    most = max(getattr(past, name) for past in believed) or 1
    columns = "".join(_column(at, getattr(past, name), most, past) for at, past in enumerate(pasts))
    last = getattr(pasts[-1], name)
    slots = max(len(pasts), SLOTS)
    says = f"{name} in {len(pasts)} sweeps: at most {most:,}, in the latest {last:,}"
    return (
        f'<div class="panel {name}"><h3><i class="dot"></i>{name}<b>{last:,}</b><small>at most {most:,}</small></h3>'
        f'<svg viewBox="0 0 {slots} 100" preserveAspectRatio="none" role="img" aria-label="{says}">'
        f"{columns}</svg><p{' class=full' if len(pasts) >= SLOTS else ''}><small>"
        f"{minute(pasts[0].started_at)[:10]}</small>"
        f"<small>{minute(pasts[-1].started_at)[:10]}</small></p></div>"
    )


def _column(at: int, count: int, most: int, past: Past) -> str:
    high = min(max(count / most * 100, 2), 100) if count else 0
    weak = ' class="weak"' if past.state != COMPLETE else ""
    return (
        f"<g><title>{minute(past.started_at)} UTC, {safe(past.state)}: {count:,}</title>"
        f'<rect class="hit" x="{at}" width="1" height="100"/>'
        f'<rect{weak} x="{at + 0.12:.2f}" y="{100 - high:.2f}" width=".76" height="{high:.2f}"/></g>'
    )


def _history_table(pasts: Sequence[Past]) -> str:
    names = Past._fields[3:]
    heads = "".join(f'<th scope="col" class="n">{name}</th>' for name in names)
    rows = "".join(
        f'<tr><th scope="row">{time_of(past.started_at)}</th><td>{safe(past.state)}</td>'
        + "".join(f'<td class="n">{getattr(past, name):,}</td>' for name in names)
        for past in reversed(pasts)
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Sweeps"><table class="plain"><thead><tr>'
        f'<th scope="col">began</th><th scope="col">state</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def bars(title: str, what: str, counts: Sequence[Count]) -> str:
    """Return a table whose rows carry a bar each, stacked by class; the longest are in sight, the rest a click away."""
    if not counts:
        return ""
    most = max(map(_sum, counts)) or 1
    rows = [_bar(count, most) for count in counts]
    rest = len(rows) - TOP
    more = f"<details><summary>{rest:,} more</summary>{_bar_table(what, rows[TOP:])}</details>" if rest > 0 else ""
    return f"<section><h2>{title}</h2>{_legend(counts)}{_bar_table(what, rows[:TOP])}{more}</section>"


def _bar_table(what: str, rows: Iterable[str]) -> str:
    return (
        f'<table class="bars"><thead><tr><th scope="col" class="name">{what}</th>'
        '<th scope="col"><span class="vh">by class</span></th><th scope="col" class="n">drifts</th>'
        f'<th scope="col" class="n">bytes</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _bar(count: Count, most: int) -> str:
    parts = [(name, getattr(count, name)) for name in DRIFTS if getattr(count, name)]
    says = ", ".join(counted(name, number) for name, number in parts)
    name = safe(count.name) if count.name else '<span class="dim">none</span>'
    return (
        f'<tr title="{says}"><th scope="row" class="name"><bdi dir="ltr">{name}</bdi></th>'
        f'<td>{stacked(parts, most)}<span class="vh">{says}</span></td>'
        f'<td class="n">{_sum(count):,}</td><td class="n">{size(count.size_bytes)}</td></tr>'
    )


def stacked(parts: Sequence[tuple[str, int]], most: int) -> str:
    """Return one bar; a part that is there can be seen, however small."""
    drawn, at = "", 0.0
    for name, number in parts:
        wide = max(number / most * 100, LEAST_PERCENT)
        drawn += f'<rect class="{name}" x="{at:.2f}" width="{wide:.2f}" height="1"/>'
        at += wide
    return f'<svg viewBox="0 0 {max(at, 100):.2f} 1" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'


def _sum(count: Count) -> int:
    return sum(getattr(count, name) for name in DRIFTS)


def _legend(counts: Sequence[Count]) -> str:
    names = (name for name in DRIFTS if any(getattr(count, name) for count in counts))
    return f'<ul class="legend">{"".join(f"<li>{dot(name)}{name}</li>" for name in names)}</ul>'


def dot(name: str) -> str:
    """Return a dot in the colour of a class."""
    return f'<i class="dot {safe(name)}"></i>'
