"""What a command has to show, as Table and Section, and every form of output made from these two alone. Pure.

Knows no terminal and no file: text comes out as lines of styled spans, everything else as a string; the form for a
browser is in page.py. Field names are stable and carry their unit at the end (`size_bytes`, `opened_at`); a person is
shown `size 20 MiB`, `opened 3 m ago`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

from reconcile.human import Value, human, label, shorten, width

GAP = "  "
LEAST_CELLS = 12
UNSAFE = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
TONES = {
    "missing": "red",
    "mismatch": "red",
    "flagged": "red",
    "absent": "red",
    "failed": "red",
    "on": "red",
    "incomplete": "red",
    "removed": "red",
    "narrowed": "red",
    "silent": "red",
    "orphan": "yellow",
    "leftover": "yellow",
    "suspected": "yellow",
    "unknown": "yellow",
    "held": "yellow",
    "lookalike": "yellow",
    "open": "bold",
    "healthy": "green",
    "present": "green",
    "live": "green",
    "done": "green",
    "complete": "green",
    "resolved": "green",
    "off": "green",
    "✓": "green",
    "!": "yellow",
    "✗": "red",
}


class Format(StrEnum):
    """A form of output."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    HTML = "html"


class Brief(NamedTuple):
    """What text shows of a table that other forms give in full: some of the columns, the first of the rows."""

    columns: tuple[str, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of equal shape. `none` is said where there are none, `notes` below; text leaves it out if `none` is ''."""

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Value]]
    title: str = ""
    none: str = "none"
    notes: tuple[str, ...] = ()
    brief: Brief | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Facts by name, then tables and sections. `brief` names the facts that text shows, None for all."""

    name: str
    title: str
    facts: Mapping[str, Value] = field(default_factory=dict)
    parts: tuple[Table | Section, ...] = ()
    notes: tuple[str, ...] = ()
    brief: tuple[str, ...] | None = None


Shown = Table | Section


class Span(NamedTuple):
    """A piece of a line, in one style."""

    text: str
    style: str = ""


Line = tuple[Span, ...]


def text(shown: Shown, now: datetime | None = None, cells: int | None = None) -> Iterator[Line]:
    """Yield the lines for a person; `cells` is the terminal's width, None where nothing must be shortened."""
    match shown:
        case Table():
            yield from _text_table(shortened(shown), now, cells)
        case Section():
            yield from _text_section(shown, now, cells)


def plain(lines: Iterable[Line]) -> str:
    """Return lines without their styles."""
    return "".join("".join(span.text for span in line).rstrip() + "\n" for line in lines)


def _text_section(section: Section, now: datetime | None, cells: int | None) -> Iterator[Line]:
    if section.title:
        yield (Span(section.title, "bold"),)
    names = [name for name in section.facts if section.brief is None or name in section.brief]
    indent = max((width(label(name)) for name in names), default=0)
    for name in names:
        shown = human(name, section.facts[name], now)
        yield (Span(f"{_padded(label(name), indent)}{GAP}", "dim"), Span(shown, TONES.get(shown, "")))
    yield from _text_notes(section.notes)
    for at, part in enumerate(filter(_is_told, section.parts)):
        if at or section.title or names or section.notes:
            yield ()
        yield from text(part, now, cells)


def _is_told(part: Shown) -> bool:
    match part:
        case Table(rows=rows, none=none, brief=brief):
            return bool(none or (rows and (brief is None or brief.rows)))
        case Section(brief=brief, parts=parts, notes=notes):
            return brief != () or bool(parts or notes)


def shortened(table: Table) -> Table:
    """Return what a person is shown of a table at first."""
    if table.brief is None:
        return table
    columns, most = table.brief
    places = [table.columns.index(name) for name in columns]
    return replace(table, columns=columns, rows=[[row[at] for at in places] for row in table.rows[:most]], brief=None)


def _text_table(table: Table, now: datetime | None, cells: int | None) -> Iterator[Line]:
    if table.title:
        yield (Span(table.title, "bold"),)
    if not table.rows:
        yield (Span(table.none, "dim"),)
        yield from _text_notes(table.notes)
        return
    grid = [[human(name, cell, now) for name, cell in zip(table.columns, row, strict=True)] for row in table.rows]
    heads = [label(name) for name in table.columns]
    widths = _fitting([max(map(width, column)) for column in zip(heads, *grid, strict=True)], cells)
    right = [_is_numeric([row[at] for row in table.rows]) for at in range(len(heads))]
    yield tuple(Span(cell, "dim") for cell in _aligned(heads, widths, right))
    for row in grid:
        tones = [TONES.get(cell, "") for cell in row]
        yield tuple(map(Span, _aligned(row, widths, right), tones))
    yield from _text_notes(table.notes)


def _is_numeric(column: Sequence[Value]) -> bool:
    told = [value for value in column if value is not None]
    return bool(told) and all(isinstance(value, int | float) for value in told)


def _text_notes(notes: Iterable[str]) -> Iterator[Line]:
    for note in notes:
        for line in note.splitlines():
            yield (Span(line, "dim"),)


def _fitting(widths: list[int], cells: int | None) -> list[int]:
    """Narrow the widest columns until the table fits, none below what still tells something."""
    over = sum(widths) + len(GAP) * (len(widths) - 1) - cells if cells else 0
    while over > 0 and max(widths) > LEAST_CELLS:
        widest = max(widths)
        second = max(sorted(widths)[-2:][0], LEAST_CELLS)
        at = widths.index(widest)
        cut = min(over, max(widest - second, 1), widest - LEAST_CELLS)
        widths[at] -= cut
        over -= cut
    return widths


def _aligned(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> Iterator[str]:
    last = len(row) - 1
    for at, (cell, cells, to_right) in enumerate(zip(row, widths, right, strict=True)):
        short = shorten(cell, cells)
        padding = " " * (cells - width(short))
        yield (padding + short if to_right else short + padding) + ("" if at == last else GAP)


def _padded(written: str, cells: int) -> str:
    return written + " " * (cells - width(written))


def values(shown: Shown) -> object:
    """Return plain values ready for JSON: a list of objects for a table, one object for a section."""
    match shown:
        case Table(columns=columns, rows=rows):
            return [dict(zip(columns, map(_json, row), strict=True)) for row in rows]
        case Section(facts=facts, parts=parts, notes=notes):
            own: dict[str, object] = {name: _json(value) for name, value in facts.items()}
            own |= {part.name: values(part) for part in parts}
            return own | ({"notes": list(notes)} if notes else {})


def _json(value: Value) -> object:
    return iso(value) if isinstance(value, datetime) else value


def iso(then: datetime) -> str:
    """Return a time as ISO 8601 in UTC, to the millisecond."""
    return then.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_json(shown: Shown) -> str:
    """Return indented JSON."""
    return _safe(msgspec.json.format(msgspec.json.encode(values(shown)), indent=2).decode()) + "\n"


def as_jsonl(shown: Shown) -> str:
    """Return one JSON object a line: a table's rows, or a section as a whole."""
    found = values(shown)
    rows = found if isinstance(found, list) else [found]
    return "".join(f"{_safe(msgspec.json.encode(row).decode())}\n" for row in rows)


def _safe(encoded: str) -> str:
    """Spell out what a terminal might obey; these characters occur in JSON only within strings."""
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded)


def as_csv(shown: Shown) -> str:
    """Return a table with its header, or a section as names and values, nested names joined by dots."""
    match shown:
        case Table(columns=columns, rows=rows):
            lines = [columns, *([_flat(cell) for cell in row] for row in rows)]
        case Section():
            lines = [("name", "value"), *_leaves("", values(shown))]
    return "".join(map(_csv_line, lines))


def _csv_line(cells: Iterable[object]) -> str:
    """Return one line; the driver quotes a CR only where its own line ends with one."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue().removesuffix("\r\n") + "\n"


def _flat(cell: Value) -> object:
    value = _json(cell)
    if isinstance(value, bool):
        return str(value).lower()
    return msgspec.json.encode(value).decode() if isinstance(value, Mapping | list | tuple) else value


def _leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    match value:
        case Mapping():
            for key, item in value.items():
                yield from _leaves(f"{name}.{key}" if name else str(key), item)
        case list() | tuple():
            for at, item in enumerate(value):
                yield from _leaves(f"{name}.{at}", item)
        case _:
            yield name, str(value).lower() if isinstance(value, bool) else value
