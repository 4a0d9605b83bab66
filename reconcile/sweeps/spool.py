"""A side of the comparison on disk: lines in ascending order, read again by ranges of keys.

Rows are copied out once, in one statement and one short transaction, so that no cursor stays open and no index in byte
order is needed; a listing that somebody brought is written likewise. The file has no name and ends with its process.
"""

from __future__ import annotations

import heapq
import tempfile
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import IO

from psycopg import sql

from reconcile.database import Connection
from reconcile.model import Misconfigured, RowState
from reconcile.sweeps.compare import FLAGGED, Blocks, Facts, Lines, first_at, key_of, lines_of
from reconcile.sweeps.copied import copied_out
from reconcile.sweeps.drift import Entry
from reconcile.tables.catalog import SQL as CATALOG
from reconcile.tables.mapping import HIGHEST_KEY, Mapping, in_order_parameters
from reconcile.tables.selection import Parameters

BLOCK_BYTES = 1 << 19
BLOCK_LINES = 4_000  # written at once: a loop in Python over every line took as long as the database does for it
NO_ROOM = "has no room for a copy"
RUN_LINES = 100_000  # sorted in memory at once, where a listing is not in order
RUNS = 128  # merged at once, each an open file
RUN_BYTES = 1 << 15  # read at once of each run when they are merged


def _opened(directory: Path | None) -> IO[bytes]:
    """Open a file without a name; raises Misconfigured where the directory takes none."""
    try:
        return tempfile.TemporaryFile(dir=directory, buffering=RUN_BYTES)
    except OSError as error:
        raise _no_place(directory, "takes no file", error) from error


def _no_place(directory: Path | None, why: str, error: OSError) -> Misconfigured:
    place = directory or "TMPDIR"
    return Misconfigured(f"--spool {place}: {why} ({error.strerror}); name another directory")


class Spool:
    """Lines on disk, and the place of a key every block or so."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._file = _opened(directory)
        self._keys: list[bytes] = []
        self._places: list[int] = []
        self.lines = 0
        self.size_bytes = 0

    def write(self, lines: Iterable[bytes]) -> Spool:
        """Append lines that end with a newline, and return the spool; raises Misconfigured where there is no room."""
        remaining = iter(lines)
        while block := list(islice(remaining, BLOCK_LINES)):
            self._keys.append(key_of(block[0]))
            self._places.append(self.size_bytes)
            written = b"".join(block)
            try:
                self._file.write(written)
            except OSError as error:
                raise _no_place(self._directory, NO_ROOM, error) from error
            self.size_bytes += len(written)
            self.lines += len(block)
        try:
            self._file.flush()
        except OSError as error:
            raise _no_place(self._directory, NO_ROOM, error) from error
        return self

    def close(self) -> None:
        """Give the space back."""
        with suppress(OSError):  # what there was no room for is not missed
            self._file.close()

    def blocks(self, lower: str = "", upper: str | None = None, size: int = 0) -> Blocks:
        """Yield the lines of keys above `lower`, up to and with `upper`, in blocks of half a megabyte, or of a size."""
        low, high = lower.encode(), None if upper is None else upper.encode()
        place = self._places[max(bisect_right(self._keys, low) - 1, 0)] if self._places else 0
        while True:
            self._file.seek(place)
            read = self._file.read(size or BLOCK_BYTES)
            if b"\n" not in read:
                read += self._file.readline()  # a line may be longer than a block
            *block, rest = read.split(b"\n")
            if not block:
                return
            place += len(read) - len(rest)
            yield within(block, low, high)
            if high is not None and key_of(block[-1]) > high:
                return


@contextmanager
def begun(directory: Path | None = None) -> Iterator[Spool]:
    """Lend a spool to whoever writes it, and close it if that fails."""
    spool = Spool(directory)
    try:
        yield spool
    except BaseException:
        spool.close()
        raise


def within(block: Lines, low: bytes, high: bytes | None) -> Lines:
    """Return the lines of keys above `low`, up to and with `high`."""
    first = first_after(block, low) if low else 0
    return block[first : None if high is None else first_after(block, high)]


def first_after(lines: Lines, key: bytes) -> int:
    """Return the number of lines whose key is not above `key`."""
    at = first_at(lines, key)
    while at < len(lines) and key_of(lines[at]) == key:
        at += 1
    return at


def copied(
    connection: Connection, mapping: Mapping, bucket: str, prefix: str, facts: Facts, lower: str = ""
) -> Generator[bytes]:
    """Yield a line for each row of the bucket that claims an object, in the byte order of the keys, from `lower` on.

    The database sorts, unless an index in that order spares it; catalog.in_order() tells. Rows that expect absence
    are left out: an object of theirs has no line beside it, and the look at it says why.
    """
    bounds = in_order_parameters(bucket, max(prefix, lower), prefix + HIGHEST_KEY if prefix else None)
    copy = sql.SQL("COPY ({}) TO STDOUT").format(lines(mapping, facts))
    yield from copied_out(connection, copy, bounds)


def page(connection: Connection, mapping: Mapping, bounds: Parameters, facts: Facts, size: int) -> Lines:
    """Return the first lines within the bounds (mapping.in_order_parameters), by the index that serves their order."""
    connection.execute(CATALOG["plan_for_use"])
    copy = sql.SQL("COPY ({} LIMIT {}) TO STDOUT").format(lines(mapping, facts), size)
    return b"".join(copied_out(connection, copy, bounds)).split(b"\n")[:-1]


def lines(mapping: Mapping, facts: Facts) -> sql.Composed:
    """Return the SELECT of what COPY writes as the lines of the comparison."""
    nothing = sql.SQL("''")
    s3_version, size, etag = (
        sql.SQL("COALESCE({}::text, '')").format(sql.Identifier("r", name)) if known else nothing
        for name, known in zip(("s3_version", "size", "etag"), facts, strict=True)
    )
    return sql.SQL(
        "SELECT r.key, {}, {}, {}, CASE r.state WHEN {} THEN {} ELSE '' END FROM ({}) AS r WHERE r.state <> {}"
    ).format(
        s3_version,
        size,
        etag,
        sql.Literal(RowState.FLAGGED.value),
        sql.Literal(FLAGGED.decode()),
        mapping.in_order,
        sql.Literal(RowState.EXPECTS_ABSENCE.value),
    )


def brought(pages: Iterable[list[Entry]], facts: Facts, directory: Path | None = None) -> Spool:
    """Return a spool of a listing in ascending order, whatever order it has; few bring one that is not sorted."""
    last, ascending = b"", True
    lines = (lines_of(page, facts) for page in pages)
    with begun(directory) as spool:
        for block in lines:
            keys = [last, *map(key_of, block)]
            ascending = ascending and sorted(keys) == keys
            last = keys[-1]
            spool.write(line + b"\n" for line in block)
    return spool if ascending else in_order(spool, directory)


def in_order(spool: Spool, directory: Path | None = None) -> Spool:
    """Return a spool with the lines of another, which is closed, in ascending order: sorted runs on disk, merged."""
    levels: list[list[Spool]] = []
    try:
        with closing(spool):
            lines = chain.from_iterable(spool.blocks())
            while run := sorted(islice(lines, RUN_LINES), key=key_of):
                _add(levels, _written(run, directory), directory)
        return _merged(list(chain.from_iterable(levels)), directory)
    finally:
        for one in chain.from_iterable(levels):
            one.close()


def _add(levels: list[list[Spool]], run: Spool, directory: Path | None) -> None:
    """Add a run; so many of a level as are merged at once become one of the next, so that few files are open."""
    for level in levels:
        level.append(run)
        if len(level) < RUNS:
            return
        run = _merged(level, directory)
        for one in level:
            one.close()
        level.clear()
    levels.append([run])


def _merged(runs: Iterable[Spool], directory: Path | None) -> Spool:
    ascending = (chain.from_iterable(run.blocks(size=RUN_BYTES)) for run in runs)
    return _written(heapq.merge(*ascending, key=key_of), directory)


def _written(lines: Iterable[bytes], directory: Path | None) -> Spool:
    with begun(directory) as whole:
        return whole.write(line + b"\n" for line in lines)
