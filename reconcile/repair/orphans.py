"""Reads orphans and leftovers for a person: pages by the bytes at stake, groups, what was seen and approved of each.

Writes nothing and decides nothing; every function does one statement of orphans.sql on a connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg import sql

from reconcile.database import Connection, queries, sql_file
from reconcile.inquiry import Filter, Record, filled
from reconcile.model import Facts, Kind, ObjectRef

SQL = queries(sql_file("orphans.sql"))
KINDS = [str(Kind.ORPHAN), str(Kind.LEFTOVER)]
PAGE = 1000


class Place(NamedTuple):
    """Where a page ended: the id of its last one, and its size (None: as it is kept now)."""

    id: int
    size_bytes: int | None = None


class Orphan(NamedTuple):
    """One finding of an object that no live row names, as it was seen last."""

    id: int
    state: str
    kind: str
    bucket: str
    key: str
    s3_version: str
    size_bytes: int | None
    etag: str | None
    stored_version: str | None
    modified_at: datetime | None
    cause: str
    suspected_at: datetime
    opened_at: datetime | None
    principal: str | None
    source_address: str | None
    named_by: Sequence[str]

    @property
    def ref(self) -> ObjectRef:
        """Return what is looked at."""
        return ObjectRef(self.bucket, self.key, self.s3_version)

    @property
    def place(self) -> Place:
        """Return where a list goes on after it."""
        return Place(self.id, self.size_bytes or 0)


class Kept(NamedTuple):
    """What is kept of one: as it was found, as it was approved, and the deletion that was begun (None: none was)."""

    id: int
    state: str
    ref: ObjectRef
    found: Facts
    approved: Facts | None
    erasing: Facts | None


def page(connection: Connection, wanted: Filter, limit: int, after: Place | None) -> list[Orphan]:
    """Return orphans, the most bytes first, at most `limit`, going on after a place."""
    number, size = after or (None, None)
    given = {**asdict(wanted), "limit": limit, "after": number, "after_bytes": size}
    return [Orphan._make(record) for record in connection.execute(_matching("page"), given)]


def pages(connection: Connection, wanted: Filter, after: Place | None) -> Iterator[list[Orphan]]:
    """Yield all orphans, some at a time, whatever becomes of them meanwhile."""
    while found := page(connection, wanted, PAGE, after):
        yield found
        after = found[-1].place


def sums(connection: Connection, wanted: Filter) -> tuple[int, int]:
    """Return how many there are, and their bytes."""
    [(count, size)] = connection.execute(_matching("sums"), asdict(wanted)).fetchall()
    return count, size


def groups(connection: Connection, wanted: Filter, by: str, depth: int, limit: int) -> list[Record]:
    """Return (name, count, open, approved, bytes, oldest, newest) of groups, the most bytes first, then of the rest."""
    given = {**asdict(wanted), "by": by, "depth": depth, "limit": limit}
    return connection.execute(_matching("groups"), given).fetchall()


def evidence(connection: Connection, ids: Sequence[int]) -> dict[int, Kept]:
    """Return what is kept of findings by their ids."""
    return {one.id: one for one in _kept(connection.execute(SQL["evidence"], {"ids": list(ids)}))}


def lately(connection: Connection, within: timedelta) -> list[Kept]:
    """Return what was deleted within this time, and not brought back since."""
    return list(_kept(connection.execute(SQL["lately"], {"within": within})))


def deleted_at(connection: Connection, keys: Sequence[str]) -> dict[tuple[str, str], Kept]:
    """Return the last deletion at each (bucket, key), where there was one."""
    found = _kept(connection.execute(SQL["deleted_at"], {"keys": list(keys)}))
    return {(one.ref.bucket, one.ref.key): one for one in found}


def _kept(records: Iterable[Record]) -> Iterator[Kept]:
    for number, state, bucket, key, s3_version, size, etag, seen, approved, erasing in records:
        known = {"size": size, "etag": etag, **(seen or {})}
        found = {
            name: known[name] for name in ("size", "etag", "s3_version", "modified") if known.get(name) is not None
        }
        yield Kept(number, state, ObjectRef(bucket, key, s3_version), found, approved, erasing)


def undone(connection: Connection, ids: Sequence[int]) -> frozenset[int]:
    """Return those whose deletion was undone: whatever became of their objects since is no doing of ours."""
    return frozenset(number for (number,) in connection.execute(SQL["undone"], {"ids": list(ids)}))


def rows_known(connection: Connection, keys: Sequence[str]) -> Mapping[tuple[str, str], str]:
    """Return the id of a row that is known to have named each (bucket, key), where one is."""
    found = connection.execute(SQL["rows_known"], {"keys": list(keys)})
    return {(bucket, key): row_id for bucket, key, row_id in found}


def swept(connection: Connection, ref: ObjectRef) -> list[Record]:
    """Return (sweep, when, kind, meter, whether seen again) of the sweeps that saw a key drift."""
    return connection.execute(SQL["swept"], ref._asdict()).fetchall()


def _matching(name: str) -> sql.Composed:
    return filled(SQL[name])
