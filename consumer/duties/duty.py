"""What is periodic: each duty has a name, an interval and a lease, so that one process of many does it.

Runs in a thread of its own with a connection of its own. A duty that cannot be done now is done at the next turn of
its interval; a defect ends the process.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
import structlog

from reconcile import ignoring, inquiry, ledger, pruning, rows, windows
from reconcile.config.settings import Retention
from reconcile.database import Busy, Connection
from reconcile.model import Hint, ObjectRef, Row, Unavailable
from reconcile.reconciler import reconcile
from reconcile.reports.daily import Pruned
from reconcile.steps import Tally
from reconcile.tables.mapping import Mapping
from reconcile.world import LiveWorld

log = structlog.get_logger("duties")
LEASE_S = 10.0
LOST_S = 5.0
PAGE = 200
PAGES_S = 1.0  # how long one turn goes on to the next page, so that no other duty waits long
PRUNED_S = 20.0  # how long one turn deletes at the most; what is left waits for the next
SECOND_LOOK = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a duty is handed: the world, its own lease's checkpoint, and how to move that."""

    world: LiveWorld
    checkpoint: str | None
    keep: Callable[[str], bool]
    watched: Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Duty:
    """One thing that is done every `interval_s` by whoever holds its lease, which lasts a while beyond that."""

    name: str
    interval_s: float
    do: Callable[[Turn], object]
    least_lease_s: float = LEASE_S

    @property
    def lease_s(self) -> float:
        """How long the lease is taken for: a turn that comes late must not hand it to another process."""
        return max(self.least_lease_s, 2 * self.interval_s)


def each(buckets: deque[str], do: Callable[[str], object]) -> Unavailable | None:
    """Do something for each bucket, one that MinIO does not serve now hindering no other; returns the last such outage.

    Once so much time was lost over them, the rest waits for the next turn, which begins with it.
    """
    outage, lost_s = None, 0.0
    for _ in range(len(buckets)):
        began = time.monotonic()
        buckets.rotate(-1)
        try:
            do(buckets[-1])
        except Unavailable as error:
            if error.server != "minio":
                raise
            outage = error
            lost_s += time.monotonic() - began
        if lost_s > LOST_S:
            break
    return outage


def all_duties(retention: Retention, count: Callable[[Tally], object] = lambda _: None) -> list[Duty]:
    """Return the catalogue of duties; `count` is told what their looks came to."""
    return [
        Duty("young", 1.0, lambda turn: count(look_at_young(turn, timedelta(0)))),
        Duty("young again", 5.0, lambda turn: count(look_at_young(turn, SECOND_LOOK))),
        Duty("suppression", 1.0, end_windows),
        Duty("ignore rules", 5.0, end_rules),
        Duty("live rows", 600.0, count_live_rows),
        Duty("retention", 3600.0, lambda turn: prune(turn, retention)),
    ]


def look_at_young(turn: Turn, later: timedelta) -> Tally:
    """Look once at each row that is past its grace: no event tells of an upload that never came.

    The checkpoint is a time and the last row seen at that very time, since rows of one transaction often share it. It
    is kept at each page; full ones are followed at once, for a while.
    """
    ends, total = time.monotonic() + PAGES_S, Tally()
    checkpoint, is_full = turn.checkpoint, True
    while is_full:
        tally, checkpoint, is_full = _young_page(turn, later, checkpoint)
        total += tally
        if not turn.keep(checkpoint) or time.monotonic() > ends:
            break
    return total


def _young_page(turn: Turn, later: timedelta, checkpoint: str | None) -> tuple[Tally, str, bool]:
    """Look at one page; returns what came of it, the checkpoint behind it, and whether more may follow."""
    world = turn.world
    with world.database.use() as connection:
        [(now,)] = connection.execute("SELECT now()").fetchall()
        upper = now - world.policy.missing_grace - later
        lower, after = _checkpoint(checkpoint) or (upper - SECOND_LOOK, None)
        page = rows.young(connection, world.mapping, lower, upper, PAGE, after)
    tally = reconcile(world, [_hint(row) for row in page if turn.watched(row.bucket, row.key)])
    last = page[-1] if len(page) == PAGE else None
    return tally, f"{last.created_at} {last.row_id}" if last else f"{upper}", last is not None


def _checkpoint(written: str | None) -> tuple[datetime, str | None] | None:
    if not written:
        return None
    date, time_of_day, *after = written.split(" ", 2)
    return datetime.fromisoformat(f"{date} {time_of_day}"), after[0] if after else None


def _hint(row: Row) -> Hint:
    return Hint(ObjectRef(row.bucket, row.key, row.s3_version), named_by="young")


def count_live_rows(turn: Turn) -> None:
    """Count the live rows of each bucket, by which the brake measures its shares, and those that carry the flag."""
    world = turn.world
    with world.database.use() as connection:
        with connection.transaction():
            _whole_tables(connection)
            live = rows.live_counts(connection, world.mapping)
            flagged = rows.flagged_counts(connection, world.mapping)
        ledger.keep_live_rows(connection, live, flagged, world.actor)
        ledger.forget_live_rows(connection, live.keys() | flagged.keys())


def live_counts(connection: Connection, mapping: Mapping) -> dict[str, int]:
    """Return how many live rows each bucket has, where they were never counted before."""
    with connection.transaction():
        _whole_tables(connection)
        return rows.live_counts(connection, mapping)


def _whole_tables(connection: Connection) -> None:
    connection.execute("SET LOCAL statement_timeout = '10min'")
    connection.execute("SET LOCAL enable_seqscan = on")


def end_windows(turn: Turn) -> None:
    """Have all looked at again that a suppression window covered whose time is over, and close it."""
    with turn.world.database.use() as connection:
        for window in windows.over(connection):
            asked = windows.close(connection, window)
            log.info("suppression.ended", window=window.id, bucket=window.bucket, looks=asked)


def end_rules(turn: Turn) -> None:
    """Reopen what an ignore rule held whose time is over, and close it."""
    for number, reopened in ignoring.close_all(turn.world).items():
        log.info("rule.ended", rule=number, reopened=reopened)


def prune(turn: Turn, retention: Retention) -> None:
    """Delete what is past its retention; the checkpoint tells before which time something is gone."""
    before = msgspec.json.decode(turn.checkpoint, type=Pruned) if turn.checkpoint else Pruned()
    ends = time.monotonic() + PRUNED_S
    with turn.world.database.use() as connection:
        now = inquiry.now(connection)
        kept = (retention.history, retention.findings, retention.sweeps)
        deleted = pruning.prune(connection, *kept, lambda: time.monotonic() < ends)
    if deleted:
        log.info("retention.pruned", **deleted)
        changes = now - min(retention.history, retention.findings) if deleted.keys() - {"sweeps"} else None
        sweeps = now - retention.sweeps if "sweeps" in deleted else None
        turn.keep(msgspec.json.encode(before.further(Pruned(changes, sweeps))).decode())


@dataclass
class Roster:
    """When each duty is due, by the monotonic clock of this process."""

    duties: Sequence[Duty]
    due_at: dict[str, float] = field(default_factory=dict)

    def due(self, now: float) -> list[Duty]:
        """Return the duties that are due, and plan their next turn."""
        found = [duty for duty in self.duties if self.due_at.get(duty.name, now) <= now]
        self.due_at.update({duty.name: now + duty.interval_s for duty in found})
        return found

    def patience(self, now: float) -> float:
        """Return the seconds until the next duty is due."""
        return max(0.0, min(self.due_at.values(), default=now) - now)


def attend(
    world: LiveWorld, duties: Sequence[Duty], watched: Callable[[str, str], bool], wait: Callable[[float], bool]
) -> None:
    """Do what is due until `wait(seconds)` says that it is time to stop."""
    roster = Roster(duties)
    while not wait(min(roster.patience(time.monotonic()), 1.0)):
        for duty in roster.due(time.monotonic()):
            try:
                do_one(world, duty, watched)
            except (Unavailable, Busy) as outage:
                log.warning("duty.postponed", duty=duty.name, why=str(outage))
    let_go(world, duties)


def closing_after(own: ExitStack, work: Callable[[], None]) -> Callable[[], None]:
    """Have a thread close what it worked with: another that did might meet it in the midst of a question."""

    def worked() -> None:
        with own:
            work()

    return worked


def let_go(world: LiveWorld, duties: Sequence[Duty]) -> None:
    """Let others have the leases at once, and close the connection."""
    try:
        with world.database.use() as connection:
            for duty in duties:
                ledger.drop_lease(connection, f"duty {duty.name}", world.actor)
    except Unavailable:
        log.info("duties.left", why="the leases run out by themselves")
    world.database.close()


def do_one(world: LiveWorld, duty: Duty, watched: Callable[[str, str], bool]) -> None:
    """Do one duty, if its lease can be had."""
    lease, owner = f"duty {duty.name}", world.actor

    def keep(checkpoint: str) -> bool:
        with world.database.use() as connection:
            return ledger.advance_lease(connection, lease, owner, duty.lease_s, checkpoint)

    with world.database.use() as connection:
        held = ledger.take_lease(connection, lease, owner, duty.lease_s)
    if held is not None:
        duty.do(Turn(world, held[0], keep, watched))
