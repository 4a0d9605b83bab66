"""Whether the configured mapping fits the tables that were found: every fault, each with its way out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import NamedTuple

from reconcile.config.settings import MappingSettings
from reconcile.tables.columns import Catalog, Column, Family, Table, fits
from reconcile.tables.template import Ref, is_template, parse, reference

MOST_FREE = 2
ANY = frozenset(Family)
NAMES = frozenset({Family.TEXT, Family.INTEGER, Family.UUID})
STATUSES = frozenset({Family.TEXT, Family.ENUM, Family.INTEGER})
MOMENTS = frozenset({Family.TIMESTAMP, Family.TIMESTAMPTZ})
DELETIONS = MOMENTS | {Family.DATE, Family.BOOLEAN}
RULES = {
    NAMES: "must be text, uuid or an integer",
    STATUSES: "must be text, an enum or an integer",
    MOMENTS: "must be a timestamp, with or without time zone",
    DELETIONS: "must be a timestamp, a date or a boolean",
    frozenset({Family.TEXT}): "must be text",
    frozenset({Family.TEXT, Family.BYTES}): "must be text or bytea",
    frozenset({Family.INTEGER}): "must be an integer",
    NAMES | {Family.ENUM}: "must be text, uuid, an enum or an integer",
}


class Use(NamedTuple):
    """A configured column: the key that names it, and the families of types that serve there."""

    setting: str
    ref: Ref
    families: frozenset[Family]


def uses(settings: MappingSettings) -> Iterator[Use]:
    """Yield every column that the configuration names."""
    text, whole = frozenset({Family.TEXT}), frozenset({Family.INTEGER})
    version, file = settings.version, settings.file
    named: list[tuple[str, str | None, frozenset[Family]]] = [
        ("version.id", version.id, NAMES),
        ("version.file_id", version.file_id, NAMES),
        ("version.size", version.size, whole),
        ("version.etag", version.etag, text),
        ("version.status", version.status, STATUSES),
        ("version.s3_version", version.s3_version, text | {Family.UUID}),
        ("version.created_at", version.created_at, MOMENTS),
        ("version.number", version.number, whole),
        ("version.sha256", version.sha256, text | {Family.BYTES}),
        ("version.deleted", version.deleted, DELETIONS),
    ]
    if file.table:
        named += [
            ("file.id", file.id, NAMES),
            ("file.status", file.status, STATUSES),
            ("file.deleted", file.deleted, DELETIONS),
        ]
    for setting, column, families in named:
        if column:
            yield Use(f"mapping.{setting}", Ref(setting.partition(".")[0], column), families)
    for setting, column in (
        ("group", settings.group),
        ("owner", settings.owner),
        ("bucket.column", settings.bucket.column),
    ):
        if column:
            yield Use(f"mapping.{setting}", reference(column), ANY)
    yield from _key_uses(version.key)


def _key_uses(key: str) -> Iterator[Use]:
    if not is_template(key):
        yield Use("mapping.version.key", Ref("version", key), frozenset({Family.TEXT}))
        return
    for part in dict.fromkeys(parse(key).parts):
        yield Use("mapping.version.key", part, NAMES | {Family.ENUM})


def _free_parts(settings: MappingSettings, catalog: Catalog) -> Iterator[str]:
    """Yield the fault of a template that splits in too many ways: every way of a key is looked up."""
    if not is_template(settings.version.key):
        return
    template = parse(settings.version.key)
    tables = {"version": catalog.version, "file": catalog.file}
    free = [
        part.column
        for part in template.parts
        if (table := tables[part.table]) and table.columns[part.column].family is Family.TEXT
        if part not in template.segments
    ]
    if len(free) > MOST_FREE:
        yield (
            f"mapping.version.key = {settings.version.key!r}: {', '.join(free)} may all hold any text, and a key would"
            f" split in too many ways; write {{version.{free[0]}:segment}} for a part that never holds a '/', so that"
            f" {MOST_FREE} are left"
        )


def misfits(settings: MappingSettings, catalog: Catalog) -> list[str]:
    """Return what keeps the mapping from being read; none means that it compiles."""
    faults = [*_absent_tables(settings, catalog), *_database(settings, catalog)]
    for use in uses(settings):
        table = _table(catalog, use.ref)
        if table is not None:
            faults += _column(use, table)
    if not faults:
        faults += [*_join(settings, catalog), *_words(settings, catalog), *_deletions(settings, catalog)]
        faults += _free_parts(settings, catalog)
    return faults


def _table(catalog: Catalog, ref: Ref) -> Table | None:
    return catalog.version if ref.table == "version" else catalog.file


def _absent_tables(settings: MappingSettings, catalog: Catalog) -> Iterator[str]:
    sides = (("version", settings.version.table, catalog.version), ("file", settings.file.table, catalog.file))
    for side, name, table in sides:
        if name and table is None:
            close = get_close_matches(name, catalog.nearby, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else "name it as schema.table"
            yield f"mapping.{side}.table = {name!r}: there is no such table in this database that we may see; {hint}"


def _database(settings: MappingSettings, catalog: Catalog) -> Iterator[str]:
    if catalog.encoding != "UTF8":
        yield f"database.url: the database is encoded in {catalog.encoding}, and keys are UTF8; no other is served"
    if not catalog.knows_timezone:
        yield f"mapping.timezone = {settings.timezone!r}: PostgreSQL knows no such zone; see pg_timezone_names"
    for table in (catalog.version, catalog.file):
        if table and not table.usable:
            schema = quoted(table.schema)
            yield f"mapping: the schema {schema} may not be used; GRANT USAGE ON SCHEMA {schema} TO our role"
        if table and table.hides_rows and not settings.allow_row_security:
            yield (
                f"mapping: row level security of {quoted_name(table)} may hide rows from us: their objects would look"
                " like orphans; ALTER ROLE … BYPASSRLS, or mapping.allow_row_security = true if a policy shows us all"
            )


def _column(use: Use, table: Table) -> Iterator[str]:
    where = f"{use.setting} = {use.ref.column!r}"
    column = table.columns.get(use.ref.column)
    if column is None:
        close = get_close_matches(use.ref.column, table.columns, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(table.columns)}"
        yield f"{where}: {table.schema}.{table.name} has no such column; {hint}"
        return
    if column.family not in use.families:
        yield f"{where}: is of type {column.type[1]} and {RULES.get(use.families, 'must be text or uuid')}"
    if not column.readable:
        yield f"{where}: may not be read; GRANT SELECT ({quoted(column.name)}) ON {quoted_name(table)} TO our role"


def _join(settings: MappingSettings, catalog: Catalog) -> Iterator[str]:
    file_id = settings.version.file_id
    if catalog.version is None or catalog.file is None or file_id is None:
        return
    child, parent = catalog.version.columns[file_id], catalog.file.columns[settings.file.id]
    if child.family is not parent.family:
        yield (
            f"mapping.version.file_id = {file_id!r}: is of type {child.type[1]}, and mapping.file.id of type"
            f" {parent.type[1]}; the two are compared and must be of one type"
        )


def _words(settings: MappingSettings, catalog: Catalog) -> Iterator[str]:
    """Yield the words that the status columns cannot hold."""
    status, file = settings.status, settings.file
    sides = [
        (catalog.version, settings.version.status, "status.flag", (status.flag,)),
        (catalog.version, settings.version.status, "status.purged", (status.purged,) if status.purged else ()),
        (catalog.version, settings.version.status, "status.expects_absence", status.expects_absence),
        (catalog.version, settings.version.status, "status.live", status.live),
        (catalog.file, file.status, "file.expects_absence", file.expects_absence),
    ]
    for table, name, setting, words in sides:
        if table is not None and name:
            column = table.columns[name]
            for word in words:
                if reason := unholdable(column, word):
                    yield f"mapping.{setting} = {word!r}: {reason}"


def unholdable(column: Column, word: str) -> str:
    """Say why a column cannot hold a status, `''` where it can."""
    if column.family is Family.ENUM and word not in column.labels:
        add = f"ALTER TYPE {column.type[0]}.{column.type[1]} ADD VALUE {_constant(word)}"
        return f"the enum of {column.name} has {', '.join(column.labels)} only; use one of them, or {add}"
    if column.length is not None and len(word) > column.length:
        return f"{column.name} holds {column.length} characters only; use a shorter word or widen the column"
    if column.family is Family.INTEGER and not fits(Family.INTEGER)(word):
        return f"{column.name} is an integer; write the number that stands for this status"
    return ""


def _deletions(settings: MappingSettings, catalog: Catalog) -> Iterator[str]:
    for side, table, name in (
        ("version", catalog.version, settings.version.deleted),
        ("file", catalog.file, settings.file.deleted),
    ):
        if table and name and not table.columns[name].nullable and table.columns[name].family is not Family.BOOLEAN:
            yield (
                f"mapping.{side}.deleted = {name!r}: is never NULL, so every row would count as deleted;"
                " name a boolean, or a time that is NULL while the row lives"
            )


def unwritable(settings: MappingSettings, catalog: Catalog) -> Iterator[str]:
    """Yield what keeps a row from being flagged."""
    name, table = settings.version.status, catalog.version
    if table and name and name in table.columns and not table.columns[name].writable:
        grant = f"GRANT UPDATE ({quoted(name)}) ON {quoted_name(table)} TO our role"
        yield f"mapping.version.status = {name!r}: may not be updated, and flagging = true; {grant}, or observe only"


def quoted_name(table: Table) -> str:
    """Return a table's name as SQL wants it."""
    return f"{quoted(table.schema)}.{quoted(table.name)}"


def quoted(name: str) -> str:
    """Return a name as SQL wants it."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _constant(word: str) -> str:
    doubled = word.replace("'", "''")
    return f"'{doubled}'"
