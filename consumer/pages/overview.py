"""The first page: is all well, is it current, what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from consumer.commands.status import lane_rows, restraint_rows, sweep_rows
from consumer.commands.streaming import canary_rows, rule_rows
from consumer.duties import canary, counted
from consumer.duties.losswatch import wanted
from consumer.duties.rulewatch import NAME as RULES
from consumer.pages.troubles import Level, Process, Sight, Trouble, troubles
from reconcile import inquiry
from reconcile.config.settings import Settings
from reconcile.database import Connection
from reconcile.opening import named_buckets

EFFECTS = ["brake", "unreadable", "suppress", "ignore"]
MEANT = {
    "missing": "a row whose object is gone",
    "mismatch": "size or ETag differ",
    "orphan": "an object without a row",
    "leftover": "its row says it should be gone",
}


def read(connection: Connection, process: Process, settings: Settings, lanes: Sequence[str]) -> Sight:
    """Read what is kept, without counting anything: it costs the same with any number of findings.

    What a canary left that is off now says nothing any more.
    """
    leases = inquiry.records(connection, "leases")
    [outbox] = inquiry.records(connection, "outbox")
    sweeps, live = inquiry.records(connection, "sweeps"), inquiry.records(connection, "live_rows")
    return Sight(
        now=inquiry.now(connection),
        process=process,
        counted=counted.read(leases),
        restraints=inquiry.records(connection, "restraints", effects=EFFECTS),
        leases=leases,
        sweeps=list(sweep_rows(sweeps, live, named_buckets(settings))),
        wanted=wanted(connection),
        outbox=outbox,
        canaries=canary.kept(connection) if settings.canary.interval else {},
        lanes=lanes,
    )


def told(sight: Sight) -> Mapping[str, Any]:
    """Return what the template names."""
    found = troubles(sight)
    rules = [checkpoint for task, _, checkpoint, _ in sight.leases if task == f"duty {RULES}"]
    return {
        "now": sight.now,
        "headline": headline(found),
        "level": found[0].level if found else "",
        "currency": currency(sight),
        "troubles": found,
        "counted": sight.counted,
        "counted_at": datetime.fromtimestamp(sight.counted.at, UTC) if sight.counted else None,
        "meant": MEANT,
        "groups": groups(sight.counted),
        "swept_at": swept_at(sight),
        "restraints": list(restraint_rows(sight.restraints)),
        "lanes": list(lane_rows(sight.leases)),
        "canaries": list(canary_rows(sight.canaries)),
        "rules": list(rule_rows(rules[0] if rules else None)),
        "sweeps": sight.sweeps,
        "wanted": sight.wanted,
    }


def groups(told: counted.Counted | None) -> Sequence[tuple[str, int, str]]:
    """Return the largest groups, each with its findings and the page of them; nothing where there is but one."""
    named = told.groups if told else {}
    if len(named) < 2:  # noqa: PLR2004 - one group says nothing
        return ()
    return [(name, count, f"/findings?{urlencode({'group': name})}" if name else "") for name, count in named.items()]


def headline(found: Sequence[Trouble]) -> str:
    """Return the first thing that is to be known."""
    now = sum(one.level == Level.ACT for one in found)
    if now:
        return "One thing wants you now" if now == 1 else f"{now} things want you now"
    if found:
        return "Running; one thing can wait" if len(found) == 1 else f"Running; {len(found)} things can wait"
    return "All is well"


def currency(sight: Sight) -> str:
    """Return how far what is shown is the present state of things."""
    if sight.process.waits_for:
        return f"Not current: {sight.process.waits_for} is away"
    if sight.counted is None or sight.counted.lag_records is None:
        return "Whether it is current is not known"
    lag = sight.counted.lag_records
    return "Current: every event is worked off" if lag == 0 else f"{lag:,} events are not worked off yet"


def swept_at(sight: Sight) -> datetime | None:
    """Return when the bucket was swept whose last sweep is the oldest; None where one never was."""
    whole = [last_at for _, prefix, last_at, *_ in sight.sweeps if not prefix]
    return min(whole) if whole and all(whole) else None
