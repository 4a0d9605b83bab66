"""Adds drifts up for the report: by kind, group, prefix and age. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconcile.sweeps.drift import Class, Count, Drift, OfKind

SHOWN = 10_000  # drifts that a report lists; the database has all of them
LARGEST = 50
NAMES = 2_000  # of prefixes, or of groups, that are counted; each key may begin with another
KINDS = tuple(kind for kind in Class if kind is not Class.HEALED)
TODAY, WEEK = timedelta(days=1), timedelta(days=7)


def age_of(one: Drift, now: datetime) -> str:
    """Return how old a drift's row or object is: today, this week, older, unknown."""
    if one.since is None:
        return "unknown"
    age = now - one.since
    return "today" if age < TODAY else "this week" if age < WEEK else "older"


def prefix_of(one: Drift) -> str:
    """Return the first part of a key, with its slash; `''` at the top."""
    head, slash, _ = one.key.partition("/")
    return head + slash if slash else ""


@dataclass
class Sums:
    """What all drifts come to; `first` are those that the report lists, `unknown` counts those without a finding.

    Of very many names the half with the least drifts is forgotten now and then. A sweep's drifts come in key order, so
    that no prefix of theirs is forgotten before all of it is counted.
    """

    now: datetime
    first: list[Drift] = field(default_factory=list)
    new: Counter[Class] = field(default_factory=Counter)
    unknown: Counter[Class] = field(default_factory=Counter)
    counts: dict[str, dict[str, Counter[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Counter))
    )
    total: int = 0

    def add(self, one: Drift) -> None:
        """Count one drift."""
        self.total += 1
        self.new[one.kind] += one.is_new
        self.unknown[one.kind] += not one.known
        named = {"kind": one.kind.value, "group": one.group, "prefix": prefix_of(one), "age": age_of(one, self.now)}
        for by, name in named.items():
            counter = self._counter(self.counts[by], name)
            counter[one.kind] += 1
            counter["size_bytes"] += one.size_bytes or 0
        if len(self.first) < SHOWN:
            self.first.append(one)

    def _counter(self, counts: dict[str, Counter[str]], name: str) -> Counter[str]:
        if name not in counts and len(counts) >= NAMES:
            least = sorted(counts, key=lambda one: counts[one].total() - counts[one]["size_bytes"])
            for one in least[: NAMES // 2]:
                del counts[one]
        return counts[name]

    def of_kind(self, kind: Class) -> int:
        """Return how many there are of a kind."""
        return self.counts["kind"][kind.value][kind]

    def by_kind(self) -> list[OfKind]:
        """Return every kind, those without a drift, too."""
        sizes = self.counts["kind"]
        return [OfKind(kind, self.of_kind(kind), self.new[kind], sizes[kind.value]["size_bytes"]) for kind in KINDS]

    def by(self, what: str) -> list[Count]:
        """Return the counts by group, prefix or age, the largest first."""
        found = [
            Count(name, **{kind.value: counter[kind] for kind in KINDS}, size_bytes=counter["size_bytes"])
            for name, counter in self.counts[what].items()
        ]
        return sorted(found, key=lambda one: (-sum(one[1:6]), one.name))[:LARGEST]


def within(drifts: Iterable[Drift], unread: Sequence[tuple[str, str | None]]) -> Iterator[Drift]:
    """Yield the drifts outside of ranges (lower, upper] that were not read to their end: nothing there is believed."""
    for one in drifts:
        if not any(lower < one.key and (upper is None or one.key <= upper) for lower, upper in unread):
            yield one


def summed(drifts: Iterable[Drift], now: datetime) -> Sums:
    """Add all up."""
    sums = Sums(now)
    for one in drifts:
        sums.add(one)
    return sums
