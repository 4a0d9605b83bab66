"""The command line, as processes or within this one, with a configuration of its own for each test."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog

from consumer.cli import main
from deploy.local.minio import Minio

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-c", "import sys; from consumer.cli import main; sys.exit(main())")
MAPPING = """
[mapping]
group = "file.bucket_type"
owner = "file.owner_id"
[mapping.version]
table = "file_versions"
key = "object_key"
file_id = "file_id"
size = "size"
status = "status"
created_at = "created_at"
[mapping.file]
table = "storage_files"
deleted = "deleted_at"
[mapping.status]
expects_absence = ["deleted", "pending"]
[mapping.bucket]
name = "{bucket}"
"""


@dataclass(frozen=True)
class Program:
    """The command with a configuration file and environment of its own."""

    file: Path
    environ: dict[str, str]
    bucket: str = ""
    words: tuple[str, ...] = PROGRAM

    def process(self, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end, as a process of its own."""
        environ = self.environment(changed)
        return subprocess.run(
            [*self.words, *words], capture_output=True, text=True, check=False, env=environ, timeout=60, cwd=ROOT
        )

    def run(self, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run one command in this process, which saves the start of another; what it prints is caught."""
        out, err = io.StringIO(), io.StringIO()
        environ = patch.dict(os.environ, self.environment(changed), clear=True)
        with environ, redirect_stdout(out), redirect_stderr(err):
            try:
                status = main(words)
            except SystemExit as ended:  # what the parser refuses
                status = int(ended.code or 0)
        structlog.reset_defaults()
        return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())

    def json(self, *words: str, status: int = 0) -> Any:
        """Run one command that must end with this status, and return its result."""
        ended = self.run(*words, "-o", "json")
        assert ended.returncode == status, ended.stderr
        return json.loads(ended.stdout)

    @contextmanager
    def running(self, *words: str, **changed: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command, lend its process, and kill it if it still runs."""
        log = self.file.with_suffix(".log")
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [*self.words, *words],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=self.environment(changed),
                cwd=ROOT,
            )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def log(self) -> str:
        """Return what the last running command logged."""
        return self.file.with_suffix(".log").read_text()

    def environment(self, changed: dict[str, str]) -> dict[str, str]:
        """Return the environment of a process; a change of '' takes a variable away."""
        return {name: value for name, value in (self.environ | changed).items() if value}


def program(directory: Path, database: str, minio: Minio, bucket: str, kafka: dict[str, str]) -> Program:
    """Return the command with its configuration: secrets in the environment, the rest in a file."""
    file = directory / "reconciler.toml"
    file.write_text(
        f"""
[minio]
endpoint = "{minio.url}"
access_key = "{minio.user}"
{MAPPING.format(bucket=bucket)}
[policy]
missing_grace = "1s"
orphan_grace = "1s"
[web]
port = 0
""",
        "utf-8",
    )
    names = {f"RECONCILER_KAFKA__{name.upper().replace('.', '_')}": value for name, value in kafka.items()}
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "RECONCILER_CONFIG": str(file),
        "RECONCILER_DATABASE__URL": database,
        "RECONCILER_MINIO__SECRET_KEY": minio.password,
        **names,
    }
    return Program(file, environ, bucket)
