"""Which versions a later one of the same file supersedes: shown beside what is found; it resolves nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from reconcile import inquiry, rows
from reconcile.config.settings import MappingSettings
from reconcile.database import Connection, Database
from reconcile.inquiry import explaining
from reconcile.model import Misconfigured, RowState, Unavailable
from reconcile.rows import Sibling
from reconcile.tables.catalog import compiled
from reconcile.tables.mapping import Mapping as RowMapping

PATIENCE = "3s"  # for a list that tells it besides; whoever purges waits longer


@dataclass(frozen=True, slots=True)
class Superseded:
    """By which live version, in words, of those rows that one supersedes; `untold` says why that is not known."""

    by: Mapping[str, str] = field(default_factory=dict)
    untold: str = ""


def in_words(siblings: Iterable[Sibling]) -> dict[str, str]:
    """Name the latest of the live versions that came after each row: by its number, else by its id."""
    later = [one for one in siblings if one.later and one.state == RowState.LIVE]
    latest = {one.of: one for one in sorted(later, key=lambda one: (one.number or 0, one.row_id))}
    return {of: f"version {one.number if one.number is not None else one.row_id}" for of, one in latest.items()}


def has_others(siblings: Iterable[Sibling]) -> set[str]:
    """Return the rows whose file has another live version, later or not."""
    return {one.of for one in siblings if one.state == RowState.LIVE}


def good(connection: Connection, mapping: RowMapping, row_ids: Sequence[str]) -> list[Sibling]:
    """Return the other versions of each row's file, but those with a finding of their own: they stand in for none."""
    beside = rows.siblings(connection, mapping, row_ids)
    if not beside or not inquiry.is_installed(connection):
        return beside
    drifting = set(inquiry.records(connection, "drifting", row_ids=[one.row_id for one in beside]))
    return [one for one in beside if (one.row_id,) not in drifting]


def read(connection: Connection, mapping: RowMapping, row_ids: Sequence[str]) -> Superseded:
    """Read what supersedes these rows."""
    named = [one for one in row_ids if one]
    return Superseded(in_words(good(connection, mapping, named))) if named else Superseded()


def beside(database: Database, settings: MappingSettings, row_ids: Sequence[str]) -> Superseded:
    """Read the same for whoever tells it besides: where that fails, or takes long, it says so."""
    if not settings.version.table or not settings.version.key or not any(row_ids):
        return Superseded()
    try:
        with database.use() as connection, explaining(), connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = '{PATIENCE}'".encode())
            return read(connection, compiled(connection, settings), row_ids)
    except (Misconfigured, Unavailable) as error:
        return Superseded(untold=f"whether a later version supersedes one is not told: {str(error).splitlines()[0]}")
