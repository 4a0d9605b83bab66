"""Signed requests to one server, over kept connections, driven by the calling thread under one deadline.

The only module that imports libcurl; must not know objects, or what a status means. Nothing outlives a call: what is
late is cut. Requests go straight to the server, past any proxy of the environment, and no redirect is followed: an
answer proves something only if the server itself gave it.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Generator, Hashable, Iterable, Iterator
from contextlib import closing, contextmanager
from time import monotonic, sleep
from typing import Generic, TypeVar

import pycurl

from reconcile.model import Misconfigured
from reconcile.store.heads import Broken, Reply, reply_of
from reconcile.store.server import Keys, Server

K = TypeVar("K", bound=Hashable)
Ended = tuple[pycurl.Curl, int, str]  # what came to its end, libcurl's code and words; 0 if it is whole
OLDEST = 0x081300  # of libcurl: 8.16 signs some queries wrong, which MinIO then refuses (docs/facts.md)
LATE = "late"
LOCAL_ONLY = "x-minio-source-proxy-request: false"  # or replication answers for an object that is missing here
_OK = 200
_TICK_S = 0.25
_NAP_S = 0.002


class Refused(Exception):
    """A GET was answered with something else than 200."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body


class Transport:
    """The connections to one server; opened at need, kept between calls, shared by threads that each take their own."""

    def __init__(self, server: Server) -> None:
        if pycurl.version_info()[2] < OLDEST:
            raise Misconfigured(f"{pycurl.version}: libcurl must be 8.19 or newer, as in pycurl's own wheels")
        self._server = server
        self._root = server.root
        self._idle: deque[_Bundle] = deque()
        self._closed = False

    def close(self) -> None:
        """Close what is idle; a call under way closes its own at its end, and a stream breaks at its next tick."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def heads(self, targets: Iterable[tuple[K, str]], deadline_s: float) -> dict[K, Reply | Broken]:
        """Ask for targets (path, query) in their order and return what became of each; those never sent are left out.

        Returns at the deadline at the latest, and has then cut every connection that still owed an answer. A connection
        that cannot be had costs its slot, so that a dead server is soon left.
        """
        ends = monotonic() + deadline_s
        with self._bundle() as bundle:
            return _Round(bundle, ((key, self._root + target) for key, target in targets), ends).run()

    def stream(self, target: str, silence_s: float) -> Iterator[bytes]:
        """Yield the body of a GET as it arrives, and `b""` at least each quarter of a second while nothing comes.

        Raises TimeoutError if nothing came for `silence_s`, ConnectionError if there is no connection, if it breaks or
        is closed, and Refused on any other answer than a 200.
        """
        with self._bundle() as bundle, closing(_body(bundle, self._root + target, silence_s)) as chunks:
            for chunk in chunks:
                if self._closed:
                    raise ConnectionError("closed")
                yield chunk

    @contextmanager
    def _bundle(self) -> Iterator[_Bundle]:
        bundle = self._kept() or _Bundle(self._server)
        try:
            yield bundle
        finally:
            if self._closed:
                bundle.close()
            else:
                self._idle.append(bundle)

    def _kept(self) -> _Bundle | None:
        """Return idle connections, unless anything came that nobody asked for: it would answer the next question."""
        while self._idle:
            try:
                bundle = self._idle.pop()
            except IndexError:  # another thread was quicker
                return None
            if bundle.quiet():
                return bundle
            bundle.close()
        return None


class _Bundle:
    """A few connections and what is under way on them, for one caller at a time."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.spare: list[pycurl.Curl] = []
        self._sockets: set[int] = set()
        self.multi = pycurl.CurlMulti()
        self.multi.setopt(pycurl.M_MAXCONNECTS, server.connections)

    def close(self) -> None:
        self.multi.close()
        while self.spare:
            self.spare.pop().close()

    def quiet(self) -> bool:
        """Tell whether no kept connection has spoken or ended; libcurl itself looks once a second only."""
        poll = select.poll()
        for kept in self._sockets - {-1}:
            poll.register(kept, select.POLLIN)
        return not poll.poll(0)

    def release(self, curl: pycurl.Curl, *, whole: bool) -> None:
        """Take a handle off; one that is still under way loses its connection."""
        (self._sockets.add if whole else self._sockets.discard)(curl.getinfo(pycurl.LASTSOCKET))
        self.multi.remove_handle(curl)

    def move(self) -> list[Ended]:
        """Send and receive without waiting; return what came to its end."""
        self.multi.perform()
        ended: list[Ended] = []
        while True:
            left, whole, broken = self.multi.info_read()
            ended += [*((curl, 0, "") for curl in whole), *broken]
            if not left:
                return ended

    def wait(self, seconds: float) -> None:
        """Wait until anything can move, at most so long."""
        due = self.multi.timeout() / 1000
        seconds = min(seconds, due) if due >= 0 else seconds
        if not self.multi.select(seconds) and not any(self.multi.fdset()):  # such as while a name is resolved
            sleep(min(seconds, _NAP_S))


def _body(bundle: _Bundle, url: str, silence_s: float) -> Generator[bytes, None, None]:
    """See Transport.stream."""
    curl, came = _handle(bundle.server), list[bytes]()
    curl.setopt(pycurl.URL, url.encode())
    curl.setopt(pycurl.WRITEFUNCTION, came.append)
    _sign(curl, bundle.server.keys())
    bundle.multi.add_handle(curl)
    heard = monotonic()
    ended: list[Ended] = []
    try:
        while not ended:
            ended = bundle.move()
            if came and curl.getinfo(pycurl.RESPONSE_CODE) == _OK:
                heard = monotonic()
                yield b"".join(came)
                came.clear()
            elif monotonic() - heard > silence_s:
                raise TimeoutError(f"nothing came for {silence_s:g} s")
            elif not ended:
                bundle.wait(_TICK_S)
                yield b""
        _approve(*ended[0], b"".join(came))
    finally:
        bundle.release(curl, whole=bool(ended))
        curl.close()


def _approve(curl: pycurl.Curl, fault: int, told: str, body: bytes) -> None:
    """Let only a whole 200 pass for the end of a body."""
    if fault:
        raise ConnectionError(_told(curl, fault, told))
    if (status := curl.getinfo(pycurl.RESPONSE_CODE)) != _OK:
        raise Refused(status, body)


class _Round(Generic[K]):
    """One call: its URLs, the handles at work, and the answers."""

    def __init__(self, bundle: _Bundle, todo: Iterator[tuple[K, str]], ends: float) -> None:
        self._bundle = bundle
        self._todo = todo
        self._ends = ends
        self._slots = bundle.server.connections
        self._keys = bundle.server.keys()
        self._busy: dict[pycurl.Curl, tuple[K, list[bytes]]] = {}
        self._answers: dict[K, Reply | Broken] = {}

    def run(self) -> dict[K, Reply | Broken]:
        """Ask until all is answered or the deadline has come; cut what is late."""
        try:
            while self._fill() and (left := self._ends - monotonic()) > 0:
                ended = self._bundle.move()
                for curl, fault, told in ended:
                    self._end(curl, self._heard(curl, fault, told))
                if not ended:
                    self._bundle.wait(left)
        finally:
            for curl in list(self._busy):
                self._end(curl, Broken(LATE))
        return self._answers

    def _fill(self) -> bool:
        """Send as many as there are slots; return whether any answer is owed."""
        while len(self._busy) < self._slots and monotonic() < self._ends:
            asked = next(self._todo, None)
            if asked is None:
                break
            self._send(*asked)
        return bool(self._busy)

    def _send(self, key: K, url: str) -> None:
        curl = self._bundle.spare.pop() if self._bundle.spare else _head(self._bundle.server)
        lines: list[bytes] = []
        _sign(curl, self._keys)
        curl.setopt(pycurl.URL, url.encode())
        curl.setopt(pycurl.HEADERFUNCTION, lines.append)
        self._bundle.multi.add_handle(curl)
        self._busy[curl] = key, lines

    def _heard(self, curl: pycurl.Curl, fault: int, told: str) -> Reply | Broken:
        if not fault:
            return reply_of(curl.getinfo(pycurl.RESPONSE_CODE), self._busy[curl][1])
        if fault == pycurl.E_COULDNT_CONNECT or not curl.getinfo(pycurl.REQUEST_SIZE):
            self._slots -= 1
            return Broken(f"no connection: {_told(curl, fault, told)}")
        if fault == pycurl.E_OPERATION_TIMEDOUT:
            return Broken(f"no answer within {self._bundle.server.timeout_s:g} s")
        return Broken(f"no answer: {told}")

    def _end(self, curl: pycurl.Curl, answer: Reply | Broken) -> None:
        """Keep what became of a request."""
        self._bundle.release(curl, whole=isinstance(answer, Reply))
        self._bundle.spare.append(curl)
        key, _ = self._busy.pop(curl)
        self._answers[key] = answer


def _handle(server: Server) -> pycurl.Curl:
    """Return a handle with all that every request has in common."""
    curl = pycurl.Curl()
    file, directory = server.trusted
    curl.setopt(pycurl.AWS_SIGV4, f"aws:amz:{server.region}:s3".encode())
    curl.setopt(pycurl.HTTPHEADER, [LOCAL_ONLY])
    curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)  # so that cutting what is late cuts a connection
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.FOLLOWLOCATION, 0)
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.CONNECTTIMEOUT_MS, _milliseconds(server.connect_s))
    curl.setopt(pycurl.CAINFO, file)
    if directory is not None:
        curl.setopt(pycurl.CAPATH, directory)
    return curl


def _head(server: Server) -> pycurl.Curl:
    curl = _handle(server)
    curl.setopt(pycurl.NOBODY, 1)
    curl.setopt(pycurl.TIMEOUT_MS, _milliseconds(server.timeout_s))
    return curl


def _sign(curl: pycurl.Curl, keys: Keys) -> None:
    curl.setopt(pycurl.USERNAME, keys.access_key.encode())
    curl.setopt(pycurl.PASSWORD, keys.secret_key.encode())


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))  # 0 would be libcurl's default, which is minutes or for ever


def _told(curl: pycurl.Curl, fault: int, told: str) -> str:
    """Say what went wrong in words that do not change with the milliseconds."""
    if fault == pycurl.E_OPERATION_TIMEDOUT:
        return "timed out"
    errno = curl.getinfo(pycurl.OS_ERRNO) if fault == pycurl.E_COULDNT_CONNECT else 0
    return os.strerror(errno) if errno else told
