"""How long findings took, for `status`: from the event's time by MinIO's clock to the finding by PostgreSQL's.

The two clocks are compared by a duty of `consume`; what is shown is corrected by their difference, and says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from consumer.duties import clocks
from consumer.duties.clock import Ahead
from reconcile.human import Value
from reconcile.inquiry import Record
from reconcile.reports.forms import Table

PATHS = ("path", "found", "p50_ms", "p99_ms", "most_ms")
TITLE = "From the event's time to the finding, last 24 h"


def clock_of(leases: Sequence[Record]) -> Ahead | None:
    """Return how far MinIO's clock is ahead of PostgreSQL's, from the lease of the duty that measures it."""
    kept = [checkpoint for task, _, checkpoint, _ in leases if task == f"duty {clocks.NAME}"]
    return clocks.read(kept[0]) if kept else None


def clock_facts(clock: Ahead | None) -> dict[str, Value]:
    """Return how far MinIO's clock is ahead of the database's, more or less."""
    if clock is None:
        return {}
    return {"minio_clock_ahead_ms": round(clock.seconds * 1000), "give_or_take_ms": round(clock.within * 1000)}


def paths_of(sightings: Sequence[Record], clock: Ahead | None) -> Table:
    """Return how long each path took, corrected by the clocks' difference where that is known."""
    rows = list(path_rows(sightings, clock.seconds if clock else 0.0))
    return Table("paths", PATHS, rows, TITLE, notes=(clock_note(clock),))


def clock_note(clock: Ahead | None) -> str:
    """Return by how much the times are corrected, or that they are not."""
    if clock is None:
        return "not corrected by the difference of MinIO's clock and the database's: no consumer measures it now"
    return f"corrected by {clock.seconds * 1000:+,.0f} ms, the difference of MinIO's clock and the database's"


def path_rows(sightings: Sequence[Record], ahead_s: float) -> Iterator[tuple[str, int, float, float, float]]:
    """Yield for each path the ranks of its times; MinIO's clock is so many seconds ahead of PostgreSQL's."""
    taken: Mapping[str, list[float]] = defaultdict(list)
    for path, at, event_time in sightings:
        happened_at = moment(event_time)
        if happened_at is not None:
            taken[path].append(((at - happened_at).total_seconds() + ahead_s) * 1000)
    for path, each in sorted(taken.items()):
        each.sort()
        yield path, len(each), rank(each, 0.5), rank(each, 0.99), each[-1]


def rank(ascending: Sequence[float], share: float) -> float:
    """Return the least value that this share of all does not exceed."""
    return ascending[min(int(len(ascending) * share), len(ascending) - 1)]


def moment(written: Any) -> datetime | None:
    """Return an event's time; None if it is none, since it is whatever somebody wrote."""
    try:
        at = datetime.fromisoformat(str(written))
    except ValueError:
        return None
    return at if at.tzinfo else None
