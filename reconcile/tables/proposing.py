"""Reads the tables of a database and proposes a mapping, which is tried against them before it is told.

Reads the catalog, and some values of a status column. Errors pass through; Misconfigured says why nothing fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import sql

from reconcile.config.settings import MappingSettings, load
from reconcile.database import Connection, queries, sql_file
from reconcile.model import Misconfigured
from reconcile.tables import catalog, proposal
from reconcile.tables.columns import Column, Family, Table
from reconcile.tables.fitness import STATUSES, quoted, unholdable
from reconcile.tables.proposal import KEYS, Candidate, Choice, Guess, Proposed, Reference

SQL = queries(sql_file("generate.sql"))
SAMPLE, MOST_VALUES, SMALL = 10_000, 20, 100_000
ELSEWHERE = {
    "database": {"url": "postgresql://-"},
    "minio": {"endpoint": "http://-", "access_key": "-", "secret_key": "-"},
}
READABLE = "GRANT SELECT on the application's tables to it, or let --database name another user, or another database"
COMPOSED = "a key that is composed of columns is written by hand, as a template (docs/configuration.md, The mapping)"


def propose(connection: Connection, bucket: str = "", only: str = "") -> Proposed:
    """Return a mapping for the table that most likely holds the keys, or for the one that is named."""
    found = list(candidates(connection))
    named = [one for one in found if not only or only in {one.written, f"{one.table.schema}.{one.table.name}"}]
    best = proposal.guess(named)
    if best is None:
        raise Misconfigured(_nothing(found, named, only))
    if only:
        best = proposal.with_parent(best, found)
    choices = [*_choices(connection, best), *proposal.bucket(best, bucket)]
    faults = catalog.check(connection, settings(choices))
    if faults and best.version.rows < SMALL and not catalog.check(connection, settings(choices), scanning=True):
        choices.append(Choice("allow_scan", True, f"about {best.version.rows} rows; {faults[0]}", sure=False))  # noqa: FBT003
        faults = []
    taken = settings(choices)
    before = catalog.check(connection, taken, scanning=True, flagging=True) if not faults else []
    return Proposed(tuple(choices), best.others, tuple(faults), tuple(before))


def _nothing(found: Sequence[Candidate], named: Sequence[Candidate], only: str) -> str:
    if not found:
        return f"there is no table that this user may read; {READABLE}"
    looked = ", ".join(one.written for one in named or found)
    if only and not named:
        return f"--table {only}: there is no such table that we may read; there are {looked}"
    return (
        f"no table has a readable column of text that is called as an object's key is ({', '.join(KEYS)});"
        f" looked at: {looked}; {COMPOSED}"
    )


def candidates(connection: Connection) -> Iterator[Candidate]:
    """Yield every table that we may read, with its foreign keys."""
    listed = connection.execute(SQL["tables"]).fetchall()
    written = {(schema, name): _written(schema, name, visible=visible) for schema, name, visible, _ in listed}
    references: dict[str, dict[str, Reference]] = {}
    for schema, name, column, to_schema, to_name, to_column in connection.execute(SQL["references"]).fetchall():
        if (schema, name) in written and (to_schema, to_name) in written:
            to = Reference(written[to_schema, to_name], to_column)
            references.setdefault(written[schema, name], {})[column] = to
    for schema, name, _, rows in listed:
        own = written[schema, name]
        table = catalog.table(connection, own)
        if table is not None:
            yield Candidate(own, table, rows, references.get(own, {}))


def _written(schema: str, name: str, *, visible: bool) -> str:
    parts = [name] if visible else [schema, name]
    return ".".join(quoted(part) if "." in part or '"' in part else part for part in parts)


def _choices(connection: Connection, best: Guess) -> Iterator[Choice]:
    version, file = best.version, best.file
    unique = proposal.is_indexed(version.table, best.key.name, unique=True)
    yield Choice("version.table", version.written, f"its column {best.key.name} is called as an object's key is")
    yield proposal.row_id(version.table, best.key)
    yield Choice("version.key", best.key.name, f"by its name{', and it is unique' if unique else ''}", unique)
    if best.file_id:
        yield Choice("version.file_id", best.file_id, "it refers to the parent" if file else "by its name")
    yield from _statuses(connection, version, "version")
    if file is not None:
        yield Choice("file.table", file.written, f"{version.written}.{best.file_id} refers to it")
        yield Choice("file.id", version.references[best.file_id].column, "what the foreign key refers to")
        yield from _statuses(connection, file, "file")
    yield from proposal.columns(best)


def _statuses(connection: Connection, one: Candidate, side: str) -> list[Choice]:
    column = proposal.named(one.table, proposal.STATES, STATUSES)
    if column is None:
        return []
    values = list(column.labels) or _values(connection, one.table, column)
    return proposal.status(one.table, side, values, _unwilling(column))


def _values(connection: Connection, table: Table, column: Column) -> list[str]:
    """Return the values that some rows have; a column of more than a few is no status."""
    query = sql.SQL("SELECT DISTINCT value::text FROM (SELECT {} AS value FROM {} LIMIT {}) AS sampled").format(
        sql.Identifier(column.name), sql.Identifier(table.schema, table.name), SAMPLE
    )
    found = sorted(value for (value,) in connection.execute(query).fetchall() if value)
    return found if len(found) <= MOST_VALUES else []


def _unwilling(column: Column) -> str:
    """Say why a status cannot carry a flag as it is, `''` where it can."""
    if column.family is Family.ENUM and any(word in column.labels for word in proposal.FLAGS):
        return ""
    reason = unholdable(column, proposal.FLAGS[0])
    return f"{reason}; until then only findings are written" if reason else ""


def settings(choices: Sequence[Choice]) -> MappingSettings:
    """Return what is taken, as if it were read from a file."""
    return load({**ELSEWHERE, "mapping": tree(choices)}, {}, str).mapping


def tree(choices: Sequence[Choice]) -> dict[str, Any]:
    """Return what is taken, as TOML nests it."""
    root: dict[str, Any] = {}
    for one in choices:
        if one.taken:
            section, _, name = one.key.rpartition(".")
            (root.setdefault(section, {}) if section else root)[name] = one.value
    return root
