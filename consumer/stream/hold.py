"""The hold: created events whose row is not there yet, and the offsets that may be committed meanwhile. Pure.

An event often precedes the commit of its row, so it waits here and is glanced at again a few times before anything is
written. Knows no broker and no database; `now` is monotonic seconds and comes in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, KeysView, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

from consumer.stream.events import Sighting
from consumer.stream.notification import share
from consumer.stream.sheet import Sheet
from reconcile.model import NOTHING_KNOWN, Action, Hint, Known, ObjectRef, RowState

Partition = tuple[str, int]  # topic and partition
PATIENCE_MOST = 0.25  # seconds; a longer wait for records would outlast signals and rebalances


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how much is held. `tries` are seconds after the reading.

    While more records are waiting, each is held to the try numbered `behind` at least: the earlier ones would only
    let go sooner of what is held, and cost the stream a glance each. A sheet of fewer events than `whole_least` is not
    held whole: a glance of its own costs more than hints, which are glanced at with others. Where `held_most` are held
    only single records are still read, since who does not read leaves the group: for them there is `held_over`.
    """

    tries: tuple[float, ...] = (0.02, 0.1, 0.25, 0.5, 1.0, 2.0)
    behind: int = 2
    held_most: int = 32_000  # about 1 kB each
    held_over: int = 1_000
    removed_most: int = 100_000
    removed_for: float = 10.0
    whole_least: int = 50


@dataclass(slots=True)
class _Offsets:
    """One partition: what was read, what is held of it, what was told last."""

    next_offset: int = -1
    told: int = -1
    held: dict[int, int] = field(default_factory=dict)  # offset -> how many begin there; its keys are in `oldest`
    oldest: list[int] = field(default_factory=list)  # a heap, swept lazily: offsets mostly come ascending

    def hold(self, offset: int) -> None:
        held = self.held.get(offset)
        if held is None:
            heappush(self.oldest, offset)
        self.held[offset] = (held or 0) + 1

    def may_commit(self) -> int:
        while self.oldest and not self.held[self.oldest[0]]:
            del self.held[heappop(self.oldest)]
        return min(self.oldest[0], self.next_offset) if self.oldest else self.next_offset

    def read_to(self, next_offset: int) -> None:
        """Note how far it is read; where offsets begin anew, as of a topic that was recreated, so does what is told."""
        self.next_offset = next_offset
        if next_offset < self.told:
            self.told = -1


class Hold:
    """Unsettled created events by partition, for as long as one owner of partitions lives.

    One turn calls `forget`, `read`, `due_tries`, a `keep` for each part, and `offsets` last. What `keep` neither holds
    nor returns is settled; what it returns must be reconciled before `offsets` is asked. If that fails, `clear`.
    Held are single hints, and whole sheets of which none was glanced at: of those no hint needs to be made.

    `server_ahead` is what has to be added to `now` for the object store's clock, in seconds since 1970; None while
    that is unknown, and then no event is too old to be held. `behind` says that more records are waiting.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._queues: tuple[deque[tuple[float, Hint | Sheet]], ...] = tuple(deque() for _ in self._patience.tries)
        self._trying: list[Hint] = []
        self._trying_whole: list[Sheet] = []
        self._trying_since = inf  # when the oldest of this turn's tries was read
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
            self._partitions.setdefault(partition, _Offsets()).read_to(next_offset)
        self._note_removals([hint.ref for hint in hints if hint.action is Action.REMOVED], now)

    def due_tries(self, now: float) -> tuple[list[Hint], list[Sheet]]:
        """Take out what is to be glanced at again, or at last; `keep` decides what becomes of it."""
        hints: list[Hint] = []
        sheets: list[Sheet] = []
        self._trying_since = self._oldest()
        for queue in self._queues:
            while queue and queue[0][0] <= now:
                held = queue.popleft()[1]
                if isinstance(held, Sheet):
                    sheets.append(held)
                else:
                    hints.append(held)
        self._trying += hints
        self._trying_whole += sheets
        return hints, sheets

    def keep(self, unsettled: Iterable[Hint], known: Mapping[ObjectRef, Known], now: float) -> list[Hint]:
        """Hold what may settle by itself, and return what is late: it must be reconciled now.

        `unsettled` is what the glance did not settle, of the new hints and of the due tries; the other due tries are
        released. A turn may call this in several parts, all due tries in the first. What belongs to a partition that
        was forgotten is dropped.
        """
        self._release()
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

    def keep_unseen(self, sheet: Sheet, now: float) -> list[Hint]:
        """Hold the plain events of a sheet before any glance, and return what has to be glanced at now."""
        return sheet.made() + self.keep_whole(sheet.unmade(), now)

    def keep_whole(self, plain: Sequence[Hint], now: float) -> list[Hint]:
        """Hold created events of which nothing is known, and return those that are late."""
        if isinstance(plain, Sheet):
            if gone := plain.lowest().keys() - self._partitions.keys():
                plain = plain.without(gone)
            if len(plain) >= self._patience.whole_least and self._hold_whole(plain, now):
                return []
        return self.keep(plain, defaultdict(lambda: NOTHING_KNOWN), now)

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

    def room(self) -> int:
        """Return how many more should be held."""
        return max(self._patience.held_most - self._count, 0)

    @property
    def removed(self) -> KeysView[ObjectRef]:
        """All references of which a removal was read lately, and some of which it is longer ago."""
        return self._removed.keys()

    def recently_removed(self, hint: Hint, now: float) -> bool:
        """Tell whether a removal was read lately, or since the hint was: then no created event settles by a glance.

        A process may have stood still between the two, so it is not asked how long ago that was.
        """
        removed_at = self._removed.get(hint.ref)
        read_at = hint.evidence.read_at if isinstance(hint.evidence, Sighting) else now
        return removed_at is not None and read_at - removed_at <= self._patience.removed_for

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
        level = max(bisect_right(tries, now - read_at), self._soonest())
        if level == len(tries) or self._count >= self._patience.held_most + self._patience.held_over:
            return False
        if offset not in place.held:
            happened_at = sighting.event_seconds() if self.server_ahead is not None else None
            if happened_at is not None and self._is_old(happened_at, read_at):
                return False
            share(sighting.event)
        place.hold(offset)
        self._count += 1
        self._queues[level].append((read_at + tries[level], hint))
        return True

    def _hold_whole(self, plain: Sheet, now: float) -> bool:
        """Schedule the first glance at a sheet, unless that is over, or no room, or an event was old."""
        tries, read_at, oldest = self._patience.tries, plain.read_at, plain.oldest()
        level = max(bisect_right(tries, now - read_at), self._soonest())
        has_room = self._count + len(plain) <= self._patience.held_most
        if level == len(tries) or not has_room or oldest is None or self._is_old(oldest, read_at):
            return False
        plain.share()
        for partition, offset in plain.lowest().items():
            self._partitions[partition].hold(offset)
        self._count += len(plain)
        self._queues[level].append((read_at + tries[level], plain))
        return True

    def _soonest(self) -> int:
        return min(self._patience.behind, len(self._patience.tries) - 1) if self.behind else 0

    def _is_old(self, happened_at: float, read_at: float) -> bool:
        ahead = self.server_ahead
        return ahead is not None and read_at + ahead - happened_at > self._patience.tries[-1]

    def _release(self) -> None:
        """Let go of what is tried."""
        for hint in self._trying:
            sighting = hint.evidence
            if isinstance(sighting, Sighting):
                self._partitions[sighting.topic, sighting.partition].held[sighting.offset] -= 1
        for sheet in self._trying_whole:
            for partition, offset in sheet.lowest().items():
                self._partitions[partition].held[offset] -= 1
        self._count -= len(self._trying) + sum(map(len, self._trying_whole))
        self._trying, self._trying_whole = [], []

    def _drop(self, gone: frozenset[Partition]) -> None:
        for queue in self._queues:
            staying = [(due, left) for due, held in queue if (left := _without(held, gone))]
            queue.clear()
            queue.extend(staying)
        self._trying = [hint for hint in self._trying if _partition(hint) not in gone]
        self._trying_whole = [left for sheet in self._trying_whole if len(left := sheet.without(gone))]
        held = [held for queue in self._queues for _, held in queue]
        tried = len(self._trying) + sum(map(len, self._trying_whole))
        self._count = tried + sum(len(one) if isinstance(one, Sheet) else 1 for one in held)

    def _note_removals(self, refs: Iterable[ObjectRef], now: float) -> None:
        for ref in refs:
            self._removed[ref] = now
            self._removals.append((now, ref))
        oldest = min(now, self._trying_since, self._oldest())
        while self._removals and (len(self._removals) > self._patience.removed_most or self._is_past(oldest)):
            at, ref = self._removals.popleft()
            if self._removed.get(ref) == at:
                del self._removed[ref]

    def _is_past(self, oldest: float) -> bool:
        return oldest - self._removals[0][0] > self._patience.removed_for

    def _oldest(self) -> float:
        """Return when the oldest of what waits was read."""
        heads = zip(self._queues, self._patience.tries, strict=True)
        return min((queue[0][0] - after for queue, after in heads if queue), default=inf)


def may_wait(hint: Hint, known: Known) -> bool:
    """Tell whether a created event lacks nothing but a live row that may be about to be committed."""
    if hint.action is not Action.CREATED or known.findings:
        return False
    return not known.rows or all(row.state == RowState.EXPECTS_ABSENCE for row in known.rows)


def _without(held: Hint | Sheet, gone: frozenset[Partition]) -> Hint | Sheet | None:
    """Return what is left of it without some partitions."""
    if isinstance(held, Sheet):
        left = held.without(gone)
        return left if len(left) else None
    return None if _partition(held) in gone else held


def _partition(hint: Hint) -> Partition | None:
    sighting = hint.evidence
    return (sighting.topic, sighting.partition) if isinstance(sighting, Sighting) else None
