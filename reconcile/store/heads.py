"""What is asked of MinIO by HEAD, and what an answer proves. Pure.

Knows what names MinIO can hold and what its answers mean; must not know rows. Absence is proven only as the design's
first invariant says, and everything that is not proven is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from reconcile.model import Absent, NotAsked, ObjectRef, ObjectSide, Present, Unknown

if TYPE_CHECKING:
    from datetime import datetime

ABSENT_CODES = frozenset({"NoSuchKey", "NoSuchVersion"})
NAMELESS_CODE, NO_VERSION_CODE = "XMinioInvalidObjectName", "InvalidArgument"
NO_NAME = Unknown("MinIO has no such name")
FULL = (
    "HTTP 507 XMinioStorageFull"  # so ends what is said where a disk has no room: no object fares better than another
)
_ANSWERED = "HTTP "
_SERVER_ERROR = "HTTP 5"
_OK, _BAD, _NOT_FOUND, _NOT_ALLOWED = 200, 400, 404, 405
_DOTS = frozenset({".", ".."})
_PARTS = re.compile(r"[/\\]")  # MinIO looks for dots between both, whatever the system
_SPACES = " \t\n\v\f\r\x85\xa0"


class Reply(NamedTuple):
    """The head of an answer; header names are lower-case."""

    status: int
    headers: dict[str, str]


class Broken(NamedTuple):
    """A request that was tried and not answered."""

    reason: str


def path_of(bucket: str, key: str | None = None) -> str | None:
    """Return the encoded path of a bucket or an object; None where the name would lead to something else.

    Segments of dots are taken out on the way or refused by MinIO, which also cleans slashes at the start, so that such
    a request would be answered for another object, or for no object at all (docs/facts.md, libcurl).
    """
    if not _plain(bucket) or "/" in bucket or not (key is None or _plain(key)):
        return None
    try:
        path = f"/{quote(bucket, safe='')}"
        return path if key is None else f"{path}/{quote(key)}"
    except UnicodeEncodeError:
        return None


def target_of(ref: ObjectRef) -> str | None:
    """Return what a HEAD of the object asks for; None where MinIO cannot hold such a name."""
    path = path_of(ref.bucket, ref.key)
    if path is None or not ref.s3_version:
        return path
    try:
        return f"{path}?{query_of([('versionId', ref.s3_version)])}"
    except UnicodeEncodeError:
        return None


def query_of(pairs: Iterable[tuple[str, str]]) -> str:
    """Return an encoded query string."""
    return "&".join(sorted(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs))


def reply_of(status: int, lines: Sequence[bytes]) -> Reply | Broken:
    """Read the head of an answer, by the line; what came before it (1xx) is passed over, half a head is none."""
    if not lines or lines[-1].strip():
        return Broken("no answer: the head breaks off")
    headers: dict[str, str] = {}
    for line in b"".join(lines).decode("latin-1").split("\n"):
        name, colon, value = line.partition(":")
        if line.startswith("HTTP/"):
            headers.clear()
        elif colon:
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Reply(status, headers)


def unanswered(sides: Mapping[ObjectRef, ObjectSide]) -> set[str]:
    """Return the buckets of which something was asked and nothing answered, by transport or with 5xx."""
    asked = {ref.bucket: False for ref, seen in sides.items() if not (isinstance(seen, NotAsked) or seen == NO_NAME)}
    for ref, seen in sides.items():
        if isinstance(seen, Present | Absent) or (isinstance(seen, Unknown) and _spoke(seen.reason)):
            asked[ref.bucket] = True
    return {bucket for bucket, answered in asked.items() if not answered}


def side(answer: Reply | Broken, ref: ObjectRef) -> ObjectSide:
    """Say what one answer proves of one object."""
    if isinstance(answer, Broken):
        return Unknown(answer.reason)
    headers = answer.headers
    code = headers.get("x-minio-error-code", "")
    marker = headers.get("x-amz-version-id", "null") if headers.get("x-amz-delete-marker") == "true" else None
    if answer.status == _OK:
        return _present(headers)
    if answer.status == _NOT_FOUND and code in ABSENT_CODES:
        return Absent(code, marker)
    if answer.status == _NOT_ALLOWED and ref.s3_version and marker is not None:
        return Absent(code, marker)
    if answer.status == _BAD and (code == NAMELESS_CODE or (ref.s3_version and code == NO_VERSION_CODE)):
        return NO_NAME
    return Unknown(reason(answer))


def reason(reply: Reply) -> str:
    """Name an answer that proves nothing: its status and the server's code for it."""
    return f"{_ANSWERED}{reply.status} {reply.headers.get('x-minio-error-code', '')[:64]}".rstrip()


def date_of(headers: Mapping[str, str], name: str) -> datetime | None:
    """Return an HTTP date, aware and to the second; None where there is none that can be read."""
    try:
        return parsedate_to_datetime(headers[name])
    except (KeyError, ValueError):
        return None


def _plain(name: str) -> bool:
    """Tell whether a name has neither dots alone nor nothing between its slashes; one at the end is plain."""
    segments = name.split("/")
    parts = (part.strip(_SPACES) for part in _PARTS.split(name))
    return bool(segments[0]) and _DOTS.isdisjoint(parts) and "" not in segments[1:-1]


def _spoke(told: str) -> bool:
    return told.startswith(_ANSWERED) and not told.startswith(_SERVER_ERROR)


def _present(headers: Mapping[str, str]) -> Present | Unknown:
    """Read what a 200 says; one without ETag or length is no answer about an object."""
    etag, length = headers.get("etag", ""), headers.get("content-length", "")
    if not etag or not length.isdecimal():
        return Unknown("HTTP 200 without ETag or length")
    return Present(int(length), etag.strip('"'), headers.get("x-amz-version-id"), date_of(headers, "last-modified"))
