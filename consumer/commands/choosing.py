"""Which findings a command is about: the filter that its options describe (choosing in parsers/shared.py)."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta

from reconcile.config.values import before
from reconcile.inquiry import Filter
from reconcile.model import State


def wanted_by(options: argparse.Namespace, now: datetime) -> Filter:
    """Return the filter that the options describe."""
    age: timedelta | None = getattr(options, "older_than", None)
    states = list(State) if "all" in (getattr(options, "state", None) or ()) else getattr(options, "state", None)
    return Filter(
        states=[str(state) for state in states] if states else None,
        kinds=options.kind,
        bucket=options.bucket,
        prefix=options.prefix,
        group=options.group,
        owner=options.owner,
        cause=options.cause,
        principal=options.principal,
        since=before(now, options.since),
        held=options.held,
        before=before(now, age),
        keys=getattr(options, "keys", None),
        least_bytes=getattr(options, "larger_than", None),
    )
