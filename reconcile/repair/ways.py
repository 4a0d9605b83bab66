"""The ways to bring a missing object back: what may be done, and what must not, and why. Pure.

Only the marker that hid an object is removed, only while it is the latest, only over what the rows describe; a backup
is compared by the best that the rows tell. A marker `null` is never removed: an upload would take its place, and go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reconcile.checksum import hex_of
from reconcile.human import size
from reconcile.model import Absent, Known, NotAsked, ObjectRef, ObjectSide, Present, Row, RowState, Unknown
from reconcile.store.versions import NULL, Stored
from reconcile.verdict import difference, rows_of

HIDDEN = "hidden by delete marker "  # how such a finding's cause begins (verdict.py)


class Place(NamedTuple):
    """Where backups are: in a bucket (`''`: the object's own), under a prefix and the object's key."""

    bucket: str
    prefix: str

    def of(self, ref: ObjectRef) -> ObjectRef:
        """Return the backup of an object."""
        return ObjectRef(self.bucket or ref.bucket, self.prefix + ref.key)


class Unhide(NamedTuple):
    """Remove the delete marker that hides the object; below it lies a version that the rows agree with."""

    marker: str
    below: Stored

    def __str__(self) -> str:
        return "its delete marker is removed"

    def beside(self) -> str:
        """Say which."""
        return f"marker {self.marker}, below it {size(self.below.size or 0)}"


class Bring(NamedTuple):
    """Store a content anew; `by` says what was compared, and `sha256` is still to be, as it is read."""

    source: ObjectRef
    seen: Present
    by: str
    sha256: str | None = None
    whence: str = "the backup"

    def __str__(self) -> str:
        return f"copied from {self.whence}, compared by {self.by}"

    def beside(self) -> str:
        """Say which."""
        return f"{self.source.bucket}/{self.source.key}, {size(self.seen.size)}"


class NoWay(NamedTuple):
    """Nothing was done about it, and why; `settled` where nothing has to be, else it is still missing."""

    why: str
    settled: bool = False


Way = Unhide | Bring | NoWay
THERE = NoWay("the object is there", settled=True)


class Wanted(NamedTuple):
    """By which way: from where, named for this run or configured, and under which other marker, if one is named."""

    place: Place | None
    is_named: bool = False
    marker: str = ""


def unhidden(ref: ObjectRef, known: Known, marker: str, listed: Sequence[Stored], wanted: Wanted) -> Way:
    """Say whether a marker may be removed: only that which hid it, while it is the latest, over what rows agree with.

    `listed` are the key's versions, the latest first.
    """
    hid = {one.cause for one in known.findings if one.row_id and one.cause.startswith(HIDDEN)}
    if hid and not any(one.startswith(f"{HIDDEN}{marker}:") for one in hid) and wanted.marker != marker:
        return NoWay(f"another delete marker hides it than when it was found; --marker {marker} means this one")
    if not listed or not listed[0].is_marker or listed[0].s3_version != marker:
        return NoWay(f"the delete marker {marker} is not the latest any more")
    below = listed[1] if len(listed) > 1 else None
    if below is None:
        return NoWay("nothing is left below its delete marker")
    if below.is_marker or below.size is None:
        return NoWay("below its delete marker lies another")
    return _from_below(ref, claimed(ref, known), marker, below)


def _from_below(ref: ObjectRef, rows: Sequence[Row], marker: str, below: Stored) -> Way:
    seen = Present(below.size or 0, below.etag or "", below.s3_version)
    if differs := _differs(rows, seen):
        return NoWay(f"what lies below its delete marker is another content ({differs})")
    if marker != NULL:
        return Unhide(marker, below)
    way = _compared(rows, ref._replace(s3_version=below.s3_version), seen)
    return way._replace(whence="below its delete marker") if isinstance(way, Bring) else way


def brought(ref: ObjectRef, known: Known, source: ObjectRef, side: ObjectSide) -> Way:
    """Say whether a backup is the content that the rows describe, as far as a HEAD can tell."""
    where = f"{source.bucket}/{source.key}"
    match side:
        case Absent():
            return NoWay(f"there is no backup at {where}")
        case Unknown(reason):
            return NoWay(f"the backup at {where} cannot be read: {reason}")
        case NotAsked():
            return NoWay("there was no time to look at its backup")
        case Present() as seen:
            return _compared(claimed(ref, known), source, seen)


def _compared(rows: Sequence[Row], source: ObjectRef, seen: Present) -> Bring | NoWay:
    """Compare by the best that the rows tell."""
    if why := _incomparable(rows, seen):
        return NoWay(why)
    sha256 = next(filter(None, map(_sum_of, rows)), None)
    if sha256:
        return Bring(source, seen, "size and SHA-256", sha256)
    return Bring(source, seen, "size and ETag" if any(row.etag for row in rows) else "size alone")


def _incomparable(rows: Sequence[Row], seen: Present) -> str:
    """Say why a backup is not, or cannot be shown to be, what the rows describe."""
    if differs := _differs(rows, seen):
        return f"the backup is another content ({differs})"
    if any("-" in (row.etag or "") for row in rows):
        return "its row has the ETag of an upload in parts, which no copy would have; correct the row first"
    if len({_sum_of(row) for row in rows if row.sha256}) > 1:
        return "its rows name different checksums"
    if all(row.size is None and not row.etag and not _sum_of(row) for row in rows):
        return "its row tells neither size, ETag nor SHA-256, so there is nothing to compare a copy by"
    return ""


def _sum_of(row: Row) -> str | None:
    return hex_of(row.sha256) if row.sha256 else None


def _differs(rows: Iterable[Row], seen: Present) -> str:
    return next(filter(None, (difference(row, seen) for row in rows)), "")


def claimed(ref: ObjectRef, known: Known) -> list[Row]:
    """Return the rows that claim the object of a reference."""
    return [row for row in rows_of(ref, known) if row.state != RowState.EXPECTS_ABSENCE]


def unproven(side: Present | Unknown | NotAsked) -> NoWay:
    """Say why nothing is done where no absence was proven."""
    match side:
        case Present():
            return THERE
        case Unknown(reason):
            return NoWay(f"nothing could be proven: {reason}")
        case NotAsked():
            return NoWay("there was no time to look at it")
