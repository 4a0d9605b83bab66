"""`suppress` as a person uses it: planned, set, listed, in the status, lifted, and ended by a duty."""

import json
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from consumer.duties.duty import all_duties, do_one
from reconcile.config.settings import Retention
from tests.support import consuming
from tests.support.waiting import until

ADD = ("suppress", "add", "--who", "ann", "--why", "restore from backup")
ON = "SELECT count(*) FROM reconciler.restraint WHERE effect = 'suppress' AND lifted_at IS NULL"


def add(site, *words, **changed):
    """Run `suppress add`."""
    return site.program.run(*ADD, "--bucket", site.bucket, *words, "-o", "json", **changed)


def test_a_window_is_planned_then_set_with_who_and_why_and_shown_by_status(site):
    """The plan writes nothing; list and status tell until when, by whom and why."""
    assert json.loads(add(site, "--until", "2h").stdout)[0]["status"] == "planned"
    assert site.sql(ON) == [(0,)]
    done = add(site, "--prefix", "users/", "--until", "2h", "--apply")
    assert done.returncode == 0, done.stderr
    [listed] = site.program.json("suppress", "list")
    assert (listed["bucket"], listed["keys"], listed["state"]) == (site.bucket, "/users/**", "on")
    [shown] = site.program.json("status")["restraints"]
    assert (shown["restraint"], shown["set_by"], shown["why"]) == ("suppress 1", "ann", "restore from backup")
    assert shown["until_at"] == listed["until_at"]
    kept = site.sql("SELECT actor, act, subject, why FROM reconciler.history")
    assert kept == [("ann", "suppressed", "suppress 1", "restore from backup")]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--until", "yesterday"), "--until: 'yesterday'"),
        (("--until", "2020-01-31"), "is over"),
        (("--until", "2h", "--bucket", "elsewhere"), "--bucket 'elsewhere'"),
        (("--until", "2h", "--why", ""), "--why is missing"),
    ],
)
def test_what_cannot_be_meant_is_named(site, words, named):
    """Nothing is set."""
    ended = add(site, *words, "--apply")
    assert (ended.returncode, named in ended.stderr) == (2, True), ended.stderr
    assert site.sql(ON) == [(0,)]


def test_the_stream_observes_under_a_window_and_flags_when_it_is_lifted(site):
    """A deletion is seen as suspected; lifting has it looked at at once, and flagged."""
    row = site.row("a")
    assert add(site, "--until", "1d", "--apply").returncode == 0
    site.send([site.removed("a")])
    with consuming.consuming(site.settings(RECONCILER_FLAGGING="true")) as consumer:
        held = "SELECT state, held_by FROM reconciler.finding"
        consuming.turning(consumer, until_true=lambda: site.sql(held) == [("suspected", "window 1")])
        assert site.status(row) == "active"
        assert site.program.run("suppress", "lift", "1", "--who", "bob").returncode == 0
        assert site.sql(ON) == [(1,)]
        assert site.program.run("suppress", "lift", "1", "--who", "bob", "--apply").returncode == 0
        consuming.turning(consumer, until_true=lambda: site.status(row) == "corrupted")
    assert site.acts("a") == ["suspected", "held", "flagged"]
    assert site.program.json("suppress", "list") == []
    [ended] = site.program.json("suppress", "list", "--all")
    assert ended["state"] == "ended by bob"
    assert site.program.run("suppress", "lift", "1", "--apply").returncode == 2


@pytest.mark.parametrize("words", [("replay", "--from", "earliest", "--apply"), ("sweep", "--fix")])
def test_what_a_window_holds_is_not_told_as_held_by_the_brake(site, words):
    """It is counted by its own name and is no refusal: the status is 0, and no brake is to be released."""
    site.row("a", created_at=datetime(2025, 9, 7, tzinfo=UTC))
    site.row("b", created_at=datetime(2025, 9, 7, tzinfo=UTC))
    site.put("b")
    site.send([site.removed("a")])
    assert add(site, "--until", "1d", "--apply").returncode == 0
    ended = site.program.run(*words, "-o", "json", RECONCILER_FLAGGING="true", RECONCILER_POLICY__MISSING_GRACE="0s")
    report = json.loads(ended.stdout)
    assert report.get("totals", report)["held_by_window"] == 1
    assert "brake" not in ended.stdout
    assert ended.returncode == 0, ended.stderr


def test_a_duty_ends_the_window_whose_time_is_over(site):
    """Whatever is not closed below it gets a look at once, and nothing beside it."""
    assert add(site, "--prefix", "in/", "--until", "1d", "--apply").returncode == 0
    add_open = "INSERT INTO reconciler.finding (bucket, key, kind, state) VALUES (%s, %s, 'orphan', 'open')"
    for key in ("in/a", "in/b", "out"):
        site.sql(add_open, site.bucket, key)
    site.sql("UPDATE reconciler.restraint SET until = now()")
    [listed] = site.program.json("suppress", "list")
    assert listed["state"] == "over, and being looked at again"
    with ExitStack() as exits:
        world = consuming.world(site.settings(), exits, "duties")
        duty = next(one for one in all_duties(Retention()) if one.name == "suppression")
        do_one(world, duty, lambda *_: True)
    assert until(lambda: site.sql(ON) == [(0,)])
    assert site.sql("SELECT key FROM reconciler.look WHERE due_at <= now() ORDER BY key") == [("in/a",), ("in/b",)]
