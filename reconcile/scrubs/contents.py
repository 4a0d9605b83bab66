"""What was read of objects beside the checksums of their rows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from reconcile.checksum import hex_of
from reconcile.model import (
    Hashed,
    ObjectRef,
    Row,
)
from reconcile.sweeps.drift import Drift


class Fault(NamedTuple):
    """A row or an object of which nothing could be said, and why."""

    key: str
    s3_version: str
    row_id: str
    why: str


@dataclass
class Found:
    """What a part of the keys came to. `contents` are those that the reconciler is told, `looks` what it looks at."""

    totals: Counter[str] = field(default_factory=Counter)
    drifts: list[Drift] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    contents: dict[ObjectRef, Hashed] = field(default_factory=dict)
    looks: list[ObjectRef] = field(default_factory=list)


def sums_of(rows: Mapping[str, Sequence[Row]], ref: ObjectRef) -> dict[str, str]:
    """Return the checksums, by row, that rows of this very version have."""
    found = {
        row.row_id: hex_of(row.sha256)
        for row in rows.get(ref.key, ())
        if row.s3_version == ref.s3_version and row.sha256
    }
    return {row_id: one for row_id, one in found.items() if one is not None}


def refs_of(rows: Sequence[Row]) -> list[ObjectRef]:
    """Return what the rows name, those that have a checksum that can be read."""
    named = [row for row in rows if row.sha256 and hex_of(row.sha256)]
    return sorted({ObjectRef(row.bucket, row.key, row.s3_version) for row in named})


def differing_in(rows: Mapping[str, Sequence[Row]], ref: ObjectRef, content: Hashed) -> list[str]:
    """Return the rows whose checksum is not the content's."""
    return [row_id for row_id, one in sums_of(rows, ref).items() if one != content.sha256]


def believe(ref: ObjectRef, content: Hashed, how_many: int, found: Found) -> None:
    """Take a content for what it is: read twice, or known."""
    found.contents[ref] = content
    found.totals["mismatch"] += how_many


def count(rows: Iterable[Row], found: Found) -> None:
    """Count the rows of a key, and name what is no checksum."""
    for row in rows:
        found.totals["rows"] += 1
        if not row.sha256:
            found.totals["without_checksum"] += 1
        elif hex_of(row.sha256) is None:
            found.totals["unreadable_checksum"] += 1
            why = f"{row.sha256[:80]!r} is no SHA-256 in hex or base64"
            found.faults.append(Fault(row.key, row.s3_version, row.row_id, why))
