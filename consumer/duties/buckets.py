"""Which buckets the service attends to: those that are named, and where a column may name any, those of live rows."""

from __future__ import annotations

from collections.abc import Sequence

from consumer.duties import duty
from reconcile import inquiry, opening
from reconcile.config.settings import Settings
from reconcile.database import Database
from reconcile.tables.mapping import Mapping


def open_to_any(settings: Settings) -> bool:
    """Tell whether a column may name any bucket."""
    bucket = settings.mapping.bucket
    return bucket.column is not None and not bucket.map


def watched(settings: Settings, database: Database, mapping: Mapping) -> Sequence[str]:
    """Return the buckets that have lanes and canaries, and whose rules are watched: the named, and those of live rows.

    A bucket that a column names later is among them from the next start on; its events are read at once.
    """
    named = opening.named_buckets(settings)
    if not open_to_any(settings):
        return named
    with database.use() as connection:
        counted = {bucket: live for bucket, live, *_ in inquiry.records(connection, "live_rows")}
        counted = counted or duty.live_counts(connection, mapping)
    return sorted({*named, *(bucket for bucket, live in counted.items() if bucket and live)})
