"""`sweep` as a process on real servers: what it finds, what it writes, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from reconcile.sweeps import looker, unkept
from tests.acceptance.test_commands import add_row, put
from tests.support.sweeps import AT_ONCE, found, held, swept, told


@pytest.fixture
def drifted(connection, objects, bucket) -> dict[str, str]:
    """Make a world of every drift beside forty healthy uploads; returns the version ids by key."""
    for number in range(40):
        put(objects, bucket, f"fine/{number:02}")
    ids = {f"fine/{number:02}": add_row(connection, f"fine/{number:02}") for number in range(40)}
    ids |= {key: add_row(connection, key) for key in ("gone/one", "gone/two", "short", "deleted", "/slash")}
    put(objects, bucket, "short", 7)
    put(objects, bucket, "deleted")
    put(objects, bucket, "orphan")
    put(objects, bucket, "slash")
    connection.execute("UPDATE file_versions SET status = 'deleted' WHERE object_key = 'deleted'")
    return ids


EVERYTHING = {
    ("missing", "gone/one"),
    ("missing", "gone/two"),
    ("mismatch", "short"),
    ("leftover", "deleted"),
    ("orphan", "orphan"),
    ("lookalike", "/slash"),
    ("lookalike", "slash"),
}


@pytest.mark.invariant(9)
def test_every_drift_is_reported_and_nothing_is_written(connection, installed, drifted):
    """Report-only is the default: every class is told, and neither findings nor rows change."""
    ended = installed.run("sweep", "-o", "json", **AT_ONCE)
    assert ended.returncode == 0, ended.stderr
    report = told(ended)
    assert found(report) == EVERYTHING
    assert connection.execute("SELECT count(*) FROM reconciler.finding").fetchall() == [(0,)]
    assert connection.execute("SELECT count(*) FROM file_versions WHERE status = 'corrupted'").fetchall() == [(0,)]
    assert installed.run("sweep", "--exit-code", "-o", "json", **AT_ONCE).returncode == 3


def test_without_a_schema_and_under_a_role_that_reads_it_finds_the_same(connection, program, drifted, database):
    """The trial: SELECT on the tables and list/read, no Kafka, no schema; and it says that nothing was kept."""
    ended = program.run("sweep", "-o", "json", **AT_ONCE)
    assert found(told(ended)) == EVERYTHING
    assert "nothing was kept" in ended.stdout
    assert connection.execute("SELECT to_regnamespace('reconciler')").fetchall() == [(None,)]


def test_a_trial_says_how_many_drifts_it_had_no_room_for(connection, program, drifted, monkeypatch):
    """What its memory holds is told; of the rest at least how many there are, so that nobody takes the part for all."""
    every = found(swept(program))
    monkeypatch.setattr(unkept, "ROOM", 1)
    report = swept(program)
    assert found(report) < every
    assert f"{len(every) - 1} more drifts had no room in memory: they are neither counted nor told" in report["notes"]


def test_a_kept_sweep_has_a_history_and_says_what_is_new_and_what_healed(
    connection, installed, objects, bucket, drifted
):
    """The second sweep knows the first: still there, new, healed; the view shows both."""
    first = told(installed.run("sweep", "-o", "json", **AT_ONCE))
    assert found(first) == EVERYTHING
    assert {one["is_new"] for one in first["drifts"]} == {True}
    put(objects, bucket, "gone/one")
    put(objects, bucket, "another")
    figures = installed.file.parent / "sweep.prom"
    second = told(installed.run("sweep", "-o", "json", "--metrics-file", str(figures), **AT_ONCE))
    assert found(second) == EVERYTHING - {("missing", "gone/one")} | {("orphan", "another")}
    own = f'bucket="{bucket}"'
    lines = figures.read_text("utf-8").splitlines()
    assert f'reconciler_sweep_drifts{{{own},kind="orphan"}} 2' in lines
    assert f"reconciler_sweep_held{{{own}}} 0" in lines
    assert any(line.startswith(f"reconciler_sweep_last_complete_timestamp_seconds{{{own}}} ") for line in lines)
    assert [one["key"] for one in second["drifts"] if one["is_new"]] == ["another"]
    assert second["totals"]["healed"] == 1
    kept = connection.execute(
        "SELECT state, objects, rows, missing, orphans FROM reconciler.sweeps ORDER BY id"
    ).fetchall()
    assert kept == [("complete", 44, 44, 2, 1), ("complete", 46, 44, 1, 2)]


@pytest.mark.invariant(9)
def test_fix_flags_what_is_missing_after_its_grace_and_deletes_nothing(connection, installed, objects, bucket, drifted):
    """`--fix` is consent: the missing are flagged though flagging is off, objects stay, what returns is given back."""
    before = {one.object_name for one in objects.list_objects(bucket_name=bucket, recursive=True)}
    ended = installed.run("sweep", "--fix", "-o", "json", **AT_ONCE)
    assert ended.returncode == 0, ended.stderr
    flagged = "SELECT object_key FROM file_versions WHERE status = 'corrupted' ORDER BY 1"
    assert connection.execute(flagged).fetchall() == [("gone/one",), ("gone/two",)]
    kept = connection.execute("SELECT kind, key FROM reconciler.finding WHERE closed_at IS NULL").fetchall()
    assert set(kept) == {one for one in EVERYTHING if one[0] != "lookalike"}
    assert {one.object_name for one in objects.list_objects(bucket_name=bucket, recursive=True)} == before
    put(objects, bucket, "gone/one")
    installed.run("sweep", "--fix", "-o", "json", **AT_ONCE)
    assert connection.execute(flagged).fetchall() == [("gone/two",)]


def test_a_baseline_keeps_what_is_found_as_ignored(connection, installed, drifted):
    """An old bucket's first findings are there for triage, and no row is flagged; a later fix leaves them alone."""
    ended = installed.run("sweep", "--baseline", "-o", "json", **AT_ONCE)
    assert ended.returncode == 0, ended.stderr
    kept = connection.execute("SELECT kind, key, state FROM reconciler.finding").fetchall()
    assert set(kept) == {(*one, "ignored") for one in EVERYTHING if one[0] != "lookalike"}
    installed.run("sweep", "--fix", "-o", "json", **AT_ONCE)
    assert connection.execute("SELECT DISTINCT state FROM reconciler.finding").fetchall() == [("ignored",)]
    assert connection.execute("SELECT count(*) FROM file_versions WHERE status = 'corrupted'").fetchall() == [(0,)]


def test_a_baseline_is_told_to_nobody(connection, installed, drifted):
    """Where findings are published, what it finds first is not; a finding that was told already is told as ignored."""
    connection.execute(
        "INSERT INTO reconciler.lease (task, checkpoint, owner, until) VALUES ('duty outbox', 'on', 'x', now())"
    )
    connection.execute(
        "INSERT INTO reconciler.finding (bucket, key, row_id, kind, cause, state)"
        " VALUES (%s, 'gone/two', %s, 'missing', 'NoSuchKey', 'suspected')",
        [installed.bucket, drifted["gone/two"]],
    )
    installed.run("sweep", "--baseline", "-o", "json", **AT_ONCE)
    told = "SELECT subject, act FROM reconciler.history WHERE published_at IS NULL ORDER BY id"
    of = f"{installed.bucket}/gone/two"
    assert connection.execute(told).fetchall() == [(of, "opened"), (of, "ignored")]
    kept = "SELECT act, cause FROM reconciler.history WHERE subject LIKE '%gone/one'"
    assert connection.execute(kept).fetchall() == [("ignored", "NoSuchKey")]


def test_a_baseline_leaves_alone_what_is_flagged(connection, installed, objects, bucket, drifted):
    """What the stream has flagged is damage that was told: it stays open, is counted, and heals as ever."""
    installed.run("sweep", "--fix", "-o", "json", **AT_ONCE)
    add_row(connection, "gone/three")
    ended = installed.run("sweep", "--baseline", "-o", "json", **AT_ONCE)
    assert ended.returncode == 0, ended.stderr
    kept = "SELECT key, state FROM reconciler.finding WHERE kind = 'missing' ORDER BY 1"
    states = [("gone/one", "open"), ("gone/three", "ignored"), ("gone/two", "open")]
    assert connection.execute(kept).fetchall() == states
    assert any(note.startswith("2 of them are flagged already") for note in told(ended)["notes"])
    put(objects, bucket, "gone/one")
    installed.run("sweep", "--fix", "-o", "json", **AT_ONCE)
    flagged = "SELECT object_key FROM file_versions WHERE status = 'corrupted'"
    assert connection.execute(flagged).fetchall() == [("gone/two",)]


@pytest.mark.parametrize(
    ("world", "why"),
    [
        ("no objects", "the listing is empty"),
        ("no rows", "no row names an object"),
        ("nothing in common", "not one of"),
        ("half missing", "are missing"),
        ("fewer objects", "objects, and the last complete sweep had"),
        ("fewer rows", "rows, and the last complete sweep had"),
    ],
)
def test_a_side_that_is_not_to_be_believed_holds_the_sweep(connection, installed, objects, bucket, world, why):
    """Status 4, loud in report, log and metrics, with the numbers' default values; --fix writes nothing."""
    rows, files, before = {
        "no objects": (25, 0, None),
        "no rows": (0, 25, None),
        "nothing in common": (25, 25, None),
        "half missing": (50, 20, None),
        "fewer objects": (60, 25, 60),
        "fewer rows": (25, 60, 60),
    }[world]
    shift = "x" if world == "nothing in common" else ""
    for number in range(rows if before is None else before):
        add_row(connection, f"k/{number:03}")
    for number in range(files if before is None else before):
        put(objects, bucket, f"{shift}k/{number:03}")
    if before is not None:
        assert told(installed.run("sweep", "-o", "json", **AT_ONCE))["state"] == "complete"
        for number in range(files, before):
            objects.remove_object(bucket_name=bucket, object_name=f"k/{number:03}")
        connection.execute("DELETE FROM file_versions WHERE object_key >= %s", [f"k/{rows:03}"])
    assert why in held(installed, "--fix")["reason"]
    assert connection.execute("SELECT count(*) FROM reconciler.finding").fetchall() == [(0,)]


def test_csv_and_json_lines_hold_a_drift_a_line(installed, drifted):
    """For a spreadsheet and for a pipe: the same drifts as the whole report."""
    rows = list(csv.DictReader(io.StringIO(installed.run("sweep", "-o", "csv", **AT_ONCE).stdout)))
    lines = installed.run("sweep", "-o", "jsonl", **AT_ONCE).stdout.splitlines()
    assert {(one["kind"], one["key"]) for one in rows} == EVERYTHING
    assert {(one["kind"], one["key"]) for one in map(json.loads, lines)} == EVERYTHING


def test_the_page_is_one_file_that_asks_for_nothing(installed, drifted, tmp_path):
    """It is written as a whole, holds every drift, and names no other address."""
    file = tmp_path / "sweep.html"
    ended = installed.run("sweep", "-o", "html", "--output-file", str(file), **AT_ONCE)
    assert ended.returncode == 0, ended.stderr
    page = file.read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert all(key in page for _, key in EVERYTHING)
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)


@pytest.mark.invariant(9)
def test_a_sweep_is_resumed_only_as_it_was_begun(connection, installed, bucket, drifted):
    """Who resumes a sweep of --fix without saying so gets an error that names it, and nothing is flagged."""
    connection.execute(
        "INSERT INTO reconciler.sweep (bucket, mode, state, actor, facts) VALUES (%s, 'fix', 'running', 'x', %s)",
        [bucket, '{"s3_version": false, "size": true, "etag": false}'],
    )
    ended = installed.run("sweep", "--resume", **AT_ONCE)
    assert ended.returncode == 2
    assert "was begun with --fix" in ended.stderr
    assert connection.execute("SELECT count(*) FROM file_versions WHERE status = 'corrupted'").fetchall() == [(0,)]


def test_findings_and_candidates_of_the_same_keys_count_once(connection, installed, objects, bucket, monkeypatch):
    """More of both than one batch of looks holds: the second sweep finds what the first kept, and no more."""
    monkeypatch.setattr(looker, "LOOKS", 40)
    for number in range(70):
        put(objects, bucket, f"k/{number:03}")
        if number < 15:
            add_row(connection, f"k/{number:03}")
    first = told(installed.run("sweep", "--fix", "-o", "json", **AT_ONCE))
    second = told(installed.run("sweep", "-o", "json", **AT_ONCE))
    assert first["totals"]["orphan"] == second["totals"]["orphan"] == 55
    assert {one["known"] for one in second["drifts"]} == {True}
