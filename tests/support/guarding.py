"""An application that uses the guards: the seed's tables, a bucket, a Storage, and what both sides say afterwards.

Also a command, for what must be killed: `POINT KEY` stores a version and kills itself at that point.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import minio as minio_py
import psycopg

from reconcile.settings import Settings
from tests.support import command

MAPPING = command.MAPPING.replace('status = "status"', 'status = "status"\nnumber = "version_number"')
FILE = "INSERT INTO storage_files (bucket_type) VALUES ('user') RETURNING id"
VERSION = """
INSERT INTO file_versions (file_id, version_number, object_key, size, status, created_at)
VALUES (%(file_id)s, 1, %(key)s, %(size)s, %(status)s, now() - %(age)s) RETURNING id
"""
FINDINGS = (
    "SELECT kind, state, key, previous_status, held_by FROM reconciler.finding WHERE closed_at IS NULL ORDER BY id"
)
OLDER = "UPDATE reconciler.look SET due_at = due_at - %(by)s"
HOUR = timedelta(hours=1)


@dataclass
class Application:
    """The tables and the bucket of an application, and the settings that describe them."""

    database: str
    objects: minio_py.Minio
    bucket: str
    settings: Settings
    connection: psycopg.Connection[Any]

    def row(self, key: str, *, age: timedelta = HOUR, size: int = 3, status: str = "active", commit: Any = None) -> str:
        """Insert a version, on its own connection unless another is given; returns its id."""
        connection = commit or self.connection
        [(file_id,)] = connection.execute(FILE).fetchall()
        values = {"file_id": file_id, "key": key, "size": size, "status": status, "age": age}
        [(row_id,)] = connection.execute(VERSION, values).fetchall()
        return str(row_id)

    def put(self, key: str, content: bytes = b"AAA") -> str | None:
        """Put an object; returns its version."""
        done = self.objects.put_object(
            bucket_name=self.bucket, object_name=key, data=io.BytesIO(content), length=len(content)
        )
        return done.version_id

    def there(self) -> list[str]:
        """Return the keys that the bucket holds."""
        return [one.object_name or "" for one in self.objects.list_objects(bucket_name=self.bucket, recursive=True)]

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask, or change something, as the application would."""
        cursor = self.connection.execute(query.encode(), parameters)
        return cursor.fetchall() if cursor.description else []

    def status(self, row_id: str) -> str:
        """Return a version's status."""
        [(status,)] = self.sql("SELECT status FROM file_versions WHERE id = %s", row_id)
        return str(status)

    def findings(self) -> list[tuple[Any, ...]]:
        """Return (kind, state, key, previous status, held by) of what is open."""
        return self.sql(FINDINGS)

    def looks(self) -> list[tuple[Any, ...]]:
        """Return (key, evidence) of the looks that are planned."""
        return self.sql("SELECT key, evidence FROM reconciler.look ORDER BY key")
