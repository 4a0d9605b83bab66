"""What a person does to the reconciler itself: release a brake, set it up, take it down; each kept in the history.

Decides nothing and asks nobody: whoever calls has shown the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from reconcile import ledger
from reconcile.database import (
    BRAKE_LOCK,
    Connection,
    Database,
    Migration,
    migrate,
    migrations,
    pending,
    queries,
    sql_file,
)
from reconcile.database import SQL as LEDGER
from reconcile.inquiry import explaining
from reconcile.model import Facts

SQL = queries(sql_file("acts.sql"))


@dataclass(frozen=True, slots=True)
class Who:
    """Who acts, and why, as the history will say."""

    actor: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Released:
    """The brakes that were lifted, as (id, bucket, kind, since, why), and how many findings were freed."""

    brakes: Sequence[tuple[Any, ...]]
    freed: int


def release(database: Database, who: Who, kinds: Sequence[str]) -> Released:
    """Lift the brakes of these kinds and free what they held, in one transaction under the brake's lock."""
    with database.use() as connection, explaining(), connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [BRAKE_LOCK])
        brakes = ledger.lift(connection, "brake", None, who.actor, kinds)
        parameters = {"actor": who.actor, "why": who.why, "kinds": list(kinds)}
        [(freed,)] = connection.execute(LEDGER["free_held"], parameters).fetchall()
        for _, bucket, kind, since, why in brakes:
            facts = {"bucket": bucket, "kind": kind, "since": since, "set_for": why}
            note(connection, who, "brake released", f"brake {kind} {bucket}".strip(), facts)
    return Released(brakes, freed)


def tell(database: Database | None, who: Who, act: str, subject: str, facts: Facts) -> None:
    """Keep in the history what was done elsewhere, such as in MinIO, if there is a history."""
    if database is None:
        return
    with database.use() as connection, explaining():
        if pending(connection) != migrations():
            note(connection, who, act, subject, facts)


def install(database: Database, who: Who) -> list[int]:
    """Bring our schema up to date; returns the migrations that were applied."""
    with database.use() as connection, explaining():
        applied = migrate(connection)
        note(connection, who, "migrated", "schema reconciler", {"migrations": applied})
    return applied


def applied(migration: Migration) -> sql.Composed:
    """Return the statement that keeps a migration as applied, for those who apply it by hand."""
    number, sha256 = sql.Literal(migration.number), sql.Literal(migration.sha256)
    return sql.SQL(SQL["migrated"]).format(number=number, sha256=sha256)


def drop(database: Database) -> None:
    """Drop our schema with everything that is kept in it."""
    with database.use() as connection, explaining():
        connection.execute(SQL["drop"])


def holdings(connection: Connection) -> tuple[int, int]:
    """Return how many findings are not closed, and how many rows carry our flag."""
    [(findings, flagged)] = connection.execute(SQL["holdings"]).fetchall()
    return findings, flagged


def note_findings(database: Database, who: Who, ids: Sequence[int], act: str = "noted", *, once: bool = False) -> int:
    """Keep a line in the history of findings that changes no state; returns of how many.

    With `once` the same is not said again right after it: what stays as it is each night fills no history.
    """
    with database.use() as connection, explaining():
        parameters = {"actor": who.actor, "why": who.why, "ids": list(ids), "act": act, "once": once}
        return connection.execute(SQL["note_finding"], parameters).rowcount


def note(connection: Connection, who: Who, act: str, subject: str, facts: Facts) -> None:
    """Keep in the history what was done to no finding in particular."""
    parameters = {"subject": subject, "actor": who.actor, "act": act, "why": who.why, "evidence": Jsonb(facts)}
    connection.execute(SQL["note"], parameters)
