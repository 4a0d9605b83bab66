"""The example application as its users have it: a process of its own, its page, and a browser before it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import minio as minio_py
import psycopg

from deploy.local.stack import Servers
from tests.support import storage
from tests.support.command import ROOT
from tests.support.proxy import Proxy

EXAMPLE = ROOT / "examples" / "storage_service"
OLDER = "UPDATE file_versions SET created_at = created_at - interval '1 hour'"
MARKED = """
SELECT v.status, f.kind, f.state, f.named_by, v.id::text, v.file_id::text
FROM file_versions AS v LEFT JOIN reconciler.finding AS f ON f.row_id = v.id::text
ORDER BY v.version_number
"""


@dataclass
class Service:
    """The service as it runs, the two sides behind it, and a proxy before its MinIO."""

    url: str
    log: Path
    objects: minio_py.Minio
    bucket: str
    connection: psycopg.Connection[Any]
    between: Proxy
    log_read: int = 0

    def begin_log(self) -> None:
        """Leave out what was logged before."""
        self.log_read = self.log.stat().st_size

    def said(self) -> list[str]:
        """Return the lines of the log."""
        return self.log.read_text("utf-8")[self.log_read :].splitlines()

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask, or change something, as somebody beside the service."""
        cursor = self.connection.execute(query.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def keys(self) -> list[str]:
        """Return the keys that the rows name, the first version's first."""
        return [key for (key,) in self.sql("SELECT object_key FROM file_versions ORDER BY version_number")]

    def statuses(self) -> list[str]:
        """Return the status of each version, the first one's first."""
        return [status for (status,) in self.sql("SELECT status FROM file_versions ORDER BY version_number")]

    def marked(self) -> list[tuple[Any, ...]]:
        """Return (status, kind, state, named by, version, file) of each version."""
        return self.sql(MARKED)

    def grow_old(self) -> None:
        """Let every version be older than any grace."""
        self.sql(OLDER)

    def remove(self, key: str) -> bytes:
        """Delete an object by hand; returns what it held."""
        answer = self.objects.get_object(bucket_name=self.bucket, object_name=key)
        content = answer.data
        answer.release_conn()
        self.objects.remove_object(bucket_name=self.bucket, object_name=key)
        return bytes(content)


def configuration(database: str, servers: Servers, endpoint: str, bucket: str) -> str:
    """Return the example's own reconciler.toml, with this run's servers in it."""
    text = (EXAMPLE / "reconciler.toml").read_text("utf-8")
    written, minio = tomllib.loads(text), servers.minio
    for old, new in (
        (written["database"]["url"], database),
        (written["minio"]["endpoint"], endpoint),
        (f'access_key = "{written["minio"]["access_key"]}"', f'access_key = "{minio.user}"'),
        (f'secret_key = "{written["minio"]["secret_key"]}"', f'secret_key = "{minio.password}"'),
        (written["kafka"]["bootstrap.servers"], servers.kafka.bootstrap),
        (written["mapping"]["bucket"]["name"], bucket),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@contextmanager
def service(directory: Path, database: str, servers: Servers, bucket: str) -> Iterator[Service]:
    """Serve the example on a free port, until the block ends; our schema is there already."""
    host, _, port = urlsplit(servers.minio.url).netloc.partition(":")
    log = directory / "service.log"
    with Proxy(host, int(port)) as between, psycopg.connect(database, autocommit=True) as connection:
        file = directory / "reconciler.toml"
        file.write_text(configuration(database, servers, between.url, bucket), "utf-8")
        words = [sys.executable, "-m", "examples.storage_service", "--config", str(file), "--port", "0"]
        with log.open("w") as said:
            process = subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=said, text=True, cwd=ROOT, env={"PATH": os.environ["PATH"]}
            )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, log.read_text()
            yield Service(url, log, storage.client(servers.minio), bucket, connection, between)
        finally:
            process.terminate()
            process.communicate(timeout=10)
