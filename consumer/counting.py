"""Counts what others return, in the registry that /metrics shows: a few additions a batch, none an event.

Knows the catalogue; knows neither the loop nor the web. Threads may count at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import accumulate
from time import monotonic
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from consumer import metrics
from consumer.stream.latency import READ
from reconcile.steps import Tally

EARLY_S = 0.5  # as much as a clock may be unknown at first
UNKNOWN = -1.0
Instrument = Counter | Gauge | Histogram
disable_created_metrics()  # type: ignore[no-untyped-call]  # when a series began tells nobody anything


class Figure(NamedTuple):
    """One value of a leased metric."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


@dataclass(eq=False)
class Leased(Collector):
    """Figures that the holder of a lease exports: shown as long as the lease is surely ours, and never longer."""

    figures: tuple[Figure, ...] = ()
    until: float = 0.0
    now: Callable[[], float] = monotonic

    def show(self, figures: Iterable[Figure], until: float) -> None:
        """Show these until a monotonic time."""
        self.figures, self.until = tuple(figures), until

    def collect(self) -> Iterable[Metric]:
        """Yield each leased family, empty where the lease is not ours."""
        shown = self.figures if self.now() < self.until else ()
        for one in metrics.LEASED:
            family = GaugeMetricFamily(one.name, one.meaning, labels=tuple(one.labels))
            there = {figure.labels: figure.value for figure in shown if figure.name == one.name}
            known = dict.fromkeys(one.known(), 0.0) if shown and one.labels else {}  # one alone is what was read
            for labels, value in (known | there).items():
                family.add_metric(labels, value)
            yield family


class Weighted(Collector):
    """A histogram whose samples stand for many. One thread adds; who reads at once may miss the latest sample."""

    def __init__(self, told: metrics.Metric) -> None:
        self._told = told
        self._counts = {labels: [0] * (len(told.buckets) + 1) for labels in told.known()}
        self._sums = dict.fromkeys(self._counts, 0.0)

    def add(self, value: float, weight: int, *labels: str) -> None:
        """Count a value so many times."""
        self._counts[labels][bisect_left(self._told.buckets, value)] += weight
        self._sums[labels] += value * weight

    def collect(self) -> Iterable[Metric]:
        """Yield the family."""
        family = HistogramMetricFamily(self._told.name, self._told.meaning, labels=tuple(self._told.labels))
        ends = [*map(floatToGoString, self._told.buckets), "+Inf"]
        for labels, counts in self._counts.items():
            family.add_metric(labels, list(zip(ends, accumulate(counts), strict=True)), self._sums[labels])
        yield family


@dataclass(eq=False)
class Counting:
    """What one process counts of itself. `assigned` is None before the group has given it anything, even nothing."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    leased: Leased = field(default_factory=Leased)
    latencies: Weighted = field(default_factory=lambda: Weighted(metrics.SAMPLED[0]))
    now: Callable[[], float] = monotonic
    beat_at: float = 0.0
    assigned: int | None = None
    waits_for: str = ""
    _of: Mapping[str, Instrument] = field(init=False)

    def __post_init__(self) -> None:
        self._of = {one.name: _instrument(one, self.registry) for one in metrics.OF_PROCESS}
        self.registry.register(self.leased)
        self.registry.register(self.latencies)
        ProcessCollector(registry=self.registry)  # memory, CPU and descriptors, under the names that all programs have
        self._gauge("reconciler_build_info", version("storage-reconciler")).set(1)
        self._gauge("reconciler_clock_uncertainty_seconds").set(UNKNOWN)
        self.beat()

    def beat(self) -> None:
        """Note that the loop goes on."""
        self.beat_at = self.now()

    def beating(self, stopping: Callable[[], bool]) -> Callable[[], bool]:
        """Return the same question, which notes that it was asked: the loop asks at each turn, and while it waits."""

        def asked() -> bool:
            self.beat()
            return stopping()

        return asked

    def turned(self, tally: Tally, assigned: int | None) -> None:
        """Count one turn of the loop."""
        read = tally.acts.get("read", 0)
        self.assigned = assigned
        self._gauge("reconciler_assigned_partitions").set(assigned or 0)
        self._gauge("reconciler_held_records").set(tally.held or 0)
        self._add("reconciler_turns_total", 1)
        self._add("reconciler_records_total", read)
        self._add("reconciler_skipped_events_total", tally.acts.get("skipped", 0))
        self._add("reconciler_settled_total", tally.settled)
        for reason, count in tally.buried.items():
            self._add("reconciler_dead_letters_total", count, reason)
        if read:
            self._histogram("reconciler_batch_records").observe(read)
        self.looked("stream", tally)

    def looked(self, path: str, tally: Tally) -> None:
        """Count what looks came to, whoever named them."""
        if not (tally.looks or tally.not_asked):
            return
        self._add("reconciler_looks_total", tally.looks, path)
        self._add("reconciler_busy_total", tally.busy, path)
        for answer, count in {**tally.answers, "not_asked": tally.not_asked}.items():
            self._add("reconciler_answers_total", count, answer)
        for act, count in tally.acts.items():
            if act not in OF_TURNS:
                self._add("reconciler_changes_total", count, act.replace(" ", "_"))

    def took(self, stage: str, kind: str, seconds: float | None, weight: int) -> None:
        """Count one sample of latency; what was read before it happened took no time, and is counted apart."""
        if seconds is not None:
            self.latencies.add(max(seconds, 0.0), weight, stage, kind)
        elif stage == READ:
            self._add("reconciler_unmeasured_events_total", weight)
        if seconds is not None and seconds < -EARLY_S and stage == READ:
            self._add("reconciler_early_events_total", weight)

    def clock(self, ahead_s: float, within_s: float) -> None:
        """Note how far MinIO's clock is ahead of this machine's, and how surely."""
        self._gauge("reconciler_clock_ahead_seconds").set(ahead_s)
        self._gauge("reconciler_clock_uncertainty_seconds").set(within_s)

    def outage(self, server: str) -> None:
        """Note which server the loop waits for, `""` for none; told again, it is the same outage."""
        if server == self.waits_for:
            return
        self.waits_for = server
        for one in metrics.SERVERS:
            self._gauge("reconciler_outage", one).set(one == server)
        if server:
            self._add("reconciler_outages_total", 1, server)
            self._gauge("reconciler_held_records").set(0)  # what was held is read again

    def _add(self, name: str, count: float, *labels: str) -> None:
        if count:
            made = self._of[name]
            child = made.labels(*labels) if labels else made
            child.inc(count)  # type: ignore[union-attr]  # a counter

    def _gauge(self, name: str, *labels: str) -> Gauge:
        made = self._of[name]
        return made.labels(*labels) if labels else made  # type: ignore[return-value]  # the catalogue says so

    def _histogram(self, name: str) -> Histogram:
        return self._of[name]  # type: ignore[return-value]  # the catalogue says so


OF_TURNS = frozenset({"read", "skipped", "buried"})


def _instrument(one: metrics.Metric, registry: CollectorRegistry) -> Instrument:
    labels = tuple(one.labels)
    match one.kind:
        case metrics.COUNTER:
            made: Instrument = Counter(one.name, one.meaning, labels, registry=registry)
        case metrics.GAUGE:
            made = Gauge(one.name, one.meaning, labels, registry=registry)
        case _:
            made = Histogram(one.name, one.meaning, labels, registry=registry, buckets=one.buckets)
    for values in one.known():
        if values:
            made.labels(*values)
    return made
