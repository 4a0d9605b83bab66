"""Which findings a command is about: the filter that its options describe (parsing.choosing)."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

from reconcile.inquiry import Filter
from reconcile.model import Misconfigured, State
from reconcile.values import Unfit, duration, size


def wanted_by(options: argparse.Namespace, now: datetime) -> Filter:
    """Return the filter that the options describe."""
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
        since=moment(options.since, now) if options.since else None,
        held=options.held,
        before=now - length(options.older_than) if getattr(options, "older_than", None) else None,
        keys=getattr(options, "keys", None),
        least_bytes=amount(options.larger_than) if getattr(options, "larger_than", None) else None,
    )


def length(written: str) -> timedelta:
    """Return the duration of --older-than."""
    try:
        return duration(written)
    except Unfit as rule:
        raise Misconfigured(f"--older-than {written!r}: {rule}") from None


def amount(written: str) -> int:
    """Return the number of bytes of --larger-than."""
    try:
        return size(written)
    except Unfit as rule:
        raise Misconfigured(f"--larger-than {written!r}: {rule}") from None


def moment(written: str, now: datetime, option: str = "--since") -> datetime:
    """Return the time that is meant by a duration ago, or by a time; one without a zone is UTC."""
    try:
        return now - duration(written)
    except Unfit:
        pass
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        raise Misconfigured(
            f"{option} {written!r}: must be a duration ago such as 90m, 24h or 7d, or a time such as 2025-01-31T12:00"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
