"""The loss meter: which of the drifts that a sweep found the stream of events should have told of. Pure.

It proves nothing of one drift: MinIO has deletions without an event, and a look at the world cannot tell those from an
event that was lost on its way. Only drifts that are new since the last complete sweep, and that the stream had not told
of, are measured; the others were counted before, or are the stream's success.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from reconcile.model import Policy
from reconcile.sweeps.drift import Class, Drift, Meter, Metered
from reconcile.sweeps.sums import age_of

AGES = ("today", "this week", "older", "unknown")


_TO_THE_SECOND = timedelta(seconds=1)  # Last-Modified has no fraction


def metered(drift: Drift, last_started: datetime | None, policy: Policy, *, passed: bool) -> Meter:
    """Say whether an event should have told of a drift that is new and unknown; of any other, that it is unmeasured.

    `last_started` is when the last complete sweep began, None before the first; `passed` tells that the stream was
    proven to be past the sighting. What began before that sweep and was not reported by it has changed after it, but
    for what was too young then: that may have been so already.
    """
    if last_started is None or not passed or not counts(drift):
        return Meter.UNMEASURED
    if drift.kind is Class.LOOKALIKE:
        return Meter.NEVER
    if drift.since is None:
        return Meter.UNMEASURED
    exact = drift.since if drift.kind is Class.MISSING else drift.since + _TO_THE_SECOND
    older = exact <= last_started
    if older and exact > last_started - _young(drift.kind, policy):
        return Meter.UNMEASURED
    return Meter.LOST if older is (drift.kind is Class.MISSING) else Meter.NEVER


def _young(kind: Class, policy: Policy) -> timedelta:
    """Return the age below which a sweep does not report a drift of this kind."""
    if kind is Class.MISSING:
        return policy.young_age
    return policy.orphan_grace if kind in (Class.ORPHAN, Class.LEFTOVER) else timedelta()


def counts(drift: Drift) -> bool:
    """Tell whether a drift is the meter's: new since the last complete sweep, and no finding of the stream's."""
    return drift.is_new and not drift.known


def sums(found: Iterable[Metered]) -> dict[str, int]:
    """Return what the meter says of a whole sweep, as it is kept in its totals."""
    listed = list(found)
    return {
        "lost_or_silent": sum(one.lost for one in listed),
        "never_an_event": sum(one.never for one in listed),
        "unmeasured": sum(one.unmeasured for one in listed),
    }


def by_age(drifts: Iterable[Drift], now: datetime) -> list[Metered]:
    """Count what the meter says of the drifts that are its, for each class and age; nothing is kept of a drift."""
    found = Counter((one.kind, age_of(one, now), one.meter) for one in drifts if counts(one))
    rows = (
        Metered(kind, age, *(found[kind, age, meter] for meter in (Meter.LOST, Meter.NEVER, Meter.UNMEASURED)))
        for kind in Class
        for age in AGES
    )
    return [row for row in rows if row.lost or row.never or row.unmeasured]
