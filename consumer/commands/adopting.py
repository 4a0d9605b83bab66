"""`findings adopt`: flags that others set, such as an older script, become ours, with a status to go back to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from consumer.commands.answer import Answer
from consumer.commands.call import Call
from consumer.commands.triage import FIRST, Told, carried, opened_world, require_choice
from reconcile import rows
from reconcile.config.settings import MappingSettings
from reconcile.life import Input, Subject
from reconcile.model import Facts, Misconfigured, ObjectRef, ObjectSide, Present, Row, RowState
from reconcile.repair.triage import Deed, Named, Outcome
from reconcile.tables.fitness import unholdable
from reconcile.tables.template import Ref
from reconcile.world import LiveWorld

THERE = "its object is there: the status is given back, unless it is not what the row says"


@dataclass
class Adoption:
    """Remembers of which rows the object was seen to be there, until that is told."""

    there: set[str] = field(default_factory=set)

    def seen(self, subject: Subject, side: ObjectSide) -> Facts:
        """Note that an object is there; it adds nothing to the evidence."""
        if isinstance(side, Present):
            self.there.add(subject.row_id)
        return {}

    def retold(self, one: Outcome) -> Outcome:
        """Say beside an outcome what follows from that."""
        is_there = one.named.row_id in self.there
        self.there.discard(one.named.row_id)
        return one._replace(beside=THERE) if is_there and one.done else one


def adopt(call: Call) -> Answer:
    """Take over flags that others set, with a status to go back to; a row whose object is there gets it at once."""
    options = call.options
    require_choice(call, ("bucket", "prefix", "group", "owner"))
    with opened_world(call) as (settings, live):
        require_status(live, settings.mapping, options.status)
        adoption = Adoption()
        deed = Deed(
            Input.ADOPT,
            options.why,
            not_flagged,
            facts=adoption.seen,
            previous_status=options.status,
            after=timedelta(0),
        )
        wanted = named(live, options.ids) if options.ids else flagged(live)
        found = (
            Named(None, ObjectRef(row.bucket, row.key, row.s3_version), row.row_id)
            for row in wanted
            if is_wanted(call, row)
        )
        return carried(call, live, deed, found, Told(adoption.retold), look=True)


def require_status(live: LiveWorld, mapping: MappingSettings, status: str) -> None:
    """Refuse a status that no row could be given back."""
    column, words = mapping.version.status, mapping.status
    if column is None:
        raise Misconfigured("mapping.version.status: is not set, so that no row carries a flag; name the column")
    if status in {words.flag, words.purged, *words.expects_absence}:
        raise Misconfigured(f"--status {status!r}: must be the status of a row whose object is there")
    if words.live and status not in words.live:
        raise Misconfigured(f"--status {status!r}: must be one of mapping.status.live: {', '.join(words.live)}")
    if reason := unholdable(live.mapping.tables.column(Ref("version", column)), status):
        raise Misconfigured(f"--status {status!r}: {reason}")
    with live.database.use() as connection:
        if not words.live and not rows.has_status(connection, live.mapping, status):
            raise Misconfigured(f"--status {status!r}: no row has it; correct it, or name it in mapping.status.live")


def not_flagged(subject: Subject, _: ObjectSide, __: datetime) -> str:
    """Say why there is nothing to adopt, `''` where a row carries a flag that is not ours."""
    if subject.finding is not None:
        return f"finding {subject.finding.id} has it already"
    return "" if subject.row is not None and subject.row.state == RowState.FLAGGED else "its row carries no flag"


def named(live: LiveWorld, ids: Iterable[str]) -> list[Row]:
    """Return rows by their ids; raises Misconfigured naming those that there are not."""
    wanted = list(dict.fromkeys(ids))
    with live.database.use() as connection:
        found = rows.by_id(connection, live.mapping, wanted)
    if absent := sorted(set(wanted) - {row.row_id for row in found}):
        listed = ", ".join(absent[:FIRST])
        raise Misconfigured(f"version {listed}: there is no such row, or it names no object; explain KEY names them")
    return found


def flagged(live: LiveWorld) -> Iterator[Row]:
    """Yield every row that carries the flag, and no finding of ours that flagged it, in pages."""
    after: str | None = None
    while True:
        with live.database.use() as connection:
            page = rows.flagged(connection, live.mapping, after, 1000)
        if not page:
            return
        refs = {row.row_id: ObjectRef(row.bucket, row.key, row.s3_version) for row in page}
        known = live.glance(list(dict.fromkeys(refs.values())))
        ours = {one.row_id for each in known.values() for one in each.findings if one.previous_status is not None}
        yield from (row for row in page if row.row_id not in ours)
        after = page[-1].row_id


def is_wanted(call: Call, row: Row) -> bool:
    """Tell whether a row is among those that the filter names."""
    options = call.options
    pairs = ((options.bucket, row.bucket), (options.group, row.group), (options.owner, row.owner))
    return row.key.startswith(options.prefix or "") and all(a is None or a == b for a, b in pairs)
