"""`replay`: a range of the topic again, beside the running consumer; prints what would change, and does it if told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace as changed

from consumer.commands.answer import Answer
from consumer.commands.call import Call
from consumer.commands.progress import Progress
from consumer.commands.suppress import require_bucket
from consumer.kafka.range import Range, RangeReader
from consumer.parsers.edges import is_before
from consumer.runs.replaying import Chosen, Outcome, must_keep, now, replaying
from reconcile import acts
from reconcile.acts import Who
from reconcile.config.renewal import Kafka
from reconcile.config.settings import NEEDED
from reconcile.config.values import before, shown
from reconcile.human import duration
from reconcile.model import Misconfigured
from reconcile.reports import replayreport
from reconcile.sweeps.drift import HELD_BY_BRAKE


def replay(call: Call) -> Answer:
    """Replay a range."""
    settings, options = call.settings(*NEEDED, "kafka"), call.options
    if options.bucket:
        require_bucket(settings, options.bucket)
    first, last = (before(now(), said) for said in (options.first, options.last))
    if is_before(last, first):
        begin, end = shown(options.first), shown(options.last)
        raise Misconfigured(f"--to {end}: is before --from {begin}, so that nothing lies between; name a later one")
    chosen = Chosen(options.bucket, options.prefix, options.event or ())
    topic = settings.stream.topic
    with RangeReader(topic, Kafka(settings)) as reader, replaying(settings, chosen, writes=options.apply) as found:
        ranges = reader.ranges(first, last, options.partition)
        reader.start(ranges)
        with Progress(topic) as progress:
            tell = telling(progress, sum(map(len, ranges)))
            if options.apply:
                must_keep(found)
                found.live = changed(found.live, actor=call.who())
                outcome = found.apply(reader, tell)
                done = {"from": shown(options.first), "to": shown(options.last), "partition": options.partition}
                acts.tell(found.live.database, Who(call.who(), options.why), "replayed", topic, done)
            else:
                outcome = found.plan(reader, tell)
    ranges = [
        changed(
            one,
            eaten=one.eaten + reader.eaten[one.partition],
            is_beyond=one.is_beyond or one.partition in reader.beyond,
        )
        for one in ranges
    ]
    return answer(topic, ranges, outcome, applied=options.apply)


def answer(topic: str, ranges: Sequence[Range], outcome: Outcome, *, applied: bool) -> Answer:
    """Return the report."""
    if applied:
        parts, told = replayreport.done(outcome.tally.acts)
    else:
        parts, told = replayreport.planned(topic, outcome.drifts, outcome.healed, outcome.rows)
    shown = replayreport.report(
        topic,
        [(one.partition, one.first, one.end, one.eaten, one.exact, one.is_beyond) for one in ranges],
        outcome.totals,
        (outcome.started_at, outcome.finished_at),
        parts,
        told,
    )
    return Answer(
        shown,
        outcome.finished_at,
        drift=bool(outcome.drifts.total or outcome.tally.acts),
        held=bool(outcome.totals[HELD_BY_BRAKE]),
        incomplete=bool(
            outcome.totals["unknown"] or outcome.totals["not_asked"] or any(one.is_beyond for one in ranges)
        ),
    )


def telling(progress: Progress, records: int) -> Callable[[Counter[str]], None]:
    """Return what shows records, rate and the time left."""
    return lambda totals: progress.show(how_far(totals, records, progress.seconds))


def how_far(totals: Counter[str], records: int, seconds: float) -> str:
    """Say how much of so many records was read in that time, and how long the rest will take."""
    rate = totals["records"] / max(seconds, 1e-3)
    left = f", {duration((records - totals['records']) / rate)} left" if rate else ""
    return f"{totals['records']:,} of {records:,} records, {rate:,.0f}/s, {totals['looked_at']:,} looked at{left}"
