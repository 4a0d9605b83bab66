"""A past that is written straight into our schema, with times of our choosing: findings with all their changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

FINAL = {"resolved", "deleted"}
FLAGGED = {"flagged", "flagged after release", "adopted"}


class Step(NamedTuple):
    """One change: when, the act, the state after it."""

    at: datetime
    act: str
    state: str | None
    actor: str = "consumer-1"
    why: str = ""
    evidence: dict[str, object] | None = None


class Past(NamedTuple):
    """One finding; it is kept as its last step left it."""

    key: str
    kind: str
    group: str | None
    steps: Sequence[Step]
    cause: str = "the object is gone"
    row_id: str = ""
    size_bytes: int = 1000
    held_by: str | None = None


def write(connection: psycopg.Connection, pasts: Sequence[Past], bucket: str = "files") -> None:
    """Write the findings and their changes."""
    for past in pasts:
        moved = [step for step in past.steps if step.state]
        flagged = moved[-1].state not in FINAL and any(step.act in FLAGGED for step in moved)
        opened = [step.at for step in moved if step.state == "open"]
        kept = {
            "bucket": bucket,
            "key": past.key,
            "row_id": past.row_id,
            "kind": past.kind,
            "cause": past.cause,
            "state": moved[-1].state,
            "group_name": past.group,
            "size_bytes": past.size_bytes,
            "held_by": past.held_by,
            "previous_status": "active" if flagged else None,
            "suspected_at": moved[0].at,
            "opened_at": opened[0] if opened else None,
            "closed_at": moved[-1].at if moved[-1].state in FINAL else None,
        }
        number = insert(connection, "finding", kept)
        before = None
        for step in past.steps:
            told = {"finding_id": number, "subject": f"{bucket}/{past.key}", "at": step.at, "actor": step.actor}
            told |= {"act": step.act, "from_state": before, "to_state": step.state or before, "why": step.why}
            told |= {"evidence": Jsonb(step.evidence or {})}
            told |= {"kind": past.kind, "cause": past.cause} if step.state else {}
            insert(connection, "history", told)
            before = step.state or before


def insert(connection: psycopg.Connection, table: str, values: dict[str, object]) -> int:
    """Insert one row into a table of ours, and return its id."""
    statement = sql.SQL("INSERT INTO reconciler.{} ({}) VALUES ({}) RETURNING id").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Placeholder, values)),
    )
    [(number,)] = connection.execute(statement, values).fetchall()
    return int(number)
