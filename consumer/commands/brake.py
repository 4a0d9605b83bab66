"""`brake status` and `brake release`: the brake that holds a mass of flags until a person has looked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from typing import Any

from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from consumer.commands.plan import Act, carry_out
from reconcile import acts, inquiry
from reconcile.reports.forms import Section, Table

BRAKES = ("brake", "bucket", "since_at", "why", "set_by")
HELD = ("bucket", "kind", "findings")
EVERYWHERE = "all buckets"
OF_KIND = {"missing": "flags of missing objects", "orphan": "orphans", "purge": "purges"}


def status(call: Call) -> Answer:
    """Tell which brakes are on, and how much they hold."""
    with database(call.settings("database.url")) as opened, inquiry.reading(opened) as connection:
        now = inquiry.now(connection)
        shown = section(
            inquiry.records(connection, "restraints", effects=["brake"]), inquiry.records(connection, "held")
        )
    return Answer(shown, now, held=bool(call.options.exit_code and shown.facts["brake"] == "on"))


def section(restraints: Sequence[tuple[Any, ...]], held: Sequence[tuple[Any, ...]]) -> Section:
    """Return the brakes that are on, and what is held by bucket."""
    brakes = [
        (OF_KIND.get(kind, kind), bucket or EVERYWHERE, since, why, actor)
        for _, _, bucket, kind, since, _, actor, why, _ in restraints
    ]
    facts = {"brake": "on" if brakes else "off", "held": sum(count for *_, count in held)}
    notes = ("storage-reconciler brake release prints what a release would do",) if brakes else ()
    parts = (Table("brakes", BRAKES, brakes), Table("held_by_bucket", HELD, held)) if brakes or held else ()
    return Section("brake", "", facts, parts, notes)


def release(call: Call) -> Answer:
    """Release the brakes, or one kind of them; what was held is looked at anew, and flagged without being counted."""
    options = call.options
    kinds = [options.kind] if options.kind else list(OF_KIND)
    with database(call.settings("database.url"), patient=True) as opened:
        with inquiry.reading(opened) as connection:
            brakes = [one for one in inquiry.records(connection, "restraints", effects=["brake"]) if one[3] in kinds]
            held = [one for one in inquiry.records(connection, "held") if one[1] in kinds]
        if not brakes and not held:
            return carry_out("release", (), apply=options.apply, nothing="no brake is on, and nothing is held")
        who = acts.Who(call.who(), options.why)
        total = sum(count for *_, count in held)
        subject = ", ".join(starmap(_named, brakes)) or "what is held"
        act = Act("release", subject, f"{total:,} held{_after(held)}", lambda: _told(acts.release(opened, who, kinds)))
        parts = (Table("held_by_bucket", HELD, held, "Held"),)
        return carry_out("release", (act,), apply=options.apply, nothing="", parts=parts)


def _named(*restraint: Any) -> str:
    return f"{OF_KIND.get(restraint[3], restraint[3])} in {restraint[2] or EVERYWHERE}"


def _after(held: Sequence[tuple[Any, ...]]) -> str:
    """Return what becomes of what is held, where anything is."""
    if not held:
        return ""
    if all(kind == "purge" for _, kind, _ in held):
        return "; the next purge takes those that still are missing"
    return "; each is looked at anew, and flagged if it still is what it was"


def _told(released: acts.Released) -> str:
    return f"{len(released.brakes)} released, {released.freed:,} freed and looked at anew"
