"""`sweep`: every object against every row; a report, a display of how far it is, and an exit status for cron."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Self

from consumer.commands import output
from consumer.commands.answer import Answer
from consumer.commands.buckets import answered, buckets_of, each
from consumer.commands.call import Call, database
from consumer.commands.dismissing import dismiss
from consumer.commands.display import Display
from consumer.runs.sides import Scope, Wanted
from consumer.runs.sweeping import Sweeping
from reconcile.config.settings import NEEDED, Settings
from reconcile.model import Misconfigured
from reconcile.opening import objects
from reconcile.reports.sweepmetrics import metrics
from reconcile.reports.sweeppage import page
from reconcile.reports.sweepreport import drifts, shown
from reconcile.sweeps.drift import SweepReport

ENTRY = "import sys; from consumer.cli import main; sys.exit(main())"


def sweep(call: Call) -> Answer:
    """Sweep a bucket, or each that is configured, and report."""
    if call.options.dismiss:
        return dismiss(call)
    settings, options = call.settings(*NEEDED), call.options
    buckets = [options.bucket] if options.bucket else buckets_of(settings)
    if len(buckets) > 1 and (options.format == "html" or options.join or options.listing or options.metrics_file):
        raise Misconfigured(f"the buckets are {', '.join(buckets)}; name one with --bucket for this")
    reports, failure = each(buckets, lambda bucket: (swept(call, settings, bucket), None))
    if not reports:
        return Answer("", failure=failure)
    if options.metrics_file:
        output.replace(Path(options.metrics_file), metrics(reports[0]), "--metrics-file")
    return replace(
        answered("sweeps", reports, failure, shown, drifts),
        now=reports[0].finished_at,
        incomplete=any(one.state == "incomplete" for one in reports),
        page=lambda: page(reports[0]),
    )


def swept(call: Call, settings: Settings, bucket: str) -> SweepReport:
    """Sweep one bucket, with as many processes as are wanted."""
    wanted = wanted_of(call, bucket)
    with ExitStack() as exits:
        opened = exits.enter_context(database(settings, patient=True))
        store = exits.enter_context(objects(settings))
        display = exits.enter_context(Display(bucket))
        workers = exits.enter_context(Workers(call, bucket, wanted.workers - 1))
        return Sweeping(settings, wanted, opened, store, display.show).run(workers.spawn)


def wanted_of(call: Call, bucket: str) -> Wanted:
    """Return what the options ask for."""
    options = call.options
    mode = "fix" if options.fix or options.apply else "baseline" if options.baseline else "report"
    listing = Path(options.listing) if options.listing else None
    if listing is not None and listing.exists() and not listing.is_file():
        raise Misconfigured(f"--listing {listing}: is no file, and is read more than once; write it to one first")
    return Wanted(
        Scope(bucket, options.prefix, listing, options.spool),
        mode,
        resume=options.resume,
        join=options.join,
        workers=options.workers,
        ranges=options.ranges,
        margin=options.margin,
        wait=options.wait,
        believe=believed(call, mode),
        who=call.who(),
        why=options.why.strip() if mode != "report" else "",
    )


def believed(call: Call, mode: str) -> str:
    """Return in whose words the guards are overruled, `''` if they are not."""
    options = call.options
    if not options.believe:
        if options.why and mode == "report":
            raise Misconfigured("--why: is kept with what a sweep does; give it with --fix, --baseline or --believe")
        return ""
    if not options.why.strip():
        raise Misconfigured("--believe: overrules the guards, and needs --why WORDS, which are kept with the sweep")
    if options.join is not None:
        raise Misconfigured("--believe: is for whoever leads the sweep; leave it out of --join")
    return f"believed by {call.who()}: {options.why.strip()}"


class Workers:
    """Further processes on this machine, each a `sweep --join`; they end with the sweep."""

    def __init__(self, call: Call, bucket: str, how_many: int) -> None:
        self._call = call
        self._bucket = bucket
        self._how_many = how_many
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait()

    def spawn(self, number: int) -> None:
        """Start them; whatever becomes of one, its ranges are taken over."""
        options = self._call.options
        words = ["sweep", "--bucket", self._bucket, "--join", str(number), "--log-level", "error"]
        for name in ("config", "spool", "listing"):
            words += [f"--{name}", str(getattr(options, name))] if getattr(options, name) else []
        for _ in range(self._how_many):
            command = [sys.executable, "-c", ENTRY, *words]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)  # noqa: S603
            self._running.append(process)
