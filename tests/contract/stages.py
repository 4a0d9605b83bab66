# ruff: noqa: D102 - `Stage` says what each of its methods does
"""The stages on which the World's contract is played; the one in memory is here.

All say the same words: what the application does to its rows and objects, what is kept of it, and how time passes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

from reconcile.model import Brake, Hint, Kind, NotAsked, ObjectRef, ObjectSide, Policy, State, Unknown
from reconcile.reconciler import World, reconcile
from tests.simulation.memory import MemoryWorld
from tests.simulation.people import end_rules
from tests.simulation.servers import Servers, Stored

FLAGGING = Policy(flagging=True)
BRAKE = Brake()
GRACE, ORPHAN_GRACE, MINUTE, HOUR = (timedelta(seconds=s) for s in (30, 900, 60, 3600))
OBSERVING = Policy()
NEVER_A_VERSION = "00000000-0000-4000-8000-000000000000"
THREE = Brake(floor=3, bucket_floor=1000)


class Seen(NamedTuple):
    """What is kept of a finding that is not closed."""

    key: str
    row_id: str
    kind: Kind
    state: State
    previous_status: str | None
    held_by: str | None


class Planned(NamedTuple):
    """What is kept of a look; `in_s` are the seconds until it is due."""

    in_s: float
    attempt: int
    asks: int
    reason: str


class Stage(Protocol):
    """What a test may do and see. Without a bucket's name the first is meant, without a row's id `row of KEY`."""

    bucket: str
    other: str
    missing: str

    def world(self, policy: Policy = FLAGGING, brake: Brake = BRAKE, actor: str = "test") -> World:
        """Start another process."""

    def row(self, key: str, row_id: str = "", **columns: object) -> str:
        """Commit a row, live and of three bytes unless it is said otherwise; returns its id."""

    def change(self, row_id: str, **columns: object) -> None:
        """Change columns of a row; `deleted` is its parent's."""

    def delete_row(self, row_id: str) -> None:
        """Delete a row."""

    def status(self, row_id: str) -> str:
        """Return a row's status."""

    def put(self, key: str, content: bytes = b"AAA", bucket: str = "") -> str:
        """Put an object and return its version, where there are versions."""

    def remove(self, key: str, version: str | None = None, bucket: str = "") -> None:
        """Remove an object, or one of its versions."""

    def make_versioned(self) -> None:
        """Keep versions in the bucket from now on."""

    def make_bucket(self, name: str) -> None:
        """Make another bucket."""

    def lose_bucket(self, name: str) -> None:
        """Remove an empty bucket."""

    def outage(self, world: Any, server: str) -> AbstractContextManager[None]:
        """Have a server away for a process."""

    def holding(self, row_id: str) -> AbstractContextManager[None]:
        """Hold a row in an open transaction of the application."""

    def locking_table(self, mode: str = "ACCESS EXCLUSIVE") -> AbstractContextManager[None]:
        """Lock the application's table, as a migration does."""

    def stand_still(self, world: Any, seconds: float) -> None:
        """Let time pass for a process, as if it had been stopped."""

    def refuse(self, *row_ids: str) -> None:
        """Have the application's table refuse a new status of these rows, and of no others."""

    def age(self, by: timedelta) -> None:
        """Let time pass."""

    def count_live(self, bucket: str, rows: int) -> None:
        """Keep how many live rows a bucket was counted to have."""

    def release(self, *kinds: str) -> None:
        """Lift the brakes of these kinds, all without any, and free what they held."""

    def suppress(self, lasting: timedelta, pattern: str | None = None) -> None:
        """Set a window on the first bucket."""

    def lift_windows(self) -> None:
        """End every window before its time."""

    def end_windows(self) -> None:
        """Have the windows ended whose time is over."""

    def ignore(self, lasting: timedelta, pattern: str, kind: Kind | None = None) -> int:
        """Set an ignore rule on the first bucket; returns its number."""

    def end_rules(self, world: Any) -> None:
        """Have the rules ended whose time is over."""

    def findings(self) -> list[Seen]:
        """Return the findings that are not closed."""

    def looks(self) -> dict[ObjectRef, Planned]:
        """Return the looks that are planned."""

    def history(self) -> list[str]:
        """Return the acts upon findings, in their order."""

    def lines(self) -> list[tuple[str, str, str]]:
        """Return (actor, act, why) of each line of the history that is about a finding."""

    def evidence(self, key: str) -> Mapping[str, Any]:
        """Return the evidence that is kept of the key's only finding."""

    def restraints(self, effect: str) -> set[tuple[str, str]]:
        """Return the (kind, bucket) of restraints in force."""

    def everything(self) -> object:
        """Return what can be compared to tell whether anything was written."""


@dataclass
class MemoryStage:
    """Played in memory."""

    bucket: str = "bucket"
    other: str = "other"
    missing: str = "missing"
    servers: Servers = field(default_factory=Servers)

    def __post_init__(self) -> None:
        self.servers.storage.buckets |= {self.bucket: {}, self.other: {}}

    def world(self, policy: Policy = FLAGGING, brake: Brake = BRAKE, actor: str = "test") -> World:
        return MemoryWorld(self.servers, policy, brake, actor)

    def row(self, key: str, row_id: str = "", **columns: Any) -> str:
        row_id = row_id or f"row of {key}"
        columns = {"bucket": self.bucket, **columns}
        self.servers.tables.rows[row_id] = Stored(row_id=row_id, key=key, **columns)
        return row_id

    def change(self, row_id: str, **columns: Any) -> None:
        self.servers.tables.rows[row_id] = self.servers.tables.rows[row_id]._replace(**columns)

    def delete_row(self, row_id: str) -> None:
        del self.servers.tables.rows[row_id]

    def status(self, row_id: str) -> str:
        return self.servers.tables.rows[row_id].status

    def put(self, key: str, content: bytes = b"AAA", bucket: str = "") -> str:
        return self.servers.storage.put(bucket or self.bucket, key, content)

    def remove(self, key: str, version: str | None = None, bucket: str = "") -> None:
        self.servers.storage.remove(bucket or self.bucket, key, version)

    def make_versioned(self) -> None:
        self.servers.storage.versioned.add(self.bucket)

    def make_bucket(self, name: str) -> None:
        self.servers.storage.buckets[name] = {}

    def lose_bucket(self, name: str) -> None:
        del self.servers.storage.buckets[name]

    @contextmanager
    def outage(self, world: Any, server: str) -> Iterator[None]:  # noqa: ARG002 - it is away for all
        which = self.servers if server == "postgresql" else self.servers.storage
        which.down = True
        yield
        which.down = False

    @contextmanager
    def holding(self, row_id: str) -> Iterator[None]:
        self.servers.locked.add(row_id)
        yield
        self.servers.locked.remove(row_id)

    @contextmanager
    def locking_table(self, mode: str = "ACCESS EXCLUSIVE") -> Iterator[None]:  # noqa: ARG002 - others are live alone
        self.servers.table_locked = True
        yield
        self.servers.table_locked = False

    def stand_still(self, world: Any, seconds: float) -> None:  # noqa: ARG002 - there is one clock
        self.age(timedelta(seconds=seconds))

    def refuse(self, *row_ids: str) -> None:
        self.servers.refusing = set(row_ids)

    def age(self, by: timedelta) -> None:
        self.servers.now += by

    def count_live(self, bucket: str, rows: int) -> None:
        self.servers.tables.live[bucket] = rows

    def release(self, *kinds: str) -> None:
        self.servers.release(kinds or ("missing", "orphan"))

    def suppress(self, lasting: timedelta, pattern: str | None = None) -> None:
        self.servers.suppress(self.bucket, pattern, lasting)

    def lift_windows(self) -> None:
        self.servers.lift_windows()

    def end_windows(self) -> None:
        self.servers.end_windows()

    def ignore(self, lasting: timedelta, pattern: str, kind: Kind | None = None) -> int:
        return self.servers.ignore(self.bucket, pattern, kind, lasting)

    def end_rules(self, world: Any) -> None:
        assert end_rules(self.servers, lambda: world)

    def findings(self) -> list[Seen]:
        kept = [kept.finding for kept in self.servers.tables.findings.values()]
        open_ones = [one for one in kept if one.state not in {State.RESOLVED, State.DELETED}]
        return sorted(
            Seen(one.ref.key, one.row_id, one.kind, one.state, one.previous_status, one.held_by) for one in open_ones
        )

    def looks(self) -> dict[ObjectRef, Planned]:
        looks = self.servers.tables.looks.items()
        now = self.servers.now
        return {
            ref: Planned((one.due_at - now).total_seconds(), one.attempt, one.asks, one.reason) for ref, one in looks
        }

    def history(self) -> list[str]:
        return [line.act for line in self.servers.tables.history]

    def lines(self) -> list[tuple[str, str, str]]:
        return [(line.actor, line.act, line.why) for line in self.servers.tables.history]

    def evidence(self, key: str) -> Mapping[str, Any]:
        [facts] = [kept.evidence for kept in self.servers.tables.findings.values() if kept.finding.ref.key == key]
        return facts

    def restraints(self, effect: str) -> set[tuple[str, str]]:
        return {(str(one.kind or ""), one.bucket) for one in self.servers.tables.active(effect)}

    def everything(self) -> object:
        return self.servers.tables.copy()


@dataclass
class Meanwhile:
    """A World in which something happens after the HEADs, after the transaction has read, or before it commits."""

    world: World
    after_heads: Callable[[], object] = lambda: None
    in_transaction: Callable[[], object] = lambda: None
    before_commit: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    def heads(self, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, ObjectSide]:
        """Look at the objects; then something happens."""
        sides = self.world.heads(refs)
        self.after_heads()
        return sides

    @contextmanager
    def transaction(self, refs: Sequence[ObjectRef]) -> Iterator[Any]:
        """Read; then something happens, and again when all is written."""
        with self.world.transaction(refs) as txn:
            self.in_transaction()
            yield txn
            self.before_commit()


@dataclass
class Unanswering:
    """A World whose HEADs are all too late."""

    world: World

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    def heads(self, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, ObjectSide]:
        """Learn nothing."""
        return dict.fromkeys(refs, Unknown("timed out"))


@dataclass
class NarrowPool:
    """A World whose pool has room for some objects only."""

    world: World
    room: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    def heads(self, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, ObjectSide]:
        """Look at the first ones; the others are not asked for."""
        return {**dict.fromkeys(refs, NotAsked()), **self.world.heads(refs[: self.room])}


def hints(*refs: ObjectRef) -> list[Hint]:
    """Name references to look at."""
    return [Hint(ref, named_by="event") for ref in refs]


def look(world, *refs):
    """Look at references that an event has named."""
    return reconcile(world, hints(*refs))


def look_again(world):
    """Look at whatever is due."""
    return reconcile(world, world.due(1000))


def suspect(stage, world, *keys, **columns):
    """Make rows without an object, suspected, at the end of their grace; return their references."""
    refs = [ObjectRef(stage.bucket, key) for key in keys]
    for key in keys:
        stage.row(key, **columns)
    look(world, *refs)
    stage.age(GRACE)
    return refs


def flag(stage, world, *keys):
    """Make rows without an object, and flagged by us; return their references."""
    refs = suspect(stage, world, *keys)
    look_again(world)
    assert {stage.status(f"row of {key}") for key in keys} == {"corrupted"}
    return refs


def states(stage):
    """Return the state of what is kept of each row or object."""
    return {one.row_id or one.key: one.state for one in stage.findings()}
