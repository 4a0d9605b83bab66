"""Which page answers which path, and what every answer carries with it.

Only reads. What a page needs of a server is asked with patience; one that is away is told on a page of its own, with
what this process knows by itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

import structlog

from consumer.pages import listing, overview, rendering, single, sweeps
from consumer.pages.asking import Desk
from consumer.pages.troubles import Process, of_process
from reconcile import inquiry
from reconcile.config.settings import Settings
from reconcile.database import Connection, Database
from reconcile.model import Misconfigured, Unavailable
from reconcile.opening import named_buckets

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

log = structlog.get_logger("pages")
PATIENCE_S, SLOTS = 3.0, 2
STATEMENT_TIMEOUT, CONNECT_S = "2s", 1.0
SIDES_S = 2.5  # for what would repair a finding: MinIO is asked
LONGEST_QUERY = 4_096
SELF = frozenset({"localhost", "127.0.0.1", "::1"})
OK, BAD, NOT_FOUND = "200 OK", "400 Bad Request", "404 Not Found"
MISDIRECTED, AWAY = "421 Misdirected Request", "503 Service Unavailable"
Query = Mapping[str, str]


class Reply(NamedTuple):
    """An answer."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class Pages:
    """The pages; `program` is how a command is called here, `process` tells what this process knows of itself."""

    settings: Settings
    process: Callable[[], Process]
    desk: Desk
    side_desk: Desk
    lanes: Sequence[str] = ()
    program: str = "storage-reconciler"

    def __call__(self, environ: WSGIEnvironment) -> Reply | None:
        """Answer a request for one of the pages; None where its path is none of them."""
        show = self._page(environ["PATH_INFO"])
        if show is None:
            return None
        if not self._is_meant(environ.get("HTTP_HOST", "")):
            return self._told(MISDIRECTED, "Ask for it as localhost", "It answers to this machine's own name alone.")
        query = asked(environ.get("QUERY_STRING", ""))
        if isinstance(query, str):
            return self._told(BAD, "This cannot be meant", query)
        try:
            return show(query)
        except Unavailable as outage:
            log.warning("page.unanswered", path=environ["PATH_INFO"], why=str(outage))
            return self._away(*in_words(outage))
        except Misconfigured as fault:
            return self._away("The database cannot be read", str(fault))

    def close(self) -> None:
        """Close the connections."""
        self.desk.close()
        self.side_desk.close()

    def _page(self, path: str) -> Callable[[Query], Reply] | None:
        match path.strip("/").split("/"):
            case [""] if path == "/":
                return self._overview
            case ["findings"]:
                return self._findings
            case ["findings", number] if listing.is_number(number):
                return lambda _: self._finding(int(number))
            case ["sweeps"]:
                return lambda _: self._reply(OK, "sweeps", sweeps.told(self._read(sweeps.read)))
            case _:
                return None

    def _overview(self, query: Query) -> Reply:
        sight = self._read(lambda connection: overview.read(connection, self.process(), self.settings, self.lanes))
        return self._reply(OK, "overview", {**overview.told(sight), "again": "again" in query})

    def _findings(self, query: Query) -> Reply:
        wanted = listing.filter_of(query)
        if isinstance(wanted, str):
            return self._told(BAD, "This cannot be meant", wanted)
        after = int(query["after"]) if query.get("after") else None
        found = self._read(lambda connection: listing.read(connection, wanted, after))
        return self._reply(OK, "findings", listing.told(found, query, named_buckets(self.settings)))

    def _finding(self, number: int) -> Reply:
        one = self._read(lambda connection: single.read(connection, number))
        if one is None:
            return self._told(NOT_FOUND, f"There is no finding {number}", "Or its retention is over.")
        return self._reply(OK, "finding", {**single.told(one, self._repairs(one.found)), "here": "findings"})

    def _repairs(self, found: Mapping[str, Any]) -> Sequence[single.Repair]:
        """Look at both sides for a moment: a server that is late or away hides what would help, and nothing else."""
        if not single.wants_repair(found):
            return ()
        try:
            return self.side_desk.ask(lambda opened: single.repairs(self.settings, self.program, opened, found))
        except Unavailable as outage:
            return [single.Repair(f"what would bring it back is not known: {outage}")]

    def _read(self, question: Callable[[Connection], Any]) -> Any:
        def read(database: Database) -> Any:
            with inquiry.reading(database) as connection:
                return question(connection)

        return self.desk.ask(read)

    def _is_meant(self, host: str) -> bool:
        """Tell whether a browser means us: elsewhere a name can be made to lead to this machine's own address."""
        return not is_own(self.settings.web.bind) or name_of(host) in SELF

    def _reply(self, status: str, name: str, told: Mapping[str, Any]) -> Reply:
        always = {
            "program": self.program,
            "flagging": self.settings.flagging,
            "here": name,
            "again": False,
            "level": "",
        }
        return Reply(status, headers(), rendering.page(name, **{**always, **told}).encode())

    def _told(self, status: str, title: str, said: str) -> Reply:
        return self._reply(status, "told", {"title": title, "said": said, "troubles": [], "level": "act"})

    def _away(self, title: str, said: str) -> Reply:
        own = list(of_process(self.process()))
        reply = self._reply(AWAY, "told", {"title": title, "said": said, "troubles": own, "level": "act"})
        return reply._replace(headers=[*reply.headers, ("Retry-After", "5")])


def opened(
    settings: Settings, database: Database, process: Callable[[], Process], lanes: Sequence[str], program: str
) -> Pages:
    """Return the pages, with connections of their own that open when first asked."""
    patient = replace(database, statement_timeout=STATEMENT_TIMEOUT, patience_s=CONNECT_S, by_index=False)
    desk = Desk([patient.another() for _ in range(SLOTS)], PATIENCE_S)
    side_desk = Desk([patient.another()], SIDES_S, "a server of the two sides")
    return Pages(settings, process, desk, side_desk, lanes, program)


def headers() -> list[tuple[str, str]]:
    """Return what every page carries."""
    return [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", rendering.policy()),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
        ("Cache-Control", "no-store"),
    ]


def in_words(outage: Unavailable) -> tuple[str, str]:
    """Return a title and a sentence: a server that works on it is not away."""
    if "statement timeout" in outage.detail:
        return "That takes too long", "Narrow it: by kind, bucket, or what the key begins with."
    return f"{outage.server} does not answer", outage.detail


def asked(written: str) -> Query | str:
    """Return the words of a query, the last of each name; or why it cannot be meant."""
    if len(written) > LONGEST_QUERY:
        return f"The query is longer than {LONGEST_QUERY:,} characters."
    try:
        words = parse_qs(written, max_num_fields=50, errors="strict")
    except ValueError:
        return "The query is no UTF-8, or has too many parts."
    if any("\0" in word for each in words.values() for word in each):
        return "Nothing here has a NUL in it."
    return {name: each[-1] for name, each in words.items()}


def is_own(bind: str) -> bool:
    """Tell whether an address is this machine's own alone."""
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return bind == "localhost"


def name_of(host: str) -> str:
    """Return the name of a Host header, without its port and an address's brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")
