"""The keys of a bucket that rows name, ascending, from a key on: from an index page by page, or copied out once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from reconcile import rows
from reconcile.database import Database
from reconcile.sweeps import spool
from reconcile.sweeps.compare import Facts, key_of
from reconcile.sweeps.spool import Spool
from reconcile.tables.catalog import in_order
from reconcile.tables.mapping import HIGHEST_KEY, Mapping, in_order_parameters

PAGE = 200
NEXT = "\x01"  # the least that can be behind a key: PostgreSQL has no NUL
Keys = Iterator[list[str]]
NOTHING_COMPARED = Facts(s3_version=False, size=False, etag=False)


@dataclass(frozen=True, slots=True)
class Walk:
    """Which rows are walked; `directory` is where they are copied to, if they must be."""

    database: Database
    mapping: Mapping
    bucket: str
    prefix: str = ""
    directory: Path | None = None


@contextmanager
def walked(walk: Walk) -> Iterator[Callable[[str], Keys]]:
    """Lend the function from a key to pages of the keys behind it, each key once."""
    with walk.database.use() as connection:
        indexed = in_order(connection, walk.mapping, walk.bucket).indexed
    if indexed:
        yield lambda after: by_index(walk, after)
        return
    spools: list[Spool] = []

    def copied(after: str) -> Keys:
        spools.append(copied_out(walk, after))
        return by_spool(spools[-1])

    try:
        yield copied
    finally:
        for one in spools:
            one.close()


def by_index(walk: Walk, after: str) -> Keys:
    """Yield pages in short statements, each from where the last ended."""
    upper = walk.prefix + HIGHEST_KEY if walk.prefix else None
    while True:
        lower = max(walk.prefix, after + NEXT) if after else walk.prefix
        bounds = in_order_parameters(walk.bucket, lower, upper)
        with walk.database.use() as connection:
            page = rows.keys_in_order(connection, walk.mapping, bounds, PAGE)
        if not page:
            return
        yield list(dict.fromkeys(page))
        after = page[-1]


def copied_out(walk: Walk, after: str) -> Spool:
    """Copy the keys to disk in one statement, however long it takes."""
    lower = after + NEXT if after else ""
    with walk.database.use() as connection, connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # the server may be done before us
        copy = spool.copied(connection, walk.mapping, walk.bucket, walk.prefix, NOTHING_COMPARED, lower)
        with closing(copy) as lines:
            return Spool(walk.directory).write(lines)


def by_spool(copied: Spool) -> Keys:
    """Yield pages from disk; lines of one key stand together."""
    keys = _each_once(key_of(line).decode() for lines in copied.blocks() for line in lines)
    while page := list(islice(keys, PAGE)):
        yield page


def _each_once(keys: Iterator[str]) -> Iterator[str]:
    last = None
    for key in keys:
        if key != last:
            yield key
        last = key
