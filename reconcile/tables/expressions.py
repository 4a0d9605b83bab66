"""The SQL of each column that a mapping yields, from what is configured and the types that were found. Pure.

`v` is the version table, `f` its parent. A name or a word may hold a '%', which the driver reads as a placeholder, so
it is doubled here; whatever is built of these is executed with parameters, be they none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from reconcile.config.settings import MappingSettings
from reconcile.model import RowState
from reconcile.tables.columns import Catalog, Column, Family, Table
from reconcile.tables.template import Ref, Template, is_template, parse, reference

ALIASES = {"version": "v", "file": "f"}
EARLIEST = sql.SQL("timestamptz '0001-01-02 00:00:00+00'")  # what Python's datetime can hold, in any zone
LATEST = sql.SQL("timestamptz '9999-12-30 00:00:00+00'")


@dataclass(frozen=True, slots=True)
class Tables:
    """What is configured, and the tables it was found to mean; both exist."""

    settings: MappingSettings
    version: Table
    file: Table | None

    def table(self, ref: Ref) -> Table:
        """Return the table of a column."""
        return self.file if ref.table == "file" and self.file else self.version

    def column(self, ref: Ref) -> Column:
        """Return what the catalog says of a column."""
        return self.table(ref).columns[ref.column]


def tables(settings: MappingSettings, catalog: Catalog) -> Tables:
    """Return the tables of a mapping that fits the catalog."""
    if catalog.version is None:
        raise ValueError("the mapping does not fit the catalog")
    return Tables(settings, catalog.version, catalog.file)


def at(ref: Ref) -> sql.Identifier:
    """Return a column by its table's alias."""
    return sql.Identifier(ALIASES[ref.table], _escaped(ref.column))


def of_version(column: str) -> sql.Identifier:
    """Return a column of the version table."""
    return at(Ref("version", column))


def plain(column: str) -> sql.Identifier:
    """Return a column's bare name, as SET wants it."""
    return sql.Identifier(_escaped(column))


def word(value: str) -> sql.Composed:
    """Return a constant text."""
    return sql.SQL("{}::text").format(sql.Literal(_escaped(value)))


def words(values: Iterable[str]) -> sql.Composed:
    """Return constant texts, separated by commas."""
    return sql.SQL(", ").join([word(value) for value in values])


def type_name(column: Column) -> sql.Identifier:
    """Return the column's type, by its schema."""
    return sql.Identifier(*map(_escaped, column.type))


def table_name(table: Table) -> sql.Identifier:
    """Return a table by its schema."""
    return sql.Identifier(_escaped(table.schema), _escaped(table.name))


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def as_text(ref: Ref) -> sql.Composed:
    """Return a column as text."""
    return sql.SQL("{}::text").format(at(ref))


def optional(column: str | None, expression: sql.SQL, missing: sql.SQL) -> sql.Composable:
    """Return the expression over a column of the version table, or what stands for one that is not mapped."""
    return expression.format(of_version(column)) if column else missing


def columns(of: Tables) -> list[sql.Composable]:
    """Return the expressions of model.Row's fields, in their order."""
    version = of.settings.version
    nothing = sql.SQL("NULL::text")
    return [
        as_text(Ref("version", version.id)),
        optional(version.file_id, sql.SQL("{}::text"), nothing),
        bucket(of),
        key(of),
        optional(version.s3_version, sql.SQL("COALESCE({}::text, '')"), sql.SQL("''::text")),
        optional(version.size, sql.SQL("{}::int8"), sql.SQL("NULL::int8")),
        optional(version.etag, sql.SQL("NULLIF(btrim({}::text, '\"'), '')"), nothing),
        optional(version.status, sql.SQL("COALESCE({}::text, '')"), nothing),
        state(of),
        *(as_text(reference(name)) if name else nothing for name in (of.settings.group, of.settings.owner)),
        created_at(of),
        checksum(of),
    ]


def checksum(of: Tables) -> sql.Composable:
    """Return the content's SHA-256 as it is written; of bytes their hex."""
    column = of.settings.version.sha256
    if not column:
        return sql.SQL("NULL::text")
    if of.column(Ref("version", column)).family is Family.BYTES:
        return sql.SQL("encode({}, 'hex')").format(of_version(column))
    return sql.SQL("NULLIF(btrim({}::text), '')").format(of_version(column))


def bucket(of: Tables) -> sql.Composable:
    """Return the bucket's name: the column, by way of the map, else the configured name, else NULL."""
    configured = of.settings.bucket
    if not configured.column:
        return word(configured.name or "")
    found: sql.Composable = as_text(reference(configured.column))
    if configured.map:
        arms = [sql.SQL("WHEN {} THEN {}").format(word(value), word(name)) for value, name in configured.map.items()]
        found = sql.SQL("CASE {} {} END").format(found, sql.SQL(" ").join(arms))
    return sql.SQL("COALESCE({}, {})").format(found, word(configured.name)) if configured.name else found


def template(of: MappingSettings) -> Template | None:
    """Return the key's template, None where the key is a column; the parent's id is read from the version's side."""
    if not is_template(of.version.key):
        return None
    found = parse(of.version.key)
    parent = Ref("file", of.file.id)
    if of.version.file_id is None or parent in found.segments:
        return found
    parts = tuple(Ref("version", of.version.file_id) if part == parent else part for part in found.parts)
    return Template(found.literals, parts, found.segments)


def key(of: Tables) -> sql.Composed:
    """Return the object's key; NULL where any of its parts is."""
    composed = template(of.settings)
    if composed is None:
        return as_text(Ref("version", of.settings.version.key))
    pieces: list[sql.Composable] = [word(composed.literals[0])]
    for part, literal in zip(composed.parts, composed.literals[1:], strict=True):
        pieces += [as_text(part), word(literal)] if literal else [as_text(part)]
    return sql.SQL("({})").format(sql.SQL(" || ").join(pieces))


def state(of: Tables) -> sql.Composable:
    """Return the row's state: what is gone in either table goes before the flag, the flag before being live."""
    status = of.settings.version.status
    arms = [(condition, RowState.EXPECTS_ABSENCE) for condition in _gone(of)]
    if status:
        known = as_text(Ref("version", status))
        arms.append((_among(known, [of.settings.status.flag]), RowState.FLAGGED))
        if of.settings.status.live:
            foreign = sql.SQL("{} IS NOT TRUE").format(_among(known, of.settings.status.live))
            arms.append((foreign, RowState.FLAGGED))
    if not arms:
        return word(RowState.LIVE)
    whens = [sql.SQL("WHEN {} THEN {}").format(condition, word(value)) for condition, value in arms]
    return sql.SQL("CASE {} ELSE {} END").format(sql.SQL(" ").join(whens), word(RowState.LIVE))


def _gone(of: Tables) -> list[sql.Composed]:
    """Return the conditions, of both tables, under which a row expects no object."""
    version, file, status = of.settings.version, of.settings.file, of.settings.status
    sides = [("version", version.deleted, version.status, status.expects_absence)]
    if of.file:
        sides.append(("file", file.deleted, file.status, file.expects_absence))
    found = []
    for table, deleted, column, absent in sides:
        if deleted:
            test = "{} IS TRUE" if of.column(Ref(table, deleted)).family is Family.BOOLEAN else "{} IS NOT NULL"
            found.append(sql.SQL(test).format(at(Ref(table, deleted))))
        if column and absent:
            found.append(_among(as_text(Ref(table, column)), absent))
    return found


def _among(expression: sql.Composable, values: Iterable[str]) -> sql.Composed:
    return sql.SQL("({} IN ({}))").format(expression, words(values))


def created_at(of: Tables) -> sql.Composable:
    """Return when the row was created; infinity and the years that Python does not know are NULL."""
    column = of.settings.version.created_at
    if not column:
        return sql.SQL("NULL::timestamptz")
    moment: sql.Composable = of_version(column)
    if of.column(Ref("version", column)).family is Family.TIMESTAMP:
        moment = sql.SQL("({} AT TIME ZONE {})").format(moment, word(of.settings.timezone))
    return sql.SQL("CASE WHEN {} BETWEEN {} AND {} THEN {} END").format(moment, EARLIEST, LATEST, moment)


def as_stored(of: Tables, moment: sql.Composable) -> sql.Composable:
    """Return a moment as the created-at column holds it, so that its index serves the comparison."""
    column = of.settings.version.created_at
    if column and of.column(Ref("version", column)).family is Family.TIMESTAMP:
        return sql.SQL("({} AT TIME ZONE {})").format(moment, word(of.settings.timezone))
    return moment
