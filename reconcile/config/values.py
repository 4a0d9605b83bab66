"""Turns one written value, from a TOML file or from the environment, into a typed one, and back into text.

Knows the types that settings are made of, and no setting. Pure.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

MASK = "***"  # what is shown for a secret
UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000}
WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
TERM = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
COMMA = re.compile(r"\s*,\s*(?![^{]*\})")


FIRST_YEAR = 1970  # before it Kafka's milliseconds have meanings of their own
Moment = TypeVar("Moment")
Number = TypeVar("Number", int, float)
SIZE = re.compile(r"(\d+(?:\.\d+)?)(?:([KMGT])(i?))?B?", re.ASCII | re.IGNORECASE)
THOUSANDS = "KMGT"
MOST_BYTES = 2**63  # what the database cannot keep


class Unfit(ValueError):
    """A value is not of its setting's type; the text is the rule it breaks."""


def fit(kind: object, written: object) -> object:
    """Return the written value as `kind`, or raise Unfit with the rule; strings may stand for every type."""
    return FITTERS[kind](written)


def text(written: object) -> str:
    """Return a string; a whole number is taken as its digits, since TOML tempts to leave the quotes out."""
    if isinstance(written, str):
        return written
    if isinstance(written, int) and not isinstance(written, bool):
        return str(written)
    raise Unfit("must be a string, in quotes")


def optional_text(written: object) -> str | None:
    """Return a string, or None for an empty one."""
    return text(written) or None


def boolean(written: object) -> bool:
    """Return a truth value."""
    if isinstance(written, bool):
        return written
    if isinstance(written, str) and written.strip().lower() in WORDS:
        return WORDS[written.strip().lower()]
    raise Unfit("must be true or false")


def integer(written: object) -> int:
    """Return a whole number."""
    if isinstance(written, int) and not isinstance(written, bool):
        return written
    if isinstance(written, str) and re.fullmatch(r"[+-]?\d{1,18}", written.strip(), re.ASCII):
        return int(written)
    raise Unfit("must be a whole number of at most 18 digits")


def within(value: Number, least: float, most: float | None = None) -> Number:
    """Return a number that lies within its bounds."""
    if value < least:
        raise Unfit(f"must be at least {least}")
    if most is not None and value > most:
        raise Unfit(f"must be at most {most}")
    return value


def number(written: object) -> float:
    """Return a number with or without a fraction."""
    if isinstance(written, int | float) and not isinstance(written, bool):
        return float(written)
    if isinstance(written, str) and re.fullmatch(r"[+-]?\d{1,18}(\.\d{1,18})?", written.strip(), re.ASCII):
        return float(written)
    raise Unfit("must be a number")


def duration(written: object) -> timedelta:
    """Return a duration written as '500ms', '30s', '15m', '2h', '1d' or a sum such as '1h30m'."""
    compact = written.replace(" ", "") if isinstance(written, str) else ""
    if not DURATION.fullmatch(compact):
        raise Unfit("must be a duration, a number with its unit, such as '500ms', '30s', '15m', '2h' or '1d'")
    microseconds = sum(float(amount) * UNITS[unit] for amount, unit in TERM.findall(compact))
    if microseconds > UNITS["d"] * 36_500:
        raise Unfit("must be a duration of at most a hundred years")
    return timedelta(microseconds=round(microseconds))


def moment(written: str) -> timedelta | datetime:
    """Return a duration, from or until when its reader knows, or a time; one without a zone is UTC."""
    with suppress(Unfit):
        return duration(written)
    with suppress(ValueError, OverflowError):
        at = datetime.fromisoformat(written)
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        if at.year >= FIRST_YEAR:
            return at
    raise Unfit("must be a duration such as 90m, 24h or 7d, or a time (UTC) from 1970 on, such as 2025-01-31T12:00")


def before(now: datetime, said: timedelta | Moment) -> datetime | Moment:
    """Return the time that a duration ago is; anything else is what it is."""
    return now - said if isinstance(said, timedelta) else said


def size(written: str) -> int:
    """Return a number of bytes written as '500KiB', '20MiB', '1.5GB' or in digits alone."""
    fitting = SIZE.fullmatch(written.replace(" ", ""))
    if fitting is None:
        raise Unfit("must be a number of bytes with its unit, such as 500KiB, 20MiB or 1GB")
    amount, unit, binary = fitting.groups()
    power = THOUSANDS.index(unit.upper()) + 1 if unit else 0
    found = float(amount) * (1024 if binary else 1000) ** power
    if found >= MOST_BYTES:
        raise Unfit("must be less than 8 EiB")
    return int(found)


def texts(written: object) -> tuple[str, ...]:
    """Return a list of strings; from the environment as in TOML, or separated by commas outside braces."""
    if isinstance(written, str):
        stripped = written.strip()
        written = _toml(stripped) if stripped.startswith("[") else [item for item in COMMA.split(stripped) if item]
    if not isinstance(written, list):
        raise Unfit("must be a list of strings, such as ['a', 'b']")
    return tuple(text(item) for item in written)


def table(written: object) -> Mapping[str, str]:
    """Return a mapping of strings; from the environment as a TOML inline table."""
    if isinstance(written, str):
        written = _toml(written)
    if not isinstance(written, Mapping):
        raise Unfit("must be a table of strings, such as {a = 'b'}")
    return {str(key): text(value) for key, value in written.items()}


def _toml(written: str) -> object:
    try:
        return tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        raise Unfit("must be written as in TOML, such as ['a', 'b'] or {a = 'b'}") from None


FITTERS: Mapping[object, Callable[[object], object]] = {
    str: text,
    str | None: optional_text,
    bool: boolean,
    int: integer,
    float: number,
    timedelta: duration,
    tuple[str, ...]: texts,
    Mapping[str, str]: table,
}


def shown(value: object) -> str:
    """Return a typed value as a person would write it."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case timedelta():
            return duration_text(value)
        case tuple():
            return ", ".join(map(str, value))
        case Mapping():
            return ", ".join(f"{key} = {item}" for key, item in value.items())
        case _:
            return str(value)


def duration_text(value: timedelta) -> str:
    """Return a duration in the notation that `duration` reads."""
    rest = value // timedelta(microseconds=1)
    found = []
    for unit, size in UNITS.items():
        amount, rest = divmod(rest, size)
        if amount:
            found.append(f"{amount}{unit}")
    return "".join(found) or "0s"


def masked_url(url: str) -> str:
    """Return user, host, port and database of a connection URL; whatever might hold a secret is masked.

    A password with an unescaped '/', '?' or '#' splits elsewhere than its author thinks, so a URL that has its '@'
    anywhere but before the host is masked as a whole, as is a key=value string.
    """
    split = urlsplit(url)
    if url.count("@") != 1 or "@" not in split.netloc or not split.scheme.startswith("postgres"):
        return MASK
    user, _, host = split.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    return f"{split.scheme}://{name}{f':{MASK}' if colon else ''}@{host}{split.path}"
