"""The in-memory World with a step between any two of its verbs, where others may act, and a trial of it for sweeps."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Self

from reconcile.model import (
    FINAL,
    Brake,
    Hint,
    Known,
    NotAsked,
    ObjectRef,
    ObjectSide,
    Policy,
    Unavailable,
    Unknown,
)
from reconcile.restraint import Restraint as ByHand
from reconcile.restraint import Restraints
from reconcile.sweeps.confirm import Confirmed
from reconcile.sweeps.drift import Drift
from reconcile.sweeps.sweep import Range
from reconcile.sweeps.unkept import Unkept
from reconcile.trial import NEVER, Looked, TrialTxn
from tests.simulation.memory import MemoryTxn, MemoryWorld
from tests.simulation.servers import BY_HAND, Restraint, Servers
from tests.simulation.storage import Versions

BUCKET = "bucket"


@dataclass
class Faults:
    """What the servers do wrong, beside being away."""

    of_keys: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # by what is wrong
    outdated: dict[str, Versions] = field(default_factory=dict)  # keys of which LIST tells what was there once
    failing: int = 0  # so many of the next transactions are rolled back at their commit
    unconfirmed: int = 0  # so many of the next ones commit, and the answer is lost


@dataclass
class SteppedWorld(MemoryWorld):
    """One process, which others interrupt. `looks` notes that a look begins, `asked` each HEAD, `wrote` each commit."""

    between: Callable[[], None] = lambda: None
    faults: Faults = field(default_factory=Faults)
    looks: Callable[["SteppedWorld"], None] = lambda _: None
    asked: Callable[["SteppedWorld", ObjectRef, ObjectSide], None] = lambda _, __, ___: None
    wrote: Callable[["SteppedWorld", "SteppedTxn"], None] = lambda _, __: None
    number: int = field(default_factory=count().__next__)
    seconds: Callable[[], float] = lambda: 0.0

    def clock(self) -> float:
        """Return seconds, whatever the database's clock does."""
        return self.seconds()

    def glance(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, Known]:
        """Read, and let others act before and after."""
        self.between()
        known = super().glance(refs)
        self.between()
        return known

    def heads(self, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, ObjectSide]:
        """Ask for one after another, and let others act between any two."""
        self.looks(self)
        storage, sides = self.servers.storage, dict[ObjectRef, ObjectSide]()
        room = len(refs) if storage.room is None else storage.room
        for number, ref in enumerate(refs):
            self.between()
            if storage.down:
                raise Unavailable("minio", "down")
            side = Unknown("timed out") if ref.key in self.faults.of_keys["slow"] else storage.head(ref)
            sides[ref] = side if number < room else NotAsked()
            self.asked(self, ref, sides[ref])
        self.between()
        return sides

    def due(self, limit: int, among: Collection[ObjectRef] | None = None) -> list[Hint]:
        """Claim looks, and let others act."""
        claimed = super().due(limit, among)
        self.between()
        return claimed

    def transaction(self, refs: Sequence[ObjectRef]) -> "SteppedTxn":
        """Open the one transaction of a batch."""
        return SteppedTxn(self, list(refs))

    def readable(self, silent: Mapping[str, str], answered: set[str]) -> None:
        """Restrain buckets, or lift that, and let others act before."""
        self.between()
        super().readable(silent, answered)

    def ask(self, hints: Sequence[Hint], after: timedelta, reason: str) -> None:
        """Ask for looks, and let others act before."""
        if hints:
            self.between()
            super().ask(hints, after, reason)


class SteppedTxn(MemoryTxn):
    """A transaction: others act after all that it reads and after its commit; what it writes is seen at once or never.

    `by_hand` is what persons had set when it read that, `began` when it went to read rows and findings.
    """

    world: SteppedWorld
    by_hand: dict[int, Restraint] | None = None
    began: float = 0.0

    def __enter__(self) -> Self:
        """Note when that was, and read."""
        self.began = self.world.clock()
        return super().__enter__()

    def restraints(self, counting: Collection[tuple[str, str]]) -> Restraints:
        """Read under the brake's lock, and let others act."""
        found = super().restraints(counting)
        self.by_hand = in_force(self.world.servers, self.now)
        self.world.between()
        return found

    def rules(self) -> list[ByHand]:
        """Read, and let others act."""
        found = super().rules()
        self.by_hand = in_force(self.world.servers, self.now)
        self.world.between()
        return found

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """Commit, or not; whether the process learns of it is another matter."""
        world = self.world
        lost = False
        self.unlock()
        if not kind and self.before and world.faults.failing:
            world.faults.failing -= 1
            world.servers.tables = self.before
            raise Unavailable("postgresql", "rolled back at the commit")
        if not kind and self.before and world.faults.unconfirmed:
            world.faults.unconfirmed -= 1
            lost = True
        super().__exit__(kind, error, trace)
        if not kind:
            world.wrote(world, self)
            if lost:
                raise Unavailable("postgresql", "the answer to the commit was lost")
            world.between()


def in_force(servers: Servers, now: datetime) -> dict[int, Restraint]:
    """Return by number what persons have set, and is not over by then."""
    those = enumerate(servers.tables.restraints, 1)
    return {n: one for n, one in those if one.effect in BY_HAND and one.until > now and not one.lifted_at}


@dataclass
class MemoryTrial:
    """A World that looks through another's eyes and writes nothing, as a sweep has it."""

    live: SteppedWorld
    looked: list[Looked] = field(default_factory=list)
    left: list[Hint] = field(default_factory=list)
    unanswered: Counter[str] = field(default_factory=Counter)
    policy: Policy = field(init=False)
    brake: Brake = field(init=False)

    def __post_init__(self) -> None:
        graces = {"missing_grace": NEVER, "young_grace": NEVER, "orphan_grace": NEVER}
        self.policy = replace(self.live.policy, flagging=False, **graces)
        self.brake = self.live.brake
        self.glance, self.unsettled, self.heads = self.live.glance, self.live.unsettled, self.live.heads
        self.clock, self.look_deadline_s = self.live.clock, self.live.look_deadline_s

    def ask(self, hints: Sequence[Hint], after: timedelta, reason: str) -> None:  # noqa: ARG002 - the World's shape
        """Keep what there was no room for."""
        self.left += hints

    def readable(self, silent: Mapping[str, str], answered: set[str]) -> None:
        """Restrain nothing."""

    @contextmanager
    def transaction(self, refs: Sequence[ObjectRef]) -> Iterator[TrialTxn]:
        """Read anew."""
        seen = self.live.glance(refs)
        yield TrialTxn(self, self.live.servers.now, seen)


@dataclass
class MemoryKeeper(Unkept):
    """A sweep that is kept in memory, and knows the findings that are open."""

    servers: Servers = field(default_factory=Servers)
    healed: list[Drift] = field(default_factory=list)

    def advance(self, part: Range, checkpoint: str, totals: Mapping[str, int], found: Confirmed, *, done: bool) -> bool:
        """Keep what healed, too."""
        self.healed += found.healed
        return super().advance(part, checkpoint, totals, found, done=done)

    def open_findings(self, lower: str, upper: str | None) -> Sequence[ObjectRef]:
        """Return references with findings in their order, once."""
        kept = [one.finding for one in self.servers.answer().findings.values()]
        refs = {one.ref for one in kept if one.state not in FINAL and one.ref.bucket == BUCKET}
        return sorted(ref for ref in refs if ref.key > lower and (upper is None or ref.key <= upper))
