"""The page of the past: what opened and closed by day, what each sweep found, and how the latest ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from consumer.duties import counted
from consumer.pages.rendering import markup
from reconcile import inquiry
from reconcile.database import Connection, queries, sql_file
from reconcile.inquiry import Record
from reconcile.reports.pageparts import Caption, Column, panel
from reconcile.reports.sweeppictures import history
from reconcile.sweeps import keeping
from reconcile.sweeps.drift import Past

SQL = queries(sql_file("pages.sql"))
DAYS, MOST_CHANGES, MOST_PLACES, MOST_SWEEPS = 30, 30_000, 8, 50
LATEST = (
    "id", "kind", "bucket", "prefix", "mode", "state", "reason", "actor", "started_at", "finished_at", "objects",
    "rows", "missing", "mismatch", "orphans", "leftovers", "healed",
)  # fmt: skip


class Read(NamedTuple):
    """What the page is made of."""

    now: datetime
    days: Sequence[Record]
    places: Sequence[tuple[str, str, list[Past]]]
    latest: Sequence[Record]
    counted: counted.Counted | None


def read(connection: Connection) -> Read:
    """Read so many lines of each, and no more."""
    places = connection.execute(SQL["places"], {"most": MOST_PLACES}).fetchall()
    return Read(
        now=inquiry.now(connection),
        days=connection.execute(SQL["days"], {"most": MOST_CHANGES}).fetchall(),
        places=[(bucket, prefix, keeping.past(connection, bucket, prefix)) for bucket, prefix in places],
        latest=connection.execute(SQL["latest"], {"most": MOST_SWEEPS}).fetchall(),
        counted=counted.read(inquiry.records(connection, "leases")),
    )


def told(found: Read) -> Mapping[str, Any]:
    """Return what the template names."""
    return {
        "now": found.now,
        "days": markup(by_day(found.days, found.now.astimezone(UTC).date())),
        "is_cut": sum(record[3] for record in found.days) >= MOST_CHANGES,
        "most": MOST_CHANGES,
        "histories": [markup(history(pasts[::-1], _title(*where))) for *where, pasts in found.places],
        "latest": [dict(zip(LATEST, record, strict=True)) for record in found.latest],
        "swept": found.counted.swept if found.counted else {},
    }


def by_day(days: Sequence[Record], today: date) -> str:
    """Return the pictures of what opened and what closed; nothing where nothing did."""
    counts = {day: (opened, closed) for day, opened, closed, _ in days}
    span = [today - timedelta(days=ago) for ago in range(DAYS - 1, -1, -1)]
    drawn = []
    for at, name in enumerate(("opened", "closed")):
        columns = [Column(f"{day:%F}", counts.get(day, (0, 0))[at]) for day in span]
        if any(one.number for one in columns):
            caption = Caption(f"{DAYS} days", columns[-1].number, "today", f"{span[0]:%F}", f"{span[-1]:%F}")
            drawn.append(panel(name, columns, caption))
    return "".join(drawn)


def _title(bucket: str, prefix: str) -> str:
    return f"Sweeps of {bucket}" + (f" below {prefix}" if prefix else "")
