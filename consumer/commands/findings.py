"""`findings list` and `findings show`: what was found."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from consumer.commands import remedies
from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from consumer.commands.choosing import wanted_by
from reconcile import inquiry
from reconcile.inquiry import Page, Record
from reconcile.model import FINAL, Kind, Misconfigured, ObjectRef, State
from reconcile.repair.superseded import Superseded, beside
from reconcile.reports.forms import Section, Table

LISTED = ("id", "kind", "state", "key", "version_id", "cause", "size_bytes", "suspected_at")
GROUPED = ("findings", "suspected", "open", "held", "size_bytes", "first_suspected_at", "last_suspected_at")
SUPERSEDED = "superseded_by"
HISTORY = ("at", "act", "from_state", "to_state", "actor", "why", "named_by", "object")


def listing(call: Call) -> Answer:
    """List findings, or count them by a group."""
    options = call.options
    settings = call.settings("database.url")
    with database(settings) as opened:
        with inquiry.reading(opened) as connection:
            now = inquiry.now(connection)
            wanted = wanted_by(options, now)
            if options.group_by:
                records = inquiry.grouped(connection, wanted, options.group_by, options.depth, options.limit)
                return Answer(groups(options.group_by, records), now, drift=bool(records))
            page = inquiry.findings(connection, wanted, options.limit, options.after)
        superseded = beside(opened, settings.mapping, row_ids(page))
    return Answer(listed(page, superseded, options), now, drift=page.total > 0)


def row_ids(page: Page) -> list[str]:
    """Return the rows of a page's findings."""
    at = page.columns.index("version_id")
    return [record[at] for record in page.records if record[at]]


def groups(by: str, records: Sequence[Record]) -> Table:
    """Return the table of counted groups; of a principal with what it did: deleted it, or stored it."""
    if by == "principal":
        return Table("groups", (by, "did", *GROUPED), records, none="no finding")
    return Table("groups", (by, *GROUPED), [(one[0], *one[2:]) for one in records], none="no finding")


def listed(page: Page, superseded: Superseded, options: argparse.Namespace) -> Table:
    """Return a page of findings: for a person the columns that fit a screen, for a program all of them."""
    columns = listed_columns(page, superseded, options)
    own, places = page.columns.index("version_id"), {name: at for at, name in enumerate(page.columns)}
    rows = [
        [superseded.by.get(record[own]) if name == SUPERSEDED else record[places[name]] for name in columns]
        for record in page.records
    ]
    notes = (superseded.untold,) if superseded.untold else ()
    return Table("findings", columns, rows, none="no finding", notes=(*paging(page, options), *notes))


def listed_columns(page: Page, superseded: Superseded, options: argparse.Namespace) -> tuple[str, ...]:
    """Return which columns to show; a bucket is worth one only where there are several."""
    if options.format != "table":
        return (*page.columns, SUPERSEDED)
    at = page.columns.index("bucket")
    several = len({record[at] for record in page.records}) > 1
    columns = (*LISTED[:3], "bucket", *LISTED[3:]) if several else LISTED
    return (*columns[:-2], SUPERSEDED, *columns[-2:]) if superseded.by else columns


def paging(page: Page, options: argparse.Namespace) -> tuple[str, ...]:
    """Say how many there are altogether, and how to see the next ones."""
    shown = len(page.records)
    if shown == page.total:
        return ()
    if shown < options.limit:
        return (f"{shown} of {page.total:,}",)
    return (f"{shown} of {page.total:,}; the next ones: --after {page.records[-1][0]}",)


def show(call: Call) -> Answer:
    """Show one finding with its evidence and history."""
    number, settings = call.options.id, call.settings("database.url")
    with database(settings) as opened:
        with inquiry.reading(opened) as connection:
            now = inquiry.now(connection)
            found = inquiry.finding(connection, number)
            changes = inquiry.history(connection, [number])
        if found is None:
            raise Misconfigured(f"finding {number}: there is none, or its retention is over; findings list names them")
        superseded = beside(opened, settings.mapping, [found["version_id"] or ""])
        repairs: tuple[str, ...] = ()
        if found["kind"] == Kind.MISSING and State(found["state"]) not in FINAL:
            ref = ObjectRef(found["bucket"], found["key"], found["s3_version"] or "")
            repairs = remedies.of_finding(call.program(), settings, opened, ref, found["version_id"])
    return Answer(told(found, superseded, changes, repairs), now, drift=State(found["state"]) not in FINAL)


def told(
    found: Mapping[str, Any], superseded: Superseded, changes: Sequence[Record], repairs: tuple[str, ...] = ()
) -> Section:
    """Return everything that is known of one finding; what says nothing is left out of the evidence only."""
    evidence = {name: value for name, value in found["evidence"].items() if value not in (None, "", [])}
    evidence |= {f"object_{name}": value for name, value in evidence.pop("object", {}).items() if value is not None}
    facts = {name: value for name, value in found.items() if name != "evidence"}
    facts[SUPERSEDED] = superseded.by.get(found["version_id"]) or superseded.untold or None
    title = f"Finding {found['id']}: {found['kind']}, {found['state']}"
    history = Table("history", HISTORY, changes, "History, the latest first", none="no history is kept")
    healing = (Section("repair", "What would repair it", notes=repairs),) if repairs else ()
    return Section("finding", title, facts, (*healing, Section("evidence", "Evidence", evidence), history))
