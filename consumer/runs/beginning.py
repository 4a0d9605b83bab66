"""Begins a sweep that is kept, goes on with one, or joins one: which it is, and with what it was begun."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import monotonic, sleep

import structlog

from consumer.runs.sides import Wanted, facts_of
from reconcile import ledger
from reconcile.database import Connection, Database
from reconcile.model import Misconfigured
from reconcile.store.objects import Objects
from reconcile.sweeps import keeping
from reconcile.sweeps.keeping import Kept, Run, lease_of
from reconcile.sweeps.listing import split
from reconcile.tables.mapping import Mapping

log = structlog.get_logger("sweep")
ASK_S = 0.5
RUNNING = -1  # to be joined: whichever sweep of the bucket is running


class Leased(Exception):
    """Another run has the bucket."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Both sides, and who begins."""

    database: Database
    mapping: Mapping
    store: Objects
    owner: str

    def keeper(self, wanted: Wanted) -> Kept:
        """Begin a sweep, go on with one, or join one; raises Leased, or Misconfigured where that cannot be."""
        if wanted.join is None:
            self.lead(wanted)
        with self.database.use() as connection:
            by_bucket = wanted.resume or wanted.join == RUNNING
            old = keeping.unfinished(connection, wanted.scope.bucket) if by_bucket else wanted.join
            if wanted.join == RUNNING and not ledger.is_leased(connection, lease_of(wanted.scope.bucket)):
                old = None  # whoever led it is gone: nobody would bring to its end what was joined
            if old is None and wanted.join is not None:
                raise Misconfigured(f"--join running: no sweep of bucket {wanted.scope.bucket!r} is running")
            number = self.begin(connection, wanted) if old is None else old
            run = checked(keeping.run_of(connection, number), number, wanted)
            if wanted.resume and old is not None:
                keeping.doubt(connection, number)
            if wanted.believe:
                keeping.believe(connection, number, wanted.believe)
                run = replace(run, reason=wanted.believe)
        return Kept(self.database, run, self.owner, leads=wanted.join is None)

    def lead(self, wanted: Wanted) -> None:
        """Take the bucket's lease, waiting for it as long as is wanted: whoever was killed has it for a minute more."""
        bucket, end = wanted.scope.bucket, monotonic() + wanted.wait.total_seconds()
        while not keeping.led(self.database, bucket, self.owner):
            if monotonic() >= end:
                raise Leased(f"another sweep of {bucket!r} is running; take part with --join, or --wait for its end")
            sleep(ASK_S)

    def begin(self, connection: Connection, wanted: Wanted) -> int:
        """Begin a sweep and cut it into ranges, which others can take."""
        scope = wanted.scope
        facts = facts_of(self.mapping, scope)._asdict() | ({"listing": True} if scope.listing else {})
        ranges = wanted.ranges or wanted.workers  # no more: of each MinIO lists on beyond its end
        cuts = [] if scope.listing or ranges == 1 else split(self.store, scope.bucket, scope.prefix, ranges)
        with connection.transaction():
            number = keeping.begin(connection, scope.bucket, scope.prefix, wanted.mode, self.owner, facts)
            keeping.cut(connection, number, cuts)
        log.info("sweep.begun", sweep=number, bucket=scope.bucket, mode=wanted.mode, ranges=len(cuts) + 1)
        return number


def checked(run: Run | None, number: int, wanted: Wanted) -> Run:
    """Return a sweep that can be gone on with as it is wanted; raises Misconfigured before anything is written."""
    scope = wanted.scope
    if run is None or run.bucket != scope.bucket or run.state != "running":
        raise Misconfigured(f"sweep {number}: no sweep of bucket {scope.bucket!r} with this id is running")
    if run.brought != (scope.listing is not None):
        raise Misconfigured(f"sweep {number} was begun {'with' if run.brought else 'without'} --listing: go on so")
    if wanted.join is None and (run.mode, run.prefix) != (wanted.mode, scope.prefix or run.prefix):
        begun = {"report": "--report-only"}.get(run.mode, f"--{run.mode}")
        raise Misconfigured(
            f"sweep {number} was begun with {begun} and prefix {run.prefix!r}: resume it so, or begin another"
        )
    return run


def as_begun(wanted: Wanted, kept: Kept) -> Wanted:
    """Return what is wanted as the sweep was begun: its mode, its prefix, and whether it is believed."""
    run = kept.run
    return replace(wanted, mode=run.mode, scope=replace(wanted.scope, prefix=run.prefix), believe=run.reason)
