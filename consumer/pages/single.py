"""The page of one finding: what it is, what would repair it, the evidence, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from shlex import quote
from typing import Any, NamedTuple

from consumer.commands import remedies
from reconcile import inquiry
from reconcile.config.settings import Settings
from reconcile.database import Connection, Database
from reconcile.human import visible
from reconcile.inquiry import Record
from reconcile.model import FINAL, Kind, ObjectRef, State
from reconcile.repair.remedies import PLANS
from reconcile.repair.superseded import beside

FACTS = (
    "bucket", "s3_version", "version_id", "file_id", "group_name", "owner", "etag", "previous_status", "held_by",
    "named_by", "next_look_at", "next_look_reason",
)  # fmt: skip
WHY = '--why "..."'


class Read(NamedTuple):
    """One finding, and its changes, the latest first."""

    now: datetime
    found: Mapping[str, Any]
    changes: Sequence[Record]


class Repair(NamedTuple):
    """What would repair it, as of now: a sentence, and its command where there is one."""

    said: str
    command: str = ""


def read(connection: Connection, number: int) -> Read | None:
    """Read one finding by its id."""
    found = inquiry.finding(connection, number)
    if found is None:
        return None
    return Read(inquiry.now(connection), found, inquiry.history(connection, [number]))


def repairs(settings: Settings, program: str, database: Database, found: Mapping[str, Any]) -> list[Repair]:
    """Look at both sides now, and return what would bring a missing object back; reads the servers, writes nothing."""
    later = beside(database, settings.mapping, [found["version_id"] or ""])
    superseded = later.by.get(found["version_id"]) or later.untold
    said = [Repair(f"superseded by {superseded}" if later.by else superseded)] if superseded else []
    ref = ObjectRef(found["bucket"], found["key"], found["s3_version"] or "")
    lines = remedies.of_finding(program, settings, database, ref, found["version_id"])
    return said + [of_line(line, program) for line in lines if line != PLANS]


def of_line(line: str, program: str) -> Repair:
    """Take a remedy apart: what it does, and the command."""
    said, found, words = line.rpartition(f": {program} ")
    return Repair(said, f"{program} {words}") if found else Repair(line)


def wants_repair(found: Mapping[str, Any]) -> bool:
    """Tell whether there is something to bring back."""
    return found["kind"] == Kind.MISSING and State(found["state"]) not in FINAL


def steps(found: Mapping[str, Any]) -> Iterator[Repair]:
    """Yield what a person may do next, by kind and state; each command prints its plan, and does it with --apply."""
    number, state = found["id"], State(found["state"])
    is_object = found["kind"] in {Kind.ORPHAN, Kind.LEFTOVER}
    yield Repair(
        "look at both sides now", f"orphans show {number}" if is_object and state not in FINAL else explain(found)
    )
    match state:
        case State.SUSPECTED | State.OPEN:
            if is_object and state is State.OPEN:
                yield Repair("allow it to be deleted", f"orphans approve {number} {WHY}")
            yield Repair("leave it alone", f"findings ignore {number} {WHY}")
        case State.IGNORED:
            yield Repair("take it up again", f"findings reopen {number} {WHY}")
        case State.APPROVED:
            yield Repair("delete what is approved", f"orphans delete {number}")
            yield Repair("withdraw the approval", f"findings reopen {number} {WHY}")
        case State.DELETED:
            yield Repair("bring it back", f"orphans undo {number}")
        case State.RESOLVED:
            pass


def explain(found: Mapping[str, Any]) -> str:
    """Return the command that looks at both sides: by the row, or by a key that can be typed."""
    if found["version_id"]:
        return f"explain {quote(found['version_id'])}"
    if visible(found["key"]) == found["key"]:
        dashes = "-- " if found["key"].startswith("-") else ""
        return f"explain --bucket {quote(found['bucket'])} {dashes}{quote(found['key'])}"
    return f"findings show {found['id']}"


def told(one: Read, repairs: Sequence[Repair]) -> Mapping[str, Any]:
    """Return what the template names; what says nothing is left out."""
    evidence = {name: value for name, value in one.found["evidence"].items() if value not in (None, "", [], {})}
    seen = evidence.pop("object", {})
    evidence |= {f"object_{name}": value for name, value in seen.items() if value is not None}
    facts = {name: one.found[name] for name in FACTS if one.found[name] not in (None, "", [])}
    return {
        "now": one.now,
        "found": one.found,
        "facts": facts,
        "evidence": evidence,
        "changes": one.changes,
        "repairs": repairs,
        "steps": list(steps(one.found)),
    }
