"""Compiles the configured mapping and the catalog's types to the few statements over the application's tables.

Every statement that yields rows yields model.Row's fields in their order, whatever the tables look like. Placeholders
are named `row_…`, so that a SELECT can be one arm of somebody's UNION ALL. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from reconcile.config.settings import MappingSettings
from reconcile.model import Misconfigured, RowState
from reconcile.tables import expressions, selection, tending
from reconcile.tables.columns import Catalog, fits
from reconcile.tables.expressions import Tables
from reconcile.tables.fitness import misfits
from reconcile.tables.selection import Lists, Parameters
from reconcile.tables.template import Ref

HIGHEST_KEY = "\U0010ffff" * 4


@dataclass(frozen=True, slots=True)
class Mapping:
    """The statements; None is what the tables do not allow: flagging without a status, young rows without a time."""

    lookup: sql.Composed
    by_id: sql.Composed
    in_order: sql.Composed
    live_counts: sql.Composed
    flagged_counts: sql.Composed
    lock: sql.Composed
    flag: sql.Composed | None
    give_back: sql.Composed | None
    young: sql.Composed | None
    purge: sql.Composed | None
    siblings: sql.Composed | None
    checksums: sql.Composed | None
    flagged: sql.Composed | None
    in_status: sql.Composed | None
    near: sql.Composed | None
    probe: tuple[Ref, ...]
    tables: Tables
    has_etag: bool
    sample: Parameters
    parameters: Callable[[Sequence[str]], Lists]
    is_id: Callable[[str], bool]

    def ids(self, ids: Sequence[str]) -> Parameters:
        """Return the parameters of `by_id` and `lock`; what is no value of the id's type has no row."""
        return {"row_ids": [one for one in ids if self.is_id(one)]}

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> Parameters:
        """Return the parameters of `flag` and `give_back` for pairs of row id and status."""
        fitting = [(one, status) for one, status in pairs if self.is_id(one)]
        return {"row_ids": [one for one, _ in fitting], "row_statuses": [status for _, status in fitting]}


def compile_mapping(settings: MappingSettings, catalog: Catalog) -> Mapping:
    """Return the statements, or raise Misconfigured with everything that does not fit the catalog."""
    faults = misfits(settings, catalog)
    if faults:
        raise Misconfigured(*faults)
    of = expressions.tables(settings, catalog)
    template = expressions.template(settings)
    probe = (Ref("version", settings.version.key),) if template is None else selection.choose_probe(of, template)
    return Mapping(
        lookup=selection.by_key(of, probe) if template is None else selection.by_parts(of, probe),
        by_id=selection.where(of, selection.has_id(of)),
        in_order=_in_order(of),
        live_counts=_counts(of, RowState.LIVE),
        flagged_counts=_counts(of, RowState.FLAGGED),
        lock=_lock(of),
        flag=_flag(of),
        give_back=_give_back(of),
        young=_young(of),
        purge=tending.purge(of, settings.status.purged),
        siblings=tending.siblings(of),
        checksums=tending.checksums(of),
        flagged=tending.flagged(of),
        in_status=tending.in_status(of),
        near=tending.near(of),
        probe=probe,
        tables=of,
        has_etag=settings.version.etag is not None,
        sample=selection.sample(of, probe),
        parameters=selection.keys_as_they_are if template is None else selection.parts_of(of, template, probe),
        is_id=fits(of.column(selection.id_ref(of)).family),
    )


def _in_order(of: Tables) -> sql.Composed:
    """Return the rows of one bucket in the byte order of their keys; rows of one key come in no order."""
    key = sql.SQL('{} COLLATE "C"').format(expressions.key(of))
    bounds = sql.SQL("{bucket} = %(row_bucket)s::text AND {key} >= %(row_lower)s::text AND {key} < %(row_upper)s::text")
    condition = bounds.format(bucket=expressions.bucket(of), key=key)
    return sql.SQL("{} ORDER BY {}").format(selection.where(of, condition), key)


def in_order_parameters(bucket: str, lower: str = "", upper: str | None = None) -> Parameters:
    """Return the parameters of `in_order`: the keys of a bucket from `lower` on, up to and without `upper`."""
    return {"row_bucket": bucket, "row_lower": lower, "row_upper": HIGHEST_KEY if upper is None else upper}


def _in_state(of: Tables, state: RowState) -> sql.Composed:
    return sql.SQL("{} = {}").format(expressions.state(of), expressions.word(state))


def _counts(of: Tables, state: RowState) -> sql.Composed:
    counted = sql.SQL("SELECT COALESCE({}, ''), count(*) FROM {} WHERE {} IS NOT NULL AND {} GROUP BY 1")
    return counted.format(expressions.bucket(of), selection.source(of), expressions.key(of), _in_state(of, state))


def _lock(of: Tables) -> sql.Composed:
    """Return the lock that foreign keys do not meet; it waits for nobody."""
    chosen = sql.SQL('SELECT {id}::text FROM {source} WHERE {has_id} ORDER BY {key} COLLATE "C", {id}').format(
        id=selection.row_id(of), source=selection.source(of), has_id=selection.has_id(of), key=expressions.key(of)
    )
    return sql.SQL("{} FOR NO KEY UPDATE OF v SKIP LOCKED").format(chosen)


def _update(of: Tables, status: str, value: sql.Composable, condition: sql.Composable) -> sql.Composed:
    """Return the update of the status alone, of rows named by id, each with a status beside it."""
    update = sql.SQL(
        "UPDATE {table} AS v SET {status} = {value} FROM unnest({ids}, %(row_statuses)b::text[]) AS asked (id, status)"
        " WHERE {id} = asked.id AND {condition} RETURNING {id}::text"
    )
    return update.format(
        table=expressions.table_name(of.version),
        status=expressions.plain(status),
        value=sql.SQL("{}::{}").format(value, expressions.type_name(of.column(Ref("version", status)))),
        ids=selection.array(of, selection.id_ref(of), "row_ids"),
        id=selection.row_id(of),
        condition=condition,
    )


def _flag(of: Tables) -> sql.Composed | None:
    status = of.settings.version.status
    if status is None:
        return None
    still = sql.SQL("COALESCE({}::text, '') = asked.status").format(expressions.of_version(status))
    return _update(of, status, expressions.word(of.settings.status.flag), still)


def _give_back(of: Tables) -> sql.Composed | None:
    """Return the way back; an empty status stands for NULL where the column allows it."""
    status = of.settings.version.status
    if status is None:
        return None
    nullable = of.column(Ref("version", status)).nullable
    former = sql.SQL("NULLIF(asked.status, '')") if nullable else sql.SQL("asked.status")
    flagged = sql.SQL("{}::text = {}").format(expressions.of_version(status), expressions.word(of.settings.status.flag))
    return _update(of, status, former, flagged)


def _young(of: Tables) -> sql.Composed | None:
    """Return live rows by age; `row_after` names the last row seen at the very moment `row_lower`, or is NULL."""
    column = of.settings.version.created_at
    if column is None:
        return None
    lower, upper = (
        expressions.as_stored(of, sql.SQL("{}::timestamptz").format(sql.Placeholder(name)))
        for name in ("row_lower", "row_upper")
    )
    after = sql.SQL("%(row_after)s::text::{}").format(expressions.type_name(of.column(selection.id_ref(of))))
    between = sql.SQL("{at} >= {lower} AND {at} <= {upper} AND ({at} > {lower} OR {id} > {after}) AND {live}")
    condition = between.format(
        at=expressions.of_version(column),
        lower=lower,
        upper=upper,
        id=selection.row_id(of),
        after=after,
        live=_in_state(of, RowState.LIVE),
    )
    return sql.SQL("{} ORDER BY {}, {} LIMIT %(row_limit)s").format(
        selection.where(of, condition), expressions.of_version(column), selection.row_id(of)
    )


def young_parameters(lower: datetime, upper: datetime, limit: int, after: str | None = None) -> Parameters:
    """Return the parameters of `young`: created in (lower, upper], or at `lower` and behind the row `after`."""
    return {"row_lower": lower, "row_upper": upper, "row_limit": limit, "row_after": after}
