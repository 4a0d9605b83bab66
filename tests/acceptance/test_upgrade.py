"""A migration beside consumers of the version before, whose code comes from this repository's own history."""

import io
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconcile.database import migrations
from tests.support import consuming, scraping
from tests.support.command import ROOT, Program
from tests.support.waiting import until

OK = 200
OLD = datetime(2025, 9, 7, tzinfo=UTC)  # of a row that is no longer young, so that only an event can name it
WORDS = ("consume", "--log-format", "json")
QUICK = {
    "RECONCILER_POLICY__MISSING_GRACE": "300ms",
    "RECONCILER_POLICY__ORPHAN_GRACE": "300ms",
    "RECONCILER_FLAGGING": "true",
    "RECONCILER_BRAKE__BUCKET_FLOOR": "1000",
}
APPLIED = "SELECT max(number) FROM reconciler.migration"


def git(*words: str) -> bytes:
    """Return what git says of this repository; skips the test where there is none."""
    asked = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)  # noqa: S607 - the machine's own
    if asked.returncode != 0:
        pytest.skip(f"the version before is not to be had: {asked.stderr.decode().strip()}")
    return asked.stdout


@pytest.fixture(scope="session")
def before(tmp_path_factory) -> Path:
    """Give the code as it was before the newest migration."""
    file = f"reconcile/sql/{migrations()[-1].number:04d}.sql"
    added = git("log", "--diff-filter=A", "--format=%H", "-1", "--", file).decode().strip()
    code = git("archive", f"{added}^" if added else "HEAD", "reconcile", "consumer")
    directory = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(code)) as archive:
        archive.extractall(directory, filter="data")
    return directory


@pytest.fixture
def site(tmp_path, database, minio, kafka, topic):
    """Make an application with a topic to which the test alone writes."""
    with consuming.superuser_site(tmp_path, database, minio, kafka.bootstrap, topic) as made:
        yield made


def of_before(site, code: Path) -> Program:
    """Return the command as it was."""
    start = f"import sys; sys.path.insert(0, {str(code)!r}); from consumer.cli import main; sys.exit(main())"
    return replace(site.program, words=(sys.executable, "-c", start), file=site.program.file.with_name("before.toml"))


@contextmanager
def consume(program: Program) -> Iterator[subprocess.Popen[str]]:
    """Start a consumer and wait until it is ready; at the end it must leave in good order."""
    with program.running(*WORDS, **QUICK) as process:
        page = scraping.page(program)
        until(lambda: page.ask("/readyz").status == OK, 30, "ready")
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, program.log()


def goes_on(site, word: str) -> None:
    """Both sides of a day's work are done: a loss is flagged and given back, a stray object is an orphan."""
    gone, stray = f"gone {word}", f"stray {word}"
    row = site.row(gone, created_at=OLD)
    site.put(stray)
    site.spread([site.removed(gone), site.created(stray), b"poison", site.created(stray)])
    until(lambda: {(gone, "missing", "open"), (stray, "orphan", "open")} <= site.open(), 30, f"found {word}")
    assert site.status(row) == "corrupted"
    site.put(gone)
    site.send([site.created(gone)])
    until(lambda: site.status(row) == "active", 30, f"given back {word}")
    until(site.caught_up, 20, f"committed {word}")


@pytest.mark.timeout(180)
def test_consumers_of_the_version_before_go_on_through_a_migration(site, before):
    """One that runs does not notice, one that starts is not kept from it, and the new one works beside it."""
    was, newest = of_before(site, before), migrations()[-1].number
    site.sql("DROP SCHEMA reconciler CASCADE")
    assert was.process("init", "--only", "database", "--apply").returncode == 0
    assert site.sql(APPLIED) == [(newest - 1,)]
    with consume(was) as running:
        goes_on(site, "before")
        ended = site.program.run("migrate", "--apply")
        assert ended.returncode == 0, ended.stderr
        assert site.sql(APPLIED) == [(newest,)]
        goes_on(site, "after")
        assert running.poll() is None
    with consume(was), consume(site.program):
        goes_on(site, "side by side")
    for word in ("outage.begun", "Traceback"):
        assert word not in was.log() + site.program.log()
