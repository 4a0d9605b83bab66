"""The demo's application is the one of examples/: its tables, its uploads through the guard, and its page."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from minio import Minio

from examples.storage_service.files import Upload, new_version, store
from examples.storage_service.models import FileVersion, Sessions
from reconcile.guards import Storage

ROOT = Path(__file__).parents[2]
PAGE = "examples.storage_service"


class RollBack(Exception):
    """What a transaction is to be rolled back for."""


@dataclass(frozen=True)
class Version:
    """One stored version, as the application knows it."""

    id: str
    key: str
    content: bytes


@dataclass
class Application:
    """An application with its own connection, its own access key, and its own use of the guards."""

    connection: psycopg.Connection[Any]
    client: Minio
    bucket: str
    storage: Storage
    sessions: Sessions

    @contextmanager
    def inserted(self, name: str, content: bytes) -> Iterator[Version]:
        """Insert the row, and commit it when the block ends well."""
        with self.sessions.begin() as session:
            yield _version(new_version(session, name, len(content)), content)

    def store(self, name: str, content: bytes) -> Version:
        """Store a file: row, upload, commit."""
        with self.sessions() as session:
            return _version(store(session, self.storage, Upload(name, io.BytesIO(content), len(content))), content)

    def upload(self, key: str, content: bytes) -> None:
        """Put one object."""
        self.client.put_object(bucket_name=self.bucket, object_name=key, data=io.BytesIO(content), length=len(content))

    def status(self, version: Version) -> str:
        """Return the version's status as the application sees it."""
        [(status,)] = self.connection.execute("SELECT status FROM file_versions WHERE id = %s", [version.id]).fetchall()
        return str(status)


def _version(row: FileVersion, content: bytes) -> Version:
    return Version(str(row.id), row.object_key, content)


@dataclass
class Page:
    """The application's page, served by a process of its own; what it says is in files of the directory."""

    process: subprocess.Popen[bytes]
    directory: Path

    @property
    def url(self) -> str:
        """Where it is served, `''` while it starts."""
        return (self.directory / "page.url").read_text("utf-8").strip()

    def download(self, version: Version) -> int:
        """Download a version, and return the status."""
        address = urlsplit(self.url)
        connection = HTTPConnection(address.hostname or "", address.port, timeout=10)
        connection.request("GET", f"/versions/{version.id}/content")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(10)


def serve(directory: Path) -> Page:
    """Start the application's page on a free port."""
    words = [sys.executable, "-m", PAGE, "--config", str(directory / "reconciler.toml"), "--port", "0"]
    with (directory / "page.url").open("wb") as url, (directory / "page.log").open("wb") as log:
        return Page(subprocess.Popen(words, stdout=url, stderr=log, cwd=ROOT, start_new_session=True), directory)
