"""One run of a scrub of one bucket, from its lease to its report: goes on with the bucket's cycle, or begins one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import structlog

from consumer.runs.beginning import Leased
from consumer.runs.rights import rights
from consumer.runs.sweeping import LOOK_S
from reconcile import opening
from reconcile.config.filters import watched
from reconcile.config.settings import Settings
from reconcile.database import Database
from reconcile.model import Misconfigured, Unavailable
from reconcile.reports.scrubreport import ScrubReport
from reconcile.scrubs import cycle
from reconcile.scrubs.cycle import Cycle
from reconcile.scrubs.hashing import Hashing, Pace
from reconcile.scrubs.scrub import Bounds, Scrub
from reconcile.scrubs.walk import Walk, walked
from reconcile.store.objects import Objects
from reconcile.store.storing import Storing
from reconcile.sweeps.feeding import drain, held_back
from reconcile.sweeps.keeping import Lost
from reconcile.sweeps.sweep import Held
from reconcile.trial import Trial

log = structlog.get_logger("scrub")
PATIENCE_S = 30.0
NO_COLUMN = "mapping.version.sha256: is not set, and without a column of checksums there is nothing to compare with"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks of a run. `bounds` may be shared by runs over several buckets; `anew` begins a new cycle.

    `who` and `why` are kept in the history of what it changes.
    """

    bucket: str
    prefix: str
    rate_bytes_s: float
    bounds: Bounds
    fix: bool = False
    anew: bool = False
    margin: timedelta | None = None
    directory: Path | None = None
    who: str = "scrub"
    why: str = ""


@dataclass
class Scrubbing:
    """One run, its servers opened; `tell` is told how far it is."""

    settings: Settings
    wanted: Wanted
    database: Database
    store: Objects
    tell: Callable[[Mapping[str, int], str], None] = lambda _, __: None

    def __post_init__(self) -> None:
        self.owner = opening.ourselves()
        self.mapping = opening.mapping(self.settings, self.database)
        self.live = opening.world(self.settings, self.database, self.store, self.wanted.who, self.mapping)
        self.live.why = self.wanted.why
        self.live.look_deadline_s = LOOK_S

    def run(self) -> tuple[ScrubReport, Exception | None]:
        """Read on; returns the report, and what ended the run before its time."""
        self.check()
        taken = self.taken()
        began_at, began = datetime.now(UTC), monotonic()  # noqa: TID251 - the shell is where the time comes in
        storing = Storing(opening.server(self.settings), PATIENCE_S)
        state, reason, error = "running", "", None
        with storing:
            scrub = self.scrub(taken, storing)
            try:
                state = self.read(scrub)
            except Held as held:
                state, reason = "held", str(held)
            except Lost as lost:
                raise Leased(str(lost)) from lost
            except (Unavailable, Misconfigured) as fault:
                state, reason, error = "incomplete", str(fault), fault
            finally:
                with suppress(Unavailable):
                    taken.let_go()
        if self.wanted.fix and error is None:
            scrub.tally += drain(self.live, scrub.refs)
        log.info("scrub.ended", scrub=taken.id, state=state, reason=reason, at=taken.checkpoint)
        return self.report(scrub, state, reason, (began_at, monotonic() - began)), error

    def check(self) -> None:
        """Raise Misconfigured if there is nothing to be read, or nowhere to keep how far it is."""
        if self.settings.mapping.version.sha256 is None:
            raise Misconfigured(NO_COLUMN)
        if not self.store.bucket_exists(self.wanted.bucket):
            raise Misconfigured(f"bucket {self.wanted.bucket!r}: does not exist on {self.store.server.endpoint}")
        with self.database.use() as connection:
            if refusal := rights(connection).refusal:
                raise Misconfigured(refusal)

    def taken(self) -> Cycle:
        """Take the bucket's lease, and with it the cycle."""
        wanted = self.wanted
        mode = "fix" if wanted.fix else "report"
        if wanted.anew:
            cycle.given_up(self.database, wanted.bucket, wanted.prefix, self.owner)
        found = cycle.taken(self.database, wanted.bucket, wanted.prefix, mode, self.owner)
        if found is None:
            raise Leased(f"another scrub of {wanted.bucket!r} is running; wait for it")
        return found

    def scrub(self, taken: Cycle, storing: Storing) -> Scrub:
        """Return the run over the live World, or over a Trial of it."""
        trial = Trial(self.live, has_kept=True)
        filters, margin = self.settings.filters, self.wanted.margin
        return Scrub(
            trial,
            self.live if self.wanted.fix else trial,
            taken,
            Hashing(storing, Pace(self.wanted.rate_bytes_s)),
            self.wanted.bounds,
            watched(filters.include, filters.exclude),
            (self.settings.policy.missing_grace if margin is None else margin).total_seconds(),
            self.tell,
        )

    def read(self, scrub: Scrub) -> str:
        """Read on until the end or the bounds; returns complete or running."""
        wanted = self.wanted
        with walked(Walk(self.database, self.mapping, wanted.bucket, wanted.prefix, wanted.directory)) as keys:
            if not scrub.run(keys):
                return "running"
        scrub.cycle.finish()
        return "complete"

    def report(self, scrub: Scrub, state: str, reason: str, when: tuple[datetime, float]) -> ScrubReport:
        """Return everything in one value."""
        last: tuple[datetime | None, datetime | None, Mapping[str, int]] | None = None
        with suppress(Unavailable):
            last = scrub.cycle.last_complete()
        last_started_at, last_finished_at, totals = last or (None, None, {})
        held, notes = held_back(scrub.tally)
        return ScrubReport(
            bucket=self.wanted.bucket,
            prefix=self.wanted.prefix,
            mode="fix" if self.wanted.fix else "report",
            state=state,
            id=scrub.cycle.id,
            began_at=when[0],
            took_s=when[1],
            started_at=scrub.cycle.started_at,
            checkpoint=scrub.cycle.checkpoint,
            reason=reason,
            totals={**scrub.totals, **held},
            cycle=scrub.cycle.totals,
            drifts=scrub.drifts,
            faults=scrub.faults,
            last_started_at=last_started_at,
            last_finished_at=last_finished_at,
            last=totals,
            notes=notes,
        )
