"""An upload between an application's rows and their commit: what fails leaves no row, and no object unseen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO, cast

import structlog

from reconcile import rows
from reconcile.guards.beside import Beside, Intent
from reconcile.guards.callers import Content, Counted, Transaction, driver_of, flush
from reconcile.guards.handed import StorageUnavailable, Stored, UploadFailed, VersionNotFound
from reconcile.model import Misconfigured, ObjectRef, Row, Unavailable
from reconcile.steps import NO_DELAY
from reconcile.store.storing import Storing

log = structlog.get_logger("reconcile.guards")
SETTLING = timedelta(seconds=10)  # after which a server that did not answer has stored the object, or has not


@dataclass(frozen=True, slots=True)
class Upload:
    """What is to be stored; `place` is where, if the caller says so, and `uploaded` is told before the commit."""

    content: Content
    size: int | None
    media_type: str
    place: ObjectRef | None = None
    intent: bool = False
    uploaded: Callable[[Stored], object] | None = None


@dataclass
class Uploader:
    """Does one upload on a caller's transaction, and ends that in any case."""

    given: Transaction
    upload: Upload
    storing: Storing
    beside: Beside
    version_id: str = ""
    ref: ObjectRef | None = None
    row: Row | None = None
    intent: Intent | None = None

    def store(self, write_row: Callable[[], object]) -> Stored:
        """Write the rows, upload, commit; whatever is raised, the rows were rolled back before."""
        try:
            self.version_id = str(write_row())
            flush(self.given)
            self.ref = ref = self._place()
            self.intent = self._intend(ref)
        except BaseException:
            self._roll_back()
            raise
        try:
            stored = self._put(ref)
        except BaseException as error:
            self._give_up(ref, error, "upload", SETTLING)
            if isinstance(error, Exception):
                raise UploadFailed(self.version_id, ref, error) from error
            raise
        self._commit(ref, stored)
        return stored

    def _commit(self, ref: ObjectRef, stored: Stored) -> None:
        try:
            if self.upload.uploaded:
                self.upload.uploaded(stored)
            self.given.commit()
        except BaseException as error:
            self._give_up(ref, error, "commit", NO_DELAY)
            raise
        if self.intent:
            self.intent.fulfilled()

    def _place(self) -> ObjectRef:
        """Return where the rows want the object, as the caller's transaction sees them."""
        if self.upload.place:
            return self.upload.place
        driver = driver_of(self.given)
        if driver is None:
            raise TypeError(
                f"{type(self.given).__name__}: no psycopg 3 connection is beneath it, so that its uncommitted rows "
                "cannot be read; give bucket= and key="
            )
        try:
            mapping = self.beside.worlds.mapping()
        except Unavailable as error:
            raise StorageUnavailable(str(error)) from error
        self.row = next(iter(rows.by_id(driver, mapping, [self.version_id])), None)
        if self.row is None:
            raise VersionNotFound(self.version_id, "no row with this id that names a bucket and a key was written")
        return ObjectRef(self.row.bucket, self.row.key)

    def _intend(self, ref: ObjectRef) -> Intent | None:
        if not self.upload.intent:
            return None
        try:
            return self.beside.intend(ref, self._facts())
        except (Unavailable, Misconfigured) as error:
            raise StorageUnavailable(f"nothing was uploaded, since the intent could not be kept: {error}") from error

    def _put(self, ref: ObjectRef) -> Stored:
        content = cast("BinaryIO", Counted(self.upload.content, self.intent.sign if self.intent else _nothing))
        size = len(self.upload.content) if isinstance(self.upload.content, bytes) else self.upload.size
        done = self.storing.put(ref, content, size, self.upload.media_type)
        if content.read(1):  # the driver reads as much as it was told to
            raise ValueError(f"size: {size} bytes were announced, and the content is longer")
        return Stored(self.version_id, ref.bucket, ref.key, done.size, done.etag, done.s3_version or "", self.row)

    def _give_up(self, ref: ObjectRef, error: BaseException, stage: str, after: timedelta) -> None:
        """Roll back what failed at a stage, and have the reference looked at: the object may be there."""
        self._roll_back()
        log.warning("upload.failed", version_id=self.version_id, bucket=ref.bucket, object_key=ref.key, why=str(error))
        told = f"{type(error).__name__}: {error}"[:500]
        self.beside.ask(ref, after, {**self._facts(), "failed": stage, "error": told})

    def _facts(self) -> dict[str, object]:
        return {"version_id": self.version_id, "file_id": self.row.file_id if self.row else None}

    def _roll_back(self) -> None:
        """Roll back; what cannot be is rolled back by the server once the connection is gone."""
        try:
            self.given.rollback()
        except Exception:
            log.exception("upload.not_rolled_back", version_id=self.version_id)


def _nothing() -> None:
    """Tell nobody."""
