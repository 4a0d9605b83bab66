"""Which remedies would work for findings, looked for on both sides as they are now, each with its command line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from consumer.commands.answer import EXPECTED
from consumer.commands.call import Call
from reconcile.database import Database
from reconcile.model import Finding, Kind, Known, ObjectRef, ObjectSide
from reconcile.opening import mapping, objects, storing, world
from reconcile.purging import action
from reconcile.remedies import Case, remedies
from reconcile.restoring import Ways
from reconcile.settings import Settings
from reconcile.storing import Storing
from reconcile.superseded import good, has_others, in_words
from reconcile.ways import Place, Wanted
from reconcile.world import LiveWorld

Looked = Mapping[ObjectRef, tuple[Known, ObjectSide]]
Remedies = Mapping[str, tuple[str, ...]]


def backup(settings: Settings) -> Place | None:
    """Return where backups are, if that is configured."""
    named = settings.backup
    return Place(named.bucket, named.prefix) if named.bucket or named.prefix else None


def of_finding(call: Call, settings: Settings, opened: Database, ref: ObjectRef, row_id: str) -> tuple[str, ...]:
    """Look at both sides of a finding's reference, and return its remedies; where that fails, that is what is told."""
    minio, version = settings.minio, settings.mapping.version
    if not (minio.endpoint and minio.access_key and minio.secret_key and version.table and version.key):
        return ("what would bring it back is not known: [minio] or [mapping] is not configured",)
    try:
        with objects(settings) as store, storing(settings) as storage:
            live = world(settings, opened, store, "show", mapping(settings, opened))
            looked = Ways(live, storage, Wanted(backup(settings))).look([ref])
            return told(call, settings, live, storage, looked).get(row_id, ())
    except EXPECTED as error:
        return (f"what would bring it back is not known: {str(error).splitlines()[0]}",)


def told(call: Call, settings: Settings, live: LiveWorld, storage: Storing, looked: Looked) -> Remedies:
    """Return the remedies of each row that has a finding of ours, and whose object is missing."""
    cases = list(missing(looked))
    if not cases:
        return {}
    try:
        ways = Ways(live, storage, Wanted(backup(settings))).find({ref: looked[ref] for ref, _ in cases})
        with live.database.use() as connection:
            beside = good(connection, live.mapping, [one.row_id for _, one in cases])
    except EXPECTED as error:
        unknown = f"what would bring it back is not known: {str(error).splitlines()[0]}"
        return {one.row_id: (unknown,) for _, one in cases}
    later, others = in_words(beside), has_others(beside)
    program = shlex.join(["storage-reconciler", *(("--config", call.options.config) if call.options.config else ())])
    does = action(live.mapping)
    return {
        one.row_id: tuple(remedies(Case(one, ways[ref], later.get(one.row_id), one.row_id in others), program, does))
        for ref, one in cases
    }


def missing(looked: Looked) -> Iterator[tuple[ObjectRef, Finding]]:
    """Yield the findings of missing objects, each with its reference."""
    for ref, (known, _) in looked.items():
        yield from ((ref, one) for one in known.findings if one.kind is Kind.MISSING and one.row_id)
