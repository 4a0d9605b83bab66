"""Where a range of a topic begins or ends, as a person writes it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from reconcile.model import Misconfigured
from reconcile.values import Unfit, duration

WORDS = ("earliest", "latest")
RULE = "must be an offset (1200), a time (2025-01-31T12:00, in UTC), a duration ago (7d), earliest or latest"


def edge(option: str, written: str, now: datetime) -> int | datetime | str:
    """Return the edge that is meant: an offset, a time, or one of the two words."""
    if written in WORDS:
        return written
    if written.isdecimal() and written.isascii():
        return int(written)
    try:
        return now - duration(written)
    except Unfit:
        pass
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        raise Misconfigured(f"{option} {written!r}: {RULE}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def is_before(one: int | datetime | str, other: int | datetime | str) -> bool:
    """Tell whether one edge certainly lies before another; what only the topic can tell does not."""
    if isinstance(one, int) and isinstance(other, int):
        return one < other
    return isinstance(one, datetime) and isinstance(other, datetime) and one < other
