"""The example application in a real browser: what its users see when their objects are gone, away, and back."""

import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from reconcile.database import migrate
from tests.acceptance.test_commands import add_row, put
from tests.support.browser import browser
from tests.support.databases import new_database
from tests.support.proxy import Cut, Pass
from tests.support.service import EXAMPLE, configuration, service
from tests.support.storage import new_bucket
from tests.support.waiting import until

CONTENT = b"the quick brown fox\n"
CRONTAB = (
    "0 2 * * * cd /path/to/storage_service && /usr/bin/python3 scripts/reconcile_storage.py --fix"
    " >> /var/log/storage_reconciliation.log 2>&1"
)
PROGRAM = Path(sys.executable).with_name("storage-reconciler")
AT_ONCE = {"RECONCILER_POLICY__ORPHAN_GRACE": "0s", "RECONCILER_POLICY__MISSING_GRACE": "100ms"}
WIDTHS = (320, 768, 1440)
HOSTILE = "<img src=x onerror=alert(1)> " + "w" * 120 + " ünïcode 漢字.txt"


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def running(tmp_path_factory, template_database, servers):
    """Run one service for all tests."""
    with new_database(servers.postgres, template_database) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            migrate(connection)
        bucket = new_bucket(servers.minio)
        with service(tmp_path_factory.mktemp("service"), url, servers, bucket) as started:
            yield started


@pytest.fixture
def served(running):
    """Give the service as it was begun: no file, no finding, no log."""
    running.sql("TRUNCATE storage_files, reconciler.finding, reconciler.look CASCADE")
    running.begin_log()
    yield running
    running.between.set(Pass())


@pytest.fixture
def page(chromium, served):
    """Open the service's page; whatever the browser complains of but a status fails the test."""
    context = chromium.new_context(base_url=served.url, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    complaints = []
    opened.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto("/")
    yield opened
    context.close()
    assert [one for one in complaints if "responded with a status of" not in str(one)] == []


def upload(page, name="report.txt", content=CONTENT, label="Add a file"):
    """Choose a file in the form of this label, and send it."""
    form = page.locator("form", has=page.get_by_label(label, exact=False))
    form.locator("input[type=file]").set_input_files({"name": name, "mimeType": "text/plain", "buffer": content})
    form.locator("button").click()


def downloaded(page, label="Download version 1"):
    """Click a download, and return the name and the content that arrive."""
    with page.expect_download() as arriving:
        page.get_by_role("link", name=label).click()
    return arriving.value.suggested_filename, Path(arriving.value.path()).read_bytes()


def test_files_are_uploaded_listed_versioned_and_downloaded(page, served):
    """What was sent comes back, byte by byte and under its name; row and object are both there."""
    assert "no files yet" in page.inner_text("main")
    content = bytes(range(256)) * 4096
    upload(page, "photo.bin", content)
    assert page.get_by_role("status").inner_text() == "“photo.bin” is stored as version 1."
    page.get_by_text("Upload a new version").click()
    upload(page, "photo.bin", CONTENT, "Version 2 of")
    assert page.get_by_role("status").inner_text() == "“photo.bin” is stored as version 2."
    assert downloaded(page) == ("photo.bin", content)
    assert downloaded(page, "Download version 2") == ("photo.bin", CONTENT)
    listed = [one.object_name for one in served.objects.list_objects(bucket_name=served.bucket, recursive=True)]
    assert sorted(listed) == sorted(served.keys())
    assert served.statuses() == ["active", "active"]


def test_a_download_of_what_was_deleted_by_hand_marks_it_and_its_return_gives_it_back(page, served):
    """A 404 page, the version corrupted at once and named in the log; put back, it downloads and is active again."""
    upload(page)
    served.grow_old()
    [key] = served.keys()
    content = served.remove(key)
    with page.expect_response(lambda answer: "/content" in answer.url) as answered:
        page.get_by_role("link", name="Download version 1").click()
    assert answered.value.status == 404
    assert page.get_by_role("heading", level=1).inner_text() == "The file is not in the storage any more"
    assert "report.txt, version 1, is known here, but its content is gone" in page.inner_text("main")
    assert page.locator(".status").inner_text() == "corrupted"
    [(status, kind, state, named_by, version, file)] = served.marked()
    assert (status, kind, state, named_by) == ("corrupted", "missing", "open", ["read"])
    warned = [line for line in served.said() if line.startswith("FILE_NOT_FOUND_IN_STORAGE")]
    assert all(f"file_id='{file}'" in line and f"version_id='{version}'" in line for line in warned)
    assert any("act='read'" in line for line in warned)
    page.get_by_role("link", name="Back to the files").click()
    assert page.locator(".status").inner_text() == "corrupted"
    served.objects.put_object(bucket_name=served.bucket, object_name=key, data=io.BytesIO(content), length=len(content))
    assert downloaded(page, "Try to download version 1") == ("report.txt", CONTENT)
    until(lambda: served.statuses() == ["active"])
    page.reload()
    assert page.locator(".status").inner_text() == "active"
    [(status, _, state, *_)] = served.marked()
    assert (status, state) == ("active", "resolved")


def test_what_is_gone_is_uploaded_again_as_the_next_version(page, served):
    """The page of what is gone offers it; the corrupted version stays, and is said to have been replaced."""
    upload(page)
    served.grow_old()
    served.remove(served.keys()[0])
    page.get_by_role("link", name="Download version 1").click()
    upload(page, label="Upload “report.txt” again")
    assert page.get_by_role("status").inner_text() == "“report.txt” is stored as version 2."
    assert "Version 2 has taken its place" in page.inner_text("main")
    assert served.statuses() == ["corrupted", "active"]
    assert downloaded(page, "Download version 2") == ("report.txt", CONTENT)


def test_while_minio_is_away_nothing_is_marked_and_nothing_kept(page, served):
    """Downloads and uploads are 503, with when to try again; then all goes on as if nothing had been."""
    upload(page)
    served.grow_old()
    served.between.set(Cut())
    with page.expect_response(lambda answer: "/content" in answer.url) as answered:
        page.get_by_role("link", name="Download version 1").click()
    assert (answered.value.status, answered.value.headers["retry-after"]) == (503, "5")
    assert page.get_by_role("heading", level=1).inner_text() == "The storage cannot be reached"
    page.get_by_role("link", name="Back to the files").click()
    upload(page, "second.txt")
    assert page.get_by_role("heading", level=1).inner_text() == "The upload failed"
    assert [row[:2] for row in served.marked()] == [("active", None)]
    assert served.sql("SELECT count(*) FROM storage_files") == [(1,)]
    served.between.set(Pass())
    page.goto("/")
    assert downloaded(page) == ("report.txt", CONTENT)


def test_a_version_that_expects_no_file_is_not_found(page, served):
    """By its row, which the application's own rules have made so; nothing is marked."""
    upload(page)
    [(version,)] = served.sql("UPDATE file_versions SET status = 'deleted' RETURNING id::text")
    answered = page.goto(f"/versions/{version}/content")
    assert (answered.status, page.get_by_role("heading", level=1).inner_text()) == (404, "Not Found")
    assert [row[:2] for row in served.marked()] == [("deleted", None)]


def test_every_page_fits_its_window_and_says_names_as_they_are(page, served):
    """At no width does anything stand out of the window, whatever a file is called, in the list and on its 404."""
    upload(page, HOSTILE)
    served.grow_old()
    [(version,)] = served.sql("SELECT id::text FROM file_versions")
    assert page.get_by_role("heading", level=2).inner_text() == HOSTILE
    served.remove(served.keys()[0])
    for path in (f"/versions/{version}/content", "/"):
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            page.goto(path)
            wide = "document.documentElement.scrollWidth"
            assert page.evaluate(wide) <= width, (path, width)


@pytest.fixture
def installed(tmp_path, database, servers, bucket, connection):
    """Install the service where a crontab finds it: its files, its configuration, its virtual environment."""
    migrate(connection)
    place = tmp_path / "storage_service"
    shutil.copytree(EXAMPLE, place)
    text = configuration(database, servers, servers.minio.url, bucket)
    without_kafka = re.sub(r"\[kafka\].*?\n\n", "", text, flags=re.DOTALL)
    (place / "reconciler.toml").write_text(without_kafka, "utf-8")
    (place / ".venv" / "bin").mkdir(parents=True)
    (place / ".venv" / "bin" / PROGRAM.name).symlink_to(PROGRAM)
    return place


def by_cron(line, place):
    """Run a crontab's line as cron does; returns what became of it, and its log. Only its two places are changed."""
    log = place / "storage_reconciliation.log"
    *when, command = line.split(" ", 5)
    assert when == ["0", "2", "*", "*", "*"]
    for named, real in (("/path/to/storage_service", place), ("/var/log/storage_reconciliation.log", log)):
        assert command.count(named) == 1
        command = command.replace(named, shlex.quote(str(real)))
    if not Path("/usr/bin/python3").exists():
        command = command.replace("/usr/bin/python3", sys.executable)
    environ = {"SHELL": "/bin/sh", "HOME": str(place), "PATH": "/usr/bin:/bin", **AT_ONCE}
    ended = subprocess.run(["/bin/sh", "-c", command], env=environ, cwd=place, check=False, timeout=60)
    return ended.returncode, log.read_text()


def test_the_crontab_line_of_before_goes_on_working(installed, connection, objects, bucket):
    """As it stands, in cron's environment: what is missing is marked, an orphan named and kept, and the log tells."""
    missing, there = (add_row(connection, key) for key in ("users/1/gone", "users/1/there"))
    for key in ("users/1/there", "users/2/nobody"):
        put(objects, bucket, key)
    status = "SELECT id::text, status FROM file_versions"
    returned, log = by_cron(CRONTAB.replace("--fix", "--report-only"), installed)
    assert (returned, dict(connection.execute(status).fetchall())) == (0, {missing: "active", there: "active"}), log
    assert "users/1/gone" in log
    assert "users/2/nobody" in log
    returned, log = by_cron(CRONTAB, installed)
    assert (returned, dict(connection.execute(status).fetchall())) == (0, {missing: "corrupted", there: "active"}), log
    assert "users/2/nobody" in [one.object_name for one in objects.list_objects(bucket_name=bucket, recursive=True)]
    assert "Traceback" not in log
