"""A TCP proxy between a client and a server, whose fault a test sets and takes away while connections are open."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

CHUNK_BYTES = 65536


@dataclass(frozen=True)
class Pass:
    """Let everything through."""


@dataclass(frozen=True)
class Stall:
    """Take everything and hand nothing on, for as long as the fault lasts; then all goes on."""


@dataclass(frozen=True)
class Cut:
    """Break what is open, and each new connection at its first request."""


@dataclass(frozen=True)
class Deaf:
    """Hand each request on, and break the connection where it is answered."""


@dataclass(frozen=True)
class Slow:
    """Hand each request on only after a while."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """Answer each request, or each of this method, in the server's place."""

    status: str
    headers: tuple[str, ...] = ()
    method: str = ""
    body: str = ""

    def whole(self) -> bytes:
        """Return the whole answer."""
        lines = (f"HTTP/1.1 {self.status}", *self.headers, f"Content-Length: {len(self.body)}", "", self.body)
        return "\r\n".join(lines).encode()


Fault = Pass | Stall | Cut | Deaf | Slow | Answer
FORBIDDEN = Answer("403 Forbidden")
NOT_FOUND = Answer("404 Not Found")
BUSY = Answer("503 Service Unavailable", ("Retry-After: 60", "X-Minio-Error-Code: SlowDownRead"))
FULL = Answer(
    "507 Insufficient Storage", ("Content-Type: application/xml", "Connection: close"), "PUT",
    "<Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum free drive threshold."
    "</Message><Resource>/</Resource><RequestId>1</RequestId><HostId>1</HostId></Error>",
)  # fmt: skip


class Proxy:
    """Listens on a port of the loopback, a free one or `own_port`; `requests` counts the chunks that clients sent."""

    def __init__(self, host: str, port: int, own_port: int = 0) -> None:
        self._upstream = (host, port)
        self._fault: Fault = Pass()
        self._changed = threading.Condition()
        self._sockets: set[socket.socket] = set()
        self._down = False
        self.requests = 0
        self._listener = socket.create_server(("127.0.0.1", own_port))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """How many connections are open, counted on both sides."""
        return len(self._sockets)

    def set(self, fault: Fault) -> None:
        """Let the fault hold from now on, for what is open, too."""
        with self._changed:
            self._fault = fault
            self._changed.notify_all()
        if isinstance(fault, Cut):
            self._cut()

    def stop(self) -> None:
        """Close everything: from now on connections are refused."""
        with self._changed:
            self._down = True
            self._changed.notify_all()
        _shut(self._listener)
        self._listener.close()
        self._cut()

    def _cut(self) -> None:
        for one in list(self._sockets):
            _shut(one)

    def _accept(self) -> None:
        while not self._down:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, self._onward() as server:
            if server is None:
                return
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server, asking=True)
            _shut(server)
            back.join()
            self._sockets -= {client, server}

    @contextmanager
    def _onward(self) -> Iterator[socket.socket | None]:
        """Lend a connection to the server, None while it takes none."""
        try:
            server = socket.create_connection(self._upstream)
        except OSError:
            yield None
            return
        with server:
            yield server

    def _pump(self, source: socket.socket, target: socket.socket, *, asking: bool = False) -> None:
        """Hand on chunks in one direction until one side ends."""
        try:
            while chunk := source.recv(CHUNK_BYTES):
                self.requests += asking
                self._hand_on(chunk, source, target, asking=asking)
        except OSError:
            pass
        _shut(target)

    def _hand_on(self, chunk: bytes, source: socket.socket, target: socket.socket, *, asking: bool) -> None:
        match self._settled():
            case Answer() as answer if asking and chunk.startswith(answer.method.encode()):
                source.sendall(answer.whole())
            case Cut():
                _shut(source)
            case Deaf() if not asking:
                _shut(source)
            case Slow(seconds) if asking:
                self._wait(seconds)
                target.sendall(chunk)
            case _:
                target.sendall(chunk)

    def _settled(self) -> Fault:
        """Return the fault that holds, once it is not a stall."""
        with self._changed:
            self._changed.wait_for(lambda: self._down or not isinstance(self._fault, Stall))
            return self._fault

    def _wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._down, seconds)


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
