"""What an application gives to a guard: its database connection, of whatever library, and the content of an upload.

Known by what they can do, so that neither SQLAlchemy nor Django is needed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, cast

import psycopg

from reconcile.database import Connection


class Transaction(Protocol):
    """A connection or session of the caller's: psycopg's, SQLAlchemy's, Django's."""

    def commit(self) -> None:
        """Commit what was written."""
        ...

    def rollback(self) -> None:
        """Take back what was written."""
        ...


class Readable(Protocol):
    """A file that is open for reading bytes."""

    def read(self, most: int, /) -> bytes:
        """Return at most so many bytes, `b''` at the end."""
        ...


Content = bytes | Readable | Iterable[bytes]


def driver_of(given: object) -> Connection | None:
    """Return the psycopg connection beneath what the caller handed in, None where there is none.

    A Session has a method `connection()`, a Connection an attribute, and what the pool lends a `driver_connection`.
    """
    if given is None or isinstance(given, psycopg.Connection):
        return given
    if callable(ensure := getattr(given, "ensure_connection", None)):  # Django connects when it is asked to
        ensure()
    lent: Any = getattr(given, "connection", None)
    if callable(lent):
        lent = getattr(lent(), "connection", None)
    driver = getattr(lent, "driver_connection", lent)
    return driver if isinstance(driver, psycopg.Connection) else None


def flush(given: object) -> None:
    """Have a session write what it holds back."""
    if callable(write := getattr(given, "flush", None)):
        write()


class Counted:
    """The content of an upload as one readable, which counts what was read and tells of every piece."""

    def __init__(self, content: Content, progress: Callable[[], object]) -> None:
        self._read = _reading(content)
        self._progress = progress
        self._count = 0

    def read(self, most: int) -> bytes:
        """Return so many bytes, fewer only at the end: the driver puts pieces together by copying all of them."""
        whole = bytearray()
        while len(whole) < most:
            self._progress()
            piece = self._read(most - len(whole))
            if not piece:
                break
            whole += piece
        self._count += len(whole)
        return bytes(whole)

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._count


def _reading(content: Content) -> Callable[[int], bytes]:
    """Return what reads the content."""
    if hasattr(content, "read"):
        return cast("Readable", content).read
    pieces = iter((content,)) if isinstance(content, bytes | bytearray | memoryview) else iter(content)
    return _Rest(map(bytes, cast("Iterator[bytes]", pieces))).read


class _Rest:
    """Pieces of any size, read at most so many bytes at a time."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def read(self, most: int) -> bytes:
        """Return some of what is there, `b''` at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = memoryview(piece)
        piece, self._rest = bytes(self._rest[:most]), self._rest[most:]
        return piece
