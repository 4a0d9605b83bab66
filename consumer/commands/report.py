"""`report`: what happened since yesterday, beside the day before: needs SELECT on our schema, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from consumer.commands.latency import clock_note, clock_of, path_rows
from consumer.commands.status import DRIFT, drift_rows, restraint_name
from consumer.duties.clock import Ahead
from consumer.duties.losswatch import wanted
from consumer.kafka.range import RangeReader
from consumer.letters.deadletters import DECISIONS
from reconcile import inquiry
from reconcile.config import values
from reconcile.config.settings import Settings
from reconcile.database import Connection
from reconcile.human import Value
from reconcile.inquiry import Record
from reconcile.model import Misconfigured, Unavailable
from reconcile.reports import chronicle
from reconcile.reports.daily import Around, Daily, Span
from reconcile.reports.dailypage import page
from reconcile.reports.dailyreport import DEEDS, LATENCY, LOSSES, RESTRAINTS, SWEEPS, lines, shown
from reconcile.reports.forms import Brief, Table
from reconcile.reports.pageparts import minute

TOP = 15
BRIEF_SWEEPS = (
    "id", "bucket", "kind", "state", "started_at", "missing", "mismatch", "orphans", "leftovers", "lost_or_silent",
)  # fmt: skip


class Letters(NamedTuple):
    """How many dead letters were buried, and in the window before; or why that is not known.

    `trouble` tells that it should be.
    """

    buried: int | None = None
    before: int | None = None
    unknown: str = ""
    trouble: bool = False


class Read(NamedTuple):
    """What was kept of a window besides its findings."""

    sweeps: Sequence[Record]
    losses: Sequence[Record]
    acts: Sequence[Record]


def report(call: Call) -> Answer:
    """Tell what came and went, how fast it was found, what was lost, and who did what."""
    settings, options = call.settings("database.url"), call.options
    with database(settings) as opened, inquiry.reading(opened) as connection:
        now = inquiry.now(connection)
        span = span_of(options.since, options.until, now)
        kept = read(connection, span, now)
    letters = dead_letters(settings, span)  # no transaction is open while the broker is asked
    found = replace(
        kept,
        around=kept.around._replace(dead_letters=letters.buried),
        around_before=kept.around_before._replace(dead_letters=letters.before),
        dead_letters_unknown=letters.unknown,
    )
    return Answer(
        shown(found),
        now,
        drift=found.open > 0,
        incomplete=letters.trouble,
        page=lambda: page(found),
        lines=lines(found),
    )


def span_of(since: timedelta | datetime, until: timedelta | datetime | None, now: datetime) -> Span:
    """Return the window; --since as a duration is before --until."""
    end = now if until is None else min(values.before(now, until), now)
    span = Span(values.before(end, since), end)
    if span.since >= span.until:
        raise Misconfigured(
            f"--since {values.shown(since)}: is not before --until, or in the future; name an earlier time"
        )
    return span


def dead_letters(settings: Settings, span: Span) -> Letters:
    """Count the dead letters of the window, by the broker's time; a broker that is away does not hide the rest."""
    if not settings.kafka:
        return Letters(unknown="no [kafka] is configured")
    try:
        with RangeReader(settings.stream.dead_letter_topic, settings.kafka) as reader:
            buried, before = (sum(map(len, reader.ranges(*one))) for one in (span, span.before))
            return Letters(buried, before)
    except (Unavailable, Misconfigured) as error:
        return Letters(unknown=str(error), trouble=True)


def read(connection: Connection, span: Span, now: datetime) -> Daily:
    """Read everything that is kept of the window."""
    here, before = besides(connection, span), besides(connection, span.before)
    return Daily(
        span,
        now,
        chronicle.flows(connection, span),
        chronicle.flows(connection, span.before),
        chronicle.stock(connection, span),
        chronicle.history(connection, span),
        [
            Table("now", DRIFT, drift_rows(inquiry.records(connection, "drift")), "Not closed now", none="no drift"),
            latency(connection, span),
            Table("losses", LOSSES, here.losses, "The stream may have missed something", none=""),
            Table("sweeps", SWEEPS, here.sweeps, "Sweeps and scrubs", none="none", brief=Brief(BRIEF_SWEEPS, TOP)),
            Table("deeds", DEEDS, chronicle.deeds(connection, span), "What persons did to findings", none=""),
            Table("restraints", RESTRAINTS, here.acts, "Brakes, windows, rules, other acts", none=""),
            decisions(connection, span),
        ],
        in_force=list(in_force(connection)),
        uncovered=len(wanted(connection)),
        around=around(here),
        around_before=around(before),
        pruned=chronicle.pruned(connection),
    )


def besides(connection: Connection, span: Span) -> Read:
    """Read sweeps, loss windows and acts."""
    return Read(
        chronicle.sweeps(connection, span),
        chronicle.losses(connection, span),
        chronicle.restraints(connection, span, without=(*DECISIONS, "sweep wanted")),
    )


def around(kept: Read) -> Around:
    """Count them."""
    states = [record[SWEEPS.index("state")] for record in kept.sweeps]
    return Around(
        loss_windows=len(kept.losses),
        lost_or_silent=sum(record[SWEEPS.index("lost_or_silent")] for record in kept.sweeps),
        sweeps_complete=states.count("complete"),
        sweeps_not_complete=len(states) - states.count("complete") - states.count("running"),
        brakes_set=sum(record[RESTRAINTS.index("act")] == "brake set" for record in kept.acts),
    )


def decisions(connection: Connection, span: Span) -> Table:
    """Return how many dead letters were replayed and discarded."""
    rows = chronicle.decisions(connection, span, DECISIONS)
    return Table("decisions", ("act", "dead_letters"), rows, "Dead letters decided", none="")


def in_force(connection: Connection) -> Iterator[str]:
    """Yield the brakes that are on, and the buckets that cannot be read."""
    restraints = inquiry.records(connection, "restraints", effects=["brake", "unreadable"])
    for number, effect, bucket, kind, at, _, _, why, _ in restraints:
        where = f" of {bucket}" if bucket else ""
        yield f"{restraint_name(number, effect, kind)}{where} since {minute(at)} UTC: {why}"


def latency(connection: Connection, span: Span) -> Table:
    """Return how long it took from the event until the finding was kept, and until its version was flagged."""
    clock = clock_of(inquiry.records(connection, "leases"))
    rows = [
        row
        for stage, reading in (("suspected", chronicle.suspicions), ("flagged", chronicle.flaggings))
        for row in stage_rows(stage, reading(connection, span), reading(connection, span.before), clock)
    ]
    return Table("latency", LATENCY, rows, "From the event's time", none="", notes=(clock_note(clock),))


def stage_rows(
    stage: str, now: Sequence[Record], before: Sequence[Record], clock: Ahead | None
) -> Iterator[tuple[Value, ...]]:
    """Yield the times of each path, beside those of the window before."""
    ahead = clock.seconds if clock else 0.0
    earlier = {path: (found, p99) for path, found, _, p99, _ in path_rows(before, ahead)}
    for path, *ranks in path_rows(now, ahead):
        yield stage, path, *ranks, *earlier.get(path, (0, None))
