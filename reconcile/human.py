"""Says values as a person reads them: ages, sizes, durations, and text that a terminal cannot be fooled with.

Knows no table and no colour. Pure: what time it is comes in.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

Value: TypeAlias = bool | int | float | str | datetime | Sequence["Value"] | Mapping[str, "Value"] | None

MINUTE, HOUR, DAY = 60, 3_600, 86_400
OLD = 60 * DAY
KIB = 1024
BYTE_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
UNITS = ("_bytes", "_ms", "_s", "_at")
SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
NOTHING = "-"


def label(name: str) -> str:
    """Return a field's name as a heading: without its unit, which the value will carry."""
    for unit in UNITS:
        name = name.removesuffix(unit)
    return name.replace("_", " ")


def human(name: str, value: Value, now: datetime | None) -> str:
    """Return a value as text; the end of its field's name says its unit."""
    match value:
        case None | "":
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case datetime():
            return age(value, now)
        case int() | float():
            return number(name, value)
        case str():
            return visible(value)
        case _:
            return ", ".join(_items(name, value, now)) or NOTHING


def _items(name: str, value: Sequence[Value] | Mapping[str, Value], now: datetime | None) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (f"{visible(key)} {human(key, item, now)}" for key, item in value.items())
    else:
        yield from (human(name, item, now) for item in value)


def number(name: str, value: float) -> str:
    """Return a number with its unit, if its field's name ends in one."""
    if name.endswith("_bytes"):
        return size(int(value))
    if name.endswith("_ms"):
        return duration(value / 1000)
    if name.endswith("_s"):
        return duration(value)
    if name == "id" or name.endswith("_id"):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def size(count: int) -> str:
    """Return a number of bytes in units of 1024: 512 B, 1.5 KiB, 20 MiB."""
    if count < KIB:
        return f"{count} B"
    amount, unit = float(count), "B"
    for unit in BYTE_UNITS:  # noqa: B007  # the unit reached is what is shown
        amount /= KIB
        if round(amount, 1) < KIB:
            break
    return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"  # noqa: PLR2004  # three digits at most


def duration(seconds: float) -> str:
    """Return a duration in its one or two largest units: 12 ms, 3.2 s, 3 m 12 s, 2 h 5 m, 4 d."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < MINUTE:
        return f"{seconds:.3g} s"
    if seconds < HOUR:
        return _two(seconds, MINUTE, "m", 1, "s")
    if seconds < DAY:
        return _two(seconds, HOUR, "h", MINUTE, "m")
    return _two(seconds, DAY, "d", HOUR, "h")


def _two(seconds: float, large: int, large_unit: str, small: int, small_unit: str) -> str:
    whole, rest = divmod(int(seconds), large)
    return f"{whole} {large_unit} {rest // small} {small_unit}" if rest // small else f"{whole} {large_unit}"


def age(then: datetime, now: datetime | None) -> str:
    """Return how long ago, or in how long, in one unit; a date where that says more, or where now is unknown."""
    if now is None or abs(now - then) > timedelta(seconds=OLD):
        return then.strftime("%Y-%m-%d %H:%M:%SZ" if now is None else "%Y-%m-%d")
    seconds = (now - then).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{_one(seconds)} ago" if seconds > 0 else f"in {_one(-seconds)}"


def _one(seconds: float) -> str:
    for length, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m")):
        if seconds >= 2 * length or (unit != "d" and seconds >= length):
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def visible(text: str) -> str:
    """Return text with everything spelled out that moves a cursor, colours, or turns the writing round."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_visible, text))


def _visible(char: str) -> str:
    if char in SHORT:
        return SHORT[char]
    if char == " " or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}:
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004


def width(text: str) -> int:
    """Return how many cells a terminal gives a text."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def shorten(text: str, cells: int) -> str:
    """Return a text of at most so many cells, its middle left out: a key's end tells as much as its beginning."""
    if width(text) <= cells:
        return text
    tail_cells = (cells - 1) * 2 // 3
    head, tail = _take(text, cells - 1 - tail_cells), _take(text[::-1], tail_cells)[::-1]
    return f"{head}…{tail}"


def _take(text: str, cells: int) -> str:
    used = 0
    for at, char in enumerate(text):
        used += _cells(char)
        if used > cells:
            return text[:at]
    return text
