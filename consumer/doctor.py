"""Every precondition of the service as a table of checks, and what came of each: ✓, !, ✗ with the fix, or not seen.

A check says by name what it needs and what others may build on; what cannot be reached is one ✗, and whatever needs it
is not checked. Writes nothing anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from consumer import doctor_database, doctor_kafka, doctor_lanes, doctor_mapping, doctor_minio
from consumer.check import Check, bad, of_fault, stands, unseen
from consumer.patient import Patient, known_way_out
from reconcile.inquiry import explaining
from reconcile.model import Misconfigured, Unavailable

Ask = Callable[[Patient], Iterator[Check]]


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
    Wanted("database", doctor_database.reached, is_needed=True),
    Wanted("database.writes", doctor_database.writes, ("database",)),
    Wanted("schema", doctor_database.schema, ("database",), is_needed=True),
    Wanted("schema.rights", doctor_database.rights, ("schema",)),
    Wanted("mapping", doctor_mapping.fits, ("database",), is_needed=True),
    Wanted("mapping.index", doctor_mapping.indexed, ("mapping",)),
    Wanted("mapping.flag", doctor_mapping.flags, ("mapping",)),
    Wanted("mapping.unique_key", doctor_mapping.unique_key, ("mapping",)),
    Wanted("mapping.unique_number", doctor_mapping.unique_number, ("mapping",)),
    Wanted("mapping.shared_keys", doctor_mapping.shared_keys, ("mapping",)),
    Wanted("mapping.row_security", doctor_mapping.row_security, ("mapping",)),
    Wanted("mapping.triggers", doctor_mapping.triggers, ("mapping",)),
    Wanted("mapping.orm_version", doctor_mapping.orm_version, ("mapping",)),
    Wanted("mapping.reading", doctor_mapping.reading, ("mapping",)),
    Wanted("mapping.young_rows", doctor_mapping.young_rows, ("mapping",)),
    Wanted("minio", doctor_minio.reached, is_needed=True),
    Wanted("minio.buckets", doctor_minio.buckets, ("minio", "mapping"), is_needed=True),
    Wanted("minio.versioning", doctor_minio.versioning, ("minio.buckets",)),
    Wanted("minio.lifecycle", doctor_minio.lifecycle, ("minio.buckets",)),
    Wanted("minio.clock", doctor_minio.clocks, ("database", "minio.buckets")),
    Wanted("stream", doctor_kafka.configured, is_needed=True),
    Wanted("minio.rules", doctor_minio.rules, ("minio.buckets", "stream")),
    Wanted("minio.target", doctor_minio.target, ("minio", "stream")),
    Wanted("minio.sync_events", doctor_minio.sync_events, ("minio", "stream")),
    Wanted("minio.figures", doctor_minio.figures, ("minio", "stream")),
    Wanted("kafka", doctor_kafka.reached, ("stream",), is_needed=True),
    Wanted("kafka.topics", doctor_kafka.topics, ("kafka",), is_needed=True),
    Wanted("kafka.retention", doctor_kafka.retention, ("kafka.topics",)),
    Wanted("kafka.compaction", doctor_kafka.compaction, ("kafka.topics",)),
    Wanted("kafka.group", doctor_kafka.group, ("kafka.topics",)),
    Wanted("lanes", doctor_lanes.lanes, ("schema", "mapping", "stream")),
    Wanted("losses", doctor_lanes.losses, ("schema", "stream")),
)


def examine(patient: Patient, checks: Sequence[Wanted] = CHECKS) -> Iterator[Told]:
    """Yield what each check tells, in their order."""
    standing: set[str] = set()
    for one in checks:
        lacking = [need for need in one.needs if need not in standing]
        told = [unseen(f"not checked: {', '.join(lacking)} first")] if lacking else list(_asked(one, patient))
        yield from (Told(one.name, check) for check in told)
        if one.is_needed and stands(told):
            standing.add(one.name)


def _asked(one: Wanted, patient: Patient) -> Iterator[Check]:
    """Yield what a check tells; one that a server did not answer is not checked, unless that is its question."""
    try:
        with explaining():
            yield from one.ask(patient)
    except Misconfigured as refusal:
        yield from map(of_fault, refusal.faults)
    except Unavailable as outage:
        if one.is_needed:
            yield bad(str(outage), patient.way_out(outage))
        else:
            yield unseen(f"not checked: {outage}", known_way_out(outage))
