"""Where a range of a topic begins or ends, as a person writes it. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from reconcile.config.values import Unfit, moment

WORDS = ("earliest", "latest")
RULE = "must be an offset (1200), a time (2025-01-31T12:00, in UTC), a duration ago (7d), earliest or latest"


def edge(written: str) -> int | timedelta | datetime | str:
    """Return the edge that is meant: an offset, a duration ago, a time, or one of the two words."""
    if written in WORDS:
        return written
    if written.isdecimal() and written.isascii():
        return int(written)
    try:
        return moment(written)
    except Unfit:
        raise Unfit(RULE) from None


def is_before(one: int | datetime | str, other: int | datetime | str) -> bool:
    """Tell whether one edge certainly lies before another; what only the topic can tell does not."""
    if isinstance(one, int) and isinstance(other, int):
        return one < other
    return isinstance(one, datetime) and isinstance(other, datetime) and one < other
