"""What the service does with files: list them, and store a new one or a next version. Knows no HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload
from werkzeug.utils import secure_filename

from reconcile.guards import Storage

from .models import ACTIVE, FileVersion, StorageFile

PAGE = 20
NAME_LENGTH = 200
KEY_LENGTH = 100


@dataclass(frozen=True)
class Upload:
    """What somebody sent: a name, so many bytes, and what they are."""

    name: str
    content: IO[bytes]
    size: int
    media_type: str = "application/octet-stream"


def page_of_files(session: Session, page: int) -> tuple[Sequence[StorageFile], bool]:
    """Return one page of the files, newest first, with their versions; and whether there are more."""
    query = (
        select(StorageFile)
        .where(StorageFile.deleted_at.is_(None))
        .options(selectinload(StorageFile.versions))
        .order_by(StorageFile.created_at.desc(), StorageFile.id)
        .offset((page - 1) * PAGE)
        .limit(PAGE + 1)
    )
    found = session.scalars(query).all()
    return found[:PAGE], len(found) > PAGE


def store(session: Session, storage: Storage, sent: Upload, file: StorageFile | None = None) -> FileVersion:
    """Store a new file, or a file's next version: row, upload, commit; a failed upload leaves nothing behind."""
    written: list[FileVersion] = []

    def write_row() -> uuid.UUID:
        written.append(new_version(session, sent.name, sent.size, file))
        return written[0].id

    storage.store_version(session, write_row, sent.content, size=sent.size, media_type=sent.media_type)
    return written[0]


def new_version(session: Session, name: str, size: int, file: StorageFile | None = None) -> FileVersion:
    """Write the row of a new file's first version, or of a file's next; whoever adds one at the same time waits."""
    if file is None:
        file = StorageFile(id=uuid.uuid4(), bucket_type="user", name=name)
        session.add(file)
    else:
        session.refresh(file, with_for_update={"key_share": True})
    last = select(func.max(FileVersion.version_number)).where(FileVersion.file_id == file.id)
    version = FileVersion(id=uuid.uuid4(), version_number=(session.scalar(last) or 0) + 1, size=size, status=ACTIVE)
    version.file, version.object_key = file, key_of(file.id, version.id, name)
    session.add(version)
    session.flush()
    return version


def key_of(file_id: uuid.UUID, version_id: uuid.UUID, name: str) -> str:
    """Return a key that no other version has, also none that was rolled back; the name in it is for people."""
    return f"users/{file_id}/{version_id}/{secure_filename(name)[-KEY_LENGTH:] or 'file'}"


def plain_name(sent: str) -> str:
    """Return a file's name without what is before it, and without what cannot be shown or kept."""
    base = sent.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(one for one in base if one.isprintable()).strip()[:NAME_LENGTH] or "unnamed"
