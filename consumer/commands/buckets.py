"""What `sweep` and `scrub` do alike: bucket after bucket, each for itself, and one answer of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog

from consumer.commands.answer import Answer, Failure, failure_of
from consumer.commands.call import database
from consumer.runs.beginning import Leased
from reconcile.config.settings import Settings
from reconcile.model import Misconfigured, Unavailable
from reconcile.opening import all_buckets, mapping, named_buckets, objects, world
from reconcile.reports.forms import Section, Table
from reconcile.reports.scrubreport import ScrubReport
from reconcile.sweeps.drift import HELD_BY_BRAKE, SweepReport

log = structlog.get_logger("sweep")
LEFT_OUT = "only the first {:,} of {:,} drifts are listed, in every format; --prefix lists those of a part"
Report = TypeVar("Report", SweepReport, ScrubReport)


def buckets_of(settings: Settings) -> list[str]:
    """Return the buckets that the configuration names, or else the rows."""
    if named := named_buckets(settings):
        return named
    with database(settings) as opened, objects(settings) as store, opened.use() as connection:
        return all_buckets(settings, connection, world(settings, opened, store, "sweep", mapping(settings, opened)))


def each(
    buckets: Iterable[str], done: Callable[[str], tuple[Report, Exception | None]]
) -> tuple[list[Report], Failure | None]:
    """Return what came of each, and all that failed as one: what becomes of one bucket is nothing to the others."""
    reports, failures = list[Report](), list[Failure]()
    for bucket in buckets:
        try:
            report, error = done(bucket)
        except (Leased, Misconfigured, Unavailable) as fault:
            failures.append(failure_of(fault))
        else:
            reports.append(report)
            failures += [failure_of(error)] if error else []
    faults = tuple(fault for one in failures for fault in one.faults)
    return reports, Failure(failures[0].status, faults) if failures else None


def answered(
    name: str,
    reports: Sequence[Report],
    failure: Failure | None,
    shown: Callable[[Report], Section],
    drifts: Callable[[Report], Table],
) -> Answer:
    """Return the reports, of which there is one at least, as one answer; where drifts are left out, loudly."""
    parts = [shown(noted(one)) for one in reports]
    numbered = tuple(replace(part, name=f"{part.name}_{at}") for at, part in enumerate(parts, 1))
    return Answer(
        parts[0] if len(parts) == 1 else Section(name, "", {}, numbered),
        drift=any(one.total_drifts for one in reports),
        held=any(one.state == "held" or one.totals.get(HELD_BY_BRAKE) for one in reports),
        failure=failure,
        lines=drifts(replace(reports[0], drifts=[one for report in reports for one in report.drifts])),
    )


def noted(report: Report) -> Report:
    """Say of a report that it lists not all that was found, and log it: CSV and JSON lines have no room for it."""
    listed, found = len(report.drifts), report.total_drifts
    if listed >= found:
        return report
    log.warning("drifts.left_out", bucket=report.bucket, listed=listed, found=found)
    return replace(report, notes=(*report.notes, LEFT_OUT.format(listed, found)))
