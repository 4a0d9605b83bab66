"""The objects' side, opened and closed: HEADs, the probe, MinIO's listen stream, buckets.

Beside bucketrules.py, clients.py, administration.py and storing.py the only module that imports the driver; what goes
wrong there comes out as Unavailable (no answer, 5xx: wait), Silent, or Misconfigured (an answer that stays the same
until a person acts). Must not know rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Self

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError

from reconcile.model import Misconfigured, NotAsked, ObjectRef, ObjectSide, Unavailable
from reconcile.store.clients import client, pool
from reconcile.store.eventrules import EVENTS
from reconcile.store.heads import (
    NO_NAME,
    Broken,
    Reply,
    date_of,
    path_of,
    query_of,
    reason,
    side,
    target_of,
    unanswered,
)
from reconcile.store.server import Server
from reconcile.store.transport import Refused, Transport

if TYPE_CHECKING:
    from types import TracebackType

REMOVALS = EVENTS[1:]
PARTLY = "Enabled in part"
_OK, _FORBIDDEN, _TOO_MANY, _SERVER_ERRORS = 200, 403, 429, 500
_PERMIT = "; grant the access key admin:Prometheus, or start MinIO with MINIO_PROMETHEUS_AUTH_TYPE=public"
_NO_BUCKET = "HTTP 404 NoSuchBucket"
CODE = re.compile(rb"<Code>(\w{1,64})</Code>")
_PING = b'{"Records":null}'


class Silent(Exception):
    """The listen stream sent nothing, not even a ping, for as long as it should never be still."""


class Objects:
    """One MinIO for one owner; threads may share it, processes may not."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._transport = Transport(server)
        self._closed = False
        self._pool = pool(server, server.timeout_s)
        self.client = client(server, self._pool)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; a listen stream in another thread ends."""
        self._closed = True
        self._transport.close()
        self._pool.clear()

    def heads(self, refs: Sequence[ObjectRef], deadline_s: float) -> dict[ObjectRef, ObjectSide]:
        """Look at each object, the first named first; returns within the deadline, whatever the server does.

        What was late is Unknown, what was never sent is NotAsked, and a name that MinIO cannot hold is never sent.
        """
        sides: dict[ObjectRef, ObjectSide] = {ref: NotAsked() for ref in refs}
        answers = self._transport.heads(_targets(sides), deadline_s)
        sides.update((ref, side(answer, ref)) for ref, answer in answers.items())
        return sides

    def probe_silent(self, sides: Mapping[ObjectRef, ObjectSide]) -> dict[str, str | None]:
        """Probe each bucket of which nothing answered; raises Unavailable where the probe is not answered either."""
        return {bucket: self.probe(bucket) for bucket in sorted(unanswered(sides))}

    def probe(self, bucket: str) -> str | None:
        """Return why a bucket cannot be read, None if it can; raises Unavailable on no answer or 5xx."""
        if path_of(bucket) is None:
            return NO_NAME.reason
        reply = self._head_bucket(bucket)
        return None if reply.status == _OK else reason(reply)

    def bucket_exists(self, bucket: str) -> bool:
        """Tell whether a bucket exists; raises Unavailable, or Misconfigured where the answer is refused."""
        why = self.probe(bucket)
        if why not in {None, _NO_BUCKET}:
            raise Misconfigured(f"bucket {bucket!r}: MinIO answers {why}; let the access key read it")
        return why is None

    def date(self, bucket: str) -> float:
        """Return MinIO's time, in whole seconds since 1970, by the Date header of an answer; raises Unavailable."""
        date = date_of(self._head_bucket(bucket).headers, "date")
        if date is None:
            raise Unavailable("minio", "the answer carries no date")
        return date.timestamp()

    def versioning(self, bucket: str) -> str:
        """Return Enabled, Suspended or Off; PARTLY where it is enabled, but not for all that the bucket may hold."""
        with asking(f"versioning of {bucket!r}"):
            told = self.client.get_bucket_versioning(bucket_name=bucket)
        in_part = told.status == "Enabled" and (told.excluded_prefixes or told.exclude_folders)
        return PARTLY if in_part else told.status or "Off"

    def page(self, bucket: str, pairs: Sequence[tuple[str, str]]) -> bytes:
        """Return one document of a bucket, such as a page of its listing, as the server sent it."""
        try:
            return b"".join(self._get(bucket, pairs, self.server.timeout_s))
        except Silent as silence:
            raise Unavailable("minio", f"bucket {bucket!r}: {silence}") from silence

    def metrics(self, path: str, bearer: str) -> bytes:
        """Return what the server tells of itself; raises Unavailable, or Misconfigured where that is refused."""
        with asking(f"GET {path}"):
            answer = self._pool.request("GET", self.server.root + path, headers={"Authorization": f"Bearer {bearer}"})
        told = f"GET {path}: MinIO answers HTTP {answer.status}"
        if answer.status >= _SERVER_ERRORS or answer.status == _TOO_MANY:
            raise Unavailable("minio", told)
        if answer.status != _OK:
            raise Misconfigured(told + (_PERMIT if answer.status == _FORBIDDEN else ""))
        return answer.data

    def listen(
        self, bucket: str, events: Sequence[str], stopping: Callable[[], bool], silence_s: float = 5.0
    ) -> Iterator[bytes | None]:
        """Yield each line of MinIO's listen stream as it arrives, and None for a ping (one a second).

        The first item proves that the stream is served. Keys in it are not URL-encoded. Ends within a second of
        `stopping()`, or with `close()`; raises Silent if nothing came, Unavailable if the stream breaks or is refused.
        """
        try:
            with closing(self._get(bucket, _subscription(events), silence_s)) as chunks:
                yield from _lines(chunks, stopping)
        except Unavailable:
            if not self._closed:
                raise
            return
        if not stopping():
            raise Unavailable("minio", "listen: the stream ended")

    def _head_bucket(self, bucket: str) -> Reply:
        answers = self._transport.heads([(bucket, _target(bucket))], self.server.connect_s)
        answer = answers.get(bucket, Broken("not asked"))
        match answer:
            case Broken(why):
                raise Unavailable("minio", why)
            case Reply(status) if status >= _SERVER_ERRORS:
                raise Unavailable("minio", reason(answer))
            case Reply():
                return answer

    def _get(self, bucket: str, pairs: Sequence[tuple[str, str]], silence_s: float) -> Generator[bytes, None, None]:
        """Yield a document of the bucket as it arrives; raises Silent, Unavailable or Misconfigured."""
        target = _target(bucket, pairs)
        try:
            yield from self._transport.stream(target, silence_s)
        except TimeoutError as error:
            raise Silent(str(error)) from error
        except ConnectionError as error:
            raise Unavailable("minio", f"GET {target}: {error}") from error
        except Refused as error:
            code = CODE.search(error.body)
            told = f"GET {target}: HTTP {error.status} {code[1].decode() if code else ''}".rstrip()
            if error.status >= _SERVER_ERRORS or error.status == _TOO_MANY:
                raise Unavailable("minio", told) from error
            raise Misconfigured(told) from error


def _targets(sides: dict[ObjectRef, ObjectSide]) -> Iterator[tuple[ObjectRef, str]]:
    """Yield what to ask for, each when it is about to be sent; what has no name is known at once."""
    for ref in list(sides):
        target = target_of(ref)
        if target is None:
            sides[ref] = NO_NAME
        else:
            yield ref, target


def _target(bucket: str, pairs: Sequence[tuple[str, str]] = ()) -> str:
    path = path_of(bucket)
    if path is None:
        raise Misconfigured(f"bucket {bucket!r}: not the name of a bucket")
    return f"{path}?{query_of(pairs)}" if pairs else path


def _subscription(events: Sequence[str]) -> list[tuple[str, str]]:
    return [*(("events", event) for event in events), ("ping", "1")]


def _lines(chunks: Iterator[bytes], stopping: Callable[[], bool]) -> Iterator[bytes | None]:
    """Yield the stream's lines until told to stop, which is asked after each chunk."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield None if line.strip() in {b"", _PING} else line
        if stopping():
            return


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Say in our words what went wrong with the driver."""
    try:
        yield
    except S3Error as error:
        status = error.response.status
        if status >= _SERVER_ERRORS or status == _TOO_MANY:
            raise Unavailable("minio", f"{what}: HTTP {status} {error.code}") from error
        raise Misconfigured(f"{what}: MinIO answers {status} {error.code}: {error.message}") from error
    except (ServerError, InvalidResponseError, HTTPError) as error:
        raise Unavailable("minio", f"{what}: {error}") from error
    except (MinioException, ValueError) as error:
        raise Misconfigured(f"{what}: {error}") from error
