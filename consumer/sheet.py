"""A chunk of events in columns: most are plain, and settled without a hint of each ever being made. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import NamedTuple, overload

from consumer.events import KEY_MOST_BYTES, Dialect, Poison, Record, Sighting, aim, hint_of, meaning
from consumer.notification import Event
from reconcile.batch import Batch, Columns, plain_size
from reconcile.model import Action, Hint, Undecodable

SHORT = KEY_MOST_BYTES // 4  # characters; whatever they are, they fit


class Sheet(Batch):
    """Hints of one chunk, made when they are asked for: of an event and its record, or made already."""

    def __init__(self, read_at: float) -> None:
        self._read_at = read_at
        self._keys: list[str] = []
        self._buckets: list[str] = []
        self._sizes: list[int | None] = []
        self._told: list[Event | Hint] = []
        self._records: list[Record] = []

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
        made = hint_of(sighting(told, self._records[at], self._read_at))
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
        return [told for told in self._told if isinstance(told, Hint) and told.action is Action.REMOVED]

    def plain(self, event: Event, size: int, record: Record) -> None:
        """Add a plain event."""
        self._keys.append(event.s3.object.key)
        self._buckets.append(event.s3.bucket.name)
        self._sizes.append(size)
        self._told.append(event)
        self._records.append(record)

    def hint(self, hint: Hint, record: Record) -> None:
        """Add a hint."""
        self._keys.append(hint.ref.key)
        self._buckets.append(hint.ref.bucket)
        self._sizes.append(plain_size(hint))
        self._told.append(hint)
        self._records.append(record)

    def cut(self, length: int) -> None:
        """Forget what was added behind so many."""
        for column in (self._keys, self._buckets, self._sizes, self._told, self._records):
            del column[length:]


class Decoded(NamedTuple):
    """What a chunk came to; `ignored` counts events of no interest, and of keys that are not watched."""

    hints: Sheet
    poison: list[Poison]
    ignored: int


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
                    for one in aimed:
                        sheet.hint(one, record)
                elif watched(event.s3.bucket.name, event.s3.object.key):
                    sheet.plain(event, size, record)
                else:
                    ignored += 1
        except Undecodable as fault:
            sheet.cut(mark)
            poison.append(Poison(record, fault.reason, fault.detail))
    return Decoded(sheet, poison, ignored)


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
