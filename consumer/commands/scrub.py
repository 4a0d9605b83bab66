"""`scrub`: the content of objects against the checksums of their rows, at a bounded rate, from where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import monotonic

from consumer.commands import output
from consumer.commands.answer import Answer
from consumer.commands.buckets import answered, buckets_of, each
from consumer.commands.call import Call, database
from consumer.commands.display import Display
from consumer.runs.scrubbing import Scrubbing, Wanted
from consumer.runs.sweeping import Progress
from reconcile.config.settings import NEEDED, Settings
from reconcile.human import size as in_words
from reconcile.model import Misconfigured
from reconcile.opening import objects
from reconcile.reports.scrubreport import ScrubReport, drifts, metrics, shown
from reconcile.scrubs import cycle
from reconcile.scrubs.scrub import Bounds


def scrub(call: Call) -> Answer:
    """Read on in a bucket, or in each that is configured, and report."""
    settings, options = call.settings(*NEEDED), call.options
    wanted = wanted_of(call)
    buckets = [options.bucket] if options.bucket else in_turn(settings)
    if len(buckets) > 1 and options.metrics_file:
        raise Misconfigured(f"the buckets are {', '.join(buckets)}; name one with --bucket for --metrics-file")
    reports, failure = each(buckets, lambda bucket: scrubbed(settings, replace(wanted, bucket=bucket)))
    if not reports:
        return Answer("", failure=failure)
    if options.metrics_file:
        output.replace(Path(options.metrics_file), metrics(reports[0]), "--metrics-file")
    return replace(
        answered("scrubs", reports, failure, shown, drifts),
        now=reports[0].began_at,
        incomplete=any(one.totals.get("unknown") for one in reports),
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
    fixes = options.fix or options.apply
    if options.why and not fixes:
        raise Misconfigured("--why: is kept with what --fix changes, and a report changes nothing; leave it out")
    ends_at = None if options.lasting is None else monotonic() + options.lasting.total_seconds()
    return Wanted(
        "",
        options.prefix,
        options.rate,
        Bounds(options.limit, ends_at),
        fix=fixes,
        anew=options.anew,
        margin=options.margin,
        directory=options.spool,
        who=call.who(),
        why=options.why,
    )
