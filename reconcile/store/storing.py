"""What is done to objects: put, copied, removed, and brought back. Nothing here decides whether that may be.

Imports the driver, as objects.py does, which only reads. Errors come out as there: Unavailable (no answer, 5xx),
Misconfigured (an answer that stays the same until a person acts), and Gone where an object is not what it was expected
to be.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, NoReturn, Self
from urllib.parse import SplitResult, urlsplit, urlunsplit

from minio.commonconfig import ComposeSource, CopySource
from minio.credentials.credentials import Credentials
from minio.datatypes import Object
from minio.error import S3Error
from minio.signer import sign_v4_s3
from minio.time import to_amz_date, utcnow

from reconcile.model import Absent, Misconfigured, NotAsked, ObjectRef, Present, Unavailable, Unknown
from reconcile.store.clients import client, pool
from reconcile.store.heads import NO_NAME, Reply, side, target_of
from reconcile.store.objects import CODE, asking
from reconcile.store.server import Server
from reconcile.store.versions import Stored

PATIENCE_S = 600.0
EARLIEST = datetime.min.replace(tzinfo=UTC)
ONE_COPY = 5 * 2**30  # bytes; more is copied in parts (S3's limit of one CopyObject)
PARTS = 64 * 2**20
MOST_PARTS = 10_000
PAGE = 1000  # of a listing
READING = timedelta(minutes=5)  # how long a signature holds
PIECE = 2**18  # bytes that are sent at once
UNSIGNED = "UNSIGNED-PAYLOAD"  # a content that is sent as it arrives cannot be signed before
SHOWN = 12  # digits of a checksum that tell two apart
_OK, _TOO_MANY, _SERVER_ERRORS, _ERROR_BYTES = 200, 429, 500, 65_536
_KEPT = re.compile("content-(type|encoding|disposition|language)|cache-control|expires|x-amz-meta-.*", re.IGNORECASE)
_CHANGED = frozenset({"PreconditionFailed", "NoSuchKey", "NoSuchVersion", "MethodNotAllowed"})


class Gone(Exception):
    """The object is not there any more, or is another by now; nothing was done to it."""


@dataclass(frozen=True, slots=True)
class Arriving:
    """An object as it arrives, its bytes as they are stored; to be closed, read to its end or not."""

    ref: ObjectRef
    seen: Present
    media_type: str
    _answer: Any

    def read(self, most: int | None = None) -> bytes:
        """Return the next bytes, `b''` at the end, all without `most`; raises Unavailable where they break off."""
        with _doing(f"GET {self.ref.bucket}/{self.ref.key}"):
            return bytes(self._answer.read(most, decode_content=False))

    def kept(self) -> dict[str, str]:
        """Return the headers that are stored with the object."""
        return {name: value for name, value in self._answer.headers.items() if _KEPT.fullmatch(name)}

    def proven(self, sha256: str | None) -> Iterator[bytes]:
        """Yield the content, its last piece only if all of it has this SHA-256; raises Gone where it has another."""
        digest, last = hashlib.sha256(), b""
        while piece := self.read(PIECE):
            if last:
                yield last
            digest.update(piece)
            last = piece
        if sha256 is not None and digest.hexdigest() != sha256:
            raise Gone(f"sha256: row {sha256[:SHOWN]}, {self.ref.bucket}/{self.ref.key} {digest.hexdigest()[:SHOWN]}")
        if last:
            yield last

    def close(self) -> None:
        """Give the connection back, or close it where the object was not read to its end."""
        self._answer.close()
        self._answer.release_conn()


class Storing:
    """One MinIO for one owner who changes objects; threads may share it. It waits as long as a copy may take."""

    def __init__(self, server: Server, patience_s: float = PATIENCE_S, kept: int = 4) -> None:
        self._pool = pool(server, patience_s, kept)
        self._client = client(server, self._pool)
        self._server = server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def read(self, ref: ObjectRef) -> Arriving | Absent | Unknown | NotAsked:
        """Ask for an object; what has no answer, or one that proves nothing, is Unknown, as for a HEAD."""
        if target_of(ref) is None:
            return NO_NAME
        try:
            with asking(f"GET {ref.bucket}/{ref.key}"):
                return self._read(ref)
        except (Unavailable, Misconfigured) as error:
            return Unknown(str(error))

    def _read(self, ref: ObjectRef) -> Arriving | Absent | Unknown | NotAsked:
        url = self._client.get_presigned_url("GET", ref.bucket, ref.key, READING, version_id=ref.s3_version or None)
        answer = self._pool.request("GET", url, preload_content=False)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        if answer.status != _OK:
            code = CODE.search(answer.read(_ERROR_BYTES))
            headers.setdefault("x-minio-error-code", code[1].decode() if code else "")
        seen = side(Reply(answer.status, headers), ref)
        if isinstance(seen, Present):
            return Arriving(ref, seen, headers.get("content-type", ""), answer)
        answer.close()
        answer.release_conn()
        return seen

    def put(self, ref: ObjectRef, content: BinaryIO, size: int | None, media_type: str) -> Present:
        """Store an object, in parts where no size is known; returns it. Refuses `/k`, which MinIO takes for `k`."""
        if target_of(ref) is None:
            raise Misconfigured(f"PUT {ref.bucket}/{ref.key}: MinIO has no such name")
        with _doing(f"PUT {ref.bucket}/{ref.key}"):
            done = self._client.put_object(
                bucket_name=ref.bucket,
                object_name=ref.key,
                data=content,
                length=-1 if size is None else size,
                content_type=media_type,
                part_size=PARTS if size is None or PARTS < size <= PARTS * MOST_PARTS else 0,  # held in memory
            )
        return Present(content.tell() if size is None else size, done.etag or "", done.version_id)

    def copy(self, source: ObjectRef, seen: Present, target: ObjectRef) -> str | None:
        """Copy an object within the server, if it still is what was seen; returns the copy's version."""
        with _doing(f"copy {source.bucket}/{source.key} to {target.bucket}/{target.key}"):
            of = CopySource if seen.size <= ONE_COPY else ComposeSource
            named = of(
                bucket_name=source.bucket,
                object_name=source.key,
                version_id=source.s3_version or None,
                match_etag=seen.etag,
            )
            if isinstance(named, ComposeSource):
                done = self._client.compose_object(target.bucket, target.key, sources=[named])
            else:
                done = self._client.copy_object(target.bucket, target.key, source=named)
            return done.version_id

    def bring(
        self, source: ObjectRef, seen: Present, target: ObjectRef, sha256: str | None = None, over: str | None = None
    ) -> str | None:
        """Store a content anew under a name that has none, or over what has the ETag `over`; returns its version.

        It is read and sent by us, since no copy within MinIO can promise that (docs/facts.md, Conditions). Raises Gone
        where the source is not what was seen, has another SHA-256, or the target has something else by now.
        """
        found = self.read(source._replace(s3_version=seen.s3_version or ""))
        if isinstance(found, Unknown | NotAsked):
            raise Unavailable("minio", f"GET {source.bucket}/{source.key}: {getattr(found, 'reason', 'not asked')}")
        if isinstance(found, Absent) or (found.seen.etag, found.seen.size) != (seen.etag, seen.size):
            raise Gone(f"{source.bucket}/{source.key} is not what it was")
        with closing(found), _doing(f"PUT {target.bucket}/{target.key}"):
            url = urlsplit(self._client.get_presigned_url("PUT", target.bucket, target.key, READING))._replace(query="")
            condition = {"if-none-match": "*"} if over is None else {"if-match": f'"{over}"'}
            headers = {**found.kept(), "content-length": str(seen.size), **condition}
            signed = {**self._signed("PUT", url, headers), "connection": "close"}  # MinIO ends it where it refuses
            answer = self._pool.request("PUT", urlunsplit(url), body=found.proven(sha256), headers=signed)
        if answer.status == _OK:
            return answer.headers.get("x-amz-version-id")
        return _refused(f"PUT {target.bucket}/{target.key}", answer.status, answer.data)

    def _signed(self, method: str, url: SplitResult, headers: dict[str, str]) -> dict[str, str]:
        """Return the headers with their signature; MinIO refuses `x-amz-` headers that a URL's signature leaves out."""
        now = utcnow()
        named = {"host": url.netloc, "x-amz-date": to_amz_date(now), "x-amz-content-sha256": UNSIGNED}
        signed = sign_v4_s3(
            method=method,
            url=url,
            region=self._server.region,
            headers={**headers, **named},
            credentials=Credentials(*self._server.keys()),
            content_sha256=UNSIGNED,
            date=now,
        )
        return {name: str(value) for name, value in signed.items()}

    def remove(self, ref: ObjectRef) -> None:
        """Remove an object for good; of a versioned bucket the version that the reference names, and no other."""
        with _doing(f"DELETE {ref.bucket}/{ref.key}"):
            self._client.remove_object(bucket_name=ref.bucket, object_name=ref.key, version_id=ref.s3_version or None)

    def hide(self, ref: ObjectRef) -> str:
        """Put a delete marker over an object of a versioned bucket; returns the marker's version."""
        self.remove(ref._replace(s3_version=""))
        latest = next((one for one in self.versions(ref.bucket, ref.key) if one.is_latest), None)
        if latest is None or not latest.is_marker:
            raise Gone(f"{ref.key!r} was written anew in the same moment")
        return latest.s3_version

    def versions(self, bucket: str, key: str) -> list[Stored]:
        """Return every version of a key, and its delete markers, the latest first."""
        with _doing(f"versions of {bucket}/{key}"):
            listed = self._client.list_objects(bucket_name=bucket, prefix=key, include_version=True)
            found = [_stored(one) for one in of_key(key, listed)]
        return sorted(found, key=lambda one: (one.is_latest, one.last_modified or EARLIEST), reverse=True)

    def uploads(self, bucket: str, prefix: str) -> set[str]:
        """Return the keys below a prefix with an upload in parts that has not ended.

        MinIO lists them only for a whole key (docs/facts.md, Multipart uploads): ask with one.
        """
        with _doing(f"uploads of {bucket}/{prefix}"):
            listed = self._client._list_multipart_uploads(bucket_name=bucket, prefix=prefix)  # noqa: SLF001
            return {one.object_name for one in listed.uploads if one.object_name}


def _refused(what: str, status: int, body: bytes) -> NoReturn:
    """Raise what an answer means that is no success."""
    code = CODE.search(body)
    name = code[1].decode() if code else ""
    if name in _CHANGED:
        raise Gone("an object is there by now")
    if status >= _SERVER_ERRORS or status == _TOO_MANY:
        raise Unavailable("minio", f"{what}: HTTP {status} {name}")
    raise Misconfigured(f"{what}: MinIO answers {status} {name}")


def of_key(key: str, listed: Iterable[Object]) -> Iterator[Object]:
    """Yield what is of this very key, which comes before all that only begins so: its last page ends what is read.

    Of a page the driver tells versions first, and markers last.
    """
    seen_beyond = 0  # from the first that only begins so
    for one in listed:
        if one.object_name == key:
            yield one
        if seen_beyond or one.object_name != key:
            seen_beyond += 1
        if seen_beyond > PAGE:
            return


def _stored(told: Object) -> Stored:
    """Return what the driver tells of one version; it tells a truth as the word `true`."""
    return Stored(
        told.version_id or "",
        str(told.is_latest).lower() == "true",
        bool(told.is_delete_marker),
        told.size,
        (told.etag or "").strip('"') or None,
        told.last_modified,
    )


@contextmanager
def _doing(what: str) -> Iterator[None]:
    with asking(what):
        try:
            yield
        except S3Error as error:
            if error.code in _CHANGED:
                raise Gone(f"{what}: {error.code}") from error
            raise
