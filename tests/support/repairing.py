"""An application with versions that have lost their objects, and the commands that repair it."""

import io
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import minio as minio_py
import psycopg
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from tests.support.command import Program

FLAGGED = """
INSERT INTO reconciler.finding (bucket, key, row_id, kind, cause, state, file_id, size_bytes, previous_status,
                                opened_at, suspected_at)
SELECT %(bucket)s, object_key, id::text, 'missing', 'NoSuchKey', 'open', file_id::text, size, 'active',
       now() - %(ago)s, now() - %(ago)s
FROM file_versions WHERE id = %(version)s RETURNING id
"""
HISTORY = """
INSERT INTO reconciler.history (finding_id, subject, at, actor, act, from_state, to_state)
SELECT id, key, opened_at, 'test', 'flagged', 'suspected', 'open' FROM reconciler.finding WHERE id = %s
"""


@dataclass(frozen=True)
class Repairing:
    """The seed's application on one bucket, with the command configured for it."""

    program: Program
    connection: psycopg.Connection
    objects: minio_py.Minio
    bucket: str

    def file(self) -> str:
        """Commit a file without a version."""
        return self._value("INSERT INTO storage_files (bucket_type) VALUES ('staging') RETURNING id")

    def version(self, key: str, file: str = "", number: int = 1, status: str = "active", **columns: Any) -> str:
        """Commit a live version of three bytes, of a file of its own unless one is named."""
        given = {"file": file or self.file(), "number": number, "key": key, "status": status, "size": 3, "etag": None}
        return self._value(
            "INSERT INTO file_versions (file_id, version_number, object_key, size, etag, status)"
            " VALUES (%(file)s, %(number)s, %(key)s, %(size)s, %(etag)s, %(status)s) RETURNING id",
            given | columns,
        )

    def flagged(self, key: str, file: str = "", number: int = 1, days: float = 40, **columns: Any) -> tuple[str, int]:
        """Commit a version that was flagged so many days ago; returns its id, and its finding's."""
        version = self.version(key, file, number, "corrupted", **columns)
        ago = timedelta(days=days)
        finding = self._value(FLAGGED, {"bucket": self.bucket, "version": version, "ago": ago})
        self.connection.execute(HISTORY, [finding])
        return version, int(finding)

    def put(self, key: str, content: bytes = b"AAA", bucket: str = "") -> str:
        """Put an object, and return its version."""
        done = self.objects.put_object(
            bucket_name=bucket or self.bucket, object_name=key, data=io.BytesIO(content), length=len(content)
        )
        return done.version_id or ""

    def read(self, key: str) -> bytes:
        """Return an object's content."""
        answer = self.objects.get_object(bucket_name=self.bucket, object_name=key)
        try:
            return answer.data
        finally:
            answer.close()
            answer.release_conn()

    def keep_versions(self) -> None:
        """Keep versions in the bucket from now on."""
        self.objects.set_bucket_versioning(bucket_name=self.bucket, config=VersioningConfig(ENABLED))

    def hide(self, key: str) -> str:
        """Put a delete marker over an object, and return the marker's version."""
        self.objects.remove_object(bucket_name=self.bucket, object_name=key)
        listed = self.objects.list_objects(bucket_name=self.bucket, prefix=key, include_version=True)
        [marker] = [one for one in listed if one.is_latest == "true" and one.object_name == key]
        return marker.version_id or ""

    def statuses(self) -> dict[str, str]:
        """Return the status of every version by its key."""
        return dict(self.connection.execute("SELECT object_key, status FROM file_versions").fetchall())

    def findings(self) -> dict[str, tuple[str, str, str | None]]:
        """Return kind, state and what holds it of every finding, by its key."""
        kept = self.connection.execute("SELECT key, kind, state, held_by FROM reconciler.finding ORDER BY id")
        return {key: tuple(rest) for key, *rest in kept}

    def history(self, finding: int) -> list[tuple[str, str, str]]:
        """Return (act, actor, why) of a finding's history, in its order."""
        query = "SELECT act, actor, why FROM reconciler.history WHERE finding_id = %s ORDER BY id"
        return self.connection.execute(query, [finding]).fetchall()

    def _value(self, query: str, parameters: Any = None) -> str:
        [(value,)] = self.connection.execute(query.encode(), parameters).fetchall()
        return str(value)


def repairing(program: Program, connection: psycopg.Connection, objects: minio_py.Minio, bucket: str) -> Repairing:
    """Make our schema, and map the number of a version."""
    program.environ["RECONCILER_MAPPING__VERSION__NUMBER"] = "version_number"
    assert program.run("migrate", "--apply").returncode == 0
    return Repairing(program, connection, objects, bucket)
