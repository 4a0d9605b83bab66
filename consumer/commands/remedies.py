"""Which remedies would work for findings, looked for on both sides as they are now, each with its command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from consumer.commands.answer import EXPECTED
from reconcile.config.settings import Settings
from reconcile.database import Database
from reconcile.model import Finding, Kind, Known, ObjectRef, ObjectSide
from reconcile.opening import mapping, objects, storing, world
from reconcile.repair import orphans
from reconcile.repair.erasing import erasure_of
from reconcile.repair.purging import action
from reconcile.repair.remedies import Case, remedies
from reconcile.repair.restoring import Ways
from reconcile.repair.superseded import good, has_others, in_words
from reconcile.repair.trash import Bin
from reconcile.repair.ways import Place, Wanted
from reconcile.store.storing import Storing
from reconcile.world import LiveWorld

Looked = Mapping[ObjectRef, tuple[Known, ObjectSide]]
Remedies = Mapping[str, tuple[str, ...]]


def backup(settings: Settings) -> Place | None:
    """Return where backups are, if that is configured."""
    named = settings.backup
    return Place(named.bucket, named.prefix) if named.bucket or named.prefix else None


def of_finding(program: str, settings: Settings, opened: Database, ref: ObjectRef, row_id: str) -> tuple[str, ...]:
    """Look at both sides of a finding's reference, and return its remedies; where that fails, that is what is told."""
    minio, version = settings.minio, settings.mapping.version
    if not (minio.endpoint and minio.access_key and minio.secret_key and version.table and version.key):
        return ("what would bring it back is not known: [minio] or [mapping] is not configured",)
    try:
        with objects(settings) as store, storing(settings) as storage:
            live = world(settings, opened, store, "show", mapping(settings, opened))
            looked = Ways(live, storage, Wanted(backup(settings))).look([ref])
            return told(program, settings, live, storage, looked).get(row_id, ())
    except EXPECTED as error:
        return (f"what would bring it back is not known: {str(error).splitlines()[0]}",)


def told(program: str, settings: Settings, live: LiveWorld, storage: Storing, looked: Looked) -> Remedies:
    """Return the remedies of each row that has a finding of ours, and whose object is missing."""
    cases = list(missing(looked))
    if not cases:
        return {}
    try:
        ways = Ways(live, storage, Wanted(backup(settings))).find({ref: looked[ref] for ref, _ in cases})
        with live.database.use() as connection:
            beside = good(connection, live.mapping, [one.row_id for _, one in cases])
        deleted = undoable(live, storage, [ref for ref, _ in cases])
    except EXPECTED as error:
        unknown = f"what would bring it back is not known: {str(error).splitlines()[0]}"
        return {one.row_id: (unknown,) for _, one in cases}
    later, others = in_words(beside), has_others(beside)
    does = action(live.mapping)
    told_of = {
        one.row_id: Case(one, ways[ref], later.get(one.row_id), one.row_id in others, deleted.get(ref))
        for ref, one in cases
    }
    return {row_id: tuple(remedies(case, program, does)) for row_id, case in told_of.items()}


def undoable(live: LiveWorld, storage: Storing, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, int]:
    """Return of each object that was deleted as an orphan, and can be brought back, the finding that says so."""
    with live.database.use() as connection:
        kept = orphans.deleted_at(connection, [ref.key for ref in refs])
    bin_ = Bin(live, storage, lambda: None)
    found = {ref: kept[ref[:2]] for ref in refs if ref[:2] in kept}
    return {
        ref: one.id
        for ref, one in found.items()
        if one.erasing and not bin_.cannot_return(one.ref, erasure_of(one.erasing))
    }


def missing(looked: Looked) -> Iterator[tuple[ObjectRef, Finding]]:
    """Yield the findings of missing objects, each with its reference."""
    for ref, (known, _) in looked.items():
        yield from ((ref, one) for one in known.findings if one.kind is Kind.MISSING and one.row_id)
