"""How the rows of given keys are found: the SELECT that every statement shares, and the lookup by key or by its parts.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from psycopg import sql

from reconcile.model import Row
from reconcile.tables import expressions
from reconcile.tables.columns import FREE, SEGMENT, SHAPES, Family, fits, is_storable
from reconcile.tables.expressions import Tables, at
from reconcile.tables.template import Ref, Template, inverse

Parameters = dict[str, object]
Lists = Mapping[str, Sequence[str]]
SAMPLES = {Family.INTEGER: "1", Family.UUID: "00000000-0000-0000-0000-000000000000"}
PROBED = frozenset({Family.TEXT, Family.INTEGER, Family.UUID})


def id_ref(of: Tables) -> Ref:
    """Return the column of the row's id."""
    return Ref("version", of.settings.version.id)


def row_id(of: Tables) -> sql.Identifier:
    """Return the row's id as it is stored."""
    return at(id_ref(of))


def has_id(of: Tables) -> sql.Composed:
    """Return the condition of being one of the ids that are asked for."""
    return sql.SQL("{} = ANY({})").format(row_id(of), array(of, id_ref(of), "row_ids"))


def select(of: Tables) -> sql.Composed:
    """Return the SELECT of model.Row's fields, in their order."""
    named = [
        sql.SQL("{} AS {}").format(expression, sql.Identifier(field))
        for expression, field in zip(expressions.columns(of), Row._fields, strict=True)
    ]
    return sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(named), source(of))


def source(of: Tables) -> sql.Composed:
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


def where(of: Tables, condition: sql.Composable) -> sql.Composed:
    """Return the rows under a condition, those that name an object at all."""
    rows = sql.SQL("{} WHERE {} AND {} IS NOT NULL").format(select(of), condition, expressions.key(of))
    return rows + has_bucket(of)


def has_bucket(of: Tables) -> sql.Composed:
    """Return the rest of a condition: that the row's bucket is known."""
    settled = of.settings.bucket.name
    return sql.Composed([]) if settled else sql.SQL(" AND {} IS NOT NULL").format(expressions.bucket(of))


def array(of: Tables, ref: Ref, name: str) -> sql.Composed:
    """Return an array parameter in the type of a column, so that the column's index serves it; sent as texts."""
    texts = sql.Placeholder(name, format="b")
    column = of.column(ref)
    if column.family is Family.INTEGER:
        return sql.SQL("{}::text[]::int8[]").format(texts)
    if column.type == ("pg_catalog", "text"):
        return sql.SQL("{}::text[]").format(texts)
    return sql.SQL("{}::text[]::{}[]").format(texts, expressions.type_name(column))


def by_key(of: Tables, probe: Sequence[Ref]) -> sql.Composed:
    """Return the lookup of a key that is a column."""
    asked = array(of, probe[0], "row_keys")
    return sql.SQL("{} WHERE {} = ANY({})").format(select(of), at(probe[0]), asked) + has_bucket(of)


def keys_as_they_are(keys: Sequence[str]) -> Lists:
    """Return the keys as they are; one that PostgreSQL cannot hold would spoil the whole batch."""
    joined = "".join(keys)
    return {"row_keys": list(keys) if is_storable(joined) else [key for key in keys if is_storable(key)]}


def by_parts(of: Tables, probe: Sequence[Ref]) -> sql.Composed:
    """Return the lookup of a composed key: by the index of some parts, then the key that they compose is compared."""
    names = [f"part_{number}" for number in range(len(probe))]
    arrays = [array(of, ref, f"row_{name}") for ref, name in zip(probe, names, strict=True)]
    same = [
        sql.SQL("{} = asked.{}").format(at(ref), sql.Identifier(name)) for ref, name in zip(probe, names, strict=True)
    ]
    asked = sql.SQL(" JOIN unnest({}, %(row_keys)b::text[]) AS asked ({}, key) ON {}").format(
        sql.SQL(", ").join(arrays), sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL(" AND ").join(same)
    )
    composed = sql.SQL(' WHERE {} COLLATE "C" = asked.key').format(expressions.key(of))
    return select(of) + asked + composed + has_bucket(of)


def parts_of(of: Tables, template: Template, probe: Sequence[Ref]) -> Callable[[Sequence[str]], Lists]:
    """Return the function from keys to the parts that are probed, each beside its key."""
    invert = inverse(template, [_shape(of, template, part) for part in template.parts])
    places = [template.parts.index(ref) for ref in probe]
    fitting = [fits(of.column(ref).family) for ref in probe]
    names = [*(f"row_part_{number}" for number in range(len(probe))), "row_keys"]

    def parameters(keys: Sequence[str]) -> Lists:
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
    column = of.column(part)
    if part in template.segments:
        return SEGMENT
    return FREE if any("/" in label for label in column.labels) else SHAPES.get(column.family, FREE)


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


def sample(of: Tables, probe: Sequence[Ref]) -> Parameters:
    """Return parameters that `lookup` and `by_id` can be explained with."""
    parts = {f"row_part_{number}": ref for number, ref in enumerate(probe)}
    typed = {name: [SAMPLES.get(of.column(ref).family, "a")] for name, ref in (parts | {"row_ids": id_ref(of)}).items()}
    return {"row_keys": ["a"], **typed}
