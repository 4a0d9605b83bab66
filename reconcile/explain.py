"""Says of one reference what both sides are, what that means, what would be done, and what would repair it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reconcile.human import Value, duration
from reconcile.life import Subject, next_change, subjects
from reconcile.life import next_look as look_of
from reconcile.model import (
    Absent,
    Drift,
    Foreign,
    Healthy,
    Kind,
    Known,
    NotAsked,
    ObjectRef,
    ObjectSide,
    Policy,
    Present,
    Row,
    Undecided,
    Unknown,
)
from reconcile.reports.forms import Section, Table

ROWS = (
    "version_id",
    "state",
    "status",
    "size_bytes",
    "etag",
    "file_id",
    "group",
    "owner",
    "created_at",
    "superseded_by",
)
VERDICTS = ("subject", "verdict", "why", "what_a_look_does")
FINDINGS = ("id", "kind", "state", "cause", "version_id", "suspected_at", "opened_at", "closed_at", "held_by")
HISTORY = ("at", "act", "from_state", "to_state", "actor", "why", "named_by", "object")
LOOK = ("due_at", "reason", "attempt")


@dataclass(frozen=True, slots=True)
class Seen:
    """One reference as it is now; `kept` is None where our schema is not there.

    `superseded` names for each row the later live version of its file, if there is one, `remedies` what would help.
    """

    ref: ObjectRef
    known: Known
    side: ObjectSide
    kept: Kept | None
    superseded: Mapping[str, str] = field(default_factory=dict)
    remedies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """What we keep of a reference: records of inquiry.sql's `of_key`, `look` and `history`."""

    findings: Sequence[tuple[Any, ...]]
    looks: Sequence[tuple[Any, ...]]
    history: Sequence[tuple[Any, ...]]


def explained(seen: Seen, now: datetime, policy: Policy) -> Section:
    """Return everything about one reference."""
    judged = list(subjects(seen.ref, seen.known, seen.side))
    named = {name: part for name, part in seen.ref._asdict().items() if part}
    facts: dict[str, Value] = {**named, **object_facts(seen.side)}
    listed = [(*row_facts(row), seen.superseded.get(row.row_id)) for row in seen.known.rows]
    rows = Table("rows", ROWS, listed, "Rows", none="no row names this key")
    verdicts = [verdict(one, seen.known.attempt, now, policy) for one in judged]
    meant = Table("verdicts", VERDICTS, verdicts, "What that means")
    repairs = tuple(dict.fromkeys(repair for one in judged for repair in repairs_of(one, seen)))
    healing = (Section("repair", "What would repair it", notes=repairs),) if repairs else ()
    return Section("object", "", facts, (rows, meant, *healing, *kept(seen.kept)))


def drifts(seen: Seen) -> bool:
    """Tell whether the two sides disagree."""
    return any(isinstance(one.verdict, Drift) for one in subjects(seen.ref, seen.known, seen.side))


def object_facts(side: ObjectSide) -> Mapping[str, Value]:
    """Return what the object side was seen to be."""
    match side:
        case Present(size, etag, s3_version, last_modified):
            version: dict[str, Value] = {"stored_version": s3_version} if s3_version else {}
            return {"object": "present", "size_bytes": size, "etag": etag, "last_modified_at": last_modified, **version}
        case Absent(code, delete_marker):
            return {"object": "absent", "answer": code} | ({"delete_marker": delete_marker} if delete_marker else {})
        case Unknown(reason):
            return {"object": "unknown", "answer": reason}
        case NotAsked():
            return {"object": "unknown", "answer": "not asked"}


def row_facts(row: Row) -> tuple[Value, ...]:
    """Return a row's cells."""
    state = row.state.replace("_", " ")
    return row.row_id, state, row.status, row.size, row.etag, row.file_id, row.group, row.owner, row.created_at


def verdict(one: Subject, attempt: int, now: datetime, policy: Policy) -> tuple[str, str, str, str]:
    """Return a verdict's cells, and what the reconciler would do on a look now."""
    subject = f"row {one.row_id}" if one.row_id else "the object"
    return subject, *meaning(one), consequence(one, attempt, now, policy)


def meaning(one: Subject) -> tuple[str, str]:
    """Return a verdict's word and its reason."""
    match one.verdict:
        case Healthy(why):
            return "healthy", why
        case Drift(kind, cause):
            return str(kind), cause
        case Foreign():
            return "foreign", "the row carries a flag that is not ours"
        case Undecided(reason):
            return "unknown", reason


def consequence(one: Subject, attempt: int, now: datetime, policy: Policy) -> str:
    """Say what would change in the finding's life, and when it would be looked at again."""
    change = next_change(one, now, policy)
    look = look_of(one, change, attempt, now, policy)
    if change is None and look is None:
        return "nothing"
    done = change.act if change else "nothing yet"
    return f"{done}; again in {duration(look.after.total_seconds())} ({look.reason})" if look else done


def repairs_of(one: Subject, seen: Seen) -> Iterator[str]:
    """Yield what a person can do about one verdict; our own flags heal by themselves."""
    match one.verdict:
        case Drift(Kind.MISSING):
            yield from _missing(one, seen.side)
            yield from seen.remedies.get(one.row_id, ())
        case Drift(Kind.MISMATCH, cause):
            yield f"put the content back that the row describes, or correct the row ({cause})"
        case Drift(Kind.ORPHAN):
            yield "commit the row that names the object; or, once a person has approved it, delete the object"
        case Drift(Kind.LEFTOVER):
            yield "delete the object, once a person has approved it; or make its row live again"
        case Foreign():
            yield "whoever set the flag has to take it back: it is not ours, and is never touched"
        case Undecided():
            yield "nothing was proven, so nothing is done; see that the bucket can be read"
        case Healthy():
            return


def _missing(one: Subject, side: ObjectSide) -> Iterator[str]:
    marker = side.delete_marker if isinstance(side, Absent) else None
    size = one.row.size if one.row else None
    if marker and one.finding is None:  # else it was looked at closer
        yield f"remove the delete marker {marker}: the object is below it"
    yield f"put the object back{f', {size:,} bytes as the row says' if size is not None else ''}"
    if one.finding and one.finding.previous_status:
        yield f"the row's status {one.finding.previous_status!r} is then given back by itself"


def kept(known: Kept | None) -> tuple[Section | Table, ...]:
    """Return what we keep: findings, the next look, history."""
    if known is None:
        note = "the schema reconciler is not in this database (storage-reconciler init): no findings, looks or history"
        return (Section("kept", "", notes=(note,)),)
    if not (known.findings or known.looks or known.history):
        return (Section("kept", "", notes=("nothing is kept of it: no finding, no look planned, no history",)),)
    return (
        Table("findings", FINDINGS, known.findings, "Findings", none="none is kept"),
        Table("next_look", LOOK, known.looks, "Next look", none="none is planned"),
        Table("history", HISTORY, known.history, "History, the latest first", none="none is kept"),
    )
