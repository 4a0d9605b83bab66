"""How far a server's clock is ahead of ours, from Date headers: each tells a second, together they tell more. Pure.

A question sent and answered between two moments of our clock, whose answer says a second, puts the server's clock
between two bounds. What all questions allow at once is narrower than any of them, and widens by what clocks may drift.
"""

from __future__ import annotations

from typing import NamedTuple

DRIFT = 2e-4  # seconds a second: more than the clocks of two machines part, and what NTP may slew
DATE_S = 1.0  # a Date header leaves out the fraction


class Ahead(NamedTuple):
    """The server's clock less ours is between `least` and `most` seconds, as of `at` by ours."""

    least: float
    most: float
    at: float

    @property
    def seconds(self) -> float:
        """The middle."""
        return (self.least + self.most) / 2

    @property
    def within(self) -> float:
        """How much more or less it may be."""
        return (self.most - self.least) / 2


def told(date: float, sent: float, got: float) -> Ahead:
    """Return what one Date header tells: `date` in seconds, asked between `sent` and `got` by our clock."""
    return Ahead(date - got, date + DATE_S - sent, got)


def narrowed(before: Ahead | None, new: Ahead) -> Ahead:
    """Return what both allow; the new one alone where they exclude each other, since then a clock was set."""
    if before is None:
        return new
    drift = max(new.at - before.at, 0.0) * DRIFT
    least, most = max(before.least - drift, new.least), min(before.most + drift, new.most)
    return Ahead(least, most, new.at) if least <= most else new
