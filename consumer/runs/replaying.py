"""A replay on real servers: through which World it looks, and what came of it."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from consumer.runs.replay import Records, Replay, only, within
from consumer.runs.rights import may_read
from consumer.runs.seen import Seen
from consumer.service import Service, stream_of
from consumer.stream.events import Dialect
from consumer.stream.loop import Stream
from reconcile.config.settings import Settings
from reconcile.database import Database
from reconcile.model import Hint, Kind, Misconfigured, ObjectRef, RowState, State
from reconcile.opening import objects
from reconcile.patience import patiently
from reconcile.reconciler import World, reconcile
from reconcile.steps import Change, Step, Tally
from reconcile.sweeps.drift import HELD_BY_BRAKE, HELD_BY_WINDOW, Class, Drift
from reconcile.sweeps.feeding import drain
from reconcile.sweeps.looker import Looker
from reconcile.sweeps.sums import Sums
from reconcile.trial import Trial
from reconcile.world import LiveWorld

HEALED = "healed now"
GONE = frozenset({Class.MISSING, Class.LOOKALIKE})
NO_SCHEMA = "--apply needs the schema reconciler, up to date and to be written: storage-reconciler init --apply"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which events of the range are replayed: of a bucket, of keys that begin so, of names that match a pattern."""

    bucket: str | None = None
    prefix: str = ""
    events: Sequence[str] = ()


@dataclass
class Outcome:
    """What a replay came to: totals by name; of a trial what would change, of one that was applied its tally.

    `rows` are those that would be flagged, or given back.
    """

    started_at: datetime
    finished_at: datetime
    totals: Counter[str]
    drifts: Sums
    healed: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)


class Replaying:
    """One replay, its servers opened."""

    def __init__(self, settings: Settings, world: LiveWorld, stream: Stream, *, has_kept: bool) -> None:
        self.settings, self.live, self.stream = settings, world, stream
        self.trial = Trial(world, has_kept)
        self.began = now()

    def plan(self, records: Records, tell: Callable[[Counter[str]], None]) -> Outcome:
        """Look at everything and write nothing; returns what would change."""
        found, rows, sums = Counter[str](), Counter[str](), Sums(self.began)

        def look(hints: Sequence[Hint]) -> None:
            of_bucket: dict[str, list[Hint]] = defaultdict(list)
            for hint in hints:
                of_bucket[hint.ref.bucket].append(hint)
            for bucket, some in of_bucket.items():
                seen = Looker(self.trial, bucket, self.began).look(some)
                found.update(seen.totals)
                found[HEALED] += len(seen.healed)
                rows.update(self.rows_of([*seen.drifts, *seen.healed]))
                for one in seen.drifts:
                    sums.add(one)

        totals = self.read(records, self.trial, look, tell)
        healed = found.pop(HEALED, 0)
        return Outcome(self.began, now(), totals + found, sums, healed, rows)

    def rows_of(self, told: Sequence[Drift]) -> Iterator[str]:
        """Yield of each row what would become of it: it is flagged, if that is wanted, or given back."""
        kinds = {(ObjectRef(one.bucket, one.key, one.s3_version), one.row_id): one.kind for one in told if one.row_id}
        refs = sorted({ref for ref, _ in kinds})
        known = patiently(partial(self.trial.glance, refs)) if refs else {}
        for ref, one in known.items():
            ours = {finding.row_id for finding in one.findings if finding.previous_status is not None}
            for row in one.rows:
                kind = kinds.get((ref, row.row_id))
                if kind in GONE and row.state == RowState.LIVE and self.live.policy.flagging:
                    yield "flagged"
                elif kind is Class.HEALED and row.row_id in ours:
                    yield "given back"

    def apply(self, records: Records, tell: Callable[[Counter[str]], None]) -> Outcome:
        """Let the reconciler look at everything as the consumer would, and drain what is due at the end of a grace."""
        tally, suspected = Tally(), set[ObjectRef]()

        def hear(steps: Sequence[Step]) -> None:
            suspected.update(one.ref for one in steps if any(is_suspicion(change) for change in one.changes))

        def look(hints: Sequence[Hint]) -> None:
            nonlocal tally
            tally += patiently(partial(reconcile, self.live, hints, hear=hear))

        totals = self.read(records, self.live, look, tell)
        tally += drain(self.live, suspected)
        left = {"unknown": tally.unknown, "not_asked": tally.not_asked, HELD_BY_BRAKE: tally.braked}
        left |= {HELD_BY_WINDOW: tally.suppressed}
        totals += Counter(left)
        return Outcome(self.began, now(), totals, Sums(self.began), tally=tally)

    def read(
        self,
        records: Records,
        world: World,
        look: Callable[[Sequence[Hint]], None],
        tell: Callable[[Counter[str]], None],
    ) -> Counter[str]:
        """Read to the end."""
        with Seen() as seen:
            return Replay(records, world, self.stream, seen, look, tell).run()


def stream_as_configured(settings: Settings) -> Stream:
    """Return what the consumer reads, and how."""
    return stream_of(Service(settings, threading.Event()))


@contextmanager
def replaying(
    settings: Settings, chosen: Chosen, dialect: Dialect | None = None, *, writes: bool = True
) -> Iterator[Replaying]:
    """Open the servers of a replay; a plan may also ask a standby."""
    service = Service(settings, threading.Event(), name="replay", writes=writes)
    with objects(settings) as store:
        world = service.world(service.mapping(), store)
        try:
            stream = stream_of(service)
            narrowed = replace(
                stream,
                dialect=only(dialect or stream.dialect, chosen.events),
                watched=within(stream.watched, chosen.bucket, chosen.prefix),
            )
            yield Replaying(settings, world, narrowed, has_kept=has_findings(world.database))
        finally:
            world.database.close()


def has_findings(database: Database) -> bool:
    """Tell whether our findings are there and ours to read."""
    with database.use() as connection:
        return may_read(connection)


def is_suspicion(change: Change) -> bool:
    """Tell whether a change is the begin of what opens at the end of the short grace."""
    return change.state is State.SUSPECTED and change.kind in {Kind.MISSING, Kind.MISMATCH}


def must_keep(found: Replaying) -> None:
    """Refuse what could not be kept."""
    if not found.trial.has_kept:
        raise Misconfigured(NO_SCHEMA)


def now() -> datetime:
    """Return the time; what is kept is stamped by the database."""
    return datetime.now(UTC)  # noqa: TID251 - the shell is where the time comes in
