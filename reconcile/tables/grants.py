"""The privileges that the commands need, as SQL for whoever owns the tables: printed, never run. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

from psycopg import sql

from reconcile.config.settings import MappingSettings
from reconcile.tables.columns import split_name
from reconcile.tables.fitness import uses

NEW_ROLE = sql.SQL(
    "DO $role$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {}) "
    "THEN CREATE ROLE {} LOGIN; END IF; END $role$"
)
READING, WRITING = sql.SQL("SELECT"), sql.SQL("SELECT, INSERT, UPDATE, DELETE")


class Level(IntEnum):
    """What a role may do in the database; each but the owner may do what the one below it may."""

    OWN = 0  # our schema, and nothing of the application's but to read it
    READ = 1  # the mapped columns, and what was found
    KEEP = 2  # write our schema, and the status column
    PURGE = 3  # delete a version's row, where a purge deletes


def grants(mapping: MappingSettings, user: str, level: Level = Level.KEEP, owner: str = "") -> str:
    """Return the grants for a user of its own; what `owner` makes of our schema later is granted, too."""
    who = sql.Identifier(user)
    return _script([*_ours(who, level, owner), *_tables(mapping, who, level)])


def role(user: str) -> str:
    """Return what makes a role that logs in, unless it is there; its password is another matter."""
    return _script([NEW_ROLE.format(sql.Literal(user), sql.Identifier(user))])


def owning(user: str, database: str) -> str:
    """Return what makes a role the owner of our schema, which its migrations need."""
    who = sql.Identifier(user)
    return _script(
        [
            sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(database), who),
            sql.SQL("CREATE SCHEMA IF NOT EXISTS reconciler AUTHORIZATION {}").format(who),
        ]
    )


def _script(statements: list[sql.Composed]) -> str:
    return "\n".join(f"{statement.as_string()};" for statement in statements)


def _ours(who: sql.Identifier, level: Level, owner: str) -> Iterator[sql.Composed]:
    """Yield what may be done with our own schema."""
    if level is Level.OWN:
        return
    may = READING if level is Level.READ else WRITING
    yield sql.SQL("GRANT USAGE ON SCHEMA reconciler TO {}").format(who)
    yield sql.SQL("GRANT {} ON ALL TABLES IN SCHEMA reconciler TO {}").format(may, who)
    if owner:
        later = sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA reconciler GRANT {} ON TABLES TO {}")
        yield later.format(sql.Identifier(owner), may, who)


def _tables(mapping: MappingSettings, who: sql.Identifier, level: Level) -> Iterator[sql.Composed]:
    """Yield the reading of the mapped columns, and the writing of the status alone, which locks the row, too."""
    for side, written in (("version", mapping.version.table), ("file", mapping.file.table)):
        named = split_name(written) if written else None
        if named is None:
            continue
        table = sql.Identifier(*(part for part in named if part))
        columns = dict.fromkeys(use.ref.column for use in uses(mapping) if use.ref.table == side)
        listed = sql.SQL(", ").join(map(sql.Identifier, columns))
        yield sql.SQL("GRANT SELECT ({}) ON {} TO {}").format(listed, table, who)
        if side == "version":
            yield from _writing(mapping, who, table, level)


def _writing(
    mapping: MappingSettings, who: sql.Identifier, table: sql.Identifier, level: Level
) -> Iterator[sql.Composed]:
    if level >= Level.KEEP and mapping.version.status:
        yield sql.SQL("GRANT UPDATE ({}) ON {} TO {}").format(sql.Identifier(mapping.version.status), table, who)
    if level is Level.PURGE and not mapping.status.purged:
        yield sql.SQL("GRANT DELETE ON {} TO {}").format(table, who)
