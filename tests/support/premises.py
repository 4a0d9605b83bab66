"""Premises as the documents have them: a bucket, ids and keys by their very names, so that lines run as they stand."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import confluent_kafka as ck
import minio as minio_py
import psycopg
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from consumer.letters.letter import letter_of
from consumer.stream.events import Poison, Record
from deploy.local import kafka as kafkas
from deploy.local import minio as minios
from deploy.local.cache import claim_port
from deploy.local.kafka import Kafka
from deploy.local.minio import Minio
from deploy.local.place import Place
from tests.support import command, consuming, storage
from tests.support.orphans import Office
from tests.support.repairing import Repairing
from tests.support.scraping import Page
from tests.support.waiting import until

BUCKET, BACKUPS, TOPIC = "staging-storage", "backups", "documented"
MISSING, ORPHAN, RESTRAINT, SWEEP = 17, 4711, 3, 17  # the ids that the documents' examples have
LETTER, RECORDS = (3, 1200), 5001  # an origin, and how many records its partition has
CONTENT = b"AAA"
WANTED = """
INSERT INTO reconciler.sweep (bucket, mode, state, reason, actor, facts)
VALUES ('removed', 'report', 'wanted', 'records_gone', 'test',
        jsonb_build_object('from', now(), 'to', now(), 'times', 1, 'detail', ''))
"""
SHELL = {">", "|"}
ENDLESS_S = 60


@dataclass(frozen=True)
class Premises:
    """One application's two sides, and the directory in which somebody sits and types."""

    program: command.Program
    connection: psycopg.Connection
    port: int

    @property
    def directory(self) -> Path:
        """Where the configuration lies, as `./reconciler.toml`."""
        return self.program.file.parent

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line as it stands, but for the port: a command of ours in this process, where that needs no shell."""
        words = shlex.split(self.here(line))
        if words[0] == "storage-reconciler" and not SHELL.intersection(words):
            with chdir(self.directory):
                return self.program.run(*words[1:])
        return subprocess.run(
            ["/bin/bash", "-o", "pipefail", "-c", self.here(line)],
            **self._where(words[0]), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    @contextmanager
    def serving(self, line: str) -> Iterator[int]:
        """Run what has no end until it is ready, and end it as an administrator does; it must take that well."""
        page = Page(self.port)
        with (self.directory / "serving.log").open("w") as log:
            process = subprocess.Popen(["/bin/bash", "-c", f"exec {self.here(line)}"], **self._where(""), stderr=log)
            try:
                until(lambda: process.poll() is not None or page.is_ready(), ENDLESS_S, line)
                yield process.pid
            finally:
                process.terminate()
                assert process.wait(30) == 0, Path(log.name).read_text("utf-8")

    def here(self, line: str) -> str:
        """Return the line with the port that is free on this machine."""
        return line.replace("9464", str(self.port))

    def _where(self, word: str) -> dict[str, object]:
        return {"cwd": command.ROOT if word == "make" else self.directory, "env": self.program.environ}


def servers(place: Place, kafka: Kafka) -> tuple[Minio, Kafka]:
    """Start a MinIO of one's own, whose events go to a topic that holds what the documents' examples name."""
    ours = replace(kafka, topic=TOPIC)
    kafkas.create_topic(kafka.bootstrap, TOPIC, 4)
    kafkas.create_topic(kafka.bootstrap, f"{TOPIC}.dead-letter", 1)
    minio = minios.find_or_start(place, ours)
    storage.client(minio).make_bucket(bucket_name=BACKUPS)
    producer = ck.Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    gone = consuming.event("s3:ObjectRemoved:Delete", BUCKET, "users/long/gone")
    for _ in range(RECORDS):  # none is poison: a page that consumes would bury it a second time
        producer.produce(TOPIC, gone, b"key", LETTER[0])
    letter = letter_of(Poison(Record(TOPIC, *LETTER, b"{"), "not-json", "as it was then"))
    producer.produce(f"{TOPIC}.dead-letter", letter.value, letter.key, headers=list(letter.headers))
    assert producer.flush(30) == 0
    return minio, ours


@contextmanager
def premises(
    directory: Path, place: Place, database: str, connection: psycopg.Connection, minio: Minio, kafka: Kafka
) -> Iterator[Premises]:
    """Fill both sides with a finding of each kind, and clear the bucket afterwards."""
    program = command.program(directory, database, minio, BUCKET, {"bootstrap.servers": kafka.bootstrap})
    port = claim_port(place.exits)
    named = {
        "STREAM__TOPIC": kafka.topic,
        "WEB__PORT": str(port),
        "POLICY__ORPHAN_GRACE": "0s",
        "POLICY__MISSING_GRACE": "1s",
    }
    named |= {"MAPPING__BUCKET__NAME": BUCKET}  # as a reader decides where a proposal is uncertain
    named |= {"MAPPING__VERSION__NUMBER": "version_number", "MAPPING__VERSION__SHA256": "sha256"}
    program.environ.update({f"RECONCILER_{name}": value for name, value in named.items()})
    client = storage.client(minio)
    client.make_bucket(bucket_name=BUCKET)
    try:
        client.set_bucket_versioning(bucket_name=BUCKET, config=VersioningConfig(ENABLED))
        fill(program, connection, client)
        del program.environ["RECONCILER_CONFIG"]  # it is found where it lies
        program.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{program.environ['PATH']}"
        yield Premises(program, connection, port)
    finally:
        clear(client)


def fill(program: command.Program, connection: psycopg.Connection, client: minio_py.Minio) -> None:
    """Make what the examples name: a missing version, an old one, orphans, a flag of others, a wanted sweep."""
    connection.execute("ALTER TABLE file_versions ADD COLUMN sha256 text")
    for words in (("migrate", "--apply"), ("init", "--only", "bucket", "--bucket", BUCKET, "--apply")):
        ended = program.run(*words)
        assert ended.returncode == 0, ended.stderr
    app, office = Repairing(program, connection, client, BUCKET), Office(program, connection, client, BUCKET)
    for table, first in (("finding", MISSING), ("restraint", RESTRAINT), ("sweep", SWEEP)):
        connection.execute(f"ALTER TABLE reconciler.{table} ALTER COLUMN id RESTART WITH {first}".encode())
    app.put("users/42/photo.jpg")
    app.flagged("users/42/photo.jpg")
    app.hide("users/42/photo.jpg")
    app.put("2026-07/users/42/photo.jpg", bucket=BACKUPS)
    file = app.file()
    app.flagged("users/41/old.pdf", file)
    for number, key in enumerate(("users/41/new.pdf", *(f"users/40/{n}" for n in range(30))), 2):
        app.put(key)
        app.version(key, file, number)
    connection.execute("UPDATE file_versions SET sha256 = %s", [b64encode(sha256(CONTENT).digest()).decode()])
    app.version("users/43/flagged-by-a-script.pdf", status="corrupted")
    connection.execute(f"ALTER TABLE reconciler.finding ALTER COLUMN id RESTART WITH {ORPHAN}".encode())
    assert office.find({"tmp/upload.part": CONTENT}) == [ORPHAN]
    office.find({"backup/dump.sql": CONTENT, "users/40/rolled-back.jpg": CONTENT})
    connection.execute(WANTED.encode())


def clear(client: minio_py.Minio) -> None:
    """Remove the bucket with every version in it."""
    for one in client.list_objects(bucket_name=BUCKET, recursive=True, include_version=True):
        client.remove_object(bucket_name=BUCKET, object_name=str(one.object_name), version_id=one.version_id)
    client.remove_bucket(bucket_name=BUCKET)
