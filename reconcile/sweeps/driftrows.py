"""Drifts as the statements take them, and as they give them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from psycopg.types.json import Jsonb

from reconcile.sweeps.drift import Class, Drift, Meter


def as_json(drifts: Sequence[Drift]) -> Jsonb:
    """Return drifts as the statements take them."""
    return Jsonb([{**asdict(one), "since": one.since and one.since.isoformat()} for one in drifts])


def drift_of(row: tuple[Any, ...]) -> Drift:
    """Return a row of `drifts` as the drift that it keeps."""
    kind, *rest, meter = row
    return Drift(Class(kind), *rest, Meter(meter))  # type: ignore[call-arg]  # as many as the statement's columns
