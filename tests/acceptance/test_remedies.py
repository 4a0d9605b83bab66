"""What `findings show` and `explain` say would repair a finding: true at that moment, with the command that does it."""

import json
import shlex

import pytest

from tests.support import command
from tests.support.repairing import repairing


@pytest.fixture
def app(tmp_path, database, minio, bucket, connection, objects):
    """Give the application with our schema made."""
    return repairing(command.program(tmp_path, database, minio, bucket, {}), connection, objects, bucket)


def shown(app, finding):
    """Return what is said of a finding."""
    return app.program.json("findings", "show", str(finding))["repair"]["notes"]


def does(app, note):
    """Do what a note says, word by word, and return how many it was done to."""
    program, *words = shlex.split(note.rpartition(": ")[2])
    assert program == "storage-reconciler"
    return app.program.json(*words, "--apply")["done"]


def test_what_lies_below_a_marker_is_named_with_its_command_which_works(app):
    """In both commands; afterwards nothing is left to repair."""
    app.keep_versions()
    app.put("k")
    marker = app.hide("k")
    version, finding = app.flagged("k")
    restore, purge, plans = shown(app, finding)
    assert restore == f"remove the delete marker {marker}, below which it lies: storage-reconciler restore {finding}"
    assert "its file's only good version" in purge
    assert plans == "each prints its plan; --apply does it"
    assert restore in app.program.json("explain", version)["repair"]["notes"]
    assert does(app, restore) == 1
    assert app.statuses() == {"k": "active"}
    assert "repair" not in app.program.json("findings", "show", str(finding))


def test_a_configured_backup_and_a_later_version_are_named(app):
    """A copy says by what it was compared, a purge what it does and why it may."""
    file = app.file()
    _, finding = app.flagged("old", file, 1)
    app.put("backup/old")
    app.put("new")
    app.version("new", file, 2)
    app.program.environ["RECONCILER_BACKUP__PREFIX"] = "backup/"
    restore, purge, _ = shown(app, finding)
    assert restore.startswith(f"copy it from {app.bucket}/backup/old, compared by size alone: ")
    assert purge.startswith("give the version up (row deleted, superseded by version 2): ")
    assert does(app, purge) == 1
    assert app.statuses() == {"new": "active"}


def test_what_would_not_work_says_why_and_an_outage_hides_nothing_else(app):
    """Without a way, and without MinIO: the finding is shown all the same."""
    version, finding = app.flagged("k")
    why, purge, _ = shown(app, finding)
    assert why == "restore would do nothing: no delete marker hides it, and no backup is named (--from)"
    here = app.program.environ.get("RECONCILER_MINIO__ENDPOINT", "")
    app.program.environ["RECONCILER_MINIO__ENDPOINT"] = "http://127.0.0.1:1"
    told = app.program.json("findings", "show", str(finding))
    assert told["repair"]["notes"][0].startswith("what would bring it back is not known: minio is unavailable")
    assert told["version_id"] == version
    app.program.environ["RECONCILER_MINIO__ENDPOINT"] = here
    assert does(app, purge) == 1
    assert app.statuses() == {}


@pytest.mark.parametrize(
    ("state", "held_by", "is_named"),
    [
        ("open", None, True), ("open", "released", True), ("open", "brake", False), ("suspected", None, False),
        ("ignored", None, False),
    ],
)  # fmt: skip
def test_a_purge_is_named_only_where_it_would_be_done(app, state, held_by, is_named):
    """What is ignored, only suspected, or held by the brake is purged by no command line."""
    _, finding = app.flagged("k")
    app.connection.execute("UPDATE reconciler.finding SET state = %s, held_by = %s", [state, held_by])
    why, *more = shown(app, finding)
    assert why.startswith("restore would do nothing")
    assert [("purge" in line) for line in more] == ([True, False] if is_named else [])
    ended = app.program.run("purge", str(finding), "--older-than", "0s", "--even-alone", "--apply", "-o", "json")
    assert json.loads(ended.stdout)["done"] == is_named
