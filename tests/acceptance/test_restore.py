"""`restore` on real servers: what comes back from below a marker or from a backup, and what is refused, and why."""

import json
import signal
import subprocess
import sys
from hashlib import md5, sha256

import pytest

from tests.support import command
from tests.support.command import ROOT
from tests.support.repairing import repairing

KILLED = """
import os, signal, sys
from reconcile.repair import restoring
from consumer.cli import main
restoring.reconcile = lambda world, *_, **__: (
    os.kill(os.getpid(), signal.SIGKILL) if hasattr(world, "actor") else looked(world, *_, **__))
from reconcile.reconciler import reconcile as looked
main(sys.argv[1:])
"""


@pytest.fixture
def app(tmp_path, database, minio, bucket, connection, objects):
    """Give the application with our schema made."""
    return repairing(command.program(tmp_path, database, minio, bucket, {}), connection, objects, bucket)


@pytest.fixture
def backups(app):
    """Make a bucket for backups."""
    name = f"{app.bucket}-backup"
    app.objects.make_bucket(bucket_name=name)
    return name


def details(told):
    """Return what became of each key."""
    return {act["subject"].partition(" ")[2]: act["detail"] for act in told["acts"]}


def test_a_delete_marker_is_removed_and_the_status_given_back(app):
    """The plan changes nothing and names the marker; then the object is served, and the history says who and how."""
    app.keep_versions()
    app.put("k")
    marker = app.hide("k")
    _, finding = app.flagged("k")
    plan = app.program.json("restore", str(finding))
    assert details(plan) == {"k": f"its delete marker is removed; marker {marker}, below it 3 B"}
    assert app.statuses() == {"k": "corrupted"}
    told = app.program.json("restore", "--key", "k", "--apply", "--who", "ann", "--why", "asked for")
    assert details(told)["k"].startswith("its delete marker is removed; given back;")
    assert (app.statuses(), app.read("k")) == ({"k": "active"}, b"AAA")
    begun, given = app.history(finding)[-2:]
    assert (begun[:2], "asked for" in begun[2], marker in begun[2]) == (("restore begun", "ann"), True, True)
    assert given[:2] == ("given back", "ann")
    assert app.program.json("restore", str(finding), "--apply")["left_alone"] == 1


def test_only_the_marker_that_hid_it_is_removed_and_only_over_what_the_row_describes(app):
    """Not one that came later, unless it is named; not over another content, another marker, or nothing."""
    app.keep_versions()
    found = {}
    for key in ("later", "other", "nothing"):
        app.put(key, b"AAA" if key == "later" else b"other")
        found[key] = (app.hide(key), app.flagged(key)[1])
    app.connection.execute(
        "UPDATE reconciler.finding SET cause = 'hidden by delete marker gone: recoverable' WHERE key = 'later'"
    )
    versions = app.objects.list_objects(bucket_name=app.bucket, prefix="nothing", include_version=True)
    [content] = [one.version_id for one in versions if not one.is_delete_marker]
    app.objects.remove_object(bucket_name=app.bucket, object_name="nothing", version_id=content)
    told = details(app.program.json("restore", "--all", "--apply", status=5))
    marker = found["later"][0]
    assert told["later"] == f"another delete marker hides it than when it was found; --marker {marker} means this one"
    assert told["other"] == "what lies below its delete marker is another content (size: row 3, object 5)"
    assert told["nothing"] == "nothing is left below its delete marker"
    assert set(app.statuses().values()) == {"corrupted"}
    assert app.program.json("restore", str(found["later"][1]), "--marker", marker, "--apply")["done"] == 1


@pytest.mark.parametrize("prefix", ["", "2026/"])
def test_a_backup_is_copied_after_it_was_compared(app, backups, prefix):
    """By size and ETag where the row has one, by size alone where not, which is said; below a prefix, too."""
    tag = md5(b"AAA", usedforsecurity=False).hexdigest()
    app.flagged("a", etag=tag)
    app.flagged("b")
    app.flagged("c", etag="0" * 32)
    app.flagged("d")
    for key, content in {"a": b"AAA", "b": b"AAA", "c": b"AAA", "d": b"longer"}.items():
        app.put(prefix + key, content, backups)
    app.flagged("e")
    app.program.environ["RECONCILER_MAPPING__VERSION__ETAG"] = "etag"
    told = app.program.json("restore", "--all", "--from", f"{backups}/{prefix}", "--apply", status=5)
    became = details(told)
    assert became["a"].startswith("copied from the backup, compared by size and ETag; given back;")
    assert became["b"].startswith("copied from the backup, compared by size alone; given back;")
    assert "etag: row" in became["c"]
    assert became["d"] == "the backup is another content (size: row 3, object 6)"
    assert became["e"] == f"there is no backup at {backups}/{prefix}e"
    assert {key for key, status in app.statuses().items() if status == "active"} == {"a", "b"}
    assert (app.read("a"), app.read("b")) == (b"AAA", b"AAA")


def test_a_configured_backup_is_read_through_its_checksum(app):
    """The mapped SHA-256 goes before all; a content that only looks right is not stored."""
    app.connection.execute("ALTER TABLE file_versions ADD sha256 text")
    app.program.environ["RECONCILER_MAPPING__VERSION__SHA256"] = "sha256"
    app.program.environ["RECONCILER_BACKUP__PREFIX"] = "backup/"
    for key, content in (("good", b"AAA"), ("rotten", b"BBB")):
        app.flagged(key)
        app.put(f"backup/{key}", content)
    app.connection.execute("UPDATE file_versions SET sha256 = %s", [sha256(b"AAA").hexdigest()])
    ended = app.program.run("restore", "--all", "--apply", "-o", "json")
    told = details(json.loads(ended.stdout))
    assert (ended.returncode, told["good"].split(";")[0]) == (5, "copied from the backup, compared by size and SHA-256")
    assert told["rotten"].startswith("sha256: row cb1ad2119d8f")
    assert app.statuses() == {"good": "active", "rotten": "corrupted"}


def test_without_a_way_nothing_is_done_and_what_is_there_heals(app):
    """An object that is there is never written over; its status is given back by the look that its plan asks for."""
    app.flagged("gone")
    app.flagged("there")
    app.put("there", b"AAA")
    told = details(app.program.json("restore", "--all", "--apply", status=5))
    assert told == {
        "gone": "no delete marker hides it, and no backup is named (--from)",
        "there": "the object is there; given back",
    }
    assert app.statuses() == {"gone": "corrupted", "there": "active"}
    for words in (
        ("restore",),
        ("restore", "77"),
        ("restore", "--all", "--from", "/x"),
        ("restore", "--all", "--limit", "0"),
    ):
        assert app.program.run(*words).returncode == 2


def test_a_run_that_is_killed_after_the_copy_left_a_line_and_the_next_one_ends_it(app, backups):
    """Invariant 5: the object is back, who brought it is known, and its status follows by any look."""
    _, finding = app.flagged("k")
    app.put("k", b"AAA", backups)
    words = ("restore", "--all", "--from", backups, "--apply", "--who", "ann")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *words],
        env=app.program.environment({}), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (app.read("k"), app.statuses()) == (b"AAA", {"k": "corrupted"})
    assert app.history(finding)[-1][:2] == ("restore begun", "ann")
    assert details(app.program.json(*words))["k"] == "the object is there; given back"
    assert app.statuses() == {"k": "active"}


@pytest.mark.parametrize("apply", [(), ("--apply",)], ids=["plan", "apply"])
def test_what_cannot_be_restored_takes_no_place_within_the_limit(app, backups, apply):
    """Else the first ones, which stay as they are, would keep all others from ever coming back."""
    app.flagged("a")
    app.flagged("b")
    app.put("b", b"AAA", backups)
    told = app.program.json("restore", "--all", "--from", backups, "--limit", "1", *apply, status=5 if apply else 0)
    assert (told["done" if apply else "planned"], told["left_alone"]) == (1, 1)
    assert next(iter(details(told))) == "b"


def test_what_is_named_and_is_not_missing_is_told(app):
    """A filter leaves out what is no such finding; whoever names one is answered."""
    app.flagged("k")
    app.connection.execute("UPDATE reconciler.finding SET kind = 'mismatch'")
    [(number,)] = app.connection.execute("SELECT id FROM reconciler.finding").fetchall()
    assert details(app.program.json("restore", str(number))) == {"k": "it is mismatch, and nothing is missing"}
    assert details(app.program.json("restore", "--all")) == {}


def test_an_outage_is_an_end_of_its_own(app, backups):
    """Nothing is told as done, and the exit status says that a server was away."""
    app.flagged("a")
    app.program.environ["RECONCILER_MINIO__ENDPOINT"] = "http://127.0.0.1:1"
    ended = app.program.run("restore", "--all", "--from", backups, "--apply", "-o", "json")
    assert (ended.returncode, details(json.loads(ended.stdout))) == (6, {"a": "not tried"})
