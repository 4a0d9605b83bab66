"""Requests without a body over a few kept connections, driven by the calling thread under one deadline.

Knows sockets, TLS and the head of an HTTP/1.1 reply; must not know signatures, objects, or what a status means. One
thread with a selector, not a pool: hand-offs between threads cost more than the answer, and a thread that waits for a
late one cannot be called back. Here nothing outlives the deadline: what is late is cut.
"""

from __future__ import annotations

import re
import selectors
import socket
import ssl
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

from reconcile.signature import Server

K = TypeVar("K", bound=Hashable)
LATE = "late"
_END = b"\r\n\r\n"
_MOST_HEAD_BYTES = 65536
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5]\d\d)(?: |$)")


class Reply(NamedTuple):
    """The head of an answer; header names are lower-case."""

    status: int
    headers: dict[str, str]


class Broken(NamedTuple):
    """A request that was tried and not answered."""

    reason: str


def parse(head: bytes) -> tuple[Reply, bool]:
    """Return the reply, and whether the connection may be kept; raises ValueError on what is not HTTP/1.x."""
    lines = head.decode("latin-1").split("\r\n")
    start = _STATUS.match(lines[0])
    if start is None:
        raise ValueError("the answer is not HTTP")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError("a header without a colon")
        name = name.lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    kept = start[1] == "1" and headers.get("connection", "").lower() != "close"
    return Reply(int(start[2]), headers), kept


class _Line(Generic[K]):
    """One kept connection and what it was last asked for."""

    __slots__ = ("asked", "buffer", "kept", "request", "since", "sock", "used")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        self.kept = True
        self.used = False
        self.since = 0.0
        self.asked: K | None = None
        self.request = b""

    def ask(self, key: K, request: bytes) -> None:
        """Send one request whole; raises OSError."""
        self.asked, self.request, self.since = key, request, monotonic()
        if self.sock.send(request) < len(request):
            raise BlockingIOError("the connection does not take a request")

    def hear(self) -> Reply | None:
        """Return the reply if it is complete; raises OSError on a lost connection, ValueError on nonsense."""
        while True:
            try:
                got = self.sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                return None
            if not got:
                raise ConnectionResetError("the connection was cut")
            self.buffer += got
            reply = self._complete()
            if reply is not None:
                return reply

    def quiet(self) -> bool:
        """Tell whether the connection is open and nothing came that nobody asked for."""
        try:
            self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def _complete(self) -> Reply | None:
        """Take a whole head out of the buffer; an interim one (1xx) is passed over."""
        head, end, rest = self.buffer.partition(_END)
        if not end:
            if len(self.buffer) > _MOST_HEAD_BYTES:
                raise ValueError("the head of the answer does not end")
            return None
        reply, kept = parse(head)
        self.buffer = rest
        if reply.status < 200:  # noqa: PLR2004  # the statuses of interim answers
            return self._complete()
        self.kept = kept and not rest
        self.asked, self.used, self.buffer = None, True, b""
        return reply


class Wire:
    """The connections to one server; opened at need, kept between calls, shared by threads that each take their own."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._address = server.address()
        self._tls = ssl.create_default_context() if server.secure else None
        self._idle: deque[_Line[Hashable]] = deque()
        self._closed = False

    def close(self) -> None:
        """Close what is idle; a call under way closes its own at its end."""
        self._closed = True
        while self._idle:
            self._idle.pop().sock.close()

    def ask(self, requests: Iterable[tuple[K, bytes]], deadline_s: float) -> dict[K, Reply | Broken]:
        """Send requests in their order and return what became of each; those never sent are left out.

        Returns at the deadline at the latest, and has then cut every connection that still owed an answer.
        `requests` is drawn from just before each is sent.
        """
        round_ = _Round(self, iter(requests), monotonic() + deadline_s)
        try:
            round_.run()
        finally:
            round_.finish()
        return round_.answers

    def take(self) -> _Line[Hashable] | None:
        """Return an idle connection that is still open, if there is one."""
        while self._idle:
            try:
                line = self._idle.pop()
            except IndexError:  # another thread was quicker
                return None
            if line.quiet():
                return line
            line.sock.close()
        return None

    def give(self, line: _Line[Hashable]) -> None:
        """Keep a connection for the next call."""
        if len(self._idle) < self.server.connections and not self._closed:
            self._idle.append(line)
        else:
            line.sock.close()

    def connect(self, ends: float) -> socket.socket:
        """Open a connection before `ends`; raises OSError."""
        ends = min(ends, monotonic() + self.server.connect_s)
        failed = OSError("the name has no address")
        for family, kind, proto, _, address in socket.getaddrinfo(*self._address, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, proto)
            try:
                return self._open(sock, address, ends)
            except OSError as error:
                sock.close()
                failed = error
        raise failed

    def _open(self, sock: socket.socket, address: object, ends: float) -> socket.socket:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(max(ends - monotonic(), 0.001))
        sock.connect(address)  # type: ignore[arg-type]  # what getaddrinfo returned
        if self._tls is not None:
            sock.settimeout(max(ends - monotonic(), 0.001))
            sock = self._tls.wrap_socket(sock, server_hostname=self._address[0])
        sock.setblocking(False)  # noqa: FBT003  # the standard library's own signature
        return sock


class _Round(Generic[K]):
    """One call: its requests, the connections it holds, and the answers."""

    def __init__(self, wire: Wire, todo: Iterator[tuple[K, bytes]], ends: float) -> None:
        self.answers: dict[K, Reply | Broken] = {}
        self._wire = wire
        self._todo = todo
        self._again: list[tuple[K, bytes]] = []
        self._ends = ends
        self._slots = wire.server.connections
        self._free: list[_Line[K]] = []
        self._busy: dict[_Line[K], None] = {}
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Ask until all is answered or the deadline has come."""
        patience = self._wire.server.timeout_s
        while self._fill() and (left := self._ends - monotonic()) > 0:
            for ready, _ in self._selector.select(min(left, patience / 4)):
                self._hear(ready.data)
            overdue = monotonic() - patience
            for line in [line for line in self._busy if line.since < overdue]:
                self._break(line, f"no answer within {patience:g} s")

    def finish(self) -> None:
        """Cut what still owes an answer, keep the rest."""
        for line in list(self._busy):
            self._break(line, LATE)
        self.answers.update((key, Broken(LATE)) for key, _ in self._again)
        self._selector.close()
        for line in self._free:
            self._wire.give(line)  # type: ignore[arg-type]  # an idle line carries no key

    def _fill(self) -> bool:
        """Send as many requests as there are slots; return whether any answer is owed."""
        while len(self._busy) < self._slots and monotonic() < self._ends:
            request = self._again.pop() if self._again else next(self._todo, None)
            if request is None:
                break
            self._send(*request)
        return bool(self._busy)

    def _send(self, key: K, request: bytes) -> None:
        line = self._free.pop() if self._free else self._line(key)
        if line is None:
            return
        self._busy[line] = None
        try:
            line.ask(key, request)
        except OSError as error:
            self._lost(line, error)

    def _line(self, key: K) -> _Line[K] | None:
        """Return a connection; a failure answers the key and costs the slot, so that a dead server is soon left."""
        line: _Line[K] | None = self._wire.take()  # type: ignore[assignment]  # an idle line carries no key
        if line is None:
            try:
                line = _Line(self._wire.connect(self._ends))
            except OSError as error:
                self.answers[key] = Broken(f"no connection: {_told(error)}")
                self._slots -= 1
                return None
        self._selector.register(line.sock, selectors.EVENT_READ, line)
        return line

    def _hear(self, line: _Line[K]) -> None:
        key = line.asked
        if key is None:
            if not line.quiet():
                self._drop(line)
            return
        try:
            reply = line.hear()
        except (OSError, ValueError) as error:
            self._lost(line, error)
            return
        if reply is None:
            return
        self.answers[key] = reply
        del self._busy[line]
        if line.kept:
            self._free.append(line)
        else:
            self._drop(line)

    def _lost(self, line: _Line[K], error: OSError | ValueError) -> None:
        """Ask once more where the server had closed a kept connection in the meantime; else say what broke."""
        key = line.asked
        if key is not None and line.used and not line.buffer and isinstance(error, OSError):
            self._drop(line)
            self._again.append((key, line.request))
        else:
            self._break(line, f"no answer: {_told(error)}")

    def _break(self, line: _Line[K], reason: str) -> None:
        if line.asked is not None:
            self.answers[line.asked] = Broken(reason)
        self._drop(line)

    def _drop(self, line: _Line[K]) -> None:
        self._busy.pop(line, None)
        if line in self._free:
            self._free.remove(line)
        self._selector.unregister(line.sock)
        line.sock.close()


def _told(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
