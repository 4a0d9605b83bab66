"""Compares two ascending sources of keys, block by block, in constant memory. Pure.

Either side yields blocks of lines: a key and the facts that both sides know, as one line of bytes. Equal lines agree;
whole blocks are compared in C, and only what differs is looked at key by key. Lines ascend by key in UTF-8 byte order,
which is checked; several lines of one key come in any order.

A line is `key TAB S3 version TAB size TAB etag TAB mark`, escaped as PostgreSQL's COPY does it, so that rows need not
be read at all before they differ. A fact that a side does not know is empty, and agrees with anything.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reconcile.model import OutOfOrder
from reconcile.sweeps.drift import Entry

Lines = list[bytes]
Blocks = Iterator[Lines]
FLAGGED = b"!"  # ends the line of a row that carries the flag: it never agrees, and is always looked at
NONCURRENT = b"-"  # ends the line of a noncurrent version: it may have a row, and without one it is no orphan
_TAB = b"\t"
_ODD = bytes(range(1, 9)) + b"\\"  # in a key of these, lines and their keys need not sort alike
_ESCAPED = re.compile(rb"[\x08-\x0d\\]")
_ESCAPED_BESIDE = re.compile(r"[\x08\x0b-\x0d\\]")  # what is escaped, beside the two that separate fields and lines
_ESCAPES = {b"\\": b"\\\\", b"\b": b"\\b", b"\t": b"\\t", b"\n": b"\\n", b"\v": b"\\v", b"\f": b"\\f", b"\r": b"\\r"}
_MEANT = {escape: plain for plain, escape in _ESCAPES.items()}
_ESCAPE = re.compile(rb"\\.", re.DOTALL)


class Facts(NamedTuple):
    """Which facts both sides know, and so are compared."""

    s3_version: bool = False
    size: bool = True
    etag: bool = False


class Told(NamedTuple):
    """A line taken apart; what is not known is empty."""

    key: str
    s3_version: str
    size: str
    etag: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """What became of all keys up to and with `upto`: the lines that stand on one side alone, and how many agreed."""

    upto: str
    objects: int
    rows: int
    agreed: int
    only_objects: Sequence[bytes] = ()
    only_rows: Sequence[bytes] = ()


def escaped(text: str) -> bytes:
    """Return a text as a field of a line."""
    raw = text.encode()
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[0], found[0]), raw) if _ESCAPED.search(raw) else raw


def unescaped(field: bytes) -> str:
    """Return the text of a field."""
    return (_ESCAPE.sub(lambda found: _MEANT.get(found[0], found[0][1:]), field) if b"\\" in field else field).decode()


def lines_of(entries: Sequence[Entry], facts: Facts) -> Lines:
    """Return the lines of a listing's objects."""
    with_version, with_size, with_etag = facts
    noncurrent = NONCURRENT.decode()
    written = [
        f"{key}\t{s3_version if with_version else ''}\t{size if with_size and size is not None else ''}"
        f"\t{etag if with_etag else ''}\t{'' if latest else noncurrent}"
        for key, size, etag, _, s3_version, latest in entries
    ]
    text = "\n".join(written)  # encoded and searched at once: key by key that took as long as all of the comparison
    separators = text.count("\n") - len(written) + 1, text.count("\t") - 4 * len(written)
    if separators == (0, 0) and not _ESCAPED_BESIDE.search(text):
        return text.encode().split(b"\n")
    return [_line(one, facts) for one in entries]


def _line(entry: Entry, facts: Facts) -> bytes:
    """Return a line some of whose fields are escaped."""
    key, size, etag, _, s3_version, latest = entry
    with_version, with_size, with_etag = facts
    return b"%b\t%b\t%b\t%b\t%b" % (
        escaped(key),
        escaped(s3_version) if with_version else b"",
        b"%d" % size if with_size and size is not None else b"",
        escaped(etag) if with_etag else b"",
        b"" if latest else NONCURRENT,
    )


def told(line: bytes) -> Told:
    """Take a line apart."""
    return Told(*map(unescaped, line.split(_TAB)))


def key_of(line: bytes) -> bytes:
    """Return a line's key, as bytes in the order that both sides must have."""
    field = line.partition(_TAB)[0]
    return _ESCAPE.sub(lambda found: _MEANT.get(found[0], found[0][1:]), field) if b"\\" in field else field


class Side:
    """One source that is read ahead a little, and its last key."""

    def __init__(self, name: str, blocks: Blocks) -> None:
        self.name = name
        self.ended = False
        self._blocks = blocks
        self._lines: list[bytes] = []
        self._last = b""

    def fill(self) -> None:
        """Read a block; raises OutOfOrder where it descends."""
        block = next(self._blocks, None)
        if block is None:
            self.ended = True
        elif block:
            self._check(block)
            self._lines += block
            self._last = key_of(block[-1])

    def bound(self) -> bytes | None:
        """Return the key before which all is read; None when everything is."""
        while not (self._lines or self.ended):
            self.fill()
        return None if self.ended else self._last

    def take(self, bound: bytes | None) -> list[bytes]:
        """Return and forget the lines of all keys before `bound`."""
        at = len(self._lines) if bound is None else first_at(self._lines, bound)
        taken, self._lines = self._lines[:at], self._lines[at:]
        return taken

    def _check(self, block: Lines) -> None:
        """Compare as lines first, since that is quick, and as keys where lines prove nothing."""
        joined = b"".join(block)
        plain = len(joined.translate(None, _ODD)) == len(joined)
        if plain and self._last <= key_of(block[0]) and sorted(block) == block:
            return
        before = self._last
        for line in block:
            key = key_of(line)
            if key < before:
                raise OutOfOrder(f"{self.name}: {key.decode(errors='replace')!r} came after {before.decode()!r}")
            before = key


def first_at(lines: Lines, bound: bytes) -> int:
    """Return the number of lines whose key is before `bound`."""
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high) // 2
        if key_of(lines[middle]) < bound:
            low = middle + 1
        else:
            high = middle
    return low


def compare(objects: Blocks, rows: Blocks) -> Iterator[Block]:
    """Yield what the two sides come to, in ascending blocks; a key is never cut in two."""
    left, right = Side("the listing", objects), Side("the rows", rows)
    while True:
        bounds = [bound for bound in (left.bound(), right.bound()) if bound is not None]
        bound = min(bounds, default=None)
        here, there = left.take(bound), right.take(bound)
        if here or there:
            yield compared(here, there)
        elif bound is None:
            return
        else:  # all that is read ahead is of the one key `bound`: the side that ends with it has more to tell
            for side in (left, right):
                if side.bound() == bound:
                    side.fill()


def compared(objects: Lines, rows: Lines) -> Block:
    """Compare the whole lines of the same keys."""
    upto = max(key_of(side[-1]) for side in (objects, rows) if side).decode()
    if objects == rows:
        return Block(upto, len(objects), len(rows), len(objects))
    here, there = set(objects), set(rows)
    only_here = here - there
    noncurrent = {line.removesuffix(NONCURRENT): line for line in only_here if line.endswith(_TAB + NONCURRENT)}
    with_row = noncurrent.keys() & there
    only_here -= {noncurrent[line] for line in with_row}
    agreed = len(objects) - len(only_here)
    return Block(upto, len(objects), len(rows), agreed, list(only_here), list(there - here - with_row))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A key about which the sides seem to differ; `sighted` is the object where no row seems to name it.

    `listed` tells whether the listing had an object of this key that no row agrees with: then it was not left out.
    """

    key: str
    s3_version: str
    sighted: Told | None = None
    listed: bool = True


def candidates(block: Block) -> Iterator[Candidate]:
    """Yield what is to be looked at, in key order: differences that an unknown fact does not explain."""
    for key, objects, rows in _by_key(block):
        yield from _differing(key, objects, rows)


def agreed(block: Block) -> int:
    """Return how many objects agree with a row, those whose lines differ in what one side does not know among them."""
    return block.agreed + sum(
        any(not row.mark and agree(one, row) for row in rows) for _, objects, rows in _by_key(block) for one in objects
    )


def _by_key(block: Block) -> Iterator[tuple[str, list[Told], list[Told]]]:
    """Yield the lines that stand on one side alone, taken apart, by key: objects and rows."""
    objects: dict[str, list[Told]] = defaultdict(list)
    rows: dict[str, list[Told]] = defaultdict(list)
    for lines, side in ((block.only_objects, objects), (block.only_rows, rows)):
        for one in map(told, lines):
            side[one.key].append(one)
    for key in sorted(rows.keys() | objects.keys()):
        yield key, objects.get(key, []), rows.get(key, [])


def _differing(key: str, objects: Sequence[Told], rows: Sequence[Told]) -> Iterator[Candidate]:
    claimed = {one for one in objects for row in rows if _same_version(one, row)}
    for row in rows:
        if row.mark or not any(agree(one, row) for one in objects):
            yield Candidate(key, row.s3_version, listed=bool(objects))
    for one in objects:
        if one not in claimed and not one.mark:
            yield Candidate(key, "", one)


def agree(one: Told, row: Told) -> bool:
    """Tell whether an object and a row agree in all that both know."""
    same_size = not one.size or not row.size or one.size == row.size
    same_etag = not one.etag or not row.etag or one.etag == row.etag
    return _same_version(one, row) and same_size and same_etag


def _same_version(one: Told, row: Told) -> bool:
    """Tell whether the row names this version; one that names none means the latest."""
    return not one.s3_version or one.s3_version == row.s3_version or not (row.s3_version or one.mark)
