"""For applications: read a version's file, store one, and have what is missing marked and what is left over found.

Needs no Kafka. Synchronous; threads may share a Storage, and a process that was forked opens its own connections.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from reconcile import opening, rows
from reconcile.config.configured import document, located, read_file
from reconcile.config.filters import watched
from reconcile.config.settings import Settings, load
from reconcile.database import UNAVAILABLE, first_line
from reconcile.guards import voice
from reconcile.guards.beside import Beside
from reconcile.guards.callers import Content, Transaction, driver_of
from reconcile.guards.handed import File, FileMissing, StorageUnavailable, Stored, UploadFailed, VersionNotFound
from reconcile.guards.lending import Worlds
from reconcile.guards.uploading import Upload, Uploader
from reconcile.model import Absent, ObjectRef, Row, RowState, Unavailable
from reconcile.store.objects import Objects
from reconcile.store.storing import Arriving, Storing

__all__ = ["File", "FileMissing", "Storage", "StorageUnavailable", "Stored", "UploadFailed", "VersionNotFound"]

log = structlog.get_logger("reconcile.guards")
ANSWER_S = 30.0
KEPT = 32
MEDIA_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class Opened:
    """What one process has opened."""

    pid: int
    storing: Storing
    objects: Objects
    beside: Beside

    def close(self) -> None:
        """Close all connections."""
        self.beside.worlds.close()
        self.objects.close()
        self.storing.close()


class Storage:
    """The files of an application: rows by the mapping, objects in MinIO. One for each process is enough.

    `connections` is how many connections to the database it may hold beside the application's, `actor` who the history
    names. Nothing is opened before it is needed; raises Misconfigured where the settings do not fit the tables.
    """

    def __init__(self, settings: Settings, *, connections: int = 4, actor: str = "guard") -> None:
        self._settings = settings
        self._connections = connections
        self._actor = actor
        self._opening = threading.Lock()
        self._opened: list[Opened] = []
        voice.speak()

    @classmethod
    def from_config(cls, path: str | Path | None = None, *, connections: int = 4, actor: str = "guard") -> Self:
        """Return the storage that a configuration file and the environment describe; raises Misconfigured.

        Without a path the file is what RECONCILER_CONFIG names, or ./reconciler.toml if it is there.
        """
        settings = load(document(located(path, os.environ)), os.environ, read_file)
        return cls(settings, connections=connections, actor=actor)

    @property
    def settings(self) -> Settings:
        """What the configuration says, so that an application need not read it a second time."""
        return self._settings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what this process opened; the next use opens it again."""
        with self._opening:
            mine = [one for one in self._opened if one.pid == os.getpid()]
            self._opened = [one for one in self._opened if one not in mine]
        for one in mine:
            one.close()

    def open_version(self, version_id: object, connection: object = None, *, mark: bool = True) -> File:
        """Open the file of a version, to be read and closed; costs one row and one GET.

        `connection` is the caller's, used to read the row only. Raises FileMissing where the object is proven absent,
        and marks the version then, on a connection of its own, unless `mark` is False; VersionNotFound;
        StorageUnavailable, which marks nothing.
        """
        here = self._here()
        row = self._row(here, str(version_id), connection)
        ref = ObjectRef(row.bucket, row.key, row.s3_version)
        seen = here.storing.read(ref)
        flagged = row.state == RowState.FLAGGED
        facts = {"version_id": row.row_id}
        if isinstance(seen, Arriving):
            heal = mark and flagged
            return File(row, seen, lambda: here.beside.look(ref, facts) if heal else None)
        if not isinstance(seen, Absent):
            raise StorageUnavailable(f"{row.bucket}/{row.key} cannot be read: {getattr(seen, 'reason', 'not asked')}")
        if mark and not flagged:
            here.beside.look(ref, facts)
        log.warning(
            "FILE_NOT_FOUND_IN_STORAGE",
            file_id=row.file_id,
            version_id=row.row_id,
            bucket=row.bucket,
            object_key=row.key,
            act="read",
        )
        raise FileMissing(row, "hidden by a delete marker" if seen.delete_marker else seen.code)

    def store_version(  # noqa: PLR0913 - one call says all of an upload
        self,
        connection: Transaction,
        write_row: Callable[[], object],
        content: Content,
        size: int | None = None,
        media_type: str = MEDIA_TYPE,
        *,
        intent: bool = False,
        uploaded: Callable[[Stored], object] | None = None,
        bucket: str | None = None,
        key: str | None = None,
    ) -> Stored:
        """Have the rows written, upload the content where they say, and commit; whatever fails is rolled back.

        `write_row` returns the version's id and does not commit; `uploaded` may write what the upload told, such as
        the ETag, before the commit. With `intent` what is about to be done is kept first, so that a crash is found
        with its cause. Raises UploadFailed, or what the caller's own functions and connection raise.
        """
        here = self._here()
        driver = driver_of(connection)
        if driver is not None and driver.autocommit:
            raise ValueError("connection: is in autocommit mode, so that nothing could be rolled back; switch it off")
        place = ObjectRef(bucket, key) if bucket and key else None
        upload = Upload(content, size, media_type, place, intent, uploaded)
        return Uploader(connection, upload, here.storing, here.beside).store(write_row)

    def _row(self, here: Opened, version_id: str, connection: object) -> Row:
        """Return a row that claims an object; raises VersionNotFound or StorageUnavailable."""
        driver = driver_of(connection)
        try:
            if driver is None:
                row = here.beside.row(version_id)
            else:
                row = next(iter(rows.by_id(driver, here.beside.worlds.mapping(), [version_id])), None)
        except (Unavailable, *UNAVAILABLE) as error:
            raise StorageUnavailable(f"the row of version {version_id} cannot be read: {first_line(error)}") from error
        if row is None:
            raise VersionNotFound(version_id, "there is no such row, or it names no object")
        if row.state == RowState.EXPECTS_ABSENCE:
            raise VersionNotFound(version_id, f"it is deleted, or not yet stored (status {row.status})")
        return row

    def _here(self) -> Opened:
        """Return what this process has opened; what a parent opened stays the parent's, and untouched."""
        pid = os.getpid()
        with self._opening:
            found = next((one for one in self._opened if one.pid == pid), None)
            if found is None:
                found = self._open(pid)
                self._opened.append(found)
            return found

    def _open(self, pid: int) -> Opened:
        server = opening.server(self._settings)
        objects = Objects(server)
        filters = self._settings.filters
        worlds = Worlds(self._settings, objects, self._actor, self._connections)
        beside = Beside(worlds, watched(filters.include, filters.exclude), f"{socket.gethostname()}:{pid}")
        return Opened(pid, Storing(server, ANSWER_S, KEPT), objects, beside)
