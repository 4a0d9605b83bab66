"""A replay's report as Table and Section. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from reconcile.human import Value
from reconcile.reports.forms import Section, Table
from reconcile.reports.sweepreport import counted, counts, drifts
from reconcile.sweeps.drift import HELD_BY_BRAKE, HELD_BY_WINDOW, SweepReport
from reconcile.sweeps.sums import Sums

RANGES = ("partition", "from_offset", "to_offset", "records", "eaten_by_retention", "beyond_the_end")
CHANGES = ("change", "findings", "of_them_known")
ROWS = ("change", "rows")
SEEN = ("records", "settled", "looked_at", "repeated", "skipped", "poison", "young", "flagged_by_others")
NAMED = (*SEEN, "unknown", "not_asked", HELD_BY_BRAKE, HELD_BY_WINDOW)
EATEN = "what retention has eaten is gone from the topic; only a sweep finds what it told: storage-reconciler sweep"
BEYOND = (
    "a partition ends before its range: it was emptied or recreated, or never held so many; only a sweep finds more"
)
PartOfTopic = tuple[int, int, int, int, bool, bool]  # partition, first, end, eaten, is it exact, is it beyond


def report(
    topic: str,
    ranges: Sequence[PartOfTopic],
    totals: Mapping[str, int],
    times: tuple[datetime, datetime],
    parts: Sequence[Table | Section],
    outcome: str,
) -> Section:
    """Return the whole report."""
    facts: dict[str, Value] = {"topic": topic, "started_at": times[0], "took_s": (times[1] - times[0]).total_seconds()}
    facts |= {name: totals[name] for name in NAMED if totals.get(name)}
    return Section("replay", f"Replay of {topic}: {outcome}", facts, (_ranges(ranges), *parts))


def _ranges(ranges: Sequence[PartOfTopic]) -> Table:
    rows = [
        (partition, first, end, max(end - first, 0), eaten if exact or not eaten else f"at most {eaten:,}", is_beyond)
        for partition, first, end, eaten, exact, is_beyond in ranges
    ]
    notes = (*([EATEN] if any(one[3] for one in ranges) else []), *([BEYOND] if any(one[5] for one in ranges) else []))
    return Table("ranges", RANGES, rows, "Ranges", none="the topic has no partition", notes=notes)


def planned(topic: str, sums: Sums, healed: int, of_rows: Mapping[str, int]) -> tuple[list[Table], str]:
    """Return what would change, and the same in one line."""
    found = [kind for kind in sums.by_kind() if kind.found]
    rows: list[tuple[Value, ...]] = [(str(one.name), one.found, one.found - sums.unknown[one.name]) for one in found]  # type: ignore[index]  # the classes are words
    if healed:
        rows.append(("resolved, or given back", healed, healed))
    held = SweepReport(topic, "replay", "complete", sums.now, drifts=sums.first, total_drifts=sums.total)
    tables = [
        Table("changes", CHANGES, rows, "What would change", none="nothing: both sides agree"),
        Table("rows", ROWS, sorted(of_rows.items()), "Rows that would change", none=""),
        counts("by_group", "group", sums.by("group")),
        counts("by_prefix", "prefix", sums.by("prefix")),
        drifts(held),
    ]
    told = ", ".join([*(counted(one.name, one.found) for one in found), *([f"{healed:,} healed"] if healed else [])])
    return tables, f"would find {told}" if told else "nothing would change"


def done(acts: Mapping[str, int]) -> tuple[list[Table], str]:
    """Return what was changed, and the same in one line."""
    rows = sorted(acts.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{count:,} {act}" for act, count in rows)
    table = Table("acts", ("act", "findings"), rows, "What was done", none="nothing had to be done")
    return [table], told or "nothing had to be done"
