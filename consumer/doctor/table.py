"""Every precondition of the service as a table of checks, and what came of each: ✓, !, ✗ with the fix, or not seen.

A check says by name what it needs and what others may build on; what cannot be reached is one ✗, and whatever needs it
is not checked. Writes nothing anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from consumer.doctor import database, kafka, lanes, mapping, minio
from consumer.doctor.check import Check, bad, of_fault, stands, unseen
from consumer.doctor.checked import Checked, known_way_out
from reconcile.inquiry import explaining
from reconcile.model import Misconfigured, Unavailable

Ask = Callable[[Checked], Iterator[Check]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A check by name, what must stand before it makes sense, and whether others need that it stands."""

    name: str
    ask: Ask
    needs: tuple[str, ...] = ()
    is_needed: bool = False


class Told(NamedTuple):
    """What a check told."""

    name: str
    check: Check


CHECKS: tuple[Wanted, ...] = (
    Wanted("database", database.reached, is_needed=True),
    Wanted("database.writes", database.writes, ("database",)),
    Wanted("schema", database.schema, ("database",), is_needed=True),
    Wanted("schema.rights", database.rights, ("schema",)),
    Wanted("mapping", mapping.fits, ("database",), is_needed=True),
    Wanted("mapping.index", mapping.indexed, ("mapping",)),
    Wanted("mapping.flag", mapping.flags, ("mapping",)),
    Wanted("mapping.unique_key", mapping.unique_key, ("mapping",)),
    Wanted("mapping.unique_number", mapping.unique_number, ("mapping",)),
    Wanted("mapping.shared_keys", mapping.shared_keys, ("mapping",)),
    Wanted("mapping.row_security", mapping.row_security, ("mapping",)),
    Wanted("mapping.triggers", mapping.triggers, ("mapping",)),
    Wanted("mapping.orm_version", mapping.orm_version, ("mapping",)),
    Wanted("mapping.reading", mapping.reading, ("mapping",)),
    Wanted("mapping.young_rows", mapping.young_rows, ("mapping",)),
    Wanted("minio", minio.reached, is_needed=True),
    Wanted("minio.buckets", minio.buckets, ("minio", "mapping"), is_needed=True),
    Wanted("minio.versioning", minio.versioning, ("minio.buckets",)),
    Wanted("minio.lifecycle", minio.lifecycle, ("minio.buckets",)),
    Wanted("minio.clock", minio.clocks, ("database", "minio.buckets")),
    Wanted("stream", kafka.configured, is_needed=True),
    Wanted("minio.rules", minio.rules, ("minio.buckets", "stream")),
    Wanted("minio.target", minio.target, ("minio", "stream")),
    Wanted("minio.sync_events", minio.sync_events, ("minio", "stream")),
    Wanted("minio.figures", minio.figures, ("minio", "stream")),
    Wanted("kafka", kafka.reached, ("stream",), is_needed=True),
    Wanted("kafka.topics", kafka.topics, ("kafka",), is_needed=True),
    Wanted("kafka.retention", kafka.retention, ("kafka.topics",)),
    Wanted("kafka.compaction", kafka.compaction, ("kafka.topics",)),
    Wanted("kafka.group", kafka.group, ("kafka.topics",)),
    Wanted("lanes", lanes.lanes, ("schema", "mapping", "stream")),
    Wanted("losses", lanes.losses, ("schema", "stream")),
)


def run_checks(checked: Checked, checks: Sequence[Wanted] = CHECKS) -> Iterator[Told]:
    """Yield what each check tells, in their order."""
    standing: set[str] = set()
    for one in checks:
        lacking = [need for need in one.needs if need not in standing]
        told = [unseen(f"not checked: {', '.join(lacking)} first")] if lacking else list(_asked(one, checked))
        yield from (Told(one.name, check) for check in told)
        if one.is_needed and stands(told):
            standing.add(one.name)


def _asked(one: Wanted, checked: Checked) -> Iterator[Check]:
    """Yield what a check tells; one that a server did not answer is not checked, unless that is its question."""
    try:
        with explaining():
            yield from one.ask(checked)
    except Misconfigured as refusal:
        yield from map(of_fault, refusal.faults)
    except Unavailable as outage:
        if one.is_needed:
            yield bad(str(outage), checked.way_out(outage))
        else:
            yield unseen(f"not checked: {outage}", known_way_out(outage))
