"""`orphans list` and `orphans show`: what lies in the bucket that no row names, and what may have made it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from consumer.commands import findings
from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from consumer.commands.choosing import wanted_by
from reconcile import inquiry, opening, rows
from reconcile.config.settings import NEEDED, Backup, Settings
from reconcile.database import Connection
from reconcile.explain import object_facts
from reconcile.human import Value
from reconcile.human import size as in_words
from reconcile.inquiry import Filter
from reconcile.model import FINAL, Misconfigured, ObjectSide, Present, RowState, State, Unavailable
from reconcile.repair import mc, orphans
from reconcile.repair.causes import Cause, Suggestion
from reconcile.repair.clues import Surroundings
from reconcile.repair.erasing import changed
from reconcile.repair.orphans import KINDS, Kept, Orphan, Place
from reconcile.repair.superseded import Superseded
from reconcile.repair.triage import batches
from reconcile.reports.forms import Brief, Section, Table
from reconcile.store.storing import Storing
from reconcile.world import LiveWorld

LISTED = ("id", "state", "key", "size_bytes", "modified_at", "suggested_cause", "clue")
COLUMNS = (*Orphan._fields, "suggested_cause", "clue")
GROUPED = ("orphans", "open", "approved", "size_bytes", "oldest_at", "newest_at")
NEAR = ("key", "version_id", "state", "status", "size_bytes", "created_at")
SWEEPS = ("sweep", "started_at", "kind", "meter", "seen_again")
IS_BACKUP = "it is a backup, as [backup] says; name it by its id, in a reviewed list, or by --prefix"
IS_SPELLED = "row {} may mean it by {!r}; name it by its id, in a reviewed list, or by --cause other-spelling"
DEADLINE_S = 10.0
MOST_ASKED = 1000
Suggested = tuple[Orphan, Suggestion]


@dataclass(frozen=True, slots=True)
class Desk:
    """What a person sits at: the settings, what is kept, and where clues come from."""

    settings: Settings
    connection: Connection
    around: Surroundings
    now: datetime


@contextmanager
def desk(call: Call) -> Iterator[Desk]:
    """Open what a list needs; MinIO may be away."""
    settings = call.settings(*NEEDED)
    with database(settings) as opened, opening.storing(settings) as storing:
        mapped = opening.mapping(settings, opened)
        with opened.use() as connection, inquiry.explaining():  # no transaction: MinIO is asked meanwhile
            most = None if getattr(call.options, "suggested", None) == Cause.UPLOADING else MOST_ASKED
            around = Surroundings(connection, mapped, storing, settings.backup, most)
            yield Desk(settings, connection, around, inquiry.now(connection))


def listing(call: Call) -> Answer:
    """List orphans, count them by a group, or print what would remove them."""
    options = call.options
    with desk(call) as at:
        wanted = of_orphans(wanted_by(options, at.now))
        if options.mc:
            return Answer(script(at, wanted, call))
        if options.group_by:
            return Answer(grouped(at, wanted, call), at.now)
        pairs = suggested(at, wanted, options.suggested, place(call), options.limit)
        found = list(islice(pairs, options.limit or None))
        total, size = orphans.sums(at.connection, wanted)
        notes = (*paging(found, total, size, call), *silence(at))
    return Answer(listed(found, notes), at.now, drift=bool(found))


def chosen(call: Call, live: LiveWorld, storing: Storing, states: list[str]) -> Iterator[list[Orphan]]:
    """Yield the orphans that a filter names, some at a time, those in the states that the act is for."""
    cause = call.options.suggested
    backup = call.settings(*NEEDED).backup
    with live.database.use() as connection:
        wanted = replace(of_orphans(wanted_by(call.options, inquiry.now(connection))), states=states)
    after: Place | None = None
    while True:
        with live.database.use() as connection, inquiry.explaining():
            found = orphans.page(connection, wanted, orphans.PAGE, after)
            around = Surroundings(connection, live.mapping, storing, backup)
            causes = around.suggestions(found) if cause else []
        if not found:
            return
        if around.silent:
            raise Unavailable("minio", around.silent)
        after = found[-1].place
        yield [one for at, one in enumerate(found) if not cause or causes[at].cause == cause]


def spared(call: Call, around: Surroundings, found: Sequence[Orphan]) -> dict[int, str]:
    """Return by id which of these a filter means only if it says so, and why: what a row may mean, and backups."""
    options, backup = call.options, around.backup
    spelled = {} if options.suggested == Cause.SPELLING else around.spelled(found)
    named = backup.prefix and (options.prefix or "").startswith(backup.prefix)
    if named or (backup.bucket and options.bucket == backup.bucket):
        backup = Backup()
    why = {one.id: IS_BACKUP for one in found if backup.holds(one.bucket, one.key)}
    for one in found:
        if row := next(
            (row for row in spelled.get((one.bucket, one.key), ()) if row.state != RowState.EXPECTS_ABSENCE), None
        ):
            why[one.id] = IS_SPELLED.format(row.row_id, row.key)
    return why


def place(call: Call) -> Place | None:
    """Return where the list goes on."""
    return Place(call.options.after) if call.options.after else None


def of_orphans(wanted: Filter) -> Filter:
    """Return the filter for what has no row."""
    return wanted if wanted.kinds else replace(wanted, kinds=KINDS)


def suggested(at: Desk, wanted: Filter, cause: str | None, after: Place | None, limit: int) -> Iterator[Suggested]:
    """Yield orphans with their suggested causes, or those of one cause; no more are looked into than are needed."""
    if limit and cause is None:
        found = orphans.page(at.connection, wanted, limit, after)
        yield from zip(found, at.around.suggestions(found), strict=True)
        return
    for found in orphans.pages(at.connection, wanted, after):
        pairs = zip(found, at.around.suggestions(found), strict=True)
        yield from (pair for pair in pairs if cause is None or pair[1].cause == cause)


def script(at: Desk, wanted: Filter, call: Call) -> str:
    """Return the lines of mc, of what is open or approved unless states are named."""
    options = call.options
    if wanted.states is None:
        wanted = replace(wanted, states=[State.OPEN, State.APPROVED])
    if options.suggested:
        pairs = suggested(at, wanted, options.suggested, place(call), options.limit)
        found: Iterator[Orphan] = (one for one, _ in pairs)
    else:
        found = (one for page in orphans.pages(at.connection, wanted, place(call)) for one in page)
    chosen = islice(meant(at, call, found), options.limit or None)
    return "".join(f"{line}\n" for line in mc.lines(chosen, options.alias))


def meant(at: Desk, call: Call, found: Iterator[Orphan]) -> Iterator[Orphan]:
    """Leave out what the filter does not say to be meant."""
    for batch in batches(found, orphans.PAGE):
        left = spared(call, at.around, batch)
        yield from (one for one in batch if one.id not in left)


def grouped(at: Desk, wanted: Filter, call: Call) -> Table:
    """Return the groups with the most bytes, the rest as one."""
    options = call.options
    limit = options.limit or 1_000_000
    if options.group_by == "cause" or options.suggested:
        if options.group_by != "cause":
            raise Misconfigured("--cause with --group-by: count by cause alone, or list with --cause")
        records = by_cause(suggested(at, wanted, options.suggested, None, 0))
    else:
        records = orphans.groups(at.connection, wanted, options.group_by, options.depth, limit)
    return Table("groups", (options.group_by, *GROUPED), records, none="no orphan", notes=silence(at))


def by_cause(found: Iterator[Suggested]) -> list[tuple[Value, ...]]:
    """Count by suggested cause, the most bytes first."""
    count, size, states = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    times: dict[str, list[datetime]] = {}
    for one, (cause, _) in found:
        count[cause] += 1
        size[cause] += one.size_bytes or 0
        states[cause, one.state] += 1
        at = one.modified_at or one.suspected_at
        first, last = times.get(cause, (at, at))
        times[cause] = [min(first, at), max(last, at)]
    return [
        (cause, count[cause], states[cause, "open"], states[cause, "approved"], total, *times[cause])
        for cause, total in size.most_common()
    ]


def listed(found: Sequence[Suggested], notes: tuple[str, ...]) -> Table:
    """Return the table: text shows what fits a screen, everything else all columns."""
    records = [(*one[:5], one.s3_version or None, *one[6:], str(cause), clue) for one, (cause, clue) in found]
    columns = LISTED if len({one.bucket for one, _ in found}) <= 1 else (*LISTED[:2], "bucket", *LISTED[2:])
    return Table("orphans", COLUMNS, records, none="no orphan", notes=notes, brief=Brief(columns, len(records)))


def paging(found: Sequence[Suggested], total: int, size: int, call: Call) -> tuple[str, ...]:
    """Say how many there are altogether, and how to see the next ones."""
    options = call.options
    if options.suggested:
        whole = f"{len(found)} of this cause, of {total:,} orphans"
    else:
        whole = f"{len(found):,} of {total:,}, {in_words(size)} altogether"
    more = options.limit and len(found) == options.limit
    return (f"{whole}; the next ones: --after {found[-1][0].id}" if more else whole,) if found else ()


def silence(at: Desk) -> tuple[str, ...]:
    """Say what could not be asked of MinIO."""
    return (f"uploads under way are not known: {at.around.silent}",) if at.around.silent else ()


def show(call: Call) -> Answer:
    """Show one orphan: the evidence, both sides now, what may have made it, what is near it, and its history."""
    number = call.options.id
    with desk(call) as at, opening.objects(at.settings) as store:
        found = inquiry.finding(at.connection, number)
        if found is None or found["kind"] not in KINDS:
            said = "there is none, or its retention is over" if found is None else f"is {found['kind']}"
            raise Misconfigured(f"orphan {number}: {said}; orphans list names them")
        kept = orphans.evidence(at.connection, [number])[number]
        side = store.heads([kept.ref], DEADLINE_S)[kept.ref]
        told = findings.told(found, Superseded(), inquiry.history(at.connection, [number]))
        seen = Orphan._make(found.get(name) or kept.found.get(name) for name in Orphan._fields)
        seen = seen._replace(s3_version=kept.ref.s3_version)  # '' is shown as none
        parts = (now_section(kept, side), cause_section(at, seen), near_section(at, seen), sweeps_section(at, seen))
    shown = replace(told, parts=(*parts, *told.parts), notes=(*told.notes, *next_steps(kept, side)))
    return Answer(shown, at.now, drift=State(kept.state) not in FINAL)


def now_section(kept: Kept, side: ObjectSide) -> Section:
    """Return the object as it is now, and what of it is not as it was."""
    facts = dict(object_facts(side))
    if isinstance(side, Present):
        for name, then in (("since_found", kept.found), ("since_approved", kept.approved)):
            if then:
                facts[name] = changed(then, side) or "unchanged"
    return Section("now", "The object now", facts)


def cause_section(at: Desk, one: Orphan) -> Section:
    """Return what may have made it."""
    [(cause, clue)] = at.around.suggestions([one])
    return Section("suggestion", "What may have made it", {"cause": str(cause), "clue": clue}, notes=silence(at))


def near_section(at: Desk, one: Orphan) -> Table:
    """Return the rows that name this key, or one next to it."""
    mapped = at.around.mapping
    there = [*rows.lookup(at.connection, mapped, [one.key]), *rows.near(at.connection, mapped, one.key)]
    records = [(row.key, row.row_id, row.state, row.status, row.size, row.created_at) for row in dict.fromkeys(there)]
    return Table("near", NEAR, records, "Rows of this key, and next to it", none="none")


def sweeps_section(at: Desk, one: Orphan) -> Table:
    """Return the sweeps that saw it."""
    return Table("sweeps", SWEEPS, orphans.swept(at.connection, one.ref), "Sweeps that saw it", none="")


def next_steps(kept: Kept, side: ObjectSide) -> tuple[str, ...]:
    """Say which command does what with it now."""
    match kept.state:
        case State.OPEN if isinstance(side, Present):
            return (f"storage-reconciler orphans approve {kept.id} allows its deletion",)
        case State.APPROVED:
            return (f"storage-reconciler orphans delete {kept.id} plans its deletion",)
        case State.DELETED if kept.erasing:
            return (f"storage-reconciler orphans undo {kept.id} brings it back",)
        case _:
            return ()
