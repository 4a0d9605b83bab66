"""`metrics`: the catalogue of what /metrics exports."""

from __future__ import annotations

from consumer.commands.answer import Answer
from consumer.commands.call import Call
from consumer.metrics import CATALOGUE, Metric
from reconcile.reports.forms import Table

COLUMNS = ("name", "type", "unit", "labels", "exported_by", "meaning")
NOTES = (
    "a label written name=... takes its values from the world; all others are there from 0",
    "besides: process_*, the memory, CPU time and descriptors of each process, as every program exports them",
)


def metrics(_: Call) -> Answer:
    """Print every metric: name, type, unit, labels and their values, who exports it, meaning."""
    return Answer(Table("metrics", COLUMNS, [row(one) for one in CATALOGUE], notes=NOTES))


def row(one: Metric) -> tuple[str, ...]:
    """Return one metric's cells."""
    by = "the lease's holder" if one.leased else "each process"
    return one.name, one.kind, one.unit, labels(one), by, one.meaning


def labels(one: Metric) -> str:
    """Return a metric's labels with their values."""
    return " ".join(f"{name}={'|'.join(values) if values else '...'}" for name, values in one.labels.items())
