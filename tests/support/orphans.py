"""An office that works through orphans: a bucket and its rows, the commands, and what both sides say afterwards."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import minio as minio_py
import psycopg
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from reconcile import opening
from reconcile.config.settings import Settings, load
from reconcile.database import Database
from reconcile.model import Hint, ObjectRef
from reconcile.reconciler import reconcile
from reconcile.world import LiveWorld
from tests.support.command import ROOT, Program

FILE = "INSERT INTO storage_files (bucket_type) VALUES ('staging') RETURNING id"
VERSION = "INSERT INTO file_versions (file_id, version_number, object_key, size) VALUES (%s, 1, %s, %s) RETURNING id"
OLDER = "UPDATE reconciler.finding SET suspected_at = suspected_at - interval '1 day'"


@dataclass
class Office:
    """The commands over one bucket and one database."""

    program: Program
    connection: psycopg.Connection[Any]
    objects: minio_py.Minio
    bucket: str

    def put(self, key: str, content: bytes = b"AAA") -> None:
        """Put an object."""
        self.objects.put_object(bucket_name=self.bucket, object_name=key, data=BytesIO(content), length=len(content))

    def add_row(self, key: str, size: int = 3) -> str:
        """Commit a file with one version, and return the version's id."""
        [(file,)] = self.connection.execute(FILE).fetchall()
        [(version,)] = self.connection.execute(VERSION, [file, key, size]).fetchall()
        return str(version)

    def find(self, contents: Mapping[str, bytes]) -> list[int]:
        """Put objects that no row names, and have them found and opened; returns the findings' ids."""
        for key, content in contents.items():
            self.put(key, content)
        self.look(*contents)
        self.connection.execute(OLDER)
        self.look(*contents)
        kept = "SELECT key, id FROM reconciler.finding WHERE bucket = %s AND state = 'open' AND row_id = ''"
        found = dict(self.connection.execute(kept, [self.bucket]).fetchall())
        return [found[key] for key in contents]

    def approve(self, *numbers: int) -> None:
        """Have a person approve orphans as they are."""
        assert self.program.json("orphans", "approve", *map(str, numbers), "--apply")["done"] == len(numbers)

    def keep_versions(self, status: str = ENABLED) -> None:
        """Keep versions in the bucket from now on."""
        self.objects.set_bucket_versioning(bucket_name=self.bucket, config=VersioningConfig(status))

    def versions(self, key: str) -> list[bool]:
        """Return the versions of a key, the latest first: of each whether it is a delete marker."""
        found = self.objects.list_objects(bucket_name=self.bucket, prefix=key, include_version=True)
        there = sorted(found, key=lambda one: (str(one.is_latest), one.last_modified), reverse=True)
        return [bool(one.is_delete_marker) for one in there if one.object_name == key]

    def settings(self) -> Settings:
        """Return the settings as the commands read them."""
        environ = {name: value for name, value in self.program.environ.items() if name.startswith("RECONCILER_")}
        return load(tomllib.loads(self.program.file.read_text("utf-8")), environ, Path.read_text)

    @contextmanager
    def world(self) -> Iterator[LiveWorld]:
        """Open both sides as the consumer does."""
        settings = self.settings()
        database = Database(settings.database.url)
        with opening.objects(settings) as store:
            world = opening.world(settings, database, store, "consumer", opening.mapping(settings, database))
            world.look_deadline_s = 10.0
            yield world
        database.close()

    def look(self, *keys: str) -> None:
        """Look at keys as the consumer does."""
        with self.world() as world:
            reconcile(world, [Hint(ObjectRef(self.bucket, key)) for key in keys])

    def states(self) -> dict[str, int]:
        """Return how many findings are in each state."""
        return dict(self.connection.execute("SELECT state, count(*) FROM reconciler.finding GROUP BY 1").fetchall())

    def state(self, number: int) -> str:
        """Return the state of a finding."""
        [(state,)] = self.connection.execute("SELECT state FROM reconciler.finding WHERE id = %s", [number]).fetchall()
        return str(state)

    def acts(self, number: int) -> list[str]:
        """Return what was done to a finding, in its order."""
        kept = "SELECT act FROM reconciler.history WHERE finding_id = %s ORDER BY id"
        return [act for (act,) in self.connection.execute(kept, [number])]

    def listed(self, bucket: str = "", prefix: str = "") -> list[str]:
        """Return the keys that the bucket lists."""
        found = self.objects.list_objects(bucket_name=bucket or self.bucket, prefix=prefix, recursive=True)
        return [str(one.object_name) for one in found]

    def content(self, key: str) -> bytes:
        """Return an object's content."""
        answer = self.objects.get_object(bucket_name=self.bucket, object_name=key)
        try:
            return answer.data
        finally:
            answer.close()
            answer.release_conn()

    def missing(self) -> list[ObjectRef]:
        """Return what findings that are not closed say to be missing."""
        kept = "SELECT bucket, key FROM reconciler.finding WHERE kind = 'missing' AND closed_at IS NULL"
        return [ObjectRef(*found) for found in self.connection.execute(kept)]


def killed(office: Office, point: str, *words: str) -> None:
    """Run a deletion, or another command, that is killed at a point, and let its lease end."""
    words = words or ("orphans", "delete", "--unversioned", office.bucket)
    process = subprocess.run(
        [sys.executable, "-m", "tests.support.dying", point, *words, "--apply"],
        capture_output=True, check=False, env=office.program.environment({}), cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert process.returncode == -9, process.stderr
    office.connection.execute("UPDATE reconciler.lease SET until = now() WHERE task = 'orphans'")


def hidden(office: Office) -> int:
    """Have an upload hidden by a marker, as by a run that was killed beside it; returns the finding's id."""
    office.keep_versions()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    killed(office, "begun")
    office.put("a", b"NEW")
    office.objects.remove_object(bucket_name=office.bucket, object_name="a")
    return number
