"""`explain`: both sides of one object as they are now. Needs neither `init` nor Kafka, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from psycopg import errors

from consumer.commands import remedies
from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from reconcile import inquiry, rows
from reconcile.config.settings import NEEDED, Settings
from reconcile.database import Connection
from reconcile.explain import Kept, Seen, drifts, explained
from reconcile.model import Known, Misconfigured, ObjectRef, Row, Unknown
from reconcile.opening import mapping, named_buckets, objects, storing, world
from reconcile.repair.superseded import beside
from reconcile.reports.forms import Section
from reconcile.world import LiveWorld

DEADLINE_S = 10.0


def explain(call: Call) -> Answer:
    """Look at both sides of a key, or of a version row, now, and say what they mean."""
    settings, options = call.settings(*NEEDED), call.options
    with database(settings) as opened, objects(settings) as store:
        live = world(settings, opened, store, "explain", mapping(settings, opened))
        with opened.use() as connection, inquiry.explaining():
            inquirer = Inquirer(settings, live, connection, has_kept=has_schema(connection))
            refs = inquirer.references(options.subject, options.bucket, options.s3_version)
            sides = store.heads(refs, DEADLINE_S)
            known = inquirer.known(refs)
            seen = [Seen(ref, known[ref], sides[ref], inquirer.kept(ref)) for ref in refs]
            now = inquiry.now(connection)
        later = beside(opened, settings.mapping, [row.row_id for one in seen for row in one.known.rows])
        with storing(settings) as storage:
            looked = {one.ref: (one.known, one.side) for one in seen if one.kept is not None}
            repairs = remedies.told(call.program(), settings, live, storage, looked)
        seen = [replace(one, superseded=later.by, remedies=repairs) for one in seen]
    found = there(seen)
    parts = tuple(explained(one, now, settings.policy) for one in found)
    shown = parts[0] if len(parts) == 1 else Section("objects", "", {"subject": options.subject}, numbered(parts))
    unread = any(isinstance(one.side, Unknown) for one in found)
    return Answer(shown, now, drift=any(map(drifts, found)), incomplete=unread)


def has_schema(connection: Connection) -> bool:
    """Tell whether our schema is there and ours to read; it need not be."""
    try:
        return inquiry.is_installed(connection)
    except errors.InsufficientPrivilege:
        return False


def there(seen: Sequence[Seen]) -> Sequence[Seen]:
    """Leave out the buckets in which there is nothing, unless that is all there is to say."""
    return [one for one in seen if one.known.rows or one.known.findings or not is_absent(one)] or seen[:1]


def is_absent(one: Seen) -> bool:
    """Tell whether nothing is there, and no delete marker either."""
    return getattr(one.side, "code", None) is not None and getattr(one.side, "delete_marker", None) is None


def names(ref: ObjectRef, row: Row) -> bool:
    """Tell whether a row, found by the key, names this very reference."""
    return row.bucket == ref.bucket and row.key == ref.key and ref.s3_version in {"", row.s3_version}


def numbered(parts: Iterable[Section]) -> tuple[Section, ...]:
    """Return the sections under names of their own."""
    return tuple(
        Section(f"{part.name}_{at}", f"{at}", part.facts, part.parts, part.notes) for at, part in enumerate(parts, 1)
    )


@dataclass(frozen=True, slots=True)
class Inquirer:
    """What the questions are put to; `has_kept` tells whether our schema is there."""

    settings: Settings
    live: LiveWorld
    connection: Connection
    has_kept: bool

    def references(self, subject: str, bucket: str | None, s3_version: str) -> list[ObjectRef]:
        """Return what a subject names: the object of a row by its id, else a key in each bucket it may be in."""
        of_rows = rows.by_id(self.connection, self.live.mapping, [subject])
        refs = [ObjectRef(row.bucket, row.key, row.s3_version) for row in of_rows]
        if not refs and self.has_kept:
            refs = [ObjectRef(*ref) for ref in inquiry.records(self.connection, "of_row", row_id=subject)]
        refs = refs or [ObjectRef(name, subject, s3_version) for name in self.buckets(subject, bucket)]
        return list(dict.fromkeys(refs))

    def buckets(self, key: str, bucket: str | None) -> list[str]:
        """Return the bucket that was named, or all in which the key may be."""
        if bucket:
            return [bucket]
        found = [row.bucket for row in rows.lookup(self.connection, self.live.mapping, [key])]
        if self.has_kept:
            found += [name for (name,) in inquiry.records(self.connection, "buckets", key=key)]
        found += named_buckets(self.settings)
        if not found:
            raise Misconfigured(
                f"{key!r}: no row names this key or id, so its bucket is not known; name it with --bucket"
            )
        return list(dict.fromkeys(found))

    def known(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, Known]:
        """Return what the database says of each, without our schema from the rows alone."""
        if self.has_kept:
            return self.live.glance(refs)
        found = rows.lookup(self.connection, self.live.mapping, list({ref.key for ref in refs}))
        return {ref: Known(tuple(row for row in found if names(ref, row))) for ref in refs}

    def kept(self, ref: ObjectRef) -> Kept | None:
        """Return findings, next look and history, if there are any to be had."""
        if not self.has_kept:
            return None
        findings = inquiry.records(self.connection, "of_key", **ref._asdict())
        looks = inquiry.records(self.connection, "look", **ref._asdict())
        return Kept(findings, looks, inquiry.history(self.connection, [record[0] for record in findings]))
