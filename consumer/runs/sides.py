"""Opens the two sides of a sweep: the rows, by pages or copied out once, and the listing, MinIO's or one brought."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from reconcile.database import Connection, Database
from reconcile.patience import patiently
from reconcile.store.objects import Objects
from reconcile.sweeps import spool
from reconcile.sweeps.compare import Blocks, Facts, lines_of
from reconcile.sweeps.drift import Entry
from reconcile.sweeps.listfile import from_file
from reconcile.sweeps.listing import ahead, listed
from reconcile.sweeps.rowpages import Pages
from reconcile.sweeps.spool import Spool
from reconcile.sweeps.sweep import Source
from reconcile.tables.catalog import InOrder, in_order
from reconcile.tables.mapping import Mapping

BY_KEY = (
    "a listing that is brought names no S3 versions: a row's own version is looked at where the key is not listed, or"
    " in another size or ETag; sweep without --listing to compare each version"
)
PAGED = "the rows were read by pages, from an index that serves byte order; nothing was copied out"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is compared: keys of a bucket under a prefix; `listing` is a file instead of the bucket's own listing."""

    bucket: str
    prefix: str = ""
    listing: Path | None = None
    directory: Path | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks of a sweep. `mode` is report, fix or baseline; `join` the id of a sweep to join, or RUNNING.

    `ranges` is into how many pieces it is cut; 0 leaves that to the number of workers. One piece is quickest for one
    worker, since MinIO lists on past the end of a range. `believe` is in whose words the guards are overruled, `wait`
    how long another run of the bucket is waited for. `who` and `why` are kept in the history of what it changes.
    """

    scope: Scope
    mode: str = "report"
    resume: bool = False
    join: int | None = None
    workers: int = 1
    ranges: int = 0
    margin: timedelta | None = None
    believe: str = ""
    wait: timedelta = timedelta()
    who: str = "sweep"
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides, as sources of lines; `note` tells how the rows were read.

    `by_key`: rows name S3 versions, which the listing does not know.
    """

    objects: Source
    rows: Source
    row_count: int
    note: str
    by_key: bool = False


def facts_of(mapping: Mapping, scope: Scope) -> Facts:
    """Return what both sides know of an object; of a listing that was brought its beginning tells."""
    version = mapping.tables.settings.version
    if scope.listing is None:
        return Facts(version.s3_version is not None, version.size is not None, mapping.has_etag)
    beginning = next(from_file(scope.listing), [])
    sizes, etags = any(one.size is not None for one in beginning), any(one.etag for one in beginning)
    return Facts(s3_version=False, size=version.size is not None and sizes, etag=mapping.has_etag and etags)


@contextmanager
def opened(database: Database, mapping: Mapping, store: Objects, scope: Scope, facts: Facts) -> Iterator[Sides]:
    """Open both sides and lend them; the rows are copied out unless they can be read by pages."""
    spools: list[Spool] = []

    def first() -> InOrder:
        with database.use() as connection:
            order = in_order(connection, mapping, scope.bucket, scope.prefix)
            if not order.indexed or scope.listing is not None or scope.directory is not None:
                spools.append(copied(connection, mapping, scope, facts))
        return order

    try:
        order = patiently(first)  # a copy that breaks in its midst is begun anew; a long one is left to --resume
        rows, count = (
            (spools[0].blocks, spools[0].lines) if spools else (by_pages(database, mapping, scope, facts), order.rows)
        )
        told = note(spools[0], order) if spools else PAGED
        objects = from_bucket(store, scope, facts)
        if scope.listing is not None:
            spools.append(spool.brought(under(scope.prefix, from_file(scope.listing)), facts, scope.directory))
            objects = spools[-1].blocks
        by_key = mapping.tables.settings.version.s3_version is not None and not facts.s3_version
        yield Sides(objects, rows, count, f"{told}; {BY_KEY}" if by_key else told, by_key)
    finally:
        for one in spools:
            one.close()


def under(prefix: str, pages: Iterable[list[Entry]]) -> Iterator[list[Entry]]:
    """Yield of pages what lies under a prefix: a listing that was brought may have more."""
    return ([one for one in page if one.key.startswith(prefix)] for page in pages)


def by_pages(database: Database, mapping: Mapping, scope: Scope, facts: Facts) -> Source:
    """Return the rows as a source, page by page, read ahead of the comparison."""
    pages = Pages(database, mapping, scope.bucket, scope.prefix, facts)
    return lambda lower, upper: ahead(pages.blocks(lower, upper))


def copied(connection: Connection, mapping: Mapping, scope: Scope, facts: Facts) -> Spool:
    """Copy the rows to a spool, in one statement and however long it takes."""
    with connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # the server may be done before us
        lines = spool.copied(connection, mapping, scope.bucket, scope.prefix, facts)
        with closing(lines), spool.begun(scope.directory) as rows:
            return rows.write(lines)


def from_bucket(store: Objects, scope: Scope, facts: Facts) -> Source:
    """Return MinIO's listing as a source, read ahead of the comparison."""

    def blocks(lower: str, upper: str | None) -> Blocks:
        pages = listed(store, scope.bucket, scope.prefix, lower, upper, versions=facts.s3_version)
        return (lines_of(page, facts) for page in ahead(pages))

    return blocks


def note(rows: Spool, order: InOrder) -> str:
    """Tell how the rows were copied out."""
    how = "an index serves byte order" if order.indexed else "sorted by the database, since no index serves byte order"
    return f"{rows.lines:,} rows were copied to a spool of {rows.size_bytes / 1e6:,.1f} MB in one statement: {how}"
