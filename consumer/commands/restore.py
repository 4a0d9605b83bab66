"""`restore`: bring back missing objects, from below a delete marker or from a backup; plan first, done with --apply."""

from __future__ import annotations

from collections.abc import Iterable

from consumer.commands.answer import Answer
from consumer.commands.call import Call
from consumer.commands.plan import ended_by
from consumer.commands.remedies import backup
from consumer.commands.triage import Told, chosen, is_current, named, opened_world, require_choice, until
from reconcile.acts import Who
from reconcile.config.settings import Settings
from reconcile.inquiry import Record
from reconcile.model import Kind, Misconfigured
from reconcile.opening import storing
from reconcile.repair.restoring import RESTORED_TOGETHER, Restoring, Ways
from reconcile.repair.triage import BATCH, Outcome
from reconcile.repair.ways import Place, Wanted

STATES = ["suspected", "open"]
ENDED = "it ended there: what is not counted was not tried"
CHOICES = ("keys", "bucket", "prefix", "group", "owner", "cause", "principal")


def restore(call: Call) -> Answer:
    """Show what would bring the objects back; with --apply do it, and look at both sides again."""
    options = call.options
    require_choice(call, CHOICES)
    with opened_world(call) as (settings, live), storing(settings) as store:
        run = Restoring(Ways(live, store, wanted(call, settings)), Who(call.who(), options.why))
        told = Told()
        found = (
            named(one)
            for one in chosen(call, live.database, STATES)
            if is_current(one, told) and is_missing(one, told, by_id=bool(options.ids))
        )
        act, together = (run.apply, RESTORED_TOGETHER) if options.apply else (run.plan, BATCH)
        return answer(until(options.limit, found, together, act), told, apply=options.apply)


def is_missing(found: Record, told: Told, *, by_id: bool) -> bool:
    """Tell whether a finding is of a missing object; of one that is not, and was named, that is told."""
    kind = found[5]
    if kind != Kind.MISSING and by_id:
        told.add(Outcome(named(found), done=False, told=f"it is {kind}, and nothing is missing"))
    return bool(kind == Kind.MISSING)


def wanted(call: Call, settings: Settings) -> Wanted:
    """Return by which way: from where --from says, or from what is configured."""
    written = call.options.source
    if written is None:
        return Wanted(backup(settings), marker=call.options.marker or "")
    bucket, _, prefix = written.partition("/")
    if not bucket:
        raise Misconfigured(f"--from {written!r}: begins with no bucket; write BUCKET, or BUCKET/PREFIX")
    return Wanted(Place(bucket, prefix), is_named=True, marker=call.options.marker or "")


def answer(outcomes: Iterable[Outcome], told: Told, *, apply: bool) -> Answer:
    """Plan or do; whatever was told before an outage is shown with it."""
    failure = ended_by(outcomes, told.add)
    return told.answer("restore", apply=apply, failure=failure, notes=(ENDED,) if failure else ())
