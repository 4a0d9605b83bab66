"""Reads what the system catalog says of the mapped tables, and asks the planner whether the mapping can be served.

Reads no row of the application. Errors pass through.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString, NamedTuple, cast

from psycopg import sql

from reconcile.config.settings import MappingSettings
from reconcile.database import Connection, queries, sql_file
from reconcile.tables import expressions, fitness, plans
from reconcile.tables.columns import FAMILIES, Catalog, Column, Family, Index, Table, split_name
from reconcile.tables.mapping import HIGHEST_KEY, Mapping, compile_mapping, in_order_parameters
from reconcile.tables.selection import Parameters
from reconcile.tables.template import Ref

SQL = queries(sql_file("catalog.sql"))


def read(connection: Connection, settings: MappingSettings) -> Catalog:
    """Return what the database says of the mapped tables."""
    file = settings.file.table
    [(encoding, knows_timezone, nearby)] = connection.execute(SQL["server"], {"timezone": settings.timezone})
    return Catalog(
        version=table(connection, settings.version.table),
        file=table(connection, file) if file else None,
        encoding=encoding,
        knows_timezone=knows_timezone,
        nearby=tuple(nearby),
    )


def table(connection: Connection, written: str) -> Table | None:
    """Return what the database says of a table as it is written; None where we see none."""
    schema, name = split_name(written) or (None, "")
    found = connection.execute(SQL["table"], {"schema": schema, "name": name}).fetchone()
    if found is None:
        return None
    oid, schema, name, hides_rows, usable = found
    columns = [_column(*fields) for fields in connection.execute(SQL["columns"], {"table": oid})]
    indexes = [Index(tuple(names), *rest) for names, *rest in connection.execute(SQL["indexes"], {"table": oid})]
    whole, partial = tuple(one for one in indexes if not one.where), tuple(one for one in indexes if one.where)
    return Table(schema, name, {column.name: column for column in columns}, whole, hides_rows, usable, partial)


def _column(name: str, schema: str, kind: str, labels: list[str] | None, *rest: Any) -> Column:
    length, nullable, readable, writable = rest
    family = FAMILIES.get(kind, Family.OTHER) if labels is None else Family.ENUM
    return Column(name, (schema, kind), family, nullable, length, tuple(labels or ()), readable, writable)


def compiled(connection: Connection, settings: MappingSettings) -> Mapping:
    """Return the mapping over the tables as they are now, or raise Misconfigured with all that does not fit."""
    return compile_mapping(settings, read(connection, settings))


def check(
    connection: Connection, settings: MappingSettings, *, flagging: bool = False, scanning: bool = False
) -> list[str]:
    """Return every fault of the mapping, none if the service may start.

    Only a service that flags must be able to write; `scanning` is for what reads whole tables anyway, such as a sweep.
    """
    found = read(connection, settings)
    faults = fitness.misfits(settings, found)
    if flagging:
        faults += fitness.unwritable(settings, found)
    if faults:
        return faults
    mapping = compile_mapping(settings, found)
    if not scanning and not settings.allow_scan:
        faults += _scans(connection, mapping)
    if flagging:
        faults += _refusals(connection, mapping)
    return faults


def _scans(connection: Connection, mapping: Mapping) -> Iterator[str]:
    """Yield which indexes are missing where finding a row, by key or by id, would read whole tables."""
    row_id = (Ref("version", mapping.tables.settings.version.id),)
    found: list[str] = []
    for query, probe in ((mapping.lookup, mapping.probe), (mapping.by_id, row_id)):
        aliases = set(plans.scanned(_plan(connection, query, mapping.sample)))
        found += plans.missing_indexes(mapping.tables, probe, aliases)
    yield from dict.fromkeys(found)


class InOrder(NamedTuple):
    """Whether an index yields rows in byte order, so that a part is read without a sort; and how many, as estimated."""

    indexed: bool
    rows: int


def in_order(connection: Connection, mapping: Mapping, bucket: str, prefix: str = "") -> InOrder:
    """Tell how a bucket's rows would be read in byte order; asked of another bucket the answer says nothing."""
    bounds = in_order_parameters(bucket, prefix, prefix + HIGHEST_KEY if prefix else None)
    plan = _plan(connection, mapping.in_order, bounds)
    return InOrder(not plans.sorts(plan), int(plan["Plan Rows"]))


def advice(mapping: Mapping) -> list[str]:
    """Return what is no fault and would spare work."""
    return list(plans.advice(mapping.tables))


def _plan(connection: Connection, query: sql.Composed, parameters: Parameters) -> dict[str, Any]:
    with connection.transaction(force_rollback=True):
        connection.execute(SQL["plan_for_use"])
        [([plan],)] = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) ") + query, parameters)
    return cast("dict[str, Any]", plan["Plan"])


def _refusals(connection: Connection, mapping: Mapping) -> Iterator[str]:
    """Yield the CHECK constraints that would refuse the flag."""
    tables = mapping.tables
    status, flag = tables.settings.version.status, tables.settings.status.flag
    if status is None:
        return
    named = {"table": fitness.quoted_name(tables.version), "column": status}
    for name, expression in connection.execute(SQL["checks"], named).fetchall():
        allows = sql.SQL("SELECT ({}) IS NOT FALSE FROM (SELECT {}::{} AS {}) AS v").format(
            sql.SQL(cast("LiteralString", expression.replace("%", "%%"))),
            expressions.word(flag),
            expressions.type_name(tables.column(Ref("version", status))),
            expressions.plain(status),
        )
        if connection.execute(allows, {}).fetchone() == (False,):
            yield f"mapping.status.flag = {flag!r}: the constraint {name} of {status} refuses it; let it allow the flag"
