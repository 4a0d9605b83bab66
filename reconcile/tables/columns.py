"""What the catalog says of the mapped tables, and which texts a column's type can hold. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Family(StrEnum):
    """What kinds of types the mapping tells apart."""

    TEXT = "text"
    INTEGER = "integer"
    UUID = "uuid"
    ENUM = "enum"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    BYTES = "bytes"
    OTHER = "other"


FAMILIES = {
    "text": Family.TEXT,
    "varchar": Family.TEXT,
    "bpchar": Family.TEXT,
    "citext": Family.TEXT,
    "name": Family.TEXT,
    "int2": Family.INTEGER,
    "int4": Family.INTEGER,
    "int8": Family.INTEGER,
    "uuid": Family.UUID,
    "bool": Family.BOOLEAN,
    "date": Family.DATE,
    "timestamp": Family.TIMESTAMP,
    "timestamptz": Family.TIMESTAMPTZ,
    "bytea": Family.BYTES,
}

FREE = r".*%"
SEGMENT = r"[^/]*%"
SHAPES = {  # of a part's text within a key, for template.inverse
    Family.INTEGER: r"(?:0|-?[1-9][0-9]{0,18}%)",
    Family.UUID: r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    Family.ENUM: SEGMENT,
}
UUID = re.compile(r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}", re.ASCII)
INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
INTEGER_RANGE = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type (domains resolved to what they are made of) as (schema, name)."""

    name: str
    type: tuple[str, str]
    family: Family
    nullable: bool = True
    length: int | None = None
    labels: tuple[str, ...] = ()
    readable: bool = True
    writable: bool = True


@dataclass(frozen=True, slots=True)
class Index:
    """A valid index that serves equality: its leading plain columns; a partial one holds the rows `where` alone."""

    columns: tuple[str, ...]
    unique: bool
    where: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was found.

    `indexes` are of all rows: a row that is looked for may be in no `partial` one. `hides_rows` tells that
    row level security applies to us, `usable` that we may use its schema.
    """

    schema: str
    name: str
    columns: Mapping[str, Column]
    indexes: tuple[Index, ...] = ()
    hides_rows: bool = False
    usable: bool = True
    partial: tuple[Index, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalog:
    """The two tables, None where one is not mapped or not found; what the whole database says, besides."""

    version: Table | None
    file: Table | None
    encoding: str = "UTF8"
    knows_timezone: bool = True
    nearby: tuple[str, ...] = ()


def split_name(written: str) -> tuple[str | None, str] | None:
    """Return (schema or None, table) of a written table name, None if it is none; case is kept, quotes are optional."""
    found = re.fullmatch(r'(?:("(?:[^"]|"")+"|[^".]+)\.)?("(?:[^"]|"")+"|[^".]+)', written)
    if found is None:
        return None
    schema, table = (unquoted(part) if part else None for part in found.groups())
    return (schema, table) if table else None


def unquoted(name: str) -> str:
    """Return a name as it is, written with PostgreSQL's quotes or without."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def fits(family: Family) -> Callable[[str], bool]:
    """Return the test whether a text can be a value of the type; one that cannot has no row."""
    match family:
        case Family.UUID:
            return lambda text: UUID.fullmatch(text) is not None
        case Family.INTEGER:
            return lambda text: INTEGER.fullmatch(text) is not None and int(text) in INTEGER_RANGE
        case _:
            return is_storable


def is_storable(text: str) -> bool:
    """Tell whether PostgreSQL can hold a text: no NUL, no lone surrogate."""
    return "\0" not in text and text.encode("utf-8", "ignore").decode() == text
