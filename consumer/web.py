"""Metrics, probes and the status page over HTTP, in a thread of their own: /metrics, /livez, /readyz, and the pages.

Reads the registry and asks the database; never sees the loop. What the pages are is their own business. The server is
waitress: its few threads serve only whole requests, so that a slow client costs a socket and no thread.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import make_wsgi_app
from waitress import wasyncore
from waitress.server import create_server

from consumer.counting import Counting
from consumer.pages.site import Reply
from reconcile.database import Busy, Database
from reconcile.model import Misconfigured, Unavailable

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = structlog.get_logger("web")
LIVE_WITHIN_S = 60.0  # a turn has deadlines of seconds; beyond this the loop stands still
TICK_S = 0.25
LEAVE_S = 1
THREADS = 6  # two may wait for a page's answers, and one for the probe's
READING = ("GET", "HEAD")
PLAIN = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]


@dataclass
class Probes:
    """Answers whether the loop turns, and whether events are being worked off."""

    counting: Counting
    database: Database
    _asking: threading.Lock = field(default_factory=threading.Lock)

    def live(self) -> str:
        """Return why the loop is to be ended, `''` if it turns, or waits for a server: then all is as it should be."""
        still = self.counting.now() - self.counting.beat_at
        return "" if still < LIVE_WITHIN_S else f"the loop has stood still for {still:.0f} s"

    def ready(self) -> str:
        """Return why events are not worked off, `''` if they are."""
        if self.counting.assigned is None:
            return "the group has not given this process its part yet"
        if self.counting.waits_for:
            return f"an outage: waiting for {self.counting.waits_for}"
        return self._database() or self.live()

    def _database(self) -> str:
        if not self._asking.acquire(blocking=False):
            return "postgresql has not answered the question before this one yet"
        try:
            with self.database.use() as connection:
                connection.execute("SELECT 1")
        except (Unavailable, Busy) as outage:
            return str(outage)
        finally:
            self._asking.release()
        return ""


@dataclass
class Site:
    """What is served by its path; what is not there is a 404. `pages` answer for those that are theirs."""

    probes: Probes
    pages: Callable[[WSGIEnvironment], Reply | None] = lambda _: None

    def __post_init__(self) -> None:
        self.metrics = make_wsgi_app(self.probes.counting.registry)

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ["REQUEST_METHOD"] not in READING:
            return self._plain(
                start, "405 Method Not Allowed", "only GET and HEAD are served", [("Allow", "GET, HEAD")]
            )
        match environ["PATH_INFO"]:
            case "/metrics":
                return self.metrics({**environ, "REQUEST_METHOD": "GET"}, start)  # type: ignore[no-any-return]
            case "/livez":
                return self._health(start, self.probes.live())
            case "/readyz":
                return self._health(start, self.probes.ready())
            case _:
                return self._page(environ, start)

    def _page(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        reply = self.pages(environ)
        if reply is None:
            return self._plain(start, "404 Not Found", "there are /metrics, /livez and /readyz, and / unless it is off")
        start(reply.status, reply.headers)
        return [reply.body]

    def _health(self, start: StartResponse, trouble: str) -> Iterable[bytes]:
        return self._plain(start, "503 Service Unavailable" if trouble else "200 OK", trouble or "ok")

    def _plain(
        self, start: StartResponse, status: str, told: str, more: list[tuple[str, str]] | None = None
    ) -> Iterable[bytes]:
        start(status, [*PLAIN, *(more or [])])
        return [f"{told}\n".encode()]


class Forwarding(logging.Handler):
    """Tells in our log what the server says in Python's: that an answer failed, or that requests pile up."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one line on."""
        log.warning("web.server", said=record.getMessage(), exc_info=record.exc_info)


class Web:
    """The server, which listens from when it is made until `close`; `run` serves."""

    def __init__(self, site: Callable[..., Any], bind: str, port: int) -> None:
        self._listener = listener(bind, port)
        logging.getLogger("waitress").handlers = [Forwarding(logging.WARNING)]
        self._sockets: dict[int, Any] = {}
        self._server = create_server(
            site,
            map=self._sockets,
            sockets=[self._listener],
            threads=THREADS,
            ident=None,  # no Server header
            asyncore_use_poll=True,  # descriptors beyond 1 024
        )

    @property
    def port(self) -> int:
        """The port, also where any free one was wanted."""
        return int(self._listener.getsockname()[1])

    def run(self, wait: Callable[[float], bool]) -> None:
        """Serve until it is time to stop."""
        log.info("web.listening", bind=self._listener.getsockname()[0], port=self.port)
        while not wait(0.0):
            wasyncore.loop(TICK_S, use_poll=True, map=self._sockets, count=1)

    def close(self) -> None:
        """Close what is open; a request under way is cut."""
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=LEAVE_S)
        for one in list(self._sockets.values()):
            one.close()
        self._listener.close()


def listener(bind: str, port: int) -> socket.socket:
    """Listen; raises Misconfigured where that cannot be had."""
    try:
        family = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((bind, port), family=family)
    except OSError as error:
        raise Misconfigured(
            f"web.bind = {bind!r}, web.port = {port}: cannot be listened on ({error.strerror or error}); "
            "name an address of this machine and a port that is free, or 0 for any"
        ) from error
