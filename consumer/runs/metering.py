"""Asks for a sweep whether the stream is past what was sighted, and keeps what the loss meter says of each drift."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial

from consumer.duties.passed import passed
from reconcile.config.renewal import Kafka
from reconcile.config.settings import Settings
from reconcile.model import Unavailable
from reconcile.repair.triage import batches
from reconcile.store.objects import Objects
from reconcile.sweeps import meter
from reconcile.sweeps.keeping import Kept


def metered(
    settings: Settings, store: Objects, keeper: Kept, last_started: datetime | None, before: int | None
) -> tuple[str, ...]:
    """Keep of each new drift whether the stream should have told of it; returns why that is not known."""
    if last_started is None:
        return ("the loss meter begins with the second complete sweep",)
    through, why = stream_passed(settings, store)
    told = partial(meter.metered, last_started=last_started, policy=settings.policy, passed=through)
    for page in batches(keeper.drifts(before)):
        keeper.metered([replace(one, meter=told(one)) for one in page])
    return () if through else (f"the loss meter could not measure: {why}",)


def stream_passed(settings: Settings, store: Objects) -> tuple[bool, str]:
    """Tell whether the stream is proven to be past what was sighted, and why not."""
    if not settings.kafka:
        return False, "[kafka] is not configured"
    try:
        told = passed(store, settings.stream.topic, Kafka(settings))
    except Unavailable as error:
        return False, str(error)
    return told.proven, told.why
