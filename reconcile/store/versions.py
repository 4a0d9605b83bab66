"""What a bucket holds under one key: contents by their S3 version, and delete markers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

NULL = "null"  # the S3 version of what was put while there were none


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of an object, or a delete marker: what the bucket holds under a key."""

    s3_version: str
    is_latest: bool
    is_marker: bool
    size: int | None
    etag: str | None
    last_modified: datetime | None
