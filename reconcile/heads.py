"""Asks for objects by HEAD, and says what an answer proves.

Knows what MinIO's answers mean; must not know rows. Absence is proven only as the design's first invariant says, and
everything that is not proven is unknown.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from reconcile.model import Absent, NotAsked, ObjectRef, ObjectSide, Present, Unknown
from reconcile.signature import Signer, path_of, query_of
from reconcile.wire import Broken, Reply, Wire

if TYPE_CHECKING:
    from datetime import datetime

# Without it replication answers for an object that is missing here.
LOCAL_ONLY = {"x-minio-source-proxy-request": "false"}
ABSENT_CODES = frozenset({"NoSuchKey", "NoSuchVersion"})
_ANSWERED = "HTTP "
_SERVER_ERROR = "HTTP 5"
_OK, _NOT_FOUND, _NOT_ALLOWED = 200, 404, 405


def heads(wire: Wire, signer: Signer, refs: Sequence[ObjectRef], deadline_s: float) -> dict[ObjectRef, ObjectSide]:
    """Look at each object, the first named first; returns within the deadline.

    What was late is Unknown, what was never sent is NotAsked.
    """
    sides: dict[ObjectRef, ObjectSide] = {ref: NotAsked() for ref in refs}
    answers = wire.ask(_requests(signer, sides), deadline_s)
    sides.update((ref, side(answer, ref)) for ref, answer in answers.items())
    return sides


def unanswered(sides: Mapping[ObjectRef, ObjectSide]) -> set[str]:
    """Return the buckets of which something was asked and nothing answered, by transport or with 5xx."""
    asked = {ref.bucket: False for ref, seen in sides.items() if not isinstance(seen, NotAsked)}
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
    return Unknown(reason(answer))


def reason(reply: Reply) -> str:
    """Name an answer that proves nothing: its status and the server's code for it."""
    return f"{_ANSWERED}{reply.status} {reply.headers.get('x-minio-error-code', '')[:64]}".rstrip()


def _spoke(told: str) -> bool:
    return told.startswith(_ANSWERED) and not told.startswith(_SERVER_ERROR)


def _present(headers: Mapping[str, str]) -> Present | Unknown:
    """Read what a 200 says; one without ETag or length is no answer about an object."""
    etag, length = headers.get("etag", ""), headers.get("content-length", "")
    if not etag or not length.isdecimal():
        return Unknown("HTTP 200 without ETag or length")
    return Present(int(length), etag.strip('"'), headers.get("x-amz-version-id"), date_of(headers, "last-modified"))


def date_of(headers: Mapping[str, str], name: str) -> datetime | None:
    """Return an HTTP date, aware and to the second; None where there is none that can be read."""
    try:
        return parsedate_to_datetime(headers[name])
    except (KeyError, ValueError):
        return None


def _requests(signer: Signer, sides: dict[ObjectRef, ObjectSide]) -> Iterator[tuple[ObjectRef, bytes]]:
    """Yield each request, signed when it is about to be sent; a name that cannot be asked for is unknown at once."""
    for ref in list(sides):
        try:
            yield ref, request(signer, ref.bucket, ref.key, ref.s3_version)
        except UnicodeEncodeError:
            sides[ref] = Unknown("not a name")


def request(signer: Signer, bucket: str, key: str = "", s3_version: str = "") -> bytes:
    """Return one signed HEAD, of an object or (without a key) of the bucket, as it goes over the wire."""
    path = path_of(bucket, key)
    query = query_of([("versionId", s3_version)]) if s3_version else ""
    headers = signer.headers("HEAD", path, query, time.gmtime(), LOCAL_ONLY)
    target = f"{path}?{query}" if query else path
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HEAD {target} HTTP/1.1\r\n{lines}\r\n".encode("ascii")
