"""The rows of a story, as the application commits them, holds them, or refuses their change."""

from collections.abc import Callable
from dataclasses import dataclass

from reconcile.model import ObjectRef, Present
from tests.simulation.files import Files
from tests.simulation.servers import Servers, Stored
from tests.simulation.stepped import BUCKET
from tests.simulation.storage import etag_of


@dataclass
class Rows:
    """The rows; `named` tells whether they name versions, and `etags` whether they have ETags.

    `is_held` tells whether an event of a reference waits for its row.
    """

    servers: Servers
    files: Files
    named: bool
    etags: bool
    is_held: Callable[[ObjectRef], bool]

    def row(self, row_id: str, key: str, size: int, status: str) -> None:
        """Commit a row, of the latest version where rows name versions."""
        version = ""
        if self.named:
            versions = self.servers.storage.buckets[BUCKET].get(key, [])
            version = next((name for name, content in reversed(versions) if content), "") if versions else ""
        self.write(row_id, Stored(row_id, BUCKET, key, size, self.etag_of(size), status, version))

    def etag_of(self, size: int) -> str | None:
        """Return what a row says of the usual content of a size."""
        return etag_of(b"x" * size) if self.etags else None

    def change(self, row_id: str, **columns: object) -> None:
        """Change a row, unless the reconciler's own lock is in the way."""
        row = self.servers.tables.rows.get(row_id)
        if row is not None:
            self.write(row_id, row._replace(**columns))

    def write(self, row_id: str, row: Stored | None) -> None:
        """Put a row in the place of what was there, or none; nothing tells of it but an event that is held."""
        rows = self.servers.tables.rows
        changed = [one for one in (rows.pop(row_id, None), row) if one is not None]
        if row is not None:
            rows[row_id] = row
        for one in changed:
            self.files.watch.row_changed(one)
            for ref in {one.ref(), ObjectRef(BUCKET, one.key)}:
                self.files.number += 1
                self.files.last[ref] = self.files.number
                if not self.is_held(ref):
                    self.files.watch.told[ref] = None

    def status(self, row_id: str, status: str) -> None:
        """Set a row's status."""
        self.change(row_id, status=status)

    def size(self, row_id: str, size: int) -> None:
        """Correct a row's size."""
        self.change(row_id, size=size, etag=self.etag_of(size))

    def corrected(self, row_id: str) -> None:
        """Let a row say what its object is, if there is one."""
        row = self.servers.tables.rows.get(row_id)
        there = row and self.servers.storage.head(row.ref())
        if isinstance(there, Present):
            self.change(row_id, size=there.size, etag=there.etag if self.etags else None)

    def rekey(self, row_id: str, key: str) -> None:
        """Let a row name another key."""
        self.change(row_id, key=key, s3_version="")

    def soft(self, row_id: str) -> None:
        """Delete a row softly, or take that back."""
        row = self.servers.tables.rows.get(row_id)
        if row is not None:
            self.change(row_id, deleted=not row.deleted)

    def drop(self, row_id: str) -> None:
        """Delete a row."""
        self.write(row_id, None)

    def lock(self, row_id: str, on: bool) -> None:  # noqa: FBT001
        """Hold a row in an open transaction."""
        (self.servers.locked.add if on else self.servers.locked.discard)(row_id)

    def refuse(self, row_id: str, on: bool) -> None:  # noqa: FBT001
        """Refuse a change of a row's status."""
        (self.servers.refusing.add if on else self.servers.refusing.discard)(row_id)
