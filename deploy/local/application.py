"""The demo's application: files as objects and rows, uploaded in the recommended order - row, upload, commit."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from minio import Minio

INSERT_FILE = "INSERT INTO storage_files (bucket_type, name) VALUES ('user', %s) RETURNING id"
INSERT_VERSION = (
    "INSERT INTO file_versions (id, file_id, version_number, object_key, size, status) "
    "VALUES (%s, %s, 1, %s, %s, 'active')"
)


@dataclass(frozen=True)
class Version:
    """One stored version, as the application knows it."""

    id: str
    key: str
    content: bytes


@dataclass
class Application:
    """An application with its own connection and its own access key."""

    connection: psycopg.Connection[Any]
    client: Minio
    bucket: str

    @contextmanager
    def inserted(self, name: str, content: bytes) -> Iterator[Version]:
        """Insert the row, and commit it when the block ends well."""
        version = Version(str(uuid.uuid4()), f"users/{uuid.uuid4()}/{name}", content)
        with self.connection.transaction():
            [(file_id,)] = self.connection.execute(INSERT_FILE, [name]).fetchall()
            self.connection.execute(INSERT_VERSION, [version.id, file_id, version.key, len(content)])
            yield version

    def store(self, name: str, content: bytes) -> Version:
        """Store a file: row, upload, commit."""
        with self.inserted(name, content) as version:
            self.upload(version.key, content)
        return version

    def upload(self, key: str, content: bytes) -> None:
        """Put one object."""
        self.client.put_object(bucket_name=self.bucket, object_name=key, data=io.BytesIO(content), length=len(content))

    def status(self, version: Version) -> str:
        """Return the version's status as the application sees it."""
        [(status,)] = self.connection.execute("SELECT status FROM file_versions WHERE id = %s", [version.id]).fetchall()
        return str(status)
