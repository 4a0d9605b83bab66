"""`purge` on real servers: what is given up, what is left alone and why, and what a mass of it comes to."""

import json
import re

import psycopg
import pytest
from psycopg import sql

from reconcile.repair.triage import BATCH
from tests.support import command
from tests.support.repairing import repairing

OLD = ("purge", "--older-than", "30d")


@pytest.fixture
def app(tmp_path, database, minio, bucket, connection, objects):
    """Give the application with our schema made."""
    return repairing(command.program(tmp_path, database, minio, bucket, {}), connection, objects, bucket)


def superseded(app, key, **columns):
    """Commit an old version that was flagged, and one that came later; return its id and its finding's."""
    file = app.file()
    flagged = app.flagged(key, file, 1, **columns)
    app.put(f"{key} again")
    app.version(f"{key} again", file, 2)
    return flagged


def details(told):
    """Return what became of each key."""
    return {act["subject"].partition(" ")[2]: act["detail"] for act in told["acts"]}


def test_what_was_flagged_long_ago_is_planned_then_deleted_and_told_in_the_history(app):
    """The plan writes nothing; then the row is gone, its finding resolved, and the history says who and why."""
    _, finding = superseded(app, "old")
    superseded(app, "young", days=29)
    plan = app.program.json(*OLD)
    assert (plan["planned"], plan["left_alone"]) == (1, 0)
    assert details(plan) == {"old": "purged; superseded by version 2"}
    assert (set(app.statuses()), len(app.history(finding))) == ({"old", "old again", "young", "young again"}, 1)
    assert app.program.json(*OLD, "--apply", "--who", "ann", "--why", "nobody asked")["done"] == 1
    assert set(app.statuses()) == {"old again", "young", "young again"}
    assert app.findings() == {"old": ("missing", "resolved", None), "young": ("missing", "open", None)}
    assert app.history(finding)[-1] == ("purged", "ann", "nobody asked")
    assert app.program.json("findings", "show", str(finding))["evidence"]["purged"] == "row deleted"
    assert app.program.json(*OLD, "--apply")["done"] == 0


@pytest.mark.parametrize("state", ["suspected", "open", "ignored", "resolved"])
def test_a_version_that_is_missing_itself_stands_in_for_none(app, state):
    """Live by its row, whatever its finding is called: until that is closed nothing is superseded by it."""
    superseded(app, "old")
    app.connection.execute(
        "INSERT INTO reconciler.finding (bucket, key, row_id, kind, state, closed_at)"
        " SELECT %s, object_key, id::text, 'missing', %s, CASE WHEN %s = 'resolved' THEN now() END"
        " FROM file_versions WHERE object_key = 'old again'",
        [app.bucket, state, state],
    )
    named = {one["key"]: one["superseded_by"] for one in app.program.json("findings", "list")}
    assert named["old"] == ("version 2" if state == "resolved" else None)
    told = details(app.program.json(*OLD, "--apply"))
    alone = "its file has no other good version; --even-alone takes it, too"
    assert told["old"] == ("purged; superseded by version 2" if state == "resolved" else alone)


def test_a_status_is_set_where_one_is_configured(app):
    """The row stays, expects no object from then on, and is not found missing again."""
    version, _ = superseded(app, "old")
    app.program.environ["RECONCILER_MAPPING__STATUS__PURGED"] = "deleted"
    assert app.program.json(*OLD, "--apply")["done"] == 1
    assert app.statuses()["old"] == "deleted"
    [verdict, *_] = app.program.json("explain", version)["verdicts"]
    assert verdict["verdict"] == "healthy"


def test_age_counts_from_the_flag_not_from_the_finding(app):
    """A finding that was open for long and flagged yesterday is young."""
    _, finding = superseded(app, "old")
    app.connection.execute("UPDATE reconciler.history SET at = now() - interval '1 day'")
    assert app.program.json(*OLD)["planned"] == 0
    [one] = app.program.json(*OLD, str(finding))["acts"]
    assert one["detail"].startswith("flagged for 1 d only")


def test_a_version_that_came_back_is_given_its_status_back_instead(app):
    """Both sides are looked at in that moment."""
    _, finding = superseded(app, "old")
    app.put("old")
    told = app.program.json(*OLD, "--apply")
    assert (told["done"], details(told)["old"].split(";")[0]) == (
        0,
        "a look changed it: given back, the object is there and agrees",
    )
    assert app.statuses()["old"] == "active"
    assert app.history(finding)[-1][0] == "given back"


def test_the_only_live_version_of_a_file_stays_unless_that_is_said(app):
    """Beside a second flagged version, too; the reason names the way out."""
    file = app.file()
    app.flagged("one", file, 1)
    app.flagged("two", file, 2)
    told = app.program.json(*OLD, "--apply")
    assert (told["done"], set(details(told).values())) == (
        0,
        {"its file has no other good version; --even-alone takes it, too"},
    )
    assert app.program.json(*OLD, "--even-alone", "--apply")["done"] == 2
    assert app.statuses() == {}


def test_superseded_versions_may_go_earlier(app):
    """By policy; one that came before, and one without another, wait for their time."""
    superseded(app, "old", days=3)
    app.flagged("alone", days=3)
    file = app.file()
    app.version("first", file, 1)
    app.flagged("second", file, 2, days=3)
    app.put("first")
    app.program.environ["RECONCILER_PURGE__SUPERSEDED_AFTER"] = "2d"
    assert app.program.json(*OLD, "--even-alone", "--apply")["done"] == 1
    assert set(app.statuses()) == {"old again", "alone", "first", "second"}


def test_a_foreign_key_that_objects_is_told_of_its_row_and_hurts_no_other(app):
    """The others of its batch go; the status says that it is not complete, and the history why."""
    app.connection.execute("CREATE TABLE download (version_id uuid REFERENCES file_versions)")
    kept = [superseded(app, f"v{n}") for n in range(7)][3]
    app.connection.execute("INSERT INTO download VALUES (%s)", [kept[0]])
    ended = app.program.run(*OLD, "--apply", "-o", "json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["done"], told["left_alone"]) == (5, 6, 1)
    assert "download_version_id_fkey" in details(told)["v3"]
    assert [key for key in app.statuses() if "again" not in key] == ["v3"]
    assert app.findings()["v3"] == ("missing", "open", "refused")
    act, _, why = app.history(kept[1])[-1]
    assert (act, "download_version_id_fkey" in why) == ("refused", True)
    assert "FILE_NOT_FOUND" not in ended.stderr
    app.connection.execute("DROP TABLE download")
    assert app.program.json(*OLD, "--apply")["done"] == 1


def test_many_are_purged_in_batches_and_one_that_objects_hurts_none_of_any(app):
    """More than one transaction holds; the brake believes as many as it is told to."""
    app.program.environ["RECONCILER_BRAKE__FLOOR"] = "1000"
    flagged = [app.flagged(f"v{n:03}")[0] for n in range(BATCH + 50)]
    app.connection.execute("CREATE TABLE download (version_id uuid REFERENCES file_versions)")
    app.connection.execute("INSERT INTO download VALUES (%s)", [flagged[BATCH + 1]])
    ended = app.program.run(*OLD, "--even-alone", "--apply", "-o", "json")
    assert (ended.returncode, json.loads(ended.stdout)["done"]) == (5, BATCH + 49)
    assert list(app.statuses()) == [f"v{BATCH + 1:03}"]


def test_a_mass_of_purges_is_held_as_a_whole_until_it_is_released(app):
    """Not one of them is done; flags are not held by it; after the release they go and are not counted again."""
    findings = [superseded(app, f"v{n}")[1] for n in range(4)]
    app.program.environ["RECONCILER_BRAKE__FLOOR"] = "3"
    plan = app.program.run(*OLD)
    assert (plan.returncode, "4 within 0:10:00, 3 are believed" in " ".join(plan.stdout.split())) == (0, True)
    assert app.connection.execute("SELECT count(*) FROM reconciler.restraint").fetchone() == (0,)
    held = app.program.run(*OLD, "--apply", "-o", "json")
    assert (held.returncode, json.loads(held.stdout)["done"]) == (4, 0)
    assert {f"v{n}" for n in range(4)} <= set(app.statuses())
    assert app.findings()["v0"] == ("missing", "open", "brake")
    status = app.program.json("brake", "status")
    assert [one["brake"] for one in status["brakes"]] == ["purges"]
    assert [(one["kind"], one["findings"]) for one in status["held_by_bucket"]] == [("purge", 4)]
    assert app.program.run(*OLD, "--apply").returncode == 4
    assert [act for act, *_ in app.history(findings[0])] == ["flagged", "held"]
    assert app.program.run("brake", "release", "--kind", "missing", "--apply").returncode == 0
    assert app.findings()["v0"] == ("missing", "open", "brake")
    assert app.program.run("brake", "release", "--kind", "purge", "--apply").returncode == 0
    assert app.program.json(*OLD, "--apply")["done"] == 4
    assert app.program.json("brake", "status")["brake"] == "off"


def told_of_brakes(app):
    """Return which brake a plan says to be on, and of which kinds it names a release."""
    told = " ".join(app.program.run(*OLD).stdout.split())
    [brake] = re.findall("the brake of ([a-z]+) is on", told) or [""]
    return brake, re.findall("brake release --kind ([a-z]+)", told)


def test_a_release_is_named_by_the_brakes_that_hold_what_is_held(app):
    """That of flags, and then that of purges, which holds what met the other one: as long as either does."""
    superseded(app, "old")
    app.connection.execute(
        "INSERT INTO reconciler.restraint (effect, bucket, kind, actor, why) VALUES ('brake', '', 'missing', 'a', 'm')"
    )
    assert told_of_brakes(app) == ("flags", ["missing", "purge"])
    [release] = app.program.json("brake", "release", "--kind", "missing")["acts"]
    assert release["detail"] == "0 held"  # no purge follows it
    assert app.program.run(*OLD, "--apply").returncode == 4
    assert app.program.json("brake", "release", "--kind", "missing", "--apply")
    assert told_of_brakes(app) == ("", ["purge"])
    assert app.program.json("brake", "release", "--kind", "purge", "--apply")
    assert app.program.json(*OLD, "--apply")["done"] == 1


def test_what_was_released_and_is_refused_does_not_set_the_brake_anew_each_night(app):
    """Rows that a foreign key keeps are tried by each purge: one release is enough, and the others have their turn."""
    app.program.environ["RECONCILER_BRAKE__FLOOR"] = "3"
    app.connection.execute("CREATE TABLE download (version_id uuid REFERENCES file_versions)")
    for n in range(4):
        app.connection.execute("INSERT INTO download VALUES (%s)", [superseded(app, f"v{n}")[0]])
    assert app.program.run(*OLD, "--apply").returncode == 4
    assert app.program.json("brake", "release", "--kind", "purge", "--apply")
    assert app.program.run(*OLD, "--apply").returncode == 5
    superseded(app, "new")
    again = app.program.run(*OLD, "--apply", "-o", "json")
    assert (again.returncode, json.loads(again.stdout)["done"]) == (5, 1)
    assert app.program.json("brake", "status")["brake"] == "off"


def test_what_is_refused_each_night_is_no_mass_and_is_none_once_nothing_objects(app):
    """Nobody has to release what no purge would take; where the key is gone it goes as far as the brake believes."""
    app.program.environ["RECONCILER_BRAKE__FLOOR"] = "3"
    app.connection.execute("CREATE TABLE download (version_id uuid REFERENCES file_versions)")
    for n in range(3):
        app.connection.execute("INSERT INTO download VALUES (%s)", [superseded(app, f"v{n}")[0]])
    assert app.program.run(*OLD, "--apply").returncode == 5
    superseded(app, "new")
    again = app.program.run(*OLD, "--limit", "1", "--apply", "-o", "json")
    assert (again.returncode, json.loads(again.stdout)["done"]) == (5, 1)
    app.connection.execute("DROP TABLE download")
    freed = app.program.run(*OLD, "--apply", "-o", "json")
    assert (freed.returncode, json.loads(freed.stdout)["done"]) == (5, 2)
    assert "the brake believes no more purges now" in details(json.loads(freed.stdout))["v2"]
    assert app.program.json("brake", "status")["brake"] == "off"
    app.connection.execute("UPDATE reconciler.history SET at = at - interval '1 day'")
    assert app.program.json(*OLD, "--apply")["done"] == 1


def test_what_was_released_waits_while_flags_are_held(app):
    """The plan says so, the run ends with 4; after that it passes the brake that it was released from, uncounted."""
    superseded(app, "old")
    app.connection.execute("UPDATE reconciler.finding SET held_by = 'released'")
    app.connection.execute(
        "INSERT INTO reconciler.restraint (effect, bucket, kind, actor, why) VALUES ('brake', '', 'missing', 'a', 'm')"
    )
    assert told_of_brakes(app) == ("flags", ["missing"])
    held = app.program.run(*OLD, "--apply", "-o", "json")
    assert (held.returncode, details(json.loads(held.stdout))) == (
        4,
        {"old": "held by the brake; superseded by version 2"},
    )
    assert app.findings()["old"] == ("missing", "open", "released")
    assert app.program.json("brake", "release", "--kind", "missing", "--apply")
    app.connection.execute(
        "INSERT INTO reconciler.restraint (effect, bucket, kind, actor) VALUES ('brake', '', 'purge', 'a')"
    )
    assert app.program.json(*OLD, "--apply")["done"] == 1


def test_purges_of_one_window_are_counted_together(app):
    """Two runs below the limit are one mass."""
    app.program.environ["RECONCILER_BRAKE__FLOOR"] = "3"
    for n in range(4):
        superseded(app, f"v{n}")
    assert app.program.json(*OLD, "--limit", "3", "--apply")["done"] == 3
    assert app.program.run(*OLD, "--apply").returncode == 4


def test_a_delete_marker_that_hides_it_is_told(app):
    """What restore would bring back is worth knowing before its row is given up."""
    app.keep_versions()
    superseded(app, "old")
    app.put("old")
    app.hide("old")
    assert "1 of those looked at are hidden by a delete marker only" in " ".join(app.program.run(*OLD).stdout.split())


def test_what_cannot_be_is_said_before_anything_is_done(app, database):
    """A wrong age, a finding that there is not, a right that lacks: status 2, and the way out."""
    superseded(app, "old")
    for words in (("purge", "--older-than", "month"), (*OLD, "77"), (*OLD, "--limit", "0")):
        assert app.program.run(*words).returncode == 2
    reader = sql.Identifier(f"purger_{app.bucket[-6:]}")
    app.connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(reader))
    app.connection.execute(sql.SQL("GRANT USAGE ON SCHEMA reconciler TO {}").format(reader))
    for grant in (
        "ALL ON ALL TABLES IN SCHEMA reconciler",
        "SELECT, UPDATE ON file_versions",
        "SELECT ON storage_files",
    ):
        app.connection.execute(sql.SQL("GRANT {} TO {}").format(sql.SQL(grant), reader))
    with psycopg.connect(database) as opened:
        url = f"postgresql://{reader.as_string().strip(chr(34))}:x@{opened.info.host}:{opened.info.port}/{opened.info.dbname}"
    ended = app.program.run(*OLD, "--apply", RECONCILER_DATABASE__URL=url)
    assert (ended.returncode, 'GRANT DELETE ON "public"."file_versions"' in ended.stderr) == (2, True)
    assert "old" in app.statuses()
