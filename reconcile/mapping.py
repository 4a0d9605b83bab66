"""Compiles the configured mapping and the catalog's types to the few statements over the application's tables.

Every statement that yields rows yields model.Row's fields in their order, whatever the tables look like. Placeholders
are named `row_…`, so that a SELECT can be one arm of somebody's UNION ALL. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from reconcile import expressions
from reconcile.columns import FREE, SEGMENT, SHAPES, Catalog, Family, fits, is_storable
from reconcile.expressions import Tables, at
from reconcile.fitness import misfits
from reconcile.model import Misconfigured, Row, RowState
from reconcile.settings import MappingSettings
from reconcile.template import Ref, Template, inverse

Parameters = dict[str, object]
HIGHEST_KEY = "\U0010ffff" * 4
SAMPLES = {Family.INTEGER: "1", Family.UUID: "00000000-0000-0000-0000-000000000000"}
PROBED = frozenset({Family.TEXT, Family.INTEGER, Family.UUID})


@dataclass(frozen=True, slots=True)
class Mapping:
    """The statements; None is what the tables do not allow: flagging without a status, young rows without a time."""

    lookup: sql.Composed
    by_id: sql.Composed
    in_order: sql.Composed
    live_counts: sql.Composed
    lock: sql.Composed
    flag: sql.Composed | None
    give_back: sql.Composed | None
    young: sql.Composed | None
    probe: tuple[Ref, ...]
    tables: Tables
    sample: Parameters
    parameters: Callable[[Sequence[str]], Parameters]
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
    probe = (Ref("version", settings.version.key),) if template is None else choose_probe(of, template)
    return Mapping(
        lookup=_by_key(of, probe) if template is None else _by_parts(of, probe),
        by_id=_where(of, sql.SQL("{} = ANY({})").format(_id(of), _array(of, _id_ref(of), "row_ids"))),
        in_order=_in_order(of),
        live_counts=_live_counts(of),
        lock=_lock(of),
        flag=_flag(of),
        give_back=_give_back(of),
        young=_young(of),
        probe=probe,
        tables=of,
        sample=_sample(of, probe),
        parameters=_keys if template is None else _parts(of, template, probe),
        is_id=fits(of.column(_id_ref(of)).family),
    )


def _id_ref(of: Tables) -> Ref:
    return Ref("version", of.settings.version.id)


def _id(of: Tables) -> sql.Identifier:
    return at(_id_ref(of))


def _select(of: Tables) -> sql.Composed:
    named = [
        sql.SQL("{} AS {}").format(expression, sql.Identifier(field))
        for expression, field in zip(expressions.columns(of), Row._fields, strict=True)
    ]
    return sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(named), _from(of))


def _from(of: Tables) -> sql.Composed:
    """Return the version table with its parent, a missing one too."""
    alone = sql.SQL("{} AS v").format(expressions.table_name(of.version))
    file_id = of.settings.version.file_id
    if of.file is None or file_id is None:
        return alone
    return sql.SQL("{} LEFT JOIN {} AS f ON {} = {}").format(
        alone,
        expressions.table_name(of.file),
        at(Ref("file", of.settings.file.id)),
        at(Ref("version", file_id)),
    )


def _where(of: Tables, condition: sql.Composable) -> sql.Composed:
    """Return the rows under a condition, those that name an object at all."""
    rows = sql.SQL("{} WHERE {} AND {} IS NOT NULL").format(_select(of), condition, expressions.key(of))
    return rows + _has_bucket(of)


def _has_bucket(of: Tables) -> sql.Composed:
    settled = of.settings.bucket.name
    return sql.Composed([]) if settled else sql.SQL(" AND {} IS NOT NULL").format(expressions.bucket(of))


def _array(of: Tables, ref: Ref, name: str) -> sql.Composed:
    """Return an array parameter in the type of a column, so that the column's index serves it; sent as texts."""
    texts = sql.Placeholder(name, format="b")
    column = of.column(ref)
    if column.family is Family.INTEGER:
        return sql.SQL("{}::text[]::int8[]").format(texts)
    if column.type == ("pg_catalog", "text"):
        return sql.SQL("{}::text[]").format(texts)
    return sql.SQL("{}::text[]::{}[]").format(texts, expressions.type_name(column))


def _by_key(of: Tables, probe: Sequence[Ref]) -> sql.Composed:
    asked = _array(of, probe[0], "row_keys")
    return sql.SQL("{} WHERE {} = ANY({})").format(_select(of), at(probe[0]), asked) + _has_bucket(of)


def _keys(keys: Sequence[str]) -> Parameters:
    """Return the keys as they are; one that PostgreSQL cannot hold would spoil the whole batch."""
    joined = "".join(keys)
    return {"row_keys": list(keys) if is_storable(joined) else [key for key in keys if is_storable(key)]}


def _by_parts(of: Tables, probe: Sequence[Ref]) -> sql.Composed:
    """Return the lookup of a composed key: by the index of some parts, then the key that they compose is compared."""
    names = [f"part_{number}" for number in range(len(probe))]
    arrays = [_array(of, ref, f"row_{name}") for ref, name in zip(probe, names, strict=True)]
    same = [
        sql.SQL("{} = asked.{}").format(at(ref), sql.Identifier(name)) for ref, name in zip(probe, names, strict=True)
    ]
    asked = sql.SQL(" JOIN unnest({}, %(row_keys)b::text[]) AS asked ({}, key) ON {}").format(
        sql.SQL(", ").join(arrays), sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL(" AND ").join(same)
    )
    composed = sql.SQL(' WHERE {} COLLATE "C" = asked.key').format(expressions.key(of))
    return _select(of) + asked + composed + _has_bucket(of)


def _parts(of: Tables, template: Template, probe: Sequence[Ref]) -> Callable[[Sequence[str]], Parameters]:
    """Return the function from keys to the parts that are probed, each beside its key."""
    invert = inverse(template, [_shape(of, template, part) for part in template.parts])
    places = [template.parts.index(ref) for ref in probe]
    fitting = [fits(of.column(ref).family) for ref in probe]
    names = [*(f"row_part_{number}" for number in range(len(probe))), "row_keys"]

    def parameters(keys: Sequence[str]) -> Parameters:
        asked = dict.fromkeys(
            (*(split[place] for place in places), key)
            for key in keys
            if is_storable(key)
            for split in invert(key)
            if all(fit(split[place]) for fit, place in zip(fitting, places, strict=True))
        )
        columns = [list(column) for column in zip(*asked, strict=True)] or [[] for _ in names]
        return dict(zip(names, columns, strict=True))

    return parameters


def _shape(of: Tables, template: Template, part: Ref) -> str:
    return SEGMENT if part in template.segments else SHAPES.get(of.column(part).family, FREE)


def _sample(of: Tables, probe: Sequence[Ref]) -> Parameters:
    """Return parameters that `lookup` and `by_id` can be explained with."""
    parts = {f"row_part_{number}": ref for number, ref in enumerate(probe)}
    typed = {
        name: [SAMPLES.get(of.column(ref).family, "a")] for name, ref in (parts | {"row_ids": _id_ref(of)}).items()
    }
    return {"row_keys": ["a"], **typed}


def choose_probe(of: Tables, template: Template) -> tuple[Ref, ...]:
    """Return the parts to look up by: the longest start of an index that consists of parts, a unique index first.

    Without any index these are all parts of one table, which the check refuses.
    """
    found: list[tuple[tuple[bool, int, bool], tuple[Ref, ...]]] = []
    for side, table in (("version", of.version), ("file", of.file)):
        for index in table.indexes if table else ():
            refs = [Ref(side, column) for column in index.columns]
            usable = [ref in template.parts and of.column(ref).family in PROBED for ref in refs]
            length = (*usable, False).index(False)
            whole = index.unique and length == len(refs)
            found.append(((whole, length, side == "version"), tuple(refs[:length])))
    best = max(found, key=lambda item: item[0], default=((False, 0, False), ()))[1]
    return best or tuple(dict.fromkeys(part for part in template.parts if part.table == template.parts[0].table))


def _in_order(of: Tables) -> sql.Composed:
    key = sql.SQL('{} COLLATE "C"').format(expressions.key(of))
    bounds = sql.SQL("{bucket} = %(row_bucket)s::text AND {key} >= %(row_lower)s::text AND {key} < %(row_upper)s::text")
    condition = bounds.format(bucket=expressions.bucket(of), key=key)
    return sql.SQL("{} ORDER BY {}, {}").format(_where(of, condition), key, _id(of))


def in_order_parameters(bucket: str, lower: str = "", upper: str | None = None) -> Parameters:
    """Return the parameters of `in_order`: the keys of a bucket from `lower` on, up to and without `upper`."""
    return {"row_bucket": bucket, "row_lower": lower, "row_upper": HIGHEST_KEY if upper is None else upper}


def _live(of: Tables) -> sql.Composed:
    return sql.SQL("{} = {}").format(expressions.state(of), expressions.word(RowState.LIVE))


def _live_counts(of: Tables) -> sql.Composed:
    counted = sql.SQL("SELECT COALESCE({}, ''), count(*) FROM {} WHERE {} IS NOT NULL AND {} GROUP BY 1")
    return counted.format(expressions.bucket(of), _from(of), expressions.key(of), _live(of))


def _lock(of: Tables) -> sql.Composed:
    """Return the lock that foreign keys do not meet; it waits for nobody."""
    chosen = sql.SQL('SELECT {}::text FROM {} WHERE {} = ANY({}) ORDER BY {} COLLATE "C", {}')
    rows = chosen.format(_id(of), _from(of), _id(of), _array(of, _id_ref(of), "row_ids"), expressions.key(of), _id(of))
    return sql.SQL("{} FOR NO KEY UPDATE OF v SKIP LOCKED").format(rows)


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
        ids=_array(of, _id_ref(of), "row_ids"),
        id=_id(of),
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
    after = sql.SQL("%(row_after)s::text::{}").format(expressions.type_name(of.column(_id_ref(of))))
    between = sql.SQL("{at} >= {lower} AND {at} <= {upper} AND ({at} > {lower} OR {id} > {after}) AND {live}")
    condition = between.format(
        at=expressions.of_version(column), lower=lower, upper=upper, id=_id(of), after=after, live=_live(of)
    )
    return sql.SQL("{} ORDER BY {}, {} LIMIT %(row_limit)s").format(
        _where(of, condition), expressions.of_version(column), _id(of)
    )


def young_parameters(lower: datetime, upper: datetime, limit: int, after: str | None = None) -> Parameters:
    """Return the parameters of `young`: created in (lower, upper], or at `lower` and behind the row `after`."""
    return {"row_lower": lower, "row_upper": upper, "row_limit": limit, "row_after": after}
