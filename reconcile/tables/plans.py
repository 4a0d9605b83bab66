"""What a query plan says of the indexes that the mapping needs. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from reconcile.tables.columns import Table
from reconcile.tables.expressions import Tables
from reconcile.tables.fitness import quoted, quoted_name
from reconcile.tables.template import Ref


def scanned(plan: dict[str, Any], alias: str = "") -> Iterator[str]:
    """Yield the alias of every table that a plan (EXPLAIN's JSON) reads without an equality that an index serves."""
    kind, alias = plan["Node Type"], plan.get("Alias", alias)
    by_index = kind.startswith("Index ") or kind == "Bitmap Index Scan"
    if kind == "Seq Scan" or (by_index and " = " not in plan.get("Index Cond", "")):
        yield alias
    for child in plan.get("Plans", ()):
        yield from scanned(child, alias)


def sorts(plan: dict[str, Any]) -> bool:
    """Tell whether a plan sorts what it reads, rather than reading it in order."""
    return plan["Node Type"] == "Sort" or any(sorts(child) for child in plan.get("Plans", ()))


def advice(tables: Tables) -> Iterator[str]:
    """Yield the indexes that are not needed and would spare work."""
    created_at = tables.settings.version.created_at
    if created_at and not _is_indexed(tables, [Ref("version", created_at)]):
        index = _create_index(tables.version, [Ref("version", created_at)])
        yield f"mapping.version.created_at: is not indexed, so looking for young rows reads the whole table; {index}"


def missing_indexes(tables: Tables, probe: Sequence[Ref], aliases: Collection[str]) -> Iterator[str]:
    """Yield a fault for each index that finding rows by `probe` lacks, if any table is read from end to end for it."""
    settings = tables.settings
    needed = {"mapping.version.key" if probe[0].column != settings.version.id else "mapping.version.id": tuple(probe)}
    if probe[0].table == "file":
        needed["mapping.version.file_id"] = (Ref("version", settings.version.file_id or ""),)
    elif tables.file is not None:
        needed["mapping.file.id"] = (Ref("file", settings.file.id),)
    lacking = {key: columns for key, columns in needed.items() if not _is_indexed(tables, columns)}
    for key, columns in lacking.items() if aliases else ():
        yield (
            f"{key}: is not indexed, and rows are looked up by it; {_create_index(tables.table(columns[0]), columns)},"
            " or set mapping.allow_scan = true if the table is small"
        )
    if aliases and not lacking:
        yield (
            f"mapping.version.table: finding a row reads all of {', '.join(sorted(aliases))}; index what rows are"
            " found by, or set mapping.allow_scan = true if the table is small"
        )


def _is_indexed(tables: Tables, columns: Sequence[Ref]) -> bool:
    names = tuple(ref.column for ref in columns)
    return any(index.columns[: len(names)] == names for index in tables.table(columns[0]).indexes)


def _create_index(table: Table, columns: Sequence[Ref]) -> str:
    names = ", ".join(quoted(ref.column) for ref in columns)
    return f"CREATE INDEX CONCURRENTLY ON {quoted_name(table)} ({names})"
