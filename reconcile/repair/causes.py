"""What may have made an orphan, from clues that others have gathered: a suggestion for a person, never kept. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from reconcile.model import Row

BACKUP = re.compile(
    r"(?:^|[/._-])(?:back-?up|bak|archive|migrat(?:ion|ed)|dump|snapshot|export|old)s?(?=[/._-]|\d|$)", re.IGNORECASE
)


class Cause(StrEnum):
    """What may have made an orphan."""

    UPLOADING = "upload-in-progress"
    ROW_DELETED = "row-deleted"
    SPELLING = "other-spelling"
    BACKUP = "backup"
    ROLLBACK = "rollback"
    UNKNOWN = "unknown"


class Clues(NamedTuple):
    """What is known around one key.

    `of_leftover` is a leftover's own cause, `known_row` the id of a row that once named the key, `spelled` are rows
    that name it in another spelling, `is_backup` is what the configuration says of its place, `beside` is a key in the
    same directory that a row names; `fits` tells that the key is composed as the application's keys are.
    """

    key: str
    uploading: bool = False
    of_leftover: str = ""
    known_row: str = ""
    spelled: Sequence[Row] = ()
    is_backup: bool = False
    beside: str = ""
    fits: bool = False


class Suggestion(NamedTuple):
    """A cause, and what speaks for it."""

    cause: Cause
    clue: str


def suggested(clues: Clues) -> Suggestion:
    """Return the cause for which most is known."""
    return next(_speaking(clues), Suggestion(Cause.UNKNOWN, ""))


def _speaking(clues: Clues) -> Iterator[Suggestion]:
    """Yield what there is a clue for; what a row or MinIO says goes before what a name looks like."""
    if clues.uploading:
        yield Suggestion(Cause.UPLOADING, "an upload in parts of this key has not ended")
    if clues.of_leftover:
        yield Suggestion(Cause.ROW_DELETED, clues.of_leftover)
    for row in clues.spelled:
        yield Suggestion(Cause.SPELLING, f"row {row.row_id} names {row.key!r}")
    if clues.known_row:
        yield Suggestion(Cause.ROW_DELETED, f"row {clues.known_row} once named it")
    if clues.is_backup:
        yield Suggestion(Cause.BACKUP, "it lies where [backup] says that backups are")
    if found := BACKUP.search(clues.key):
        yield Suggestion(Cause.BACKUP, f"its name has {found[0].strip('/._-')!r} in it")
    if clues.fits:
        yield Suggestion(Cause.ROLLBACK, "its key is composed as the application composes keys, and no row is there")
    if clues.beside:
        yield Suggestion(Cause.ROLLBACK, f"a row names {clues.beside!r} beside it, and none names this")
