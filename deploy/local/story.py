"""The demo's story, scene by scene: what goes wrong, and what the database then says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from minio import Minio
from minio.error import S3Error
from rich.console import Console
from rich.table import Table

from deploy.local.application import Application, Page, RollBack, Version
from deploy.local.stack import Servers

PROGRAM = str(Path(sys.executable).with_name("storage-reconciler"))
PATIENCE_S = 60.0
STRANGER, STRANGER_SECRET = "mallory", "mallory-secret"
CONTENT = b"the quick brown fox\n"
LISTENING = "SELECT 1 FROM reconciler.lease WHERE checkpoint = 'express.listening' AND until > now()"
FINDING = """\
SELECT * FROM reconciler.findings
WHERE key = %(key)s AND kind = %(kind)s AND state = %(state)s ORDER BY id DESC LIMIT 1
"""


class Untrue(Exception):
    """Something that the demo says did not happen."""


@dataclass(frozen=True)
class Scene:
    """One line of the story: the cause, what was found, by which path, and when."""

    cause: str
    found: str
    path: str
    suspected_ms: float | None
    done_ms: float


@dataclass
class Cause:
    """What was made to go wrong at a monotonic time, the finding that it must come to, and when that was there."""

    what: str
    key: str
    kind: str
    since: float = field(default_factory=time.monotonic)
    suspected: float | None = None
    opened: float | None = None


@dataclass
class Demo:
    """The servers, the application, an onlooker who asks the database, and what was shown so far."""

    servers: Servers
    application: Application
    onlooker: psycopg.Connection[dict[str, Any]]
    directory: Path
    stranger: Minio
    console: Console = field(default_factory=Console)
    scenes: list[Scene] = field(default_factory=list)
    consumer: subprocess.Popen[bytes] | None = None
    page: Page | None = None

    @property
    def bucket(self) -> str:
        """The application's bucket."""
        return self.application.bucket

    def run(
        self, *words: str, log: str, stdout: int | None = None, environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command in a process of its own, as a user would; what it says goes to the log."""
        command = [PROGRAM, "--config", str(self.directory / "reconciler.toml"), *words]
        with (self.directory / log).open("ab") as said:
            out = said if stdout is None else stdout
            return subprocess.Popen(command, stdout=out, stderr=said, env=environ, start_new_session=True)

    def start(self, **environment: str) -> None:
        """Start the consumer."""
        self.consumer = self.run("consume", log="consumer.log", environ=os.environ | environment)

    def ready(self) -> None:
        """Wait until the consumer hears MinIO."""
        self.until(lambda: self.onlooker.execute(LISTENING).fetchone(), "the consumer listens")

    def stop(self) -> None:
        """Stop the consumer in good order."""
        if self.consumer is not None:
            self.consumer.send_signal(signal.SIGTERM)
            self.consumer.wait(10)
            self.consumer = None

    def until(self, true: Callable[[], Any], what: str) -> float:
        """Wait until the database says so; returns the monotonic time, raises Untrue when it never does."""
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > deadline:
                raise Untrue(f"{what}: not within {PATIENCE_S:.0f} s")
            time.sleep(0.005)
        return time.monotonic()

    def finding(self, key: str, kind: str, state: str) -> dict[str, Any] | None:
        """Return the latest finding of a key in this state."""
        return self.onlooker.execute(FINDING, {"key": key, "kind": kind, "state": state}).fetchone()

    def found(self, *causes: Cause) -> list[dict[str, Any]]:
        """Wait until each finding is suspected, then open; tell each as a scene, and return the findings."""
        what = "; ".join(f"{one.what}: an open {one.kind}" for one in causes)
        self.until(lambda: sum(map(self.seen, causes)) == len(causes), what)  # each is asked, each time
        return [self.told(one) for one in causes]

    def seen(self, one: Cause) -> bool:
        """Note when a cause is suspected, and when it is open; tells whether it is."""
        opened = self.finding(one.key, one.kind, "open")
        if one.suspected is None and (opened or self.finding(one.key, one.kind, "suspected")):
            one.suspected = time.monotonic()
        if one.opened is None and opened:
            one.opened = time.monotonic()
        return one.opened is not None

    def told(self, one: Cause) -> dict[str, Any]:
        """Tell what was found as a scene."""
        row = self.finding(one.key, one.kind, "open") or {}
        suspected, opened = one.suspected or one.since, one.opened or one.since
        self.tell(Scene(one.what, told(row), path(row), 1000 * (suspected - one.since), 1000 * (opened - one.since)))
        return row

    def tell(self, scene: Scene) -> None:
        """Keep a scene, and show it."""
        self.scenes.append(scene)
        self.console.print(
            f"  [green]✓[/] {scene.cause} → [bold]{scene.found}[/], {scene.path}, {scene.done_ms:,.0f} ms",
            soft_wrap=True,
        )


def told(row: dict[str, Any]) -> str:
    """Say what a finding says, and who did it where that is known."""
    evidence = row.get("evidence") or {}
    flagged = row.get("previous_status") is not None
    what = f"{row.get('kind')}, version corrupted" if flagged else f"{row.get('kind')}, reported"
    who = evidence.get("principal") if evidence.get("event", "").startswith("s3:ObjectRemoved") else None
    return f"{what}: deleted by {who} from {evidence.get('source_address')}" if who else what


def path(row: dict[str, Any]) -> str:
    """Name the path by which a finding came."""
    names = {
        "event": "durable lane",
        "express": "express lane",
        "young": "young rows",
        "read": "failed read",
        "sweep": "sweep --fix",
    }
    return " + ".join(names.get(name, name) for name in row.get("named_by") or [])


def healthy_upload(demo: Demo) -> Version:
    """Upload in the recommended order: consistent, and nothing is written for it."""
    started = time.monotonic()
    version = demo.application.store("report.txt", CONTENT)
    found = demo.onlooker.execute(
        "SELECT FROM reconciler.history WHERE subject LIKE %s", [f"%{version.key}"]
    ).fetchall()
    if found:
        raise Untrue("a healthy upload writes nothing")
    stored_ms = 1000 * (time.monotonic() - started)
    demo.tell(Scene("uploaded in order: row, upload, commit", "consistent, nothing written", "-", None, stored_ms))
    return version


def deleted_by_hand(demo: Demo, version: Version) -> None:
    """Delete an object by hand: its version is corrupted, and the evidence says by whom."""
    demo.stranger.remove_object(bucket_name=demo.bucket, object_name=version.key)
    [row] = demo.found(Cause("an object is deleted by hand", version.key, "missing"))
    expect(demo.application.status(version) == "corrupted", "the version of the deleted object is corrupted")
    expect(row["evidence"].get("principal") == STRANGER, f"the evidence names {STRANGER}")


def put_back(demo: Demo, version: Version) -> None:
    """Put the object back: its version has its former status."""
    demo.application.upload(version.key, version.content)
    since = time.monotonic()
    done = demo.until(lambda: demo.application.status(version) == "active", "the former status is back")
    row = demo.finding(version.key, "missing", "resolved") or {}
    expect(bool(row), "the finding is resolved")
    demo.tell(Scene("the object is put back", "status active again, resolved", path(row), None, 1000 * (done - since)))


def half_done(demo: Demo) -> None:
    """Three things that go wrong half-way, at once: each is found by itself."""
    causes = [without_row(demo), rolled_back(demo)]
    with demo.application.inserted("never-uploaded.txt", CONTENT) as version:
        pass
    demo.found(*causes, Cause("a row is committed whose upload never came", version.key, "missing"))
    expect(demo.application.status(version) == "corrupted", "the version whose upload never came is corrupted")
    for one in causes:
        still_there(demo, one.key)


def without_row(demo: Demo) -> Cause:
    """Put an object that no row names: an orphan, reported and not deleted."""
    demo.application.upload("imports/unknown.bin", CONTENT)
    return Cause("an object appears that no row names", "imports/unknown.bin", "orphan")


def rolled_back(demo: Demo) -> Cause:
    """Roll a transaction back after its upload: an orphan."""
    keys = []
    with suppress(RollBack), demo.application.inserted("rolled-back.txt", CONTENT) as version:
        keys.append(version.key)
        demo.application.upload(version.key, CONTENT)
        raise RollBack
    return Cause("a transaction is rolled back after its upload", keys[0], "orphan")


def while_down(demo: Demo) -> None:
    """Let things go wrong while the consumer is down: caught up from its offset."""
    demo.stop()
    version = demo.application.store("while-down.txt", CONTENT)
    demo.stranger.remove_object(bucket_name=demo.bucket, object_name=version.key)
    demo.application.upload("imports/while-down.bin", CONTENT)
    demo.start()
    demo.found(
        Cause("deleted while the consumer was down", version.key, "missing"),
        Cause("appeared while the consumer was down", "imports/while-down.bin", "orphan"),
    )
    still_there(demo, "imports/while-down.bin")


def still_there(demo: Demo, key: str) -> None:
    """Check that nothing was deleted."""
    try:
        demo.application.client.stat_object(bucket_name=demo.bucket, object_name=key)
    except S3Error as error:
        raise Untrue(f"the orphan {key} is still there") from error


def expect(true: bool, what: str) -> None:  # noqa: FBT001 - it is what is expected
    """Raise Untrue unless it is so."""
    if not true:
        raise Untrue(what)


def summary(scenes: list[Scene]) -> Table:
    """Return the table cause, path, time."""
    title = "What happened, what was found, by which path, after how many ms (a sweep's: from its start)"
    table = Table(title=title, title_justify="left")
    for heading in ("cause", "found", "path"):
        table.add_column(heading, overflow="fold")
    table.add_column("suspected", justify="right")
    table.add_column("done", justify="right")
    for scene in scenes:
        suspected = "" if scene.suspected_ms is None else f"{scene.suspected_ms:,.0f}"
        table.add_row(scene.cause, scene.found, scene.path, suspected, f"{scene.done_ms:,.0f}")
    return table


def story(demo: Demo) -> None:
    """Show it all, in order; raises Untrue at the first thing that did not happen."""
    version = healthy_upload(demo)
    half_done(demo)  # takes longer than MinIO keeps the upload's own event, which the deletion then cannot meet
    deleted_by_hand(demo, version)
    put_back(demo, version)
    while_down(demo)
