"""A topic in memory behind the verbs of the live one, for simulations: partitions, a group, rebalances, dead letters.

Its members keep the real notes of what they own (consumer/kafka/assignment.py). What a broker confirms it has; what it
does not confirm it may have.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from consumer.kafka.assignment import Assignment
from consumer.kafka.topic import Batch
from consumer.stream.events import Poison, Record
from consumer.stream.hold import Partition
from reconcile.model import Unavailable

TOPIC = "events"
PARTITIONS = [(TOPIC, number) for number in range(2)]


class Place(NamedTuple):
    """A partition as the driver names it."""

    topic: str
    partition: int


@dataclass
class Broker:
    """What the brokers hold. `moves` are all partitions that ever changed hands, as (partition, from, to)."""

    logs: dict[Partition, list[bytes | None]] = field(default_factory=lambda: {place: [] for place in PARTITIONS})
    committed: dict[Partition, int] = field(default_factory=dict)
    owners: dict[Partition, str] = field(default_factory=dict)
    moves: list[tuple[Partition, str, str]] = field(default_factory=list)
    letters: set[tuple[str, int, int]] = field(default_factory=set)
    down: bool = False
    unconfirmed: int = 0  # so many of the next answers are lost

    def append(self, key: str, value: bytes | None) -> tuple[Partition, int]:
        """Write a record; those of one key stand in one partition. Returns its place."""
        place = PARTITIONS[sum(key.encode()) % len(PARTITIONS)]
        self.logs[place].append(value)
        return place, len(self.logs[place]) - 1

    def give(self, place: Partition, member: str) -> None:
        """Let a member have a partition from now on; both learn of it when they next poll."""
        before = self.owners.get(place, "")
        if before != member:
            self.owners[place] = member
            self.moves.append((place, before, member))

    def answer(self) -> None:
        """Raise where no answer comes."""
        if self.down:
            raise Unavailable("kafka", "down")

    def confirm(self) -> None:
        """Raise where what was done is not confirmed."""
        if self.unconfirmed:
            self.unconfirmed -= 1
            raise Unavailable("kafka", "the answer was lost")

    def lag(self) -> int:
        """Return how many records are not committed yet."""
        return sum(len(log) - self.committed.get(place, 0) for place, log in self.logs.items())


@dataclass
class MemoryTopic:
    """The topic as one member of the group has it. `between` is called where others may act."""

    broker: Broker
    member: str
    between: Callable[[], None]
    committing: Callable[[Mapping[Partition, int]], None] = lambda _: None
    assignment: Assignment = field(default_factory=Assignment)
    positions: dict[Partition, int] = field(default_factory=dict)
    sent: set[tuple[str, int, int]] = field(default_factory=set)
    seen: int = 0
    wrote: bool = False  # for a broker that lost committed offsets; this one loses none

    def poll(self, patience: float, most: int = 1000) -> Batch:  # noqa: ARG002 - nobody waits here
        """Take part in rebalances, and return what is there."""
        self.between()
        self.broker.answer()
        self._rebalance()
        self.assignment.begin()
        records: list[Record] = []
        for place in sorted(self.assignment.owned):
            log, start = self.broker.logs[place], self.positions[place]
            end = min(len(log), start + most - len(records))
            records += [Record(*place, offset, log[offset]) for offset in range(start, end)]
            self.positions[place] = end
        kept = self.assignment.kept(records)
        next_offsets = {record[:2]: record.offset + 1 for record in kept}
        return Batch(kept, next_offsets, self.assignment.told_revoked())

    def _rebalance(self) -> None:
        moves, self.seen = self.broker.moves[self.seen :], len(self.broker.moves)
        for place, before, after in moves:
            if before == self.member:
                self.assignment.revoke(None, [Place(*place)])
            if after == self.member:
                self.assignment.assign(None, [Place(*place)])
                self.positions[place] = self.broker.committed.get(place, 0)

    def bury(self, poison: Sequence[Poison]) -> None:
        """Send dead letters, by the place of what they were; nobody has them before they are confirmed."""
        self.sent |= {one.record[:3] for one in poison}

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Have the dead letters confirmed, and commit, unless the group is moving on."""
        self.between()
        self._confirm_letters()
        owed = self.assignment.owing(offsets)
        if not owed:
            return
        self.broker.answer()
        if self.seen < len(self.broker.moves):
            return
        self.committing(owed)
        self.broker.committed |= owed
        self.broker.confirm()
        self.assignment.committed()

    def _confirm_letters(self) -> None:
        if self.sent:
            self.broker.answer()
            self.broker.letters |= self.sent
            self.sent = set()
            self.broker.confirm()
            self.between()

    def wait_out(
        self, outage: Unavailable, stopping: Callable[[], bool], probe: Callable[[], bool] | None = None
    ) -> None:
        """Return to what is committed; whoever still does not answer is met again."""
        del outage, stopping
        if probe is not None:
            probe()
        self.positions |= self.assignment.return_to
        self.sent = set()

    def answers(self) -> bool:
        """Tell whether a broker answers."""
        return not self.broker.down
