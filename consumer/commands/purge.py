"""`purge`: what is configured, for versions that stayed flagged; counted and looked at first, done with --apply."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from consumer.commands.answer import Answer
from consumer.commands.call import Call
from consumer.commands.choosing import wanted_by
from consumer.commands.plan import ended_by
from consumer.commands.triage import Told, by_id, is_current, opened_world
from reconcile import inquiry
from reconcile.config.settings import Settings
from reconcile.inquiry import Filter
from reconcile.life import Input
from reconcile.repair.purging import Aims, Candidate, Purging
from reconcile.repair.triage import MOVED, Outcome


def purge(call: Call) -> Answer:
    """Show what would be purged; with --apply do it, as far as the brake lets it."""
    options = call.options
    with opened_world(call) as (settings, live):
        run = Purging(live, aims(call, settings))
        run.check(applied=options.apply)
        told = Told()
        named = [one for one in by_id(live.database, options.ids) if is_current(one, told)] if options.ids else None
        with inquiry.reading(live.database) as connection:
            wanted = wanted_by(options, inquiry.now(connection))
        return answer(call, run, wanted, None if named is None else [one[0] for one in named], told)


def aims(call: Call, settings: Settings) -> Aims:
    """Return which versions are meant."""
    options = call.options
    return Aims(options.flagged_for, settings.purge.superseded_after, options.even_alone, options.why)


def answer(call: Call, run: Purging, wanted: Filter, ids: list[int] | None, told: Told) -> Answer:
    """Plan, ask the brake, do; whatever was told before an outage is shown with it."""
    apply = call.options.apply
    held: list[str] = []

    def outcomes() -> Iterator[Outcome]:
        planned = list(planned_of(run, wanted, ids, told, call.options))
        held.extend(run.restrained([one for one, outcome in planned if outcome.done], apply=apply))
        yield from run.apply([one for one, _ in planned]) if apply else ()

    failure = ended_by(outcomes(), told.add)
    return told.answer(Input.PURGE.name.lower(), apply=apply, failure=failure, notes=tuple(notes(run, held)))


def planned_of(
    run: Purging, wanted: Filter, ids: list[int] | None, told: Told, options: argparse.Namespace
) -> Iterator[tuple[Candidate, Outcome]]:
    """Yield what would be purged, at most --limit of it, or is another by now; told of is a plan, and all the rest.

    What was refused before takes no other's place: of that there are at most as many besides.
    """
    left, again = options.limit, options.limit
    for candidate, outcome in run.plan(run.candidates(wanted, ids)):
        concerned = outcome.done or outcome.told.startswith(MOVED)
        if candidate.refused and concerned:
            again -= 1
            if again < 0:
                continue
        if not (concerned and options.apply):
            told.add(outcome)
        if concerned:
            yield candidate, outcome
        left -= outcome.done and not candidate.refused
        if not left:
            return


def notes(run: Purging, held: list[str]) -> Iterator[str]:
    """Yield what a person should know of the whole."""
    yield f"a purge of this configuration: {run.action}"
    if run.hidden:
        yield f"{run.hidden:,} of those looked at are hidden by a delete marker only: storage-reconciler restore"
    for one in held:
        yield f"held by the brake: {one}"
    if run.brakes:
        released = " and ".join(f"storage-reconciler brake release --kind {brake}" for brake in sorted(run.brakes))
        yield f"{released} lets the next purge take them"
