"""A chunk of events in columns: most are plain, and settled without a hint of each ever being made. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self, overload

from consumer.stream.events import KEY_MOST_BYTES, Dialect, Poison, Record, Sighting, aim, hint_of, meaning, seconds
from consumer.stream.latency import Sample, stride
from consumer.stream.notification import Event, share
from reconcile.batch import Batch, Columns, plain_size
from reconcile.config.filters import OURS
from reconcile.model import Action, Hint, ObjectRef, Undecodable

SHORT = KEY_MOST_BYTES // 4  # characters; whatever they are, they fit


@dataclass(eq=False)
class Sheet(Batch):
    """Hints of one chunk, made when they are asked for: of an event and its record, or made already.

    `read_at` is monotonic seconds. A record's value is not kept: a sheet may be held.
    """

    read_at: float
    _keys: list[str] = field(default_factory=list)
    _buckets: list[str] = field(default_factory=list)
    _sizes: list[int | None] = field(default_factory=list)
    _told: list[Event | Hint] = field(default_factory=list)
    _places: list[tuple[str, int, int]] = field(default_factory=list)  # topic, partition, offset

    def __post_init__(self) -> None:
        self._made = [at for at, told in enumerate(self._told) if isinstance(told, Hint)]

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, at: int) -> Hint: ...
    @overload
    def __getitem__(self, at: slice) -> list[Hint]: ...
    def __getitem__(self, at: int | slice) -> Hint | list[Hint]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        told = self._told[at]
        if isinstance(told, Hint):
            return told
        made = hint_of(Sighting(told, *self._places[at], self.read_at))
        if made is None:
            raise ValueError("a plain event has a hint")
        return made

    def columns(self, doubtful: Container[tuple[str, str, str]], *, etags: bool) -> Columns:
        """Return the columns; no hint is made for them."""
        sizes = self._sizes
        if doubtful:
            sizes = [
                None if (bucket, key, "") in doubtful else size
                for bucket, key, size in zip(self._buckets, self._keys, sizes, strict=True)
            ]
        return Columns(self._keys, self._buckets, sizes, list(map(_etag, self._told)) if etags else [])

    def removals(self) -> list[Hint]:
        """Return the hints at removals, which are made already."""
        return [hint for hint in self.made() if hint.action is Action.REMOVED]

    def apart(self, numbers: Sequence[int]) -> tuple[Self, list[int]]:
        """Return the plain ones of the numbered events, and the numbers of the others."""
        made = set(self._made)
        return self._only([at for at in numbers if at not in made]), [at for at in numbers if at in made]

    def made(self) -> list[Hint]:
        """Return the hints that are made already: those at all that is not plain."""
        return [self[at] for at in self._made]

    def unmade(self) -> Self:
        """Return the rest: the plain events."""
        return self._only(sorted(set(range(len(self))) - set(self._made))) if self._made else self

    def lowest(self) -> dict[tuple[str, int], int]:
        """Return the lowest offset of each partition."""
        found: dict[tuple[str, int], int] = {}
        for topic, partition, offset in self._places:
            if offset < found.get((topic, partition), offset + 1):
                found[topic, partition] = offset
        return found

    def without(self, partitions: Collection[tuple[str, int]]) -> Self:
        """Return what is of other partitions."""
        return self._only([at for at, place in enumerate(self._places) if place[:2] not in partitions])

    def oldest(self) -> float | None:
        """Return when the first of the plain events happened, in seconds since 1970; None if it does not say.

        One server tells all times in one form, in which their texts sort as they do.
        """
        return seconds(min(told.event_time for told in self._told if not isinstance(told, Hint)))

    def share(self) -> None:
        """Keep what many events say alike once for all of them."""
        for told in self._told:
            if not isinstance(told, Hint):
                share(told)

    def plain(self, event: Event, size: int, record: Record) -> None:
        """Add a plain event."""
        self._keys.append(event.s3.object.key)
        self._buckets.append(event.s3.bucket.name)
        self._sizes.append(size)
        self._told.append(event)
        self._places.append(record[:3])

    def hint(self, hint: Hint, record: Record) -> None:
        """Add a hint."""
        self._made.append(len(self))
        self._keys.append(hint.ref.key)
        self._buckets.append(hint.ref.bucket)
        self._sizes.append(plain_size(hint))
        self._told.append(hint)
        self._places.append(record[:3])

    def samples(self, most: int) -> Iterator[Sample]:
        """Yield at most so many events at even distances, each for as many as there are to the next."""
        step = stride(len(self), most)
        for at in range(0, len(self), step):
            told, (topic, partition, offset) = self._told[at], self._places[at]
            event = told.evidence.event if isinstance(told, Hint) and isinstance(told.evidence, Sighting) else told
            if isinstance(event, Event):
                kind = (meaning(event.event_name)[0] or Action.LOOK).value
                weight = min(step, len(self) - at)
                yield Sample((topic, partition), offset, kind, seconds(event.event_time), weight)

    def cut(self, length: int) -> None:
        """Forget what was added behind so many."""
        for column in self._columns():
            del column[length:]
        self._made = [at for at in self._made if at < length]

    def _columns(self) -> tuple[list[Any], ...]:
        return self._keys, self._buckets, self._sizes, self._told, self._places

    def _only(self, wanted: list[int]) -> Self:
        return type(self)(self.read_at, *([column[at] for at in wanted] for column in self._columns()))


class Decoded(NamedTuple):
    """What a chunk came to; `ignored` counts events of no interest, and of keys that are not watched.

    `ours` are deletions below our own prefix, which is never watched.
    """

    hints: Sheet
    poison: list[Poison]
    ignored: int
    ours: Sequence[ObjectRef] = ()


def everything(_: str, __: str) -> bool:
    """Watch all."""
    return True


def decode_all(
    records: Iterable[Record],
    dialect: Dialect,
    read_at: float,
    *,
    versioned: bool = False,
    watched: Callable[[str, str], bool] = everything,
) -> Decoded:
    """Decode a chunk; a record is decoded whole or is poison, and poison hinders no other record."""
    sheet = Sheet(read_at)
    poison: list[Poison] = []
    ours: list[ObjectRef] = []
    ignored = 0
    for record in records:
        mark = len(sheet)
        try:
            for event in dialect(record.value):
                size = size_of_plain(event)
                if size is None:
                    hint = hint_of(sighting(event, record, read_at))
                    aimed = [one for one in aim(hint, versioned=versioned) if watched(*one.ref[:2])] if hint else []
                    ignored += not aimed
                    if hint and not aimed and hint.action is Action.REMOVED and hint.ref.key.startswith(OURS):
                        ours.append(hint.ref)
                    for one in aimed:
                        sheet.hint(one, record)
                elif watched(event.s3.bucket.name, event.s3.object.key):
                    sheet.plain(event, size, record)
                else:
                    ignored += 1
        except Undecodable as fault:
            sheet.cut(mark)
            poison.append(Poison(record, fault.reason, fault.detail))
    return Decoded(sheet, poison, ignored, ours)


def size_of_plain(event: Event) -> int | None:
    """Return the size of an upload about which nothing is particular; None where it takes a hint to say what it is."""
    action, size = meaning(event.event_name)
    bucket, target = event.s3.bucket.name, event.s3.object
    key = target.key
    if action is not Action.CREATED or target.version_id or not 0 < len(key) <= SHORT or not 0 < len(bucket) <= SHORT:
        return None
    if "\0" in key or "\0" in bucket or "\0" in target.etag:
        return None
    return size if target.size is None else target.size


def sighting(event: Event, record: Record, read_at: float) -> Sighting:
    """Return the evidence of an event that a record brought."""
    return Sighting(event, record.topic, record.partition, record.offset, read_at)


def _etag(told: Event | Hint) -> str:
    return (told.etag or "") if isinstance(told, Hint) else told.s3.object.etag
