"""One sweep of one bucket, from its lease to its report: begins, resumes or joins it, and brings it to its end.

What is compared, confirmed, guarded and kept is reconcile's; this opens the servers and says in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from time import sleep

import structlog

from consumer.runs.beginning import Beginning, Leased, as_begun
from consumer.runs.metering import metered
from consumer.runs.repaired import braked, known
from consumer.runs.rights import STANDBY, rights
from consumer.runs.sides import Sides, Wanted, facts_of, opened
from reconcile import ignoring, opening
from reconcile.config.filters import watched
from reconcile.config.settings import Settings
from reconcile.database import Database
from reconcile.model import Misconfigured, OutOfOrder, Unavailable
from reconcile.store.objects import Objects
from reconcile.sweeps import belief, keeping, meter
from reconcile.sweeps.compare import Facts
from reconcile.sweeps.drift import Class, SweepReport
from reconcile.sweeps.feeding import feed, keep_as_known
from reconcile.sweeps.heartbeat import Heartbeat
from reconcile.sweeps.keeping import Kept, Lost
from reconcile.sweeps.looker import Looker
from reconcile.sweeps.sums import KINDS, Sums, summed, within
from reconcile.sweeps.sweep import Held, Keeper, Sweep
from reconcile.sweeps.unkept import Unkept
from reconcile.trial import Trial

log = structlog.get_logger("sweep")
WAIT_S = 0.5
LOOK_S = 10.0
GO_ON = "go on with --resume once it answers"
WAY_OUT = "if all of this is so, sweep again with --believe --why WORDS, which are kept; the brake stays as it is"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sweep is; `of_rows` is how many rows there are to be compared, 0 while that is unknown."""

    doing: str
    totals: Mapping[str, int] = field(default_factory=dict)
    of_rows: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """How a sweep ended: its state, and why; nothing is believed of the ranges that were not read to their end.

    `compared`: all was, though some keys gave no answer; what did is repaired, or some key could keep all from that.
    """

    state: str = "complete"
    reason: str = ""
    unread: tuple[tuple[str, str | None], ...] = ()
    resumable: bool = False
    compared: bool = False


@dataclass
class Sweeping:
    """One process's part in one sweep, its servers opened; `tell` is told how it goes on."""

    settings: Settings
    wanted: Wanted
    database: Database
    store: Objects
    tell: Callable[[Progress], None] = lambda _: None

    def __post_init__(self) -> None:
        self.owner = opening.ourselves()
        self.mapping = opening.mapping(self.settings, self.database)
        self.live = opening.world(self.settings, self.database, self.store, self.wanted.who, self.mapping)
        self.live.why = self.wanted.why
        self.live.look_deadline_s = LOOK_S
        with self.database.use() as connection:
            self.rights = rights(connection)
            [(self.began_at,)] = connection.execute("SELECT now()").fetchall()

    @property
    def bucket(self) -> str:
        """The bucket that is swept."""
        return self.wanted.scope.bucket

    def run(self, spawn: Callable[[int], None] = lambda _: None) -> SweepReport:
        """Sweep, and return the report; `spawn` is called with the sweep's id once others may join it."""
        if not self.store.bucket_exists(self.bucket):
            raise Misconfigured(f"bucket {self.bucket!r}: does not exist on {self.store.server.endpoint}")
        if self.rights.refusal:
            return self.unkept(self.rights.refusal)
        try:
            with Heartbeat(self.database, self.owner, keeping.LEASE_S):
                keeper = Beginning(self.database, self.mapping, self.store, self.owner).keeper(self.wanted)
                self.wanted = as_begun(self.wanted, keeper)
                spawn(keeper.run.id)
                return self.led(keeper) if keeper.leads else self.joined(keeper)
        except Lost as error:
            raise Leased(str(error)) from error
        finally:
            with suppress(Unavailable):
                keeping.let_go(self.database, self.owner)

    def unkept(self, why: str) -> SweepReport:
        """Sweep where nothing can be kept: in memory, with nothing to resume."""
        if self.wanted.mode != "report" or self.wanted.resume or self.wanted.join is not None:
            raise Misconfigured(why)
        keeper = Unkept()
        end, note = self.compare(keeper, facts_of(self.mapping, self.wanted.scope), self.began_at)
        if end.state == "incomplete":
            end = replace(end, unread=(("", None),))
        sums = summed(within(keeper.found.values(), end.unread), self.now())
        end = self.guarded(end, keeper.totals, sums, None)
        kept = f"nothing was kept, so there is no history and no --resume: {why}"
        return self.report(end, keeper.totals, sums, self.began_at, (note, kept, keeper.note))

    def led(self, keeper: Kept) -> SweepReport:
        """Compare with whoever takes part, and bring the sweep to its end; a database that is away then is told so."""
        end, note = self.compare(keeper, keeper.run.facts, keeper.run.started_at)
        try:
            return self.summed_up(keeper, end, note)
        except Unavailable as fault:
            away = End("incomplete", f"{fault}; {GO_ON}", resumable=True)
            report = self.report(away, {}, Sums(self.now()), keeper.run.started_at, (note,))
            return replace(report, id=keeper.run.id, resumable=True, by_kind=())  # a zero would be a figure

    def summed_up(self, keeper: Kept, end: End, note: str) -> SweepReport:
        """Add up what was found, do what the mode asks for, and keep how it ended."""
        _, _, totals = keeper.progress()
        if end.state == "incomplete":
            end = replace(end, unread=tuple(keeper.unread()))
        last = keeper.last()
        before, last_started, last_totals = last or (None, None, None)
        sums = summed(within(keeper.drifts(before), end.unread), self.now())
        end = self.guarded(end, totals, sums, last_totals)
        told: tuple[str, ...] = ()
        if end.state == "complete":  # else it has not seen all that might still be there
            totals["healed"] = keeper.healed(before)
            told = metered(self.settings, self.store, keeper, last_started, before)
            sums = summed(keeper.drifts(before), self.now())  # again, since each says now what the meter does
        by_age = meter.by_age(keeper.drifts(before), self.now())
        if end.state == "complete" and before is not None:
            totals.update(meter.sums(by_age))
        report = self.report(end, totals, sums, keeper.run.started_at, (note, *told))
        left = bool(end.unread) or end.resumable
        report = replace(report, id=keeper.run.id, resumable=left, meter=by_age)
        report = self.ended(keeper, end, report)
        log.info("sweep.ended", sweep=keeper.run.id, state=report.state, reason=report.reason)
        return replace(report, history=keeper.past())

    def ended(self, keeper: Kept, end: End, report: SweepReport) -> SweepReport:
        """Do what the mode asks for and keep how it ended; what a server does not take now is left to --resume."""
        try:
            if end.state == "complete" or end.compared:
                report = self.act(keeper, report)
            if report.resumable:
                return report
            return replace(report, finished_at=keeper.finish(end.state, report.reason, report.totals))
        except Unavailable as fault:
            return replace(report, state="incomplete", reason=f"{fault}; {GO_ON}", resumable=True)

    def joined(self, keeper: Kept) -> SweepReport:
        """Compare ranges of another's sweep; who leads it reports."""
        end, note = self.compare(keeper, keeper.run.facts, keeper.run.started_at)
        end = replace(end, state="running") if end.state == "complete" else end
        report = self.report(end, keeper.progress()[2], Sums(self.now()), keeper.run.started_at, (note,))
        return replace(report, id=keeper.run.id, resumable=True)

    def compare(self, keeper: Kept | Unkept, facts: Facts, started_at: datetime) -> tuple[End, str]:
        """Compare and confirm; returns how that ended, and how the rows were read."""
        note, sweep = "", None
        try:
            self.tell(Progress("copying the rows"))
            with opened(self.database, self.mapping, self.store, self.wanted.scope, facts) as sides:
                note = sides.note
                sweep = self.sweep(keeper, sides, started_at)
                sweep.run()
                if isinstance(keeper, Kept) and not keeper.leads:
                    return End(), note
                self.others(keeper, sweep)
                self.see_again(sweep)
        except OutOfOrder as fault:
            return self.believed(sweep, End("incomplete", f"out of order: {fault}")), note
        except Unavailable as fault:
            return self.believed(sweep, End("incomplete", f"{fault}; {GO_ON}", resumable=True)), note
        except Held as fault:
            return self.held(str(fault)), note
        return End(), note

    def see_again(self, sweep: Sweep) -> None:
        """Look a second time at whatever was sighted."""
        wanted, usual = self.wanted.margin, self.settings.policy.missing_grace
        sweep.see_again(usual if wanted is None else wanted, self.waiting)

    def believed(self, sweep: Sweep | None, end: End) -> End:
        """Look again at what was sighted before the end came, if that still answers: it is not believed otherwise."""
        if sweep is not None and self.wanted.join is None:
            with suppress(Unavailable):
                self.see_again(sweep)
        return end

    def sweep(self, keeper: Keeper, sides: Sides, started_at: datetime) -> Sweep:
        """Return the comparison over both sides."""
        filters = self.settings.filters
        return Sweep(
            Looker(Trial(self.live, self.rights.reads), self.bucket, started_at, by_key=sides.by_key),
            keeper,
            sides.objects,
            sides.rows,
            watched(filters.include, filters.exclude),
            lambda totals: self.tell(Progress("comparing", totals, sides.row_count)),
            (lambda _: None) if self.wanted.believe else partial(belief.hopeless, of_rows=sides.row_count),
        )

    def others(self, keeper: Kept | Unkept, sweep: Sweep) -> None:
        """Wait for whoever else takes part, and take over from whoever is gone."""
        while isinstance(keeper, Kept):
            ranges, done, totals = keeper.progress()
            if ranges == done:
                return
            self.tell(Progress(f"waiting for others: {done} of {ranges} ranges are done", totals))
            sleep(WAIT_S)
            sweep.run()

    def waiting(self, how_many: int) -> None:
        """Wait for a second look."""
        self.tell(Progress(f"looking again at {how_many:,} differences, once they are old enough"))
        sleep(WAIT_S)

    def guarded(self, end: End, totals: Mapping[str, int], sums: Sums, before: Mapping[str, int] | None) -> End:
        """Return the end, held if the sides are not to be believed."""
        if end.state != "complete":
            return end
        missing = 0 if self.wanted.mode == "baseline" else sums.unknown[Class.MISSING]
        found = {**totals, "missing": missing}
        why = STANDBY if self.rights.standby else belief.held(found, before, self.settings.brake)
        if why and not self.wanted.believe:
            return self.held(why)
        end = replace(end, reason=why or "")
        if unknown := totals.get("unknown"):
            return End("incomplete", f"{unknown:,} keys gave no answer", compared=True)
        return end

    def held(self, why: str) -> End:
        """Say loudly that the sweep is not believed, and how it could be."""
        log.error("sweep.held", bucket=self.bucket, why=why)
        return End("held", f"{why}; {WAY_OUT}")

    def act(self, keeper: Kept, report: SweepReport) -> SweepReport:
        """Do what the mode asks for, through the one reconciler, and tell what was left."""
        drifts = keeper.drifts(None, healed=True)
        match self.wanted.mode:
            case "fix":
                self.tell(Progress("repairing: what is missing is looked at until its grace is over"))
                ignoring.close_all(self.live)  # as the consumer does, where there is one
                world = replace(self.live, policy=replace(self.settings.policy, flagging=True))
                return braked(report, feed(world, drifts, keeper.run.id, keeper.lead))
            case "baseline":
                self.tell(Progress("keeping what was found as known"))
                return known(report, keep_as_known(self.live, drifts, keeper.run.id, keeper.lead))
        return report

    def report(
        self, end: End, totals: Mapping[str, int], sums: Sums, started_at: datetime, notes: tuple[str, ...]
    ) -> SweepReport:
        """Return everything in one value."""
        kinds = {kind.value: sums.of_kind(kind) for kind in KINDS}
        new = sum(sums.new.values())
        return SweepReport(
            bucket=self.bucket,
            mode=self.wanted.mode,
            state=end.state,
            started_at=started_at,
            finished_at=self.now(),
            prefix=self.wanted.scope.prefix,
            brought=self.wanted.scope.listing is not None,
            reason="; ".join(filter(None, (self.wanted.believe, end.reason))),
            totals={**totals, **kinds, "new": new, "still": sums.total - new},
            by_kind=sums.by_kind(),
            by_group=sums.by("group"),
            by_prefix=sums.by("prefix"),
            by_age=sums.by("age"),
            drifts=sums.first,
            total_drifts=sums.total,
            notes=tuple(filter(None, (*notes, self.rights.note))),
        )

    def now(self) -> datetime:
        """Return the time; what is kept is stamped by the database."""
        return datetime.now(UTC)  # noqa: TID251 - the shell is where the time comes in
