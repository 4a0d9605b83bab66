"""Guesses a mapping from the tables that a database has: which holds the keys, and what its columns mean. Pure.

A guess goes by names and types alone, so each says why, and whether it is sure. What is not sure is for a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from reconcile.tables.columns import Column, Family, Table
from reconcile.tables.fitness import DELETIONS, MOMENTS, NAMES, STATUSES

TEXT, WHOLE = frozenset({Family.TEXT}), frozenset({Family.INTEGER})
KEYS = (
    "object_key", "s3_key", "storage_key", "minio_key", "blob_key", "file_key", "object_name", "object_path",
    "storage_path", "s3_path", "key", "file_path", "filepath", "path", "location",
)  # fmt: skip
SIZES = ("size", "size_bytes", "file_size", "filesize", "byte_size", "content_length", "bytes", "length")
STATES = ("status", "state", "upload_status", "file_status", "lifecycle_state")
FILES = ("file_id", "storage_file_id", "document_id", "asset_id", "attachment_id", "media_id", "object_id")
DELETED = ("deleted_at", "is_deleted", "deleted", "removed_at", "deleted_on")
OPTIONAL: tuple[tuple[str, tuple[str, ...], frozenset[Family]], ...] = (
    ("size", SIZES, WHOLE),
    ("etag", ("etag", "e_tag", "object_etag"), TEXT),
    ("s3_version", ("s3_version_id", "s3_version", "object_version_id", "storage_version_id"), TEXT | {Family.UUID}),
    ("created_at", ("created_at", "uploaded_at", "inserted_at", "created", "created_on", "creation_date"), MOMENTS),
    ("number", ("version_number", "version_no", "revision_number", "revision", "version", "number"), WHOLE),
    ("sha256", ("sha256", "content_sha256", "checksum_sha256", "sha256_hash"), TEXT | {Family.BYTES}),
    ("deleted", DELETED, DELETIONS),
)
GROUPS = ("bucket_type", "category", "file_type", "kind", "type", "tenant_id", "project_id")
OWNERS = ("owner_id", "owner", "user_id", "uploaded_by", "created_by", "account_id", "tenant_id")
BUCKETS = ("bucket", "bucket_name", "s3_bucket", "storage_bucket", "minio_bucket")
ABSENT = frozenset({
    "deleted", "removed", "purged", "trashed", "expired", "pending", "uploading", "initiated", "created", "new",
    "aborted", "cancelled", "canceled", "failed", "draft",
})  # fmt: skip
UNSURE_ABSENT = frozenset({"created", "new", "failed", "draft", "expired", "trashed"})
FLAGS = ("corrupted", "corrupt", "missing", "lost", "broken", "unavailable", "damaged")
NAMED_SO = re.compile(r"version|file|object|blob|attachment|upload|document|media|asset")
HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Reference(NamedTuple):
    """A foreign key of one column: the table that it refers to, as it is written, and the column there."""

    parent: str
    column: str


class Candidate(NamedTuple):
    """A table as it was found, how it is written, about how many rows it has, and its foreign keys by column."""

    written: str
    table: Table
    rows: int = 0
    references: Mapping[str, Reference] = {}


class Choice(NamedTuple):
    """A key of [mapping] with its value and why; what is not `taken` is written as a comment for a person to decide."""

    key: str
    value: object
    why: str
    sure: bool = True
    taken: bool = True


class Guess(NamedTuple):
    """The table with the keys, its parent if there is one, and the column that names it."""

    version: Candidate
    key: Column
    file: Candidate | None = None
    file_id: str = ""
    others: tuple[str, ...] = ()


class Proposed(NamedTuple):
    """A mapping by its keys, other tables that might be meant, the faults left, and those that flagging would meet."""

    choices: tuple[Choice, ...]
    others: tuple[str, ...]
    faults: tuple[str, ...]
    before_flagging: tuple[str, ...] = ()


def plain(name: str) -> str:
    """Return a name as words joined by underscores, as most are written."""
    return re.sub(r"\W+", "_", HUMP.sub("_", name)).strip("_").lower()


def named(table: Table, words: Sequence[str], families: frozenset[Family] = frozenset(Family)) -> Column | None:
    """Return the readable column that is called by the first of these words, if its type serves."""
    columns = {plain(name): column for name, column in reversed([*table.columns.items()])}
    fitting = (columns[word] for word in words if word in columns)
    return next((one for one in fitting if one.family in families and one.readable and "{" not in one.name), None)


def guess(candidates: Iterable[Candidate]) -> Guess | None:
    """Return the table that most likely holds one row for each object; None where none has a column for keys."""
    tables = {one.written: one for one in candidates if one.table.usable}
    ranked = sorted(
        ((_score(one, key), one, key) for one in tables.values() if (key := named(one.table, KEYS, TEXT))),
        key=lambda item: (-item[0], item[1].written),
    )
    if not ranked:
        return None
    _, version, key = ranked[0]
    others = tuple(f"{one.written} ({column.name})" for _, one, column in ranked[1:])
    file_id, file = _parent(version, tables)
    return Guess(version, key, file, file_id, others)


def _score(one: Candidate, key: Column) -> int:
    score = 2 * (len(KEYS) - KEYS.index(plain(key.name)))
    score += 8 * is_indexed(one.table, key.name, unique=True) + 2 * is_indexed(one.table, key.name)
    score += 4 * bool(named(one.table, SIZES, WHOLE)) + 2 * bool(named(one.table, STATES, STATUSES))
    return score + 3 * bool(NAMED_SO.search(plain(one.table.name))) + bool(one.rows)


def is_indexed(table: Table, column: str, *, unique: bool = False) -> bool:
    """Tell whether an index finds rows by a column; a `unique` one holds that column alone."""
    if unique:
        return any(index.unique and index.columns == (column,) for index in table.indexes)
    return any(index.columns[:1] == (column,) for index in table.indexes)


def _parent(version: Candidate, tables: Mapping[str, Candidate]) -> tuple[str, Candidate | None]:
    """Return the column that names the parent, and the parent if a foreign key leads to it and it can be read."""
    column = named(version.table, FILES, NAMES)
    if column is None:
        kin = (name for name, to in version.references.items() if NAMED_SO.search(plain(to.parent)))
        column = next((version.table.columns[name] for name in kin), None)
    if column is None:
        return "", None
    to = version.references.get(column.name)
    parent = tables.get(to.parent) if to else None
    readable = parent is not None and to is not None and parent.table.columns[to.column].readable
    return column.name, parent if readable and parent is not version else None


def row_id(table: Table, key: Column) -> Choice:
    """Return what identifies a row."""
    unique = [name for name in table.columns if is_indexed(table, name, unique=True)]
    fitting = [name for name in unique if table.columns[name].family in NAMES and name != key.name]
    called = next((name for name in fitting if plain(name) in {"id", "uuid"}), None)
    if called or fitting:
        return Choice("version.id", called or fitting[0], "unique", sure=bool(called))
    if plain_id := named(table, ("id", "uuid"), NAMES):
        return Choice("version.id", plain_id.name, "by its name alone: it is not unique", sure=False)
    return Choice("version.id", key.name, "no column besides identifies a row", sure=False)


def status(table: Table, side: str, values: Sequence[str], unwilling: str) -> list[Choice]:
    """Return the status column and what its values mean; `values` are the enum's, or some that rows have."""
    column = named(table, STATES, STATUSES)
    if column is None:
        return []
    absent = [one for one in values if one.lower() in ABSENT]
    unsure = not values or any(one.lower() in UNSURE_ABSENT for one in absent)
    known = f"of {', '.join(values)}" if values else "no row has any yet"
    expects = Choice(
        "status.expects_absence" if side == "version" else "file.expects_absence",
        absent,
        f"values for which no object is expected, {known}",
        not unsure,
    )
    if side == "file":
        return [Choice("file.status", column.name, "by its name"), expects] if absent else []
    flag = next((word for word in FLAGS if word in values), FLAGS[0])
    taken = not unwilling
    why = "by its name; it gets the flag once flagging = true" if taken else unwilling
    return [
        Choice("version.status", column.name, why, taken, taken),
        Choice("status.flag", flag, "what marks a row whose object is gone", flag in values, taken),
        expects._replace(taken=taken),
    ]


def columns(found: Guess) -> list[Choice]:
    """Return every other column of the two tables that the mapping has a use for."""
    table = found.version.table
    choices: list[Choice] = []
    for name, words, families in OPTIONAL:
        column = named(table, words, families)
        if column is not None and column.name not in {found.key.name, found.file_id}:
            choices.append(_optional(f"version.{name}", column))
    if found.file is not None:
        gone = named(found.file.table, DELETED, DELETIONS)
        choices += [_optional("file.deleted", gone)] if gone else []
    for key, words in (("group", GROUPS), ("owner", OWNERS)):
        choices += _of_either(key, words, found)
    return choices


def _optional(key: str, column: Column) -> Choice:
    """Return a column by its name, unless it would make every row a deleted one."""
    never = key.endswith(".deleted") and not column.nullable and column.family is not Family.BOOLEAN
    why = f"by its name; {column.type[1]}"
    if never:
        return Choice(key, column.name, "is never NULL, so that every row would count as deleted", False, False)  # noqa: FBT003
    if column.family is Family.TIMESTAMP and key == "version.created_at":
        return Choice(key, column.name, f"{why}, without a zone: see timezone", sure=False)
    return Choice(key, column.name, why, sure=plain(column.name) not in {"number", "version", "revision", "length"})


def _of_either(key: str, words: Sequence[str], found: Guess) -> list[Choice]:
    own = named(found.version.table, words)
    if own is not None:
        return [Choice(key, own.name, "by its name")]
    theirs = named(found.file.table, words) if found.file else None
    return [Choice(key, f"file.{theirs.name}", "by its name, of the parent")] if theirs else []


def bucket(found: Guess, named_bucket: str) -> list[Choice]:
    """Return where the bucket's name comes from."""
    told = _of_either("bucket.column", BUCKETS, found)
    if told and not named_bucket:
        return told
    if named_bucket:
        return [Choice("bucket.name", named_bucket, "as you named it"), *(one._replace(taken=False) for one in told)]
    return [Choice("bucket.name", "files", "no column names the bucket: write your bucket's name", sure=False)]


def with_parent(found: Guess, candidates: Iterable[Candidate]) -> Guess:
    """Return the same with the parent that other tables offer."""
    file_id, file = _parent(found.version, {one.written: one for one in candidates if one.table.usable})
    return found._replace(file_id=file_id, file=file)
