"""A side of the comparison that breaks in its midst: a listing at a request, rows after so many bytes of an answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakKeyDictionary

from deploy.local.minio import Minio
from tests.support.proxy import Proxy


class Lists(Proxy):
    """Breaks the connection at the `at`th request for `what`, `times` times; 0 lets all through."""

    what = b"list-type=2"

    def __init__(self, server: Minio, at: int = 0, times: int = 1) -> None:
        self.at = at
        self.times = times
        self.asked = 0
        self.broken = 0
        host, _, port = server.endpoint.partition(":")
        super().__init__(host, int(port))

    def _hand_on(self, chunk: bytes, source: Any, target: Any, *, asking: bool) -> None:
        if asking and self.what in chunk:
            self.asked += 1
            if 0 < self.at <= self.asked and self.broken < self.times:
                self.broken += 1
                raise ConnectionAbortedError
        super()._hand_on(chunk, source, target, asking=asking)


class Rows(Proxy):
    """Breaks a connection to PostgreSQL that has answered more than `after` bytes, `times` times."""

    def __init__(self, database: str) -> None:
        self.after = 0
        self.times = 0
        self.broken = 0
        self._answered: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._place = urlsplit(database)
        super().__init__(str(self._place.hostname), int(self._place.port or 0))

    @property
    def database(self) -> str:
        """The database's URL by this way."""
        who = self._place.netloc.rpartition("@")[0]
        return urlunsplit(self._place._replace(netloc=f"{who}@127.0.0.1:{self.port}"))

    def _hand_on(self, chunk: bytes, source: Any, target: Any, *, asking: bool) -> None:
        if not asking:
            self._answered[target] = self._answered.get(target, 0) + len(chunk)
            if self._answered[target] > self.after and self.broken < self.times:
                self.broken += 1
                raise ConnectionAbortedError
        super()._hand_on(chunk, source, target, asking=asking)
