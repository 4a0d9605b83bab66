"""A sweep's report as text for node_exporter's textfile collector. Pure.

Only what the report holds is told: a sweep that did not end tells no duration, and one that is not complete tells of
the last complete one that it remembers. No series is a zero that nobody counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from reconcile.reports.sweepreport import COMPLETE, elapsed_s, of_drifts
from reconcile.sweeps.drift import DRIFTS, SweepReport

ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
METER = ("lost_or_silent", "never_an_event", "unmeasured")


class Sample(NamedTuple):
    """One value, with the labels that it has besides the bucket."""

    value: float
    labels: Mapping[str, str] = {}


def metrics(report: SweepReport) -> str:
    """Return the families that the report has a value for, each a gauge with its HELP and TYPE."""
    own = {"bucket": report.bucket} | ({"prefix": report.prefix} if report.prefix else {})
    return families("reconciler_sweep", own, _families(report))


def families(of: str, own: Mapping[str, str], named: Iterable[tuple[str, str, Iterable[Sample]]]) -> str:
    """Return families (name, help, samples) as text; one without a sample is left out."""
    lines: list[str] = []
    for name, told, samples in named:
        found = [f"{of}_{name}{_labels({**own, **sample.labels})} {_number(sample.value)}" for sample in samples]
        if found:
            lines += [f"# HELP {of}_{name} {told}", f"# TYPE {of}_{name} gauge", *found]
    return "".join(f"{line}\n" for line in lines)


def _families(report: SweepReport) -> Iterator[tuple[str, str, Iterable[Sample]]]:
    yield "last_complete_timestamp_seconds", "When the last complete sweep began.", _complete(report)
    yield "duration_seconds", "How long the sweep took.", _duration(report)
    yield "objects", "Objects that the sweep read.", _total(report, "objects")
    yield "rows", "Rows that the sweep read.", _total(report, "rows")
    yield "drifts", "Drifts that the sweep found, by kind.", _kinds(report, "found")
    yield "drift_bytes", "Bytes of the drifts that the sweep found, by kind.", _kinds(report, "size_bytes")
    yield "held", "Whether a guard holds the sweep.", [Sample(report.state == "held")]
    yield "events", "Drifts by whether the event stream should have told of them.", _events(report)


def _complete(report: SweepReport) -> Iterator[Sample]:
    if report.state == COMPLETE and not report.brought:
        yield Sample(report.started_at.timestamp())
        return
    for past in report.history:
        if past.state == COMPLETE and not past.brought:
            yield Sample(past.started_at.timestamp())
            return


def _duration(report: SweepReport) -> Iterator[Sample]:
    elapsed = elapsed_s(report)
    if elapsed is not None:
        yield Sample(elapsed)


def _total(report: SweepReport, name: str) -> Iterator[Sample]:
    if name in report.totals:
        yield Sample(report.totals[name])


def _kinds(report: SweepReport, name: str) -> Iterator[Sample]:
    """Yield a value for each kind; a kind that a complete sweep does not name was not found, else it is not known."""
    counts: dict[str, int] = dict.fromkeys(DRIFTS, 0) if report.state == COMPLETE else {}
    counts |= {kind.name: getattr(kind, name) for kind in of_drifts(report)}
    return (Sample(count, {"kind": kind}) for kind, count in counts.items())


def _events(report: SweepReport) -> Iterator[Sample]:
    counts: Counter[tuple[str, str]] = Counter()
    for line in report.meter:
        for meter, count in zip(METER, (line.lost, line.never, line.unmeasured), strict=True):
            counts[meter, line.kind] += count
    return (Sample(count, {"meter": meter, "kind": kind}) for (meter, kind), count in counts.items())


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value.translate(ESCAPES)}"' for name, value in labels.items()) + "}"


def _number(value: float) -> str:
    """Return a number as the text format has it: whole where it is whole, else with all that a float knows."""
    return str(int(value)) if value == int(value) else repr(float(value))
