"""An object store in memory: buckets, versions, delete markers, and what a HEAD answers."""

from dataclasses import dataclass, field
from hashlib import md5

from reconcile.model import Absent, ObjectRef, ObjectSide, Present, Unknown

Versions = list[tuple[str, Present | None]]


@dataclass
class Storage:
    """Buckets of objects. Of each key its versions, the latest last; a version without content is a delete marker."""

    buckets: dict[str, dict[str, Versions]] = field(default_factory=dict)
    versioned: set[str] = field(default_factory=set)
    forbidden: set[str] = field(default_factory=set)
    down: bool = False
    room: int | None = None
    serial: int = 0

    def put(self, bucket: str, key: str, content: bytes) -> str:
        """Put an object; returns its version, `''` where there are none."""
        version = self._next(bucket)
        self._add(bucket, key, version, Present(len(content), etag_of(content), version or None))
        return version

    def remove(self, bucket: str, key: str, version: str | None = None) -> str:
        """Remove an object, or one version of it; returns the delete marker's version, where one was made."""
        marker = self._next(bucket)
        if version is not None:
            versions = self.buckets[bucket][key]
            versions[:] = [one for one in versions if one[0] != version]
        elif marker:
            self._add(bucket, key, marker, None)
        else:
            self.buckets[bucket].pop(key, None)
        return marker

    def _next(self, bucket: str) -> str:
        self.serial += 1
        return f"v{self.serial}" if bucket in self.versioned else ""

    def _add(self, bucket: str, key: str, version: str, content: Present | None) -> None:
        versions = self.buckets[bucket].setdefault(key, [])
        versions[:] = [*versions, (version, content)] if version else [(version, content)]

    def head(self, ref: ObjectRef) -> ObjectSide:
        """Answer as MinIO does."""
        if ref.bucket in self.forbidden:
            return Unknown("HTTP 403 AccessDenied")
        if ref.bucket not in self.buckets:
            return Unknown("HTTP 404 NoSuchBucket")
        versions = self.buckets[ref.bucket].get(ref.key, [])
        asked = [one for one in versions if one[0] == ref.s3_version] if ref.s3_version else versions[-1:]
        if not asked:
            return Absent("NoSuchVersion" if ref.s3_version else "NoSuchKey")
        version, content = asked[0]
        return content or Absent("MethodNotAllowed" if ref.s3_version else "NoSuchKey", version)


def etag_of(content: bytes) -> str:
    """Return the ETag that an upload in one part gets."""
    return md5(content, usedforsecurity=False).hexdigest()
