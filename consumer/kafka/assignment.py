"""Which partitions are ours, where each must be read again, and what of it still has to be committed. Pure.

Knows no driver. Its callbacks note here what happened and do no more, because nothing inside the driver may raise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from consumer.stream.events import Record
from consumer.stream.hold import Partition


class Place(Protocol):
    """What the driver names a partition by."""

    topic: str
    partition: int


class Assignment:
    """The partitions of one member of a group, through all its rebalances.

    `return_to` is the offset that is committed, or else was read first, or was read below it since: there an owned
    partition is read again after an outage. `owed` was worked off, and the group does not hold it yet.
    """

    def __init__(self) -> None:
        self.owned: set[Partition] = set()
        self.return_to: dict[Partition, int] = {}
        self.fresh = False  # something was assigned since the reader last looked
        self.told = False  # the group has said what is ours, be it nothing
        self._owed: dict[Partition, int] = {}
        self._revoked: set[Partition] = set()  # since it was last told
        self._moved: set[Partition] = set()  # during the present call

    def assign(self, _: object, places: Iterable[Place]) -> None:
        """Note what was assigned."""
        self.owned.update(map(partition_of, places))
        self.fresh = self.told = True

    def revoke(self, _: object, places: Iterable[Place]) -> None:
        """Note what was revoked or lost; the next owner begins at what is committed."""
        for partition in map(partition_of, places):
            self.owned.discard(partition)
            self._revoked.add(partition)
            self._moved.add(partition)
            self.return_to.pop(partition, None)
            self._owed.pop(partition, None)
        self.told = bool(self.owned)

    def begin(self) -> None:
        """Forget which partitions moved during the call before."""
        self._moved.clear()

    def kept(self, records: Iterable[Record]) -> list[Record]:
        """Return the records whose partition was ours during the whole call, and note where each began.

        Of a partition that was revoked during the call nobody can say whether a record came before or after.
        """
        moved = self._moved
        kept = [record for record in records if not moved or (record.topic, record.partition) not in moved]
        return_to = self.return_to
        for record in kept:
            place, offset = (record.topic, record.partition), record.offset
            if return_to.setdefault(place, offset) > offset:
                self._begin_anew(place, offset)
        return kept

    def _begin_anew(self, place: Partition, offset: int) -> None:
        """Go by offsets that went backwards: the topic was recreated, and the old ones mean other records."""
        self.return_to[place] = offset
        self._owed.pop(place, None)

    def is_torn(self) -> bool:
        """Tell whether a partition was revoked and came back within one call, so that its place is unknown."""
        return not self._moved.isdisjoint(self.owned)

    def told_revoked(self) -> frozenset[Partition]:
        """Return what was revoked since this was last asked."""
        revoked, self._revoked = frozenset(self._revoked), set()
        return revoked

    def owing(self, offsets: Mapping[Partition, int]) -> dict[Partition, int]:
        """Return what is to be committed now, with what is left from before, less what is no longer ours."""
        self._owed = {place: offset for place, offset in {**self._owed, **offsets}.items() if place in self.owned}
        return self._owed

    def committed(self) -> None:
        """Note that nothing is owed any more."""
        self.return_to |= self._owed
        self._owed = {}

    def overtaken(self, answered: Mapping[Partition, int]) -> None:
        """Owe again what a commit has undone that the driver repeated after a later one."""
        for place, offset in answered.items():
            if place in self.owned and offset < self.return_to.get(place, offset):
                self._owed.setdefault(place, self.return_to[place])


def partition_of(place: Place) -> Partition:
    """Return a place as a key."""
    return place.topic, place.partition
