"""The hold: created events whose row is not there yet, and the offsets that may be committed meanwhile. Pure.

An event often precedes the commit of its row, so it waits here and is glanced at again a few times before anything is
written. Knows no broker and no database; `now` is monotonic seconds and comes in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, KeysView, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from consumer.events import Sighting
from consumer.notification import share
from reconcile.model import Action, Hint, Known, ObjectRef, RowState

Partition = tuple[str, int]  # topic and partition
PATIENCE_MOST = 0.25  # seconds; a longer wait for records would outlast signals and rebalances


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how much is held; every number is configuration. `tries` are seconds after the reading.

    While more records are waiting, each is held to the try numbered `behind` at least: the earlier ones would only
    let go sooner of what is held, and cost the stream a glance each.
    """

    tries: tuple[float, ...] = (0.02, 0.1, 0.4, 1.0, 2.0)
    behind: int = 2
    held_most: int = 100_000
    removed_most: int = 100_000
    removed_for: float = 10.0


@dataclass(slots=True)
class _Offsets:
    """One partition: what was read, what is held of it, what was told last."""

    next_offset: int = -1
    told: int = -1
    held: dict[int, int] = field(default_factory=dict)  # offset -> hints held; exactly those in `oldest`
    oldest: list[int] = field(default_factory=list)  # a heap, swept lazily: offsets mostly come ascending

    def hold(self, offset: int) -> None:
        held = self.held.get(offset)
        if held is None:
            heappush(self.oldest, offset)
        self.held[offset] = (held or 0) + 1

    def may_commit(self) -> int:
        while self.oldest and not self.held[self.oldest[0]]:
            del self.held[heappop(self.oldest)]
        return self.oldest[0] if self.oldest else self.next_offset


class Hold:
    """Unsettled created events by partition, for as long as one owner of partitions lives.

    One turn calls `forget`, `read`, `due_tries`, `keep` and `offsets`, in this order. What `keep` neither holds nor
    returns is settled; what it returns must be reconciled before `offsets` is asked. If that fails, `clear`.

    `server_ahead` is what has to be added to `now` for the object store's clock, in seconds since 1970; None while
    that is unknown, and then no event is too old to be held. `behind` says that more records are waiting.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._queues: tuple[deque[tuple[float, Hint]], ...] = tuple(deque() for _ in self._patience.tries)
        self._trying: list[Hint] = []
        self._count = 0
        self._partitions: dict[Partition, _Offsets] = {}
        self._removed: dict[ObjectRef, float] = {}
        self._removals: deque[tuple[float, ObjectRef]] = deque()
        self.server_ahead: float | None = None
        self.behind = False

    def __len__(self) -> int:
        return self._count

    def read(self, next_offsets: Mapping[Partition, int], hints: Iterable[Hint], now: float) -> None:
        """Note how far each partition is read, and which keys were just removed."""
        for partition, next_offset in next_offsets.items():
            self._partitions.setdefault(partition, _Offsets()).next_offset = next_offset
        self._note_removals([hint.ref for hint in hints if hint.action is Action.REMOVED], now)

    def due_tries(self, now: float) -> list[Hint]:
        """Take out what is to be glanced at again; `keep` decides what becomes of it."""
        due: list[Hint] = []
        for queue in self._queues:
            while queue and queue[0][0] <= now:
                due.append(queue.popleft()[1])
        self._trying += due
        return due

    def keep(self, unsettled: Iterable[Hint], known: Mapping[ObjectRef, Known], now: float) -> list[Hint]:
        """Hold what may settle by itself, and return what is late: it must be reconciled now.

        `unsettled` is what the glance did not settle, of the new hints and of the due tries; the other due tries are
        released. A turn may call this in several parts, all due tries in the first. What belongs to a partition that
        was forgotten is dropped.
        """
        self._release(self._trying)
        self._trying = []
        late: list[Hint] = []
        for hint in unsettled:
            sighting = hint.evidence
            if not isinstance(sighting, Sighting):
                late.append(hint)
            elif (place := self._partitions.get((sighting.topic, sighting.partition))) is None:
                continue
            elif not may_wait(hint, known[hint.ref]) or not self._hold(hint, sighting, place, now):
                late.append(hint)
        return late

    def offsets(self) -> dict[Partition, int]:
        """Return the next offset to commit for each partition where it changed since last asked."""
        changed: dict[Partition, int] = {}
        for partition, place in self._partitions.items():
            offset = place.may_commit()
            if offset > place.told:
                changed[partition] = place.told = offset
        return changed

    def patience(self, now: float) -> float:
        """Return the seconds until the next try is due, within what a wait for records may take."""
        due = min((queue[0][0] for queue in self._queues if queue), default=now + PATIENCE_MOST)
        return min(max(due - now, 0.0), PATIENCE_MOST)

    @property
    def removed(self) -> KeysView[ObjectRef]:
        """All references of which a removal was read lately, and some of which it is longer ago."""
        return self._removed.keys()

    def recently_removed(self, ref: ObjectRef, now: float) -> bool:
        """Tell whether a removal of this reference was read lately; then no created event of it settles by a glance."""
        removed_at = self._removed.get(ref)
        return removed_at is not None and now - removed_at <= self._patience.removed_for

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop what is held of partitions that were revoked; the next owner reads it again."""
        gone = [partition for partition in partitions if self._partitions.pop(partition, None)]
        if gone:
            self._drop(frozenset(gone))

    def clear(self) -> None:
        """Drop everything but the removals: what was not committed is read again."""
        self.forget(list(self._partitions))

    def _hold(self, hint: Hint, sighting: Sighting, place: _Offsets, now: float) -> bool:
        """Schedule the next try, unless the last is over, there is no room, or the event was old when it was read."""
        tries, read_at, offset = self._patience.tries, sighting.read_at, sighting.offset
        soonest = min(self._patience.behind, len(tries) - 1) if self.behind else 0
        level = max(bisect_right(tries, now - read_at), soonest)
        if level == len(tries) or self._count >= self._patience.held_most:
            return False
        if offset not in place.held:
            if self._was_old(sighting):
                return False
            share(sighting.event)
        place.hold(offset)
        self._count += 1
        self._queues[level].append((read_at + tries[level], hint))
        return True

    def _was_old(self, sighting: Sighting) -> bool:
        if self.server_ahead is None:
            return False
        happened_at = sighting.event_seconds()
        return happened_at is not None and sighting.read_at + self.server_ahead - happened_at > self._patience.tries[-1]

    def _release(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            sighting = hint.evidence
            if isinstance(sighting, Sighting):
                self._partitions[sighting.topic, sighting.partition].held[sighting.offset] -= 1
        self._count -= len(hints)

    def _drop(self, gone: frozenset[Partition]) -> None:
        for queue in self._queues:
            staying = [entry for entry in queue if _partition(entry[1]) not in gone]
            queue.clear()
            queue.extend(staying)
        self._trying = [hint for hint in self._trying if _partition(hint) not in gone]
        self._count = sum(map(len, self._queues)) + len(self._trying)

    def _note_removals(self, refs: Iterable[ObjectRef], now: float) -> None:
        for ref in refs:
            self._removed[ref] = now
            self._removals.append((now, ref))
        while self._removals and (len(self._removals) > self._patience.removed_most or self._is_past(now)):
            at, ref = self._removals.popleft()
            if self._removed.get(ref) == at:
                del self._removed[ref]

    def _is_past(self, now: float) -> bool:
        return now - self._removals[0][0] > self._patience.removed_for


def may_wait(hint: Hint, known: Known) -> bool:
    """Tell whether a created event lacks nothing but a live row that may be about to be committed."""
    if hint.action is not Action.CREATED or known.findings:
        return False
    return not known.rows or all(row.state == RowState.EXPECTS_ABSENCE for row in known.rows)


def _partition(hint: Hint) -> Partition | None:
    sighting = hint.evidence
    return (sighting.topic, sighting.partition) if isinstance(sighting, Sighting) else None
