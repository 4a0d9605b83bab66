"""`sweep` over odd sides: keys that LIST omits, versions, a listing that is brought, what is left out, few rights."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from consumer.duties.losswatch import wanted
from consumer.runs.sweeping import Sweeping
from reconcile.database import migrate
from reconcile.pruning import prune
from reconcile.sweeps import sums
from tests.acceptance.test_commands import add_row
from tests.support import command
from tests.support.sweeping import FOUND, IN_ORDER, TOTALS, put
from tests.support.sweeps import AT_ONCE, found, swept, whole


def test_a_key_that_list_omits_is_counted_and_no_drift(installed, connection, objects, bucket):
    """MinIO does not list `a/b/1` beside `a/b`, though it is there; a HEAD says so."""
    keys = ["a/b", "a/b/1", "a/c"]
    for key in keys:
        put(objects, bucket, key)
        add_row(connection, key)
    listed = [one.object_name for one in objects.list_objects(bucket_name=bucket, recursive=True)]
    assert listed == ["a/b", "a/c"]
    report = swept(installed)
    assert found(report) == set()
    assert report["totals"]["omitted_by_list"] == 1
    text = installed.run("sweep", "--fix", **AT_ONCE).stdout
    assert re.search(r"omitted by list +1\b", text), text
    assert connection.execute("SELECT DISTINCT status FROM file_versions").fetchall() == [("active",)]


def test_what_a_listing_shows_otherwise_was_not_left_out(installed, connection, objects, bucket, tmp_path):
    """A listing that was brought knows another size of one key and nothing of the other; both are well."""
    for key in ("fine", "overwritten", "later"):
        put(objects, bucket, key)
        add_row(connection, key)
    file = tmp_path / "listing.csv"
    file.write_text("key,size\nfine,10\noverwritten,7\n", "utf-8")
    report = swept(installed, "--listing", str(file))
    assert found(report) == set()
    assert (report["totals"]["omitted_by_list"], report["totals"]["changed_meanwhile"]) == (1, 1)


WANTED = """
INSERT INTO reconciler.sweep (bucket, mode, state, reason, actor, facts) VALUES (%s, 'report', 'wanted', 'rule_removed',
    'x', jsonb_build_object('from', {0}, 'to', {0}, 'times', 1, 'detail', ''))
"""
VERSIONS = """
CREATE TABLE kept (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), path text NOT NULL, s3_version text, bytes bigint,
                   created timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON kept (path);
"""
OF_VERSIONS = """
[minio]
endpoint = "{url}"
access_key = "{user}"
[mapping.version]
table = "kept"
key = "path"
s3_version = "s3_version"
size = "bytes"
created_at = "created"
[mapping.bucket]
name = "{bucket}"
"""


@pytest.fixture
def versioned(program, connection, minio, objects, bucket) -> command.Program:
    """Give the command over a versioned bucket, whose rows each name a version, and twenty of which agree."""
    program.file.write_text(OF_VERSIONS.format(url=minio.url, user=minio.user, bucket=bucket), "utf-8")
    connection.execute(VERSIONS)
    objects.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))
    for number in range(20):
        keep(connection, f"fine/{number:02}", put(objects, bucket, f"fine/{number:02}"))
    migrate(connection)
    return program


def keep(connection: psycopg.Connection, key: str, version: str | None) -> None:
    """Insert a row that names a version."""
    connection.execute("INSERT INTO kept (path, s3_version, bytes) VALUES (%s, %s, 10)", [key, version])


def test_each_version_is_compared_with_the_row_that_names_it(versioned, connection, objects, bucket):
    """A row's own version that is gone is missing though the key is there; noncurrent ones without a row are none."""
    old, new = put(objects, bucket, "both"), put(objects, bucket, "both")
    keep(connection, "both", old)
    keep(connection, "both", new)
    put(objects, bucket, "history")
    keep(connection, "history", put(objects, bucket, "history"))
    gone, left = put(objects, bucket, "own gone"), put(objects, bucket, "own gone")
    keep(connection, "own gone", gone)
    keep(connection, "own gone", left)
    objects.remove_object(bucket_name=bucket, object_name="own gone", version_id=gone)
    keep(connection, "newer", put(objects, bucket, "newer"))
    newest = put(objects, bucket, "newer")
    put(objects, bucket, "orphan")
    hidden = put(objects, bucket, "hidden")
    keep(connection, "hidden", hidden)
    objects.remove_object(bucket_name=bucket, object_name="hidden")
    short = put(objects, bucket, "short", 7)
    keep(connection, "short", short)
    keep(connection, "moved", "of another store")
    report = swept(versioned)
    seen = {(one["kind"], one["key"], one["s3_version"]) for one in report["drifts"]}
    assert newest
    assert seen == {
        ("missing", "own gone", gone),
        ("mismatch", "short", short),
        ("lookalike", "moved", "of another store"),
        ("orphan", "newer", ""),
        ("orphan", "orphan", ""),
    }
    assert report["totals"]["candidates"] == len(seen), "what agrees by its version is not looked at"


def test_a_listing_without_versions_has_each_row_looked_at_by_its_own(versioned, connection, objects, bucket, tmp_path):
    """A version that is gone is missing, whatever is listed of its key; what the listing cannot tell is said."""
    keep(connection, "gone", put(objects, bucket, "gone"))
    objects.remove_object(bucket_name=bucket, object_name="gone", version_id=version_of(connection, "gone"))
    short = put(objects, bucket, "short", 7)
    keep(connection, "short", short)
    keep(connection, "unlisted", put(objects, bucket, "unlisted"))
    put(objects, bucket, "orphan")
    listing = tmp_path / "keys.csv"
    sizes = {f"fine/{number:02}": 10 for number in range(20)} | {"orphan": 10, "short": 7}
    listing.write_text("key,size\n" + "".join(f"{key},{size}\n" for key, size in sizes.items()), "utf-8")
    report = swept(versioned, "--listing", str(listing))
    seen = {(one["kind"], one["key"], one["s3_version"]) for one in report["drifts"]}
    assert seen == {
        ("missing", "gone", version_of(connection, "gone")),
        ("mismatch", "short", short),
        ("orphan", "orphan", ""),
    }
    assert "names no S3 versions" in report["notes"][0]
    assert (report["totals"]["omitted_by_list"], report["totals"].get("changed_meanwhile")) == (1, None)


def version_of(connection: psycopg.Connection, key: str) -> str:
    """Return the version that the row of a key names."""
    [(version,)] = connection.execute("SELECT s3_version FROM kept WHERE path = %s", [key]).fetchall()
    return str(version)


def as_keys(listed: list[dict]) -> str:
    return "".join(f"{one['key']}\n" for one in listed)


def as_mc(listed: list[dict]) -> str:
    """Write as `mc ls -r --json` does."""
    common = {"status": "success", "type": "file", "url": "http://minio:9000/files", "versionOrdinal": 1}
    lines = [
        {**common, "lastModified": one["at"], "size": one["size"], "key": one["key"], "etag": one["etag"]}
        for one in listed
    ]
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def as_rclone(listed: list[dict]) -> str:
    """Write as `rclone lsjson -R` does."""
    lines = [
        json.dumps(
            {
                "Path": one["key"],
                "Name": one["key"].rpartition("/")[2],
                "Size": one["size"],
                "MimeType": "",
                "ModTime": one["at"],
                "IsDir": False,
            }
        )
        for one in listed
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def as_csv(listed: list[dict]) -> str:
    """Write with a header, in another order of columns."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["size", "key", "last_modified", "etag"])
    writer.writerows([one["size"], one["key"], one["at"], one["etag"]] for one in listed)
    return out.getvalue()


@pytest.mark.parametrize("form", [as_keys, as_mc, as_rclone, as_csv])
def test_a_listing_that_is_brought_gives_the_same_drifts(
    installed, connection, objects, bucket, tmp_path, form: Callable[[list[dict]], str]
):
    """In each form and any order; lines of keys alone cannot show another size."""
    for number in range(40):
        put(objects, bucket, f"fine/{number:02}")
        add_row(connection, f"fine/{number:02}")
    for key, size in (('short, "quoted"', 7), ("orphan/ä é", 10), ("z\\odd", 10), ("orphan+%2F", 10)):
        put(objects, bucket, key, size)
    for key in ('short, "quoted"', "gone/ü", "z\\odd"):
        add_row(connection, key)
    own = found(swept(installed))
    assert own == {
        ("mismatch", 'short, "quoted"'),
        ("orphan", "orphan/ä é"),
        ("orphan", "orphan+%2F"),
        ("missing", "gone/ü"),
    }
    listed = [
        {"key": one.object_name, "size": one.size, "etag": one.etag, "at": one.last_modified.isoformat()}
        for one in objects.list_objects(bucket_name=bucket, recursive=True)
    ]
    random.Random(7).shuffle(listed)  # noqa: S311
    file = tmp_path / "listing"
    file.write_text(form(listed), "utf-8")
    report = swept(installed, "--listing", str(file))
    assert found(report) == {one for one in own if form is not as_keys or one[0] != "mismatch"}
    assert report["totals"]["objects"] == 44


def test_a_listing_that_is_brought_is_not_what_the_next_sweep_is_compared_with(
    installed, connection, objects, bucket, tmp_path
):
    """It may be of any time: it covers no loss window, says nothing of what is new, and pruning passes over it."""
    for number in range(30):
        put(objects, bucket, f"fine/{number:02}")
        add_row(connection, f"fine/{number:02}")
    file = tmp_path / "listing"
    file.write_text(as_keys([{"key": f"fine/{number:02}"} for number in range(30)]), "utf-8")
    own = swept(installed)
    window = "now() - interval '1 hour'"
    connection.execute(WANTED.format(window), [bucket])
    connection.execute("UPDATE reconciler.sweep SET started_at = now() - interval '2 hours' WHERE id = %s", [own["id"]])
    put(objects, bucket, "orphan")
    file.write_text(file.read_text("utf-8") + "orphan\n", "utf-8")
    brought = swept(installed, "--listing", str(file))
    assert found(brought) == {("orphan", "orphan")}
    assert [one["brought"] for one in brought["history"]] == [True, False]
    assert [one.reason for one in wanted(connection)] == ["rule_removed"]
    assert prune(connection, *[timedelta(hours=1)] * 3).get("sweeps") is None
    report = swept(installed)
    assert [one["is_new"] for one in report["drifts"]] == [True], "the last one that looked at the bucket had none"
    assert wanted(connection) == []


def test_a_young_row_is_not_missing_before_its_longer_grace_is_over(installed, connection, objects, bucket):
    """An application may commit first and upload for minutes: such a row counts as young, an older one is missing."""
    for number in range(30):
        put(objects, bucket, f"fine/{number:02}")
        add_row(connection, f"fine/{number:02}")
    add_row(connection, "on its way")
    connection.execute("UPDATE file_versions SET created_at = now() - interval '10 minutes'")
    add_row(connection, "new")
    young = {"RECONCILER_POLICY__YOUNG_AGE": "1h", "RECONCILER_POLICY__YOUNG_GRACE": "5m"}
    report = swept(installed, **young)
    assert found(report) == {("missing", "on its way")}
    assert report["totals"]["young"] == 1
    assert found(swept(installed)) == {("missing", "on its way"), ("missing", "new")}


def test_drifts_that_a_report_leaves_out_are_told(installed, objects, bucket, monkeypatch):
    """Where a form has no room for that, the log says it."""
    for number in range(12):
        put(objects, bucket, f"orphan/{number:02}")
    monkeypatch.setattr(sums, "SHOWN", 7)
    for form in ("csv", "jsonl", "json", "table"):
        ended = installed.run("sweep", "-o", form, **AT_ONCE)
        assert ended.returncode == 0, ended.stderr
        assert "drifts.left_out" in ended.stderr
        assert ("only the first 7 of 12 drifts" in ended.stdout) is (form in {"json", "table"})


@pytest.mark.invariant(4)
@pytest.mark.parametrize(("ahead", "grace"), [(1, "15m"), (-1, "0s")])
def test_the_clock_of_the_machine_that_sweeps_decides_nothing(installed, objects, bucket, monkeypatch, ahead, grace):
    """An hour that it is ahead makes no upload old, and an hour that it is behind makes no orphan young."""
    real = Sweeping.now
    monkeypatch.setattr(Sweeping, "now", lambda self: real(self) + timedelta(hours=ahead))
    put(objects, bucket, "new")
    report = swept(installed, RECONCILER_POLICY__ORPHAN_GRACE=grace)
    assert found(report) == (set() if ahead > 0 else {("orphan", "new")})
    assert report["totals"]["young"] == (1 if ahead > 0 else None)


def test_what_the_filters_leave_out_is_no_drift(installed, connection, objects, bucket):
    """Neither a row nor an object whose key is excluded is reported, and what is ours never is."""
    for number in range(30):
        put(objects, bucket, f"fine/{number:02}")
        add_row(connection, f"fine/{number:02}")
    for key in ("orphan", "tmp/orphan", "deep/tmp/orphan", "fine/x.part", ".storage-reconciler/x"):
        put(objects, bucket, key)
    for key in ("gone", "tmp/gone", "gone.part"):
        add_row(connection, key)
    every = {("orphan", "orphan"), ("orphan", "deep/tmp/orphan"), ("missing", "gone")}
    with installed.file.open("a") as file:
        file.write('[filters]\nexclude = ["/tmp/**", "*.part"]\n')
    assert found(swept(installed)) == every


def test_how_the_rows_were_read_is_told(many, connection):
    """Copied out without an index in byte order, or where --spool asks for it; else by pages; all come to the same."""
    copied, paged = "sorted by the database, since no index serves byte order", "the rows were read by pages"
    report = swept(many)
    assert whole(report) == (FOUND, TOTALS)
    assert copied in report["notes"][0]
    connection.execute(IN_ORDER)
    report = swept(many)
    assert whole(report) == (FOUND, TOTALS)
    assert paged in report["notes"][0]
    assert whole(swept(many, "--workers", "2")) == (FOUND, TOTALS)
    report = swept(many, "--spool", str(many.file.parent))
    assert whole(report) == (FOUND, TOTALS)
    assert "were copied to a spool" in report["notes"][0]
