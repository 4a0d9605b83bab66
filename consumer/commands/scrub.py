"""`scrub`: the content of objects against the checksums of their rows, at a bounded rate, from where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import monotonic

from consumer.beginning import Leased
from consumer.commands import output
from consumer.commands.answer import Answer, Exit, Failure, failure_of
from consumer.commands.call import Call, database
from consumer.commands.display import Display
from consumer.commands.sweep import buckets_of
from consumer.scrubbing import Scrubbing, Wanted
from consumer.sweeping import Progress
from reconcile import cycle
from reconcile.drift import HELD_BY_BRAKE
from reconcile.human import size as in_words
from reconcile.model import Misconfigured, Unavailable
from reconcile.opening import objects
from reconcile.report import Section
from reconcile.scrub import Bounds
from reconcile.scrubreport import ScrubReport, drifts, metrics, shown
from reconcile.settings import NEEDED, Settings


def scrub(call: Call) -> Answer:
    """Read on in a bucket, or in each that is configured, and report."""
    settings, options = call.settings(*NEEDED), call.options
    wanted = wanted_of(call)
    buckets = [options.bucket] if options.bucket else in_turn(settings)
    if len(buckets) > 1 and options.metrics_file:
        raise Misconfigured(f"the buckets are {', '.join(buckets)}; name one with --bucket for --metrics-file")
    reports: list[ScrubReport] = []
    failures: list[Failure] = []
    for bucket in buckets:  # what becomes of one bucket is nothing to the others
        try:
            report, error = scrubbed(settings, replace(wanted, bucket=bucket))
        except Leased as leased:
            failures.append(Failure(Exit.LEASED, (str(leased),)))
        except (Misconfigured, Unavailable) as fault:
            failures.append(failure_of(fault))
        else:
            reports.append(report)
            failures += [failure_of(error)] if error else []
    return answer(reports, failures, options.metrics_file)


def answer(reports: list[ScrubReport], failures: list[Failure], metrics_file: str | None) -> Answer:
    """Return the reports as one answer."""
    faults = tuple(fault for one in failures for fault in one.faults)
    failure = Failure(failures[0].status, faults) if failures else None
    if not reports:
        return Answer("", failure=failure)
    if metrics_file:
        output.replace(Path(metrics_file), metrics(reports[0]), "--metrics-file")
    parts = [shown(one) for one in reports]
    numbered = tuple(replace(part, name=f"{part.name}_{at}") for at, part in enumerate(parts, 1))
    listed = replace(reports[0], drifts=[one for report in reports for one in report.drifts])
    return Answer(
        parts[0] if len(parts) == 1 else Section("scrubs", "", {}, numbered),
        reports[0].began_at,
        drift=any(one.total_drifts for one in reports),
        held=any(one.state == "held" or one.totals.get(HELD_BY_BRAKE) for one in reports),
        incomplete=any(one.totals.get("unknown") for one in reports),
        failure=failure,
        lines=drifts(listed),
    )


def in_turn(settings: Settings) -> list[str]:
    """Return the buckets, that first which was read least lately."""
    buckets = buckets_of(settings)
    if len(buckets) == 1:
        return buckets
    with database(settings) as opened:
        return cycle.least_lately(opened, buckets)


def scrubbed(settings: Settings, wanted: Wanted) -> tuple[ScrubReport, Exception | None]:
    """Read on in one bucket."""
    with ExitStack() as exits:
        opened = exits.enter_context(database(settings, patient=True))
        store = exits.enter_context(objects(settings))
        display = exits.enter_context(Display(wanted.bucket))
        began = monotonic()

        def tell(totals: Mapping[str, int], key: str) -> None:
            so_far = f"{totals.get('objects', 0):,} objects, {in_words(totals.get('read_bytes', 0))} in this cycle"
            display.show(Progress(f"reading: {so_far}, {monotonic() - began:,.0f} s in this run, at {key!r}"))

        return Scrubbing(settings, wanted, opened, store, tell).run()


def wanted_of(call: Call) -> Wanted:
    """Return what the options ask for; the bucket is still to be named."""
    options = call.options
    ends_at = None if options.lasting is None else monotonic() + options.lasting.total_seconds()
    return Wanted(
        "",
        options.prefix,
        options.rate,
        Bounds(options.limit, ends_at),
        fix=options.fix or options.apply,
        anew=options.anew,
        margin=options.margin,
        directory=options.spool,
    )
