"""`sweep` as processes that are killed, share their work, and meet change, faults and odd buckets on real servers."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from minio.commonconfig import ENABLED
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin
from minio.versioningconfig import VersioningConfig
from psycopg import sql

from reconcile.confirm import Confirmed
from reconcile.drift import Class, Drift
from reconcile.keeping import Unkept
from reconcile.model import ObjectRef
from reconcile.sweep import Range
from tests.acceptance.test_commands import add_row
from tests.support import command, sweeping
from tests.support.proxy import Slow
from tests.support.sweeping import FOUND, TOTALS, Application, Lists, put
from tests.support.waiting import until

AT_ONCE = {"RECONCILER_POLICY__ORPHAN_GRACE": "0s", "RECONCILER_POLICY__MISSING_GRACE": "100ms"}
WORDS = ("sweep", "-o", "json")
CHANGING_S = 20.0


@pytest.fixture(scope="module")
def large(minio) -> str:
    """Make one bucket of some 20 000 objects for all tests that change nothing."""
    return sweeping.large_bucket(minio)


@pytest.fixture
def many(tmp_path, database, connection, minio, large) -> command.Program:
    """Give the command over the large bucket and its rows, sixty drifts among them."""
    sweeping.large_rows(connection)
    return installed_in(command.program(tmp_path, database, minio, large, {}))


@pytest.fixture
def program(tmp_path, database, minio, bucket) -> command.Program:
    """Give the command over an empty bucket, without a schema."""
    return command.program(tmp_path, database, minio, bucket, {})


@pytest.fixture
def installed(program) -> command.Program:
    """Give the command over an empty bucket with its schema made."""
    return installed_in(program)


@pytest.fixture
def lists(minio) -> Iterator[Lists]:
    """Stand before MinIO, to break its listing."""
    with Lists(minio) as proxy:
        yield proxy


def installed_in(program: command.Program) -> command.Program:
    ended = program.process("migrate", "--apply")
    assert ended.returncode == 0, ended.stderr
    return program


def told(ended: subprocess.CompletedProcess[str]) -> dict:
    """Return the report of a sweep, whatever it came to."""
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)


def swept(program: command.Program, *words: str, **changed: str) -> dict:
    """Sweep to a complete end, and return the report."""
    ended = program.process(*WORDS, *words, **AT_ONCE | changed)
    assert ended.returncode == 0, (ended.stdout, ended.stderr)
    report = told(ended)
    assert report["state"] == "complete"
    return report


def found(report: dict) -> set[tuple[str, str]]:
    assert report["total_drifts"] == len(report["drifts"])
    return {(one["kind"], one["key"]) for one in report["drifts"]}


def whole(report: dict) -> tuple[set[tuple[str, str]], dict[str, int]]:
    """Return what every sweep of the large bucket must come to."""
    return found(report), {name: report["totals"][name] for name in TOTALS}


def report_of(process: subprocess.Popen[str]) -> dict:
    """Wait for a sweep's complete end, and return its report."""
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    return json.loads(out)


def number_of(connection: psycopg.Connection) -> int:
    """Return the id of the sweep that runs, once it may be joined."""
    asked = "SELECT id FROM reconciler.sweep WHERE state = 'running'"
    [(number,)] = until(lambda: connection.execute(asked).fetchall(), what="a sweep that runs")
    return number


def kill(process: subprocess.Popen[str]) -> None:
    """End with SIGKILL what still runs."""
    assert process.poll() is None, process.communicate()
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("point", "count"),
    [
        ("begun", 1),
        ("looked", 3),
        ("advanced", 1),
        ("advanced", 17),
        ("seeing again", 1),
        ("seen again", 1),
        ("finishing", 1),
    ],
)
def test_a_sweep_killed_at_any_point_goes_on_and_comes_to_the_same(many, connection, point, count):
    """SIGKILL before, between and within its steps; --resume ends the same sweep with the same drifts and totals."""
    sweeping.killed_at(many, point, count, *WORDS, **AT_ONCE)
    killed = number_of(connection)
    sweeping.expire(connection)
    report = swept(many, "--resume")
    assert whole(report) == (FOUND, TOTALS)
    assert report["id"] == killed


def test_a_sweep_killed_again_and_again_comes_to_the_same(many, connection):
    """Each resumption is killed in turn, and no page is counted twice."""
    sweeping.killed_at(many, "advanced", 2, *WORDS, **AT_ONCE)
    for point, count in (("looked", 2), ("advanced", 4), ("looked", 5), ("seen again", 1)):
        sweeping.expire(connection)
        sweeping.killed_at(many, point, count, *WORDS, "--resume", **AT_ONCE)
    sweeping.expire(connection)
    assert whole(swept(many, "--resume")) == (FOUND, TOTALS)


def test_several_processes_come_to_the_same(many, connection):
    """Undisturbed, `--workers 2` reports what one process does."""
    assert whole(swept(many)) == (FOUND, TOTALS)
    assert whole(swept(many, "--workers", "2")) == (FOUND, TOTALS)


def test_a_sweep_that_is_joined_by_hand_comes_to_the_same(many, connection, lists):
    """Who joins takes ranges that the leader then does not; only the leader reports drifts."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    with many.running(*WORDS, "--ranges", "8", **AT_ONCE, **slow) as leader:
        number = number_of(connection)
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its first range")
        with sweeping.stopped(leader.pid):
            joined = many.process(*WORDS, "--join", str(number), **AT_ONCE)
        assert joined.returncode == 0, joined.stderr
        assert told(joined)["state"] == "running"
        owners = connection.execute(
            "SELECT count(DISTINCT owner) FROM reconciler.lease WHERE task = %s", [f"sweep {number}"]
        ).fetchall()
        assert owners == [(2,)]
        assert whole(report_of(leader)) == (FOUND, TOTALS)


@pytest.mark.parametrize("point", ["looked", "advanced"])
def test_the_range_of_a_worker_that_is_killed_is_taken_over(many, connection, lists, point):
    """One that joined dies with a range in hand, before and after a checkpoint; the leader goes on from there."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    with many.running(*WORDS, "--ranges", "8", **AT_ONCE, **slow) as leader:
        number = number_of(connection)
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its first range")
        with sweeping.stopped(leader.pid):
            sweeping.killed_at(many, point, 2, *WORDS, "--join", str(number), **AT_ONCE)
            [dead] = sweeping.holders(connection) - {leader.pid}
        until(lambda: sweeping.holders(connection) == {dead}, 30, "the leader waits for the dead worker")
        sweeping.expire(connection, dead)
        assert whole(report_of(leader)) == (FOUND, TOTALS)


def test_a_worker_of_ones_own_may_be_killed(many, connection, lists):
    """A process that `--workers` started is gone; the sweep comes to the same without it."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    with many.running(*WORDS, "--workers", "2", **AT_ONCE, **slow) as leader:
        number_of(connection)
        [worker] = until(lambda: sweeping.holders(connection) - {leader.pid}, what="a worker at a range")
        os.kill(worker, signal.SIGKILL)
        until(lambda: sweeping.holders(connection) == {worker}, 30, "the leader waits for the dead worker")
        sweeping.expire(connection, worker)
        assert whole(report_of(leader)) == (FOUND, TOTALS)


def test_a_joined_process_outlives_its_leader_and_a_resumption_reports(many, connection, lists):
    """The leader is killed with a range in hand; who joined does the others, and --resume the rest."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    with many.running(*WORDS, "--ranges", "8", **AT_ONCE, **slow) as leader:
        number = number_of(connection)
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its first range")
        kill(leader)
    joined = many.process(*WORDS, "--join", str(number), **AT_ONCE)
    assert joined.returncode == 0, joined.stderr
    sweeping.expire(connection)
    report = swept(many, "--resume")
    assert whole(report) == (FOUND, TOTALS)
    assert report["id"] == number


def test_one_bucket_has_one_sweep_at_a_time(many, connection, lists):
    """Status 7 while another runs or its lease does; once that is over, --resume goes on with it."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    with many.running(*WORDS, **AT_ONCE, **slow) as leader:
        number = number_of(connection)
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its range")
        with sweeping.stopped(leader.pid):
            second = many.process(*WORDS, **AT_ONCE)
            assert second.returncode == 7, second.stderr
            assert "--join" in second.stderr
            assert many.process(*WORDS, "--resume", **AT_ONCE).returncode == 7
        kill(leader)
    assert many.process(*WORDS, "--resume", **AT_ONCE).returncode == 7
    sweeping.expire(connection)
    report = swept(many, "--resume")
    assert whole(report) == (FOUND, TOTALS)
    assert report["id"] == number


def test_a_leader_that_stood_still_is_told_that_its_sweep_went_to_another(many, connection, lists):
    """Its leases ran out and --resume brought the sweep to its end: it ends with status 7 and changes nothing."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    kept = "SELECT state, totals, finished_at FROM reconciler.sweep"
    with many.running(*WORDS, **AT_ONCE, **slow) as leader:
        number_of(connection)
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its range")
        with sweeping.stopped(leader.pid):
            sweeping.expire(connection)
            assert whole(swept(many, "--resume")) == (FOUND, TOTALS)
            ended = connection.execute(kept).fetchall()
        leader.communicate(timeout=60)
        assert leader.returncode == 7, many.log()
    assert "taken over" in many.log()
    assert connection.execute(kept).fetchall() == ended


def test_a_leader_whose_lease_ran_out_has_it_anew(many, connection, lists):
    """Where nobody took it meanwhile, as during a long copy of the rows, the sweep goes on and is alone again."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    held = "SELECT FROM reconciler.lease WHERE task LIKE 'sweep of %' AND until > now()"
    with many.running(*WORDS, **AT_ONCE, **slow) as leader:
        number_of(connection)
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its range")
        sweeping.expire(connection)
        until(lambda: connection.execute(held).fetchall(), what="the bucket's lease")
        assert whole(report_of(leader)) == (FOUND, TOTALS)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("orphan_grace", ["15m", "0s"])
def test_what_changes_meanwhile_is_no_drift(installed, connection, minio, objects, bucket, orphan_grace):
    """Uploads, overwrites and deletes in every order beside sweep after sweep: only what truly differs is reported."""
    for number in range(300):
        put(objects, bucket, f"base/{number:03}")
        add_row(connection, f"base/{number:03}")
    add_row(connection, "base/gone")
    put(objects, bucket, "base/short", 7)
    add_row(connection, "base/short")
    wanted = {("missing", "base/gone"), ("mismatch", "base/short")}
    changed = {"RECONCILER_POLICY__ORPHAN_GRACE": orphan_grace}
    database = installed.environ["RECONCILER_DATABASE__URL"]
    began, sweeps, different = time.monotonic(), [], 0
    with (
        Application(database, minio, bucket, "app/one") as one,
        Application(database, minio, bucket, "app/two") as two,
        Application(database, minio, bucket, "last") as three,
    ):
        while time.monotonic() - began < CHANGING_S:
            report = swept(installed, "--margin", "2", **changed)
            sweeps.append(found(report))
            different += report["totals"]["candidates"] - len(wanted)
            assert [app.fault for app in (one, two, three)] == [None] * 3
    assert sweeps == [wanted] * len(sweeps)
    assert len(sweeps) >= 3
    assert different > 0, "nothing changed before the sweeps' eyes"
    assert one.acts + two.acts + three.acts > 30
    assert found(swept(installed, "--margin", "0.1", **changed)) == wanted


def test_a_drift_that_becomes_another_is_sighted_anew(installed, connection, objects, bucket):
    """Two looks must see the same: an orphan that is a mismatch at the second look, and then agrees, is none."""
    for number in range(30):
        put(objects, bucket, f"fine/{number:02}")
        add_row(connection, f"fine/{number:02}")
    put(objects, bucket, "busy")
    kinds = "SELECT kind FROM reconciler.drift WHERE key = 'busy'"
    with installed.running(*WORDS, "--margin", "3", **AT_ONCE) as sweep:
        until(lambda: ("orphan",) in connection.execute(kinds).fetchall(), what="the first look")
        add_row(connection, "busy", size=sweeping.SIZE + 1)
        until(lambda: ("mismatch",) in connection.execute(kinds).fetchall(), what="the second look")
        connection.execute("UPDATE file_versions SET size = %s WHERE object_key = 'busy'", [sweeping.SIZE])
        assert found(report_of(sweep)) == set()


def test_a_drift_that_becomes_another_is_sighted_anew_in_memory():
    """Without a schema what the second look sees otherwise waits for a third."""
    ref, once = ObjectRef("files", "busy"), Range("", None, "", {})
    orphan, leftover = (Drift(kind, *ref) for kind in (Class.ORPHAN, Class.LEFTOVER))
    keeper = Unkept()
    keeper.advance(once, "busy", {}, Confirmed([orphan]), done=True)
    keeper.seen_again([ref], Confirmed([leftover]))
    assert keeper.to_see_again(timedelta(0)) == ([ref], True)
    keeper.seen_again([ref], Confirmed([leftover]))
    assert keeper.to_see_again(timedelta(0)) == ([], False)
    assert list(keeper.found.values()) == [leftover]


def test_a_page_that_breaks_once_is_read_again(many, lists):
    """The listing breaks in its midst, and once more when the driver tries; nothing is left out or counted twice."""
    lists.at, lists.times = 5, 2
    assert whole(swept(many, RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)
    assert lists.broken == 2


@pytest.mark.parametrize("at", [1, 5])
def test_a_listing_that_breaks_for_good_is_incomplete_and_goes_on_later(many, lists, at):
    """Status 5, nothing is believed of what was not read, and --resume comes to the same once the server answers."""
    lists.at, lists.times = at, 1_000_000
    ended = many.process(*WORDS, **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url)
    assert ended.returncode == 5, ended.stderr
    report = told(ended)
    assert report["state"] == "incomplete"
    assert "--resume" in report["reason"]
    assert found(report) == set()
    lists.at = 0
    assert whole(swept(many, "--resume", RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)


def test_of_a_broken_sweep_only_the_ranges_are_believed_that_were_read(many, lists):
    """With several ranges the report holds the drifts of those that came to their end, and of no other."""
    lists.at, lists.times = 25, 1_000_000
    ended = many.process(*WORDS, "--ranges", "8", **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url)
    assert ended.returncode == 5, ended.stderr
    seen = found(told(ended))
    assert seen
    assert seen < FOUND
    last = max(key for _, key in seen)
    assert seen == {one for one in FOUND if one[1] <= last}
    lists.at = 0
    assert whole(swept(many, "--resume", RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)


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
    return installed_in(program)


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
    report = swept(versioned)
    seen = {(one["kind"], one["key"], one["s3_version"]) for one in report["drifts"]}
    assert newest
    assert seen == {
        ("missing", "own gone", gone),
        ("mismatch", "short", short),
        ("orphan", "newer", ""),
        ("orphan", "orphan", ""),
    }
    assert report["totals"]["candidates"] == len(seen), "what agrees by its version is not looked at"


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


@pytest.fixture
def reader(program, connection, minio, bucket) -> Iterator[command.Program]:
    """Give the command as a role with SELECT on two tables and a MinIO user who may list and read one bucket."""
    name, word = f"reader_{secrets.token_hex(4)}", secrets.token_hex(8)
    role = sql.Identifier(name)
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(word)))
    connection.execute(sql.SQL("GRANT SELECT ON storage_files, file_versions TO {}").format(role))
    admin = MinioAdmin(
        endpoint=minio.endpoint, credentials=StaticProvider(minio.user, minio.password), secure=minio.secure
    )
    admin.user_add(name, word)
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    may = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": resources}
    admin.policy_add(name, policy={"Version": "2012-10-17", "Statement": [may]})
    admin.attach_policy([name], user=name)
    url = urlsplit(program.environ["RECONCILER_DATABASE__URL"])
    there = url.netloc.rpartition("@")[2]
    changed = {
        "RECONCILER_DATABASE__URL": urlunsplit(url._replace(netloc=f"{name}:{word}@{there}")),
        "RECONCILER_MINIO__ACCESS_KEY": name,
        "RECONCILER_MINIO__SECRET_KEY": word,
    }
    yield replace(program, environ=program.environ | changed)
    admin.user_remove(name)
    admin.policy_remove(name)
    connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
    connection.execute(sql.SQL("DROP ROLE {}").format(role))


WRITTEN = "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables ORDER BY 1"


@pytest.mark.invariant(9)
@pytest.mark.parametrize("schema", [False, True])
def test_who_may_only_read_can_sweep_and_writes_nothing(reader, program, connection, objects, bucket, schema):
    """SELECT on two tables, list and read on one bucket: the trial works, beside somebody's schema or without."""
    if schema:
        installed_in(program)
    for number in range(30):
        put(objects, bucket, f"fine/{number:02}")
        add_row(connection, f"fine/{number:02}")
    put(objects, bucket, "orphan")
    add_row(connection, "gone")
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        psycopg.connect(reader.environ["RECONCILER_DATABASE__URL"]) as other,
    ):
        other.execute("DELETE FROM file_versions")
    connection.execute("SELECT pg_stat_force_next_flush()")
    before = connection.execute(WRITTEN).fetchall()
    schemas = connection.execute("SELECT nspname FROM pg_namespace ORDER BY 1").fetchall()
    report = swept(reader)
    assert found(report) == {("orphan", "orphan"), ("missing", "gone")}
    assert any("nothing was kept" in one for one in report["notes"])
    assert connection.execute(WRITTEN).fetchall() == before
    assert connection.execute("SELECT nspname FROM pg_namespace ORDER BY 1").fetchall() == schemas
    assert len(list(objects.list_objects(bucket_name=bucket, recursive=True))) == 31


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
