"""What the two sides mean together: the table of docs/design.md, total over its inputs. Pure.

Missing and mismatch are judged for each row, orphan and leftover for the object. Nothing here knows of time:
a verdict is what is true now, and patience is the business of a finding's life.
"""

from __future__ import annotations

from collections.abc import Sequence

from reconcile.checksum import hex_of
from reconcile.model import (
    Absent,
    Action,
    Drift,
    Finding,
    Foreign,
    Hashed,
    Healthy,
    Hint,
    Kind,
    Known,
    NotAsked,
    ObjectRef,
    ObjectSide,
    Present,
    Row,
    RowState,
    Undecided,
    Unknown,
    Verdict,
)

SHOWN = 12  # digits of a checksum that tell two apart


def judge_row(row: Row, finding: Finding | None, side: ObjectSide, hashed: Hashed | None = None) -> Verdict:
    """Judge one row against its object; `finding` is ours for this row, if there is one.

    `hashed` is what was just read of the object; without it what the finding remembers is still so, while the object is
    that very content.
    """
    match row.state:
        case RowState.EXPECTS_ABSENCE:
            return expecting_absence(side)
        case RowState.FLAGGED if finding is None or finding.previous_status is None:
            return Foreign()
        case RowState.FLAGGED | RowState.LIVE:
            return claiming(row, side, hashed or (finding.hashed if finding else None))


def expecting_absence(side: ObjectSide) -> Verdict:
    """Judge a row that says its object should be gone: whatever the object does, the row is right."""
    match side:
        case Present() | Absent():
            return Healthy("the row no longer claims an object")
        case Unknown(reason):
            return Undecided(reason)
        case NotAsked():
            return Undecided("not asked", asked=False)


def claiming(row: Row, side: ObjectSide, hashed: Hashed | None = None) -> Verdict:
    """Judge a row that says its object should be there."""
    match side:
        case Present():
            differs = difference(row, side)
            return Drift(Kind.MISMATCH, differs) if differs else agreeing(row, side, hashed)
        case Absent(code, None):
            return Drift(Kind.MISSING, code)
        case Absent(_, marker):
            return Drift(Kind.MISSING, f"hidden by delete marker {marker}: recoverable")
        case Unknown(reason):
            return Undecided(reason)
        case NotAsked():
            return Undecided("not asked", asked=False)


def difference(row: Row, present: Present) -> str:
    """Name what differs between a row and its object, or return `''`; what is not mapped never differs."""
    if row.size is not None and row.size != present.size:
        return f"size: row {row.size}, object {present.size}"
    if row.etag is not None and row.etag != present.etag:
        return f"etag: row {row.etag}, object {present.etag}"
    return ""


def agreeing(row: Row, present: Present, hashed: Hashed | None) -> Verdict:
    """Judge a row whose object agrees in all that a HEAD tells, by what is known of its content."""
    if hashed is None:
        return Healthy("the object is there and agrees")
    if not hashed.is_of(present):
        return Healthy("the object was written anew; scrub will read it")
    expected = hex_of(row.sha256) if row.sha256 else None
    if expected is None:
        return Healthy("the row has no checksum any more")
    if expected == hashed.sha256:
        return Healthy("the object is there, and its content has the row's checksum")
    cause = f"sha256: row {expected[:SHOWN]}, object {hashed.sha256[:SHOWN]}"
    return Drift(Kind.MISMATCH, cause, hashed)


def judge_object(rows: Sequence[Row], side: ObjectSide, s3_version: str = "") -> Verdict:
    """Judge the object of a reference: any live or flagged row claims it.

    For the latest, `rows` are all rows of the key. A noncurrent version without a row is not an orphan.
    """
    match side:
        case Present():
            if any(claims(row, side) for row in rows):
                return Healthy("a row claims the object")
            return unclaimed(rows, side, s3_version)
        case Absent():
            return Healthy("there is no object", absent=True)
        case Unknown(reason):
            return Undecided(reason)
        case NotAsked():
            return Undecided("not asked", asked=False)


def claims(row: Row, present: Present) -> bool:
    """Tell whether the row, whatever its flag, names this object as its own."""
    if row.state == RowState.EXPECTS_ABSENCE:
        return False
    return row.s3_version in {"", s3_version_of(present)}


def unclaimed(rows: Sequence[Row], present: Present, s3_version: str) -> Verdict:
    """Tell an orphan from a leftover: a leftover has a row that says why it should be gone."""
    for row in rows:
        if row.s3_version == s3_version and row.state == RowState.EXPECTS_ABSENCE:
            return Drift(Kind.LEFTOVER, f"row {row.row_id} expects absence (status {row.status})")
    if s3_version or any(row.s3_version == s3_version_of(present) for row in rows):
        return Healthy("another reference speaks for it")
    return Drift(Kind.ORPHAN, "no row names the object")


def s3_version_of(present: Present) -> str:
    """Return the name that a row would give this version; MinIO does not tell that of the null version."""
    return present.s3_version or "null"


def rows_of(ref: ObjectRef, known: Known) -> list[Row]:
    """Return the rows that this very reference speaks for, leaving out other versions of the key."""
    return [row for row in known.rows if row.s3_version == ref.s3_version]


def settled(hint: Hint, known: Known) -> bool:
    """Tell whether a hint needs no look: the steady state, on which the throughput depends.

    Created: at least one live row, all of the event's size and ETag, no finding. Removed: no row that claims the
    object, no finding. The caller keeps recently removed keys away from here.
    """
    if known.findings:
        return False
    match hint.action:
        case Action.CREATED:
            return _agrees(hint, known.rows)
        case Action.REMOVED:
            return not any(row.state != RowState.EXPECTS_ABSENCE for row in rows_of(hint.ref, known))
        case Action.LOOK:
            return False


def _agrees(hint: Hint, rows: Sequence[Row]) -> bool:
    """Compare field by field, in plain steps: this runs for every event."""
    ref, _, _, size, etag, _, s3_version = hint
    live = False
    for row in rows:
        if row.state != RowState.LIVE or row.s3_version not in (s3_version, ref.s3_version):
            continue
        if row.size not in (size, None) or row.etag not in (etag, None):
            return False
        live = True
    return live
