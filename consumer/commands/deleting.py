"""`orphans delete` and `orphans undo`: what a person approved goes, and comes back, one by one, one run at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

from consumer.commands.answer import Answer
from consumer.commands.call import Call
from consumer.commands.orphans import chosen as chosen_pages
from consumer.commands.triage import Told, by_id, is_current, named, opened_world, require_choice, until
from consumer.runs.beginning import Leased
from reconcile import ledger, opening
from reconcile.config.settings import Settings
from reconcile.model import State
from reconcile.opening import ourselves
from reconcile.repair import orphans
from reconcile.repair.erase import BEGUN_TOGETHER, Erasing, undone
from reconcile.repair.trash import Bin
from reconcile.repair.triage import BATCH, Named, Outcome, batches
from reconcile.trial import Trial

TASK, LEASE_S = "orphans", 120.0
FILTERS = ("kind", "bucket", "prefix", "principal", "older_than", "larger_than", "suggested", "since", "held")


def delete(call: Call) -> Answer:
    """Delete what is approved, at most --limit of it."""
    options = call.options
    told = Told()

    def outcomes(bin_: Bin, settings: Settings) -> Iterator[Outcome]:
        unversioned = frozenset(options.unversioned)
        run = Erasing(bin_, settings.policy.orphan_grace, settings.trash, unversioned, options.why)
        chosen = approved(call, bin_, told)
        if options.apply:
            return chain(run.reread(), until(options.limit, chosen, BEGUN_TOGETHER, run.erased))
        trial = Trial(bin_.live, has_kept=True)
        return until(options.limit, chosen, BATCH, lambda batch: run.planned(trial, batch))

    return answer(call, "delete", told, outcomes)


def undo(call: Call) -> Answer:
    """Bring back what was deleted, where nothing has taken its place."""
    options = call.options
    require_choice(call, FILTERS)

    def outcomes(bin_: Bin, _: Settings) -> Iterator[Outcome]:
        for batch in batches(deleted(call, bin_)):
            with bin_.live.database.use() as connection:
                kept = orphans.evidence(connection, batch)
            yield from (undone(bin_, kept[number], options.why, apply=options.apply) for number in batch)

    return answer(call, "undo", Told(), outcomes)


def answer(call: Call, name: str, told: Told, outcomes: Callable[[Bin, Settings], Iterator[Outcome]]) -> Answer:
    """Do what there is to do, and tell what became of it, however it ended."""

    def each() -> Iterator[Outcome]:
        with bin_of(call) as (bin_, settings):
            yield from outcomes(bin_, settings)

    return told.of(each(), name, apply=call.options.apply)


@contextmanager
def bin_of(call: Call) -> Iterator[tuple[Bin, Settings]]:
    """Open both sides; with --apply under the lease of those who delete, which is renewed before each removal."""
    with opened_world(call) as (settings, live), opening.storing(settings) as storing:
        owner = ourselves()

        def hold() -> None:
            with live.database.use() as connection:
                if ledger.take_lease(connection, TASK, owner, LEASE_S) is None:
                    raise Leased(
                        "another run deletes or brings back orphans, or broke off in the last two minutes; wait"
                    )

        if not call.options.apply:
            yield Bin(live, storing, hold), settings
            return
        hold()
        try:
            yield Bin(live, storing, hold), settings
        finally:
            with live.database.use() as connection:
                ledger.drop_lease(connection, TASK, owner)


def approved(call: Call, bin_: Bin, told: Told) -> Iterator[Named]:
    """Yield what is approved: by ids, or by a filter, the most bytes first."""
    if call.options.ids:
        yield from (named(one) for one in by_id(bin_.live.database, call.options.ids) if is_current(one, told))
        return
    for page in chosen_pages(call, bin_.live, bin_.storing, [str(State.APPROVED)]):
        yield from (Named(one.id, one.ref) for one in page)


def deleted(call: Call, bin_: Bin) -> Iterator[int]:
    """Yield the findings that are to be undone: by ids, or by a filter those that were not undone yet."""
    if call.options.ids:
        yield from (one[0] for one in by_id(bin_.live.database, call.options.ids))
        return
    for page in chosen_pages(call, bin_.live, bin_.storing, [str(State.DELETED)]):
        ids = [one.id for one in page]
        with bin_.live.database.use() as connection:
            came_back = orphans.undone(connection, ids)
        yield from (number for number in ids if number not in came_back)
