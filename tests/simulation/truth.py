"""What ought to be found, told from rows and objects alone: a second way to the same answer, which shares no code."""

from typing import NamedTuple

from reconcile.model import Kind, ObjectRef
from tests.simulation.servers import FLAG, Servers, Stored
from tests.simulation.stepped import BUCKET
from tests.simulation.storage import Versions

Subject = tuple[ObjectRef, str]


class Truth(NamedTuple):
    """Drifts that must be found, drifts that may be, and flags of ours that must not last."""

    must: dict[Subject, Kind]
    may: dict[Subject, Kind]
    healed: set[str]


def truth_of(servers: Servers, ours: set[str]) -> Truth:
    """Return what is so; `ours` are the rows that carry our flag."""
    truth = Truth({}, {}, set())
    objects = servers.storage.buckets[BUCKET]
    rows = list(servers.tables.rows.values())
    for row in rows:
        kind = of_row(row, objects)
        if row.deleted or row.status in {"pending", "deleted"}:
            continue
        if row.status == FLAG and row.row_id not in ours:
            continue
        if kind is not None:
            truth.must[row.ref(), row.row_id] = kind
        elif row.status == FLAG:
            truth.healed.add(row.row_id)
    for key, versions in objects.items():
        for number, (version, content) in enumerate(versions):
            if content is not None:
                named = [row for row in rows if row.key == key]
                of_object(key, version, number == len(versions) - 1, named, truth)
    return truth


def of_row(row: Stored, objects: dict[str, Versions]) -> Kind | None:
    """Return what is wrong with a row that claims an object."""
    versions = objects.get(row.key, [])
    if row.s3_version:
        versions = [one for one in versions if one[0] == row.s3_version]
    if not versions or versions[-1][1] is None:
        return Kind.MISSING
    there = versions[-1][1]
    differs = row.size != there.size or (row.etag is not None and row.etag != there.etag)
    return Kind.MISMATCH if differs else None


def of_object(key: str, version: str, is_latest: bool, rows: list[Stored], truth: Truth) -> None:  # noqa: FBT001
    """Add what is wrong with a version of an object."""
    gone = {row.s3_version for row in rows if row.deleted or row.status in {"pending", "deleted"}}
    claimed = {row.s3_version for row in rows if not (row.deleted or row.status in {"pending", "deleted"})}
    its_own = ObjectRef(BUCKET, key, version)
    if version and version in gone - claimed and not (is_latest and "" in claimed):
        (truth.must if is_latest else truth.may)[its_own, ""] = Kind.LEFTOVER
    if not is_latest or "" in claimed or version in claimed:
        return
    if "" in gone:
        truth.must[ObjectRef(BUCKET, key), ""] = Kind.LEFTOVER
    elif version not in gone or not version:
        truth.must[ObjectRef(BUCKET, key), ""] = Kind.ORPHAN
