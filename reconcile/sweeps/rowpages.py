"""The rows of a bucket as lines, page by page from an index in byte order: nothing is copied out, nothing held open.

Each page is one short statement from where the last one ended, and as fresh as it is late. For one pass by one thread:
every call has a connection of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from reconcile.database import Database
from reconcile.patience import patiently
from reconcile.sweeps import spool
from reconcile.sweeps.compare import Blocks, Facts, Lines, key_of
from reconcile.tables.mapping import HIGHEST_KEY, Mapping, in_order_parameters

PAGE = 10_000
NEXT = "\x01"  # the least that can be behind a key: PostgreSQL has no NUL


@dataclass(frozen=True, slots=True)
class Pages:
    """Which rows are read, and which of their facts."""

    database: Database
    mapping: Mapping
    bucket: str
    prefix: str
    facts: Facts
    size: int = PAGE

    def blocks(self, lower: str, upper: str | None) -> Blocks:
        """Yield the lines of keys in (lower, upper], ascending, no key in two blocks."""
        database = self.database.another()
        least = max(self.prefix, lower + NEXT) if lower else self.prefix
        try:
            size = self.size
            while True:
                page = patiently(partial(self._page, database, least, upper, size))
                whole = page if len(page) < size else _without_last(page)
                if whole:
                    yield whole
                if len(page) < size:
                    return
                least = key_of(page[-1]).decode()
                size = self.size if whole else 2 * size  # one key has more rows than a page
        finally:
            database.close()

    def _page(self, database: Database, least: str, upper: str | None, size: int) -> Lines:
        ends = [self.prefix + HIGHEST_KEY] if self.prefix else []
        ends += [upper + NEXT] if upper is not None else []
        bounds = in_order_parameters(self.bucket, least, min(ends, default=None))
        with database.use() as connection, connection.transaction():
            return spool.page(connection, self.mapping, bounds, self.facts, size)


def _without_last(page: Lines) -> Lines:
    """Return the lines of all keys but the last, of which there may be more."""
    last, at = key_of(page[-1]), len(page)
    while at and key_of(page[at - 1]) == last:
        at -= 1
    return page[:at]
