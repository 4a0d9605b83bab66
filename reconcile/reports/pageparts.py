"""What the pages for a browser share: template, escaped text, figures, bars, columns over time, tables. Pure.

Style and head lie in templates/house.css and head.html; a template names its parts `{{part}}`. Whatever a bucket, a key
or a person may have written passes `safe`. A page's own policy allows no network, and no script but the template's, by
its hash. A picture stretches with its place and holds no text; every word and number stands beside it. Colours are the
style's, by the class of an element.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib import resources
from typing import NamedTuple

from reconcile.human import NOTHING, Value, human, label, visible
from reconcile.reports.forms import Table, iso

TOP, SLOTS = 20, 14
LEAST_PERCENT = 0.8


class Bar(NamedTuple):
    """One bar: its parts by class, what they say in words, and the cells beside it."""

    name: str
    parts: Sequence[tuple[str, int]]
    says: str
    cells: Sequence[str]


class Column(NamedTuple):
    """One column of a picture over time, and its words; a pale one does not set the scale, and is cut off by it."""

    says: str
    number: int
    pale: bool = False


class Caption(NamedTuple):
    """What stands around a picture: of what it is, a number and what that tells, its first and last column."""

    over: str
    number: int
    tells: str
    first: str
    last: str


def page(template: str, title: str, parts: Mapping[str, str]) -> str:
    """Return a page: a template with its parts, and the head with the style and the policy."""
    text = _file(f"{template}.html")
    policy = f" script-src '{_script_hash(text)}';" if "<script>" in text else ""
    head = _filled(_file("head.html"), {"title": safe(title), "style": house_style(), "script_policy": policy})
    return _filled(text, {"head": head, **parts})


def _filled(text: str, parts: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], text)


def house_style() -> str:
    """Return the look that all pages share."""
    return _file("house.css")


@cache
def _file(name: str) -> str:
    return (resources.files("reconcile.reports") / "templates" / name).read_text("utf-8")


def _script_hash(text: str) -> str:
    """Return the hash of the one script that may run, as the page's policy has it."""
    script = text.rpartition("<script>")[2].partition("</script>")[0]
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def safe(text: str) -> str:
    """Return text for HTML: markup escaped, and spelled out what would steer a terminal or turn the writing round."""
    return escape(visible(text))


def time_of(at: datetime) -> str:
    """Return a time as an element."""
    return f'<time datetime="{iso(at)}">{minute(at)} UTC</time>'


def minute(at: datetime) -> str:
    """Return a time in UTC, to the minute."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def figure(name: str, number: str, *under: str, style: str = "") -> str:
    """Return one figure with its name above it, and small words below."""
    zero = " zero" if number == "0" else ""
    return (
        f'<div class="{safe(style)}{zero}"><dt>{safe(name)}</dt>'
        f"<dd><b>{safe(number)}</b>{''.join(map(small, map(visible, under)))}</dd></div>"
    )


def small(text: str) -> str:
    """Return small words, visible already, or nothing."""
    return f"<small>{escape(text)}</small>" if text else ""


def panel(name: str, columns: Sequence[Column], caption: Caption) -> str:
    """Return the columns of one class over time, on a scale of their own."""
    believed = [column for column in columns if not column.pale] or columns
    most = max(column.number for column in believed) or 1
    drawn = "".join(_column(at, column, most) for at, column in enumerate(columns))
    slots = max(len(columns), SLOTS)
    over, number, tells, first, last = caption
    says = f"{name} in {over}: at most {most:,}, {tells} {number:,}"
    return (
        f'<div class="panel {name}"><h3><i class="dot"></i>{name}<b>{number:,}</b><small>at most {most:,}</small></h3>'
        f'<svg viewBox="0 0 {slots} 100" preserveAspectRatio="none" role="img" aria-label="{says}">'
        f"{drawn}</svg><p{' class=full' if len(columns) >= SLOTS else ''}><small>"
        f"{first}</small><small>{last}</small></p></div>"
    )


def _column(at: int, column: Column, most: int) -> str:
    high = min(max(column.number / most * 100, 2), 100) if column.number else 0
    weak = ' class="weak"' if column.pale else ""
    return (
        f"<g><title>{safe(column.says)}: {column.number:,}</title>"
        f'<rect class="hit" x="{at}" width="1" height="100"/>'
        f'<rect{weak} x="{at + 0.12:.2f}" y="{100 - high:.2f}" width=".76" height="{high:.2f}"/></g>'
    )


def bars(title: str, heads: Sequence[str], classes: Sequence[str], drawn: Sequence[Bar]) -> str:
    """Return a table whose rows carry a bar each, stacked by class; the longest are in sight, the rest a click away."""
    if not drawn:
        return ""
    most = max(sum(count for _, count in bar.parts) for bar in drawn) or 1
    rows = [_bar(bar, most) for bar in drawn]
    rest = len(rows) - TOP
    more = f"<details><summary>{rest:,} more</summary>{_bar_table(heads, rows[TOP:])}</details>" if rest > 0 else ""
    return f"<section><h2>{title}</h2>{legend(classes, drawn)}{_bar_table(heads, rows[:TOP])}{more}</section>"


def _bar_table(heads: Sequence[str], rows: Iterable[str]) -> str:
    what, *others = heads
    beside = "".join(f'<th scope="col" class="n">{head}</th>' for head in others)
    return (
        f'<table class="bars"><thead><tr><th scope="col" class="name">{what}</th>'
        f'<th scope="col"><span class="vh">by class</span></th>{beside}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _bar(bar: Bar, most: int) -> str:
    name = safe(bar.name) if bar.name else '<span class="dim">none</span>'
    cells = "".join(f'<td class="n">{cell}</td>' for cell in bar.cells)
    return (
        f'<tr title="{bar.says}"><th scope="row" class="name"><bdi dir="ltr">{name}</bdi></th>'
        f'<td>{stacked(bar.parts, most)}<span class="vh">{bar.says}</span></td>{cells}</tr>'
    )


def stacked(parts: Sequence[tuple[str, int]], most: int) -> str:
    """Return one bar; a part that is there can be seen, however small."""
    drawn, at = "", 0.0
    for name, number in parts:
        wide = max(number / most * 100, LEAST_PERCENT)
        drawn += f'<rect class="{name}" x="{at:.2f}" width="{wide:.2f}" height="1"/>'
        at += wide
    return f'<svg viewBox="0 0 {max(at, 100):.2f} 1" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'


def legend(classes: Iterable[str], drawn: Sequence[Bar]) -> str:
    """Return the classes that bars have, with their colours."""
    had = {name for bar in drawn for name, count in bar.parts if count}
    return f'<ul class="legend">{"".join(f"<li>{dot(name)}{name}</li>" for name in classes if name in had)}</ul>'


def dot(name: str) -> str:
    """Return a dot in the colour of a class."""
    return f'<i class="dot {safe(name)}"></i>'


def table(shown: Table, note: str = "") -> str:
    """Return any table as a section, with its exact times; nothing where it has no rows."""
    if not shown.rows:
        return ""
    numeric = [any(_is_number(row[at]) for row in shown.rows) for at in range(len(shown.columns))]
    heads = "".join(
        f'<th scope="col"{_right(right)}>{safe(label(name))}</th>'
        for name, right in zip(shown.columns, numeric, strict=True)
    )
    rows = "".join(_row(shown.columns, row, numeric) for row in shown.rows)
    said = "".join(f'<p class="dim">{safe(each)}</p>' for each in (note, *shown.notes) if each)
    title = safe(shown.title)
    return (
        f'<section><h2>{title}</h2>{said}<div class="scroll" tabindex="0" role="region" aria-label="{title}">'
        f'<table class="plain"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _row(columns: Sequence[str], row: Sequence[Value], numeric: Sequence[bool]) -> str:
    cells = zip(columns, row, numeric, strict=True)
    return f"<tr>{''.join(f'<td{_right(right)}>{_cell(name, value, right)}</td>' for name, value, right in cells)}</tr>"


def _cell(name: str, value: Value, right: bool) -> str:  # noqa: FBT001 - a style
    match value:
        case None | "":
            return f'<span class="dim">{NOTHING}</span>' if right else ""
        case datetime():
            return time_of(value)
        case _:
            return escape(human(name, value, None))


def _right(right: bool) -> str:  # noqa: FBT001 - a style
    return ' class="n"' if right else ""


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
