"""`orphans approve`: a person allows orphans to be deleted as they are now, one, many, a group, or a reviewed list."""

from __future__ import annotations

import csv
import io
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from consumer.commands.answer import Answer
from consumer.commands.call import Call
from consumer.commands.orphans import chosen as chosen_pages
from consumer.commands.orphans import spared
from consumer.commands.triage import Told, by_id, carried, is_current, named, opened_world, require_choice
from consumer.parsers.shared import identity
from reconcile import inquiry, opening
from reconcile.config.settings import NEEDED as SERVERS
from reconcile.inquiry import Filter, Record
from reconcile.life import Input, Subject
from reconcile.model import Facts, Misconfigured, ObjectRef, ObjectSide, Present, State
from reconcile.repair import orphans
from reconcile.repair.clues import Surroundings
from reconcile.repair.erasing import changed, facts_of
from reconcile.repair.orphans import Orphan
from reconcile.repair.triage import Deed, Named, Outcome, as_it_is, batches, still_drifting, unasked
from reconcile.store.storing import Storing
from reconcile.world import LiveWorld

FILTERS = ("kind", "bucket", "prefix", "principal", "older_than", "larger_than", "suggested", "since", "held")
NEEDED = ("id", "bucket", "key", "size_bytes", "etag", "modified_at")


@dataclass
class Approval:
    """What was seen of each orphan by whoever approves it, by the finding's id; no key: nothing was."""

    seen: dict[int, Facts] = field(default_factory=dict)

    def unfit(self, subject: Subject, side: ObjectSide, now: datetime) -> str:
        """Say why an orphan cannot be approved: it is none now, or is not what was seen."""
        if why := still_drifting(subject, side, now):
            return why
        then = self.seen.get(subject.finding.id) if subject.finding else None
        since = changed(then, side) if then and isinstance(side, Present) else ""
        return f"it is not what was reviewed: {since}" if since else ""


def approve(call: Call) -> Answer:
    """Approve orphans, or take approvals back."""
    options = call.options
    if not options.file:
        require_choice(call, FILTERS)
    told, approval = Told(), Approval()
    with opened_world(call) as (settings, live), opening.storing(settings) as storing:
        if options.file:
            found = reviewed(options.file, live, told, approval)
        else:
            found = chosen(call, live, storing, approval, told)
        current = (one for one in found if is_current(one, told))
        if options.withdraw:
            deed = Deed(Input.REOPEN, options.why, as_it_is, through=unasked)
            return carried(call, live, deed, only_approved(current, told), told)
        deed = Deed(Input.APPROVE, options.why, approval.unfit, facts=approved)
        return carried(call, live, deed, map(named, current), told)


def approved(_: Subject, side: ObjectSide) -> Facts:
    """Return what is approved: the object as it was looked at now."""
    return {"approved": facts_of(side) if isinstance(side, Present) else None, "erasing": None}


def chosen(call: Call, live: LiveWorld, storing: Storing, approval: Approval, told: Told) -> Iterator[Record]:
    """Yield the findings that are meant: by a filter as far as they are what was found, and none that it spares."""
    if call.options.ids:
        yield from by_id(live.database, call.options.ids)
        return
    withdraw = call.options.withdraw
    backup = call.settings(*SERVERS).backup
    for page in chosen_pages(call, live, storing, [str(State.APPROVED if withdraw else State.OPEN)]):
        with live.database.use() as connection:
            left = {} if withdraw else spared(call, Surroundings(connection, live.mapping, storing, backup), page)
            kept = orphans.evidence(connection, [one.id for one in page if one.id not in left])
        for one in page:
            if one.id in left:
                told.add(Outcome(Named(one.id, one.ref), done=False, told=left[one.id]))
        approval.seen |= {number: one.found for number, one in kept.items()}
        yield from (record_of(one) for one in page if one.id not in left)


def record_of(one: Orphan) -> Record:
    """Return an orphan as acts on findings want it."""
    return one.id, one.bucket, one.key, one.s3_version, "", one.kind, one.state


def only_approved(found: Iterable[Record], told: Told) -> Iterator[Named]:
    """Leave out what has no approval to be taken back."""
    for one in found:
        if one[-1] == State.APPROVED:
            yield named(one)
        else:
            told.add(Outcome(named(one), done=False, told=f"it is {one[-1]}, not approved"))


def reviewed(file: str, live: LiveWorld, told: Told, approval: Approval) -> Iterator[Record]:
    """Yield the findings of a reviewed list, each with what the list says of it."""
    for batch in batches(list(lines(file)), 1000):  # all of it is read before anything is approved
        ids = [one.id for one in batch]
        there = {record[0]: record for record in inquiry.chosen(live.database, Filter(), ids)}
        for one in batch:
            record = there.get(one.id)
            if record is None or tuple(record[1:3]) != (one.ref.bucket, one.ref.key):
                why = "there is none" if record is None else f"it is about {record[1]}/{record[2]}"
                told.add(Outcome(Named(one.id, one.ref), done=False, told=f"finding {one.id}: {why}"))
                continue
            approval.seen[one.id] = one.seen
            yield record


class Line(NamedTuple):
    """One line of a reviewed list."""

    id: int
    ref: ObjectRef
    seen: Facts


def lines(file: str) -> Iterator[Line]:
    """Yield the lines of a list as `orphans list -o csv` writes it; a spreadsheet may have put semicolons into it."""
    try:
        with Path(file).open(encoding="utf-8-sig", newline="") as opened:
            text = opened.read()
    except (OSError, ValueError) as error:
        raise Misconfigured(f"--from {file}: cannot be read ({error}); name a list in CSV, in UTF-8") from error
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    if lacking := [name for name in NEEDED if name not in (reader.fieldnames or ())]:
        raise Misconfigured(
            f"--from {file}: has no column {', '.join(lacking)}; keep those of orphans list -o csv, delete lines only"
        )
    seen: set[int] = set()
    for number, written in enumerate(reader, 2):
        one = line(file, number, written)
        if one.id not in seen:
            seen.add(one.id)
            yield one


def line(file: str, number: int, written: Mapping[str, str]) -> Line:
    """Return one line, or raise Misconfigured naming it."""
    try:
        modified = datetime.fromisoformat(written["modified_at"]) if written["modified_at"] else None
        seen = {
            "size": int(written["size_bytes"]),
            "etag": written["etag"] or None,
            "s3_version": written.get("stored_version") or None,
            "modified": modified,
        }
        return Line(identity(written["id"]), ObjectRef(written["bucket"], written["key"]), known(seen))
    except (ValueError, TypeError, ArgumentTypeError) as error:
        raise Misconfigured(
            f"--from {file}, line {number}: is not as orphans list -o csv writes it ({error})"
        ) from error


def known(seen: Facts) -> Facts:
    """Leave out what is not known; a list that says neither ETag nor time is no review of an object."""
    if seen["etag"] is None or seen["modified"] is None:
        raise ValueError("etag and modified_at must have a value")
    return {name: value for name, value in seen.items() if value is not None}
