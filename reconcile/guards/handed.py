"""What the guards hand to an application: a file that is read, an upload that was kept, and what is raised instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from reconcile.model import ObjectRef, Row, Unavailable
from reconcile.store.storing import Arriving

CHUNK = 2**18
NOT_FOUND, NOT_NOW = 404, 503


class FileMissing(LookupError):
    """The row names an object that is proven not to be there."""

    status_code = code = NOT_FOUND

    def __init__(self, row: Row, why: str) -> None:
        super().__init__(f"the file of version {row.row_id} is not in the storage: {row.bucket}/{row.key} ({why})")
        self.version_id = row.row_id
        self.file_id = row.file_id
        self.bucket = row.bucket
        self.key = row.key


class VersionNotFound(LookupError):
    """No row names an object for this version, or the row says that its object should be gone."""

    status_code = code = NOT_FOUND

    def __init__(self, version_id: str, why: str) -> None:
        super().__init__(f"version {version_id} has no file: {why}")
        self.version_id = version_id


class StorageUnavailable(Exception):
    """Nothing was proven: the storage or the database gives no answer that can be used; try again later."""

    status_code = code = NOT_NOW


class UploadFailed(Exception):
    """The content was not stored, and the rows that were written for it were rolled back."""

    status_code = code = NOT_NOW

    def __init__(self, version_id: str, ref: ObjectRef, why: BaseException) -> None:
        super().__init__(f"the file of version {version_id} was not stored at {ref.bucket}/{ref.key}: {why}")
        self.version_id = version_id
        self.bucket = ref.bucket
        self.key = ref.key


class Stored(NamedTuple):
    """What was uploaded; `s3_version` is `''` where the bucket keeps no versions. `row` is None if it was not read."""

    version_id: str
    bucket: str
    key: str
    size: int
    etag: str
    s3_version: str
    row: Row | None


class File:
    """An object as it arrives: iterable, or read by the piece; to be closed, at its end or before.

    Its bytes are those that are stored, whatever Content-Encoding says. Where they break off, StorageUnavailable is
    raised. `closed` is called once, after the connection was given back.
    """

    def __init__(self, row: Row, arriving: Arriving, closed: Callable[[], object]) -> None:
        self.row = row
        self.size = arriving.seen.size
        self.etag = arriving.seen.etag
        self.s3_version = arriving.seen.s3_version
        self.last_modified = arriving.seen.last_modified
        self.media_type = arriving.media_type
        self._arriving: Arriving | None = arriving
        self._closed = closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        try:
            while chunk := self.read(CHUNK):
                yield chunk
        finally:
            self.close()

    def read(self, most: int = -1) -> bytes:
        """Return at most so many bytes, all that is left without a number, `b''` at the end."""
        if self._arriving is None:
            return b""
        try:
            return self._arriving.read(None if most < 0 else most)
        except Unavailable as error:
            self.close()
            raise StorageUnavailable(str(error)) from error

    def close(self) -> None:
        """Give the connection back; what was not read is not waited for."""
        arriving, self._arriving = self._arriving, None
        if arriving is not None:
            arriving.close()
            self._closed()
