"""The statements for what is done about a finding: purge, versions beside it, checksums, others' flags, neighbours.

Pure. They share the mapping's expressions; a look needs none of them.
"""

from __future__ import annotations

from psycopg import sql

from reconcile.model import RowState
from reconcile.tables import expressions, selection
from reconcile.tables.expressions import Tables
from reconcile.tables.template import Ref, is_template

SIDE = 3


def purge(of: Tables, status: str) -> sql.Composed | None:
    """Return what is done with flagged rows named by id, each beside 'alone' if it may be a file's only version.

    Deletes the row, or sets `status`. A row whose file has no other live version is left, unless it may be alone.
    """
    column = of.settings.version.status
    if column is None:
        return None
    gone = sql.SQL("gone.{}")
    asked = sql.SQL("unnest({}, %(row_statuses)b::text[]) AS asked (id, alone)").format(
        selection.array(of, selection.id_ref(of), "row_ids")
    )
    condition = sql.SQL("{id} = asked.id AND {status}::text = {flag} AND (asked.alone = 'alone' OR {others})").format(
        id=gone.format(expressions.plain(of.settings.version.id)),
        status=gone.format(expressions.plain(column)),
        flag=expressions.word(of.settings.status.flag),
        others=_has_another(of, gone),
    )
    table, row_id = expressions.table_name(of.version), gone.format(expressions.plain(of.settings.version.id))
    if not status:
        deleting = sql.SQL("DELETE FROM {} AS gone USING {} WHERE {} RETURNING {}::text")
        return deleting.format(table, asked, condition, row_id)
    value = sql.SQL("{}::{}").format(expressions.word(status), expressions.type_name(of.column(Ref("version", column))))
    setting = sql.SQL("UPDATE {} AS gone SET {} = {} FROM {} WHERE {} RETURNING {}::text")
    return setting.format(table, expressions.plain(column), value, asked, condition, row_id)


def _has_another(of: Tables, gone: sql.SQL) -> sql.Composable:
    """Return whether the row's file has another live version; without files no row has."""
    file_id = of.settings.version.file_id
    if file_id is None:
        return sql.SQL("false")
    exists = sql.SQL(
        "EXISTS (SELECT FROM {source} WHERE {file} = {own_file} AND {id} <> {own_id} AND {state} = {live})"
    )
    return exists.format(
        source=selection.source(of),
        file=expressions.of_version(file_id),
        own_file=gone.format(expressions.plain(file_id)),
        id=selection.row_id(of),
        own_id=gone.format(expressions.plain(of.settings.version.id)),
        state=expressions.state(of),
        live=expressions.word(RowState.LIVE),
    )


def siblings(of: Tables) -> sql.Composed | None:
    """Return (row id, sibling's id, its number, its state, whether it came later) for rows named by id."""
    file_id, number, created_at = (getattr(of.settings.version, name) for name in ("file_id", "number", "created_at"))
    if file_id is None:
        return None
    mine = sql.SQL("mine.{}")
    own_id = mine.format(expressions.plain(of.settings.version.id))
    later: sql.Composable = sql.SQL("false")
    if order := number or created_at:
        later = sql.SQL("COALESCE({} > {}, false)").format(
            expressions.of_version(order), mine.format(expressions.plain(order))
        )
    inner = sql.SQL(
        "SELECT {id}::text AS id, {number} AS number, {state} AS state, {later} AS later FROM {source}"
        " WHERE {file} = {own_file} AND {id} <> {own_id}"
    ).format(
        id=selection.row_id(of),
        number=expressions.optional(number, sql.SQL("{}::int8"), sql.SQL("NULL::int8")),
        state=expressions.state(of),
        later=later,
        source=selection.source(of),
        file=expressions.of_version(file_id),
        own_file=mine.format(expressions.plain(file_id)),
        own_id=own_id,
    )
    return sql.SQL(
        "SELECT {own_id}::text, other.id, other.number, other.state, other.later"
        " FROM {table} AS mine CROSS JOIN LATERAL ({inner}) AS other WHERE {own_id} = ANY({ids})"
    ).format(
        own_id=own_id,
        table=expressions.table_name(of.version),
        inner=inner,
        ids=selection.array(of, selection.id_ref(of), "row_ids"),
    )


def checksums(of: Tables) -> sql.Composed | None:
    """Return (row id, SHA-256 as it is written) for rows named by id that have one."""
    if of.settings.version.sha256 is None:
        return None
    return sql.SQL("SELECT {id}::text, {sum} FROM {source} WHERE {has_id} AND {sum} IS NOT NULL").format(
        id=selection.row_id(of),
        sum=expressions.checksum(of),
        source=selection.source(of),
        has_id=selection.has_id(of),
    )


def flagged(of: Tables) -> sql.Composed | None:
    """Return rows that carry the flag, in the order of their ids; `row_after` names the last one seen, or is NULL."""
    status = of.settings.version.status
    if status is None:
        return None
    condition = sql.SQL(
        "{status}::text = {flag} AND (%(row_after)s::text IS NULL OR {id} > %(row_after)s::text::{type})"
    )
    rows = selection.where(
        of,
        condition.format(
            status=expressions.of_version(status),
            flag=expressions.word(of.settings.status.flag),
            id=selection.row_id(of),
            type=expressions.type_name(of.column(selection.id_ref(of))),
        ),
    )
    return sql.SQL("{} ORDER BY {} LIMIT %(row_limit)s").format(rows, selection.row_id(of))


def in_status(of: Tables) -> sql.Composed | None:
    """Return one row that has a status, whatever it means; None where none is mapped."""
    status = of.settings.version.status
    if status is None:
        return None
    one = sql.SQL("SELECT {id}::text FROM {table} AS v WHERE {status}::text = %(row_status)s::text LIMIT 1")
    return one.format(
        id=selection.row_id(of), table=expressions.table_name(of.version), status=expressions.of_version(status)
    )


def near(of: Tables) -> sql.Composed | None:
    """Return the rows on both sides of a key in its index, in the index's own order; None for a composed key."""
    if is_template(of.settings.version.key):
        return None
    ref = Ref("version", of.settings.version.key)
    column, asked = expressions.at(ref), sql.SQL("%(row_key)s::text::{}").format(expressions.type_name(of.column(ref)))
    side = sql.SQL("({rows} ORDER BY {column} {order} LIMIT {most})")
    above, below = (
        side.format(
            rows=selection.where(of, sql.SQL("{} {} {}").format(column, sql.SQL(compared), asked)),
            column=column,
            order=sql.SQL(order),
            most=sql.Literal(SIDE),
        )
        for compared, order in ((">=", "ASC"), ("<", "DESC"))
    )
    return sql.SQL("{} UNION ALL {}").format(above, below)
