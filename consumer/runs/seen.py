"""Which references were seen before: exact, however many there are, in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Self

import msgspec

from reconcile.model import ObjectRef

CACHE_KB = 16_384
NEW = "INSERT INTO seen SELECT value FROM json_each(?) WHERE true ON CONFLICT DO NOTHING RETURNING name"


def scratch() -> sqlite3.Connection:
    """Open a database that ends with the connection: on disk as far as memory does not do."""
    connection = sqlite3.connect("", isolation_level=None)
    connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


class Seen:
    """Lies in a temporary file of SQLite's, which ends with it."""

    def __init__(self) -> None:
        self._connection = scratch()
        self._connection.execute("CREATE TABLE seen (name TEXT PRIMARY KEY) WITHOUT ROWID")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def new(self, refs: Iterable[ObjectRef]) -> set[ObjectRef]:
        """Return those that were never seen before, and see them."""
        named = {_name(ref): ref for ref in refs}
        if not named:
            return set()
        found = self._connection.execute(NEW, [msgspec.json.encode(list(named)).decode()])
        return {named[name] for (name,) in found.fetchall()}


def _name(ref: ObjectRef) -> str:
    """Return one text for one reference; a bucket holds no slash."""
    return f"{ref.bucket}/{len(ref.s3_version)}/{ref.s3_version}{ref.key}"
