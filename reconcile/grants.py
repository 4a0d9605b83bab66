"""The privileges that the service needs, as SQL for whoever owns the tables: printed, never run. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from reconcile.columns import split_name
from reconcile.fitness import uses
from reconcile.settings import MappingSettings


def grants(mapping: MappingSettings, user: str) -> str:
    """Return the grants for a service that connects as a user of its own."""
    who = sql.Identifier(user)
    ours = (
        sql.SQL("GRANT USAGE ON SCHEMA reconciler TO {who}"),
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA reconciler TO {who}"),
    )
    statements = [*(one.format(who=who) for one in ours), *_tables(mapping, who)]
    return "\n".join(f"{statement.as_string()};" for statement in statements)


def _tables(mapping: MappingSettings, who: sql.Identifier) -> Iterator[sql.Composed]:
    """Yield the reading of the mapped columns, and the writing of the status alone, which locks the row, too."""
    for side, written in (("version", mapping.version.table), ("file", mapping.file.table)):
        named = split_name(written) if written else None
        if named is None:
            continue
        table = sql.Identifier(*(part for part in named if part))
        columns = dict.fromkeys(use.ref.column for use in uses(mapping) if use.ref.table == side)
        listed = sql.SQL(", ").join(map(sql.Identifier, columns))
        yield sql.SQL("GRANT SELECT ({}) ON {} TO {}").format(listed, table, who)
        if side == "version" and mapping.version.status:
            yield sql.SQL("GRANT UPDATE ({}) ON {} TO {}").format(sql.Identifier(mapping.version.status), table, who)
