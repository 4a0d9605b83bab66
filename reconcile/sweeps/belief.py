"""What must hold before a sweep is believed: conditions on its totals and those of the last one. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from reconcile.model import Brake
from reconcile.restraint import most_flags

Totals = Mapping[str, int]
LESS = 0.5  # of what the last complete sweep had
AT_LEAST = 20  # below that, nothing is a mass
DIFFERING = 10_000  # candidates, from which on the two sides must have more in common than not


def hopeless(totals: Totals, of_rows: int = 0) -> str | None:
    """Return why the comparison is to be given up half-way, so that not every key is asked for one by one.

    Of `of_rows` rows in all more than half differ, or nothing agrees of many on both sides: a place that no row names
    may be the first in the bucket, or the whole of a range. What has a finding already says nothing of the sides: a
    person knows it.
    """
    objects, rows = totals.get("objects", 0), totals.get("rows", 0)
    compared = max(objects, rows)
    candidates = totals.get("candidates", 0) - totals.get("known", 0)
    strangers = min(objects, rows) > DIFFERING and not totals.get("agreed", 0)
    if candidates > DIFFERING and (strangers or 2 * candidates > max(compared, of_rows)):
        return f"{candidates:,} of the first {compared:,} keys differ; {_SAME}"
    return None


def unlike(totals: Totals) -> str | None:
    """Return why checksums are not to be believed: a mass of contents was read, and not one has its row's."""
    read = totals.get("mismatch", 0)
    if read >= AT_LEAST and not totals.get("agreed", 0):
        return f"not one of {read:,} contents has its row's SHA-256; is mapping.version.sha256 that of the content?"
    return None


def held(totals: Totals, before: Totals | None, brake: Brake) -> str | None:
    """Return why the sweep is not to be believed, None if it is; `before` are the last complete sweep's totals."""
    objects, rows, agreed = (totals.get(name, 0) for name in ("objects", "rows", "agreed"))
    if objects == 0 and rows >= AT_LEAST:
        return f"the listing is empty, and {rows:,} rows name objects; is the volume mounted? {_SAME}"
    if rows == 0 and objects >= AT_LEAST:
        return f"no row names an object, and there are {objects:,}; {_ROWS}"
    if agreed == 0 and min(objects, rows) >= AT_LEAST:
        return f"not one of {objects:,} objects and {rows:,} rows agree; {_SAME}"
    if before and (shrunk := _shrunk(totals, before)):
        return shrunk
    return _mass(totals.get("missing", 0), rows, brake)


def _shrunk(totals: Totals, before: Totals) -> str | None:
    for name, way_out in (("objects", _SAME), ("rows", _ROWS)):
        now, then = totals.get(name, 0), before.get(name, 0)
        if then >= AT_LEAST and now < LESS * then:
            return f"{now:,} {name}, and the last complete sweep had {then:,}; {way_out}"
    return None


def _mass(missing: int, rows: int, brake: Brake) -> str | None:
    """Measure as the brake does: so many flags at once would trip it."""
    most = most_flags(rows, brake)
    if missing > most or (missing >= brake.bucket_floor and missing > brake.bucket_share * rows):
        return (
            f"{missing:,} of {rows:,} rows are missing, and the brake believes {most:,}; look at them (findings list)"
        )
    return None


_SAME = "compare --bucket and --prefix with the mapping"
_ROWS = "compare the mapping, its schema and the database with those of the application"
