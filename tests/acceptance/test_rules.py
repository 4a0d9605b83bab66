"""Ignore rules as a person uses them: planned, set over what is there and what comes, listed, lifted, ended."""

import json
from contextlib import ExitStack

import pytest

from consumer.duties.duty import all_duties, do_one
from reconcile.config.settings import Retention
from reconcile.model import Hint, ObjectRef
from reconcile.reconciler import reconcile
from tests.support import consuming

IGNORE = ("findings", "ignore", "--who", "ann", "--why", "a migration's copies")
STATES = "SELECT key, state, held_by FROM reconciler.finding ORDER BY key"
ON = "SELECT count(*) FROM reconciler.restraint WHERE effect = 'ignore' AND lifted_at IS NULL"
KEPT = "INSERT INTO reconciler.finding (bucket, key, kind, state) VALUES (%s, %s, 'orphan', 'open')"


@pytest.fixture
def site(tmp_path, database, minio, kafka, topic):
    """Make an application with two orphans that are open."""
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, topic) as made:
        for key in ("copy/a", "other"):
            made.sql(KEPT, made.bucket, key)
        yield made


def ignore(site, *words):
    """Run `findings ignore`, and return what it tells."""
    ended = site.program.run(*IGNORE, *words, "-o", "json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture
def world(site):
    """Give what the service looks with."""
    with ExitStack() as exits:
        yield consuming.world(site.settings(), exits, "service")


def look(site, world, key):
    """Put an object and look at it."""
    site.put(key)
    reconcile(world, [Hint(ObjectRef(site.bucket, key))])


def test_a_rule_is_planned_then_set_and_holds_what_is_found_already_and_later(site, world):
    """The plan counts and writes nothing; list and status say what, until when, by whom and why; lifting reopens."""
    plan = ignore(site, "--prefix", "copy/", "--until", "90d")
    assert (plan["rule"], plan["keys"], plan["planned"]) == ("planned", "/copy/**", 1)
    assert (site.sql(ON), site.sql(STATES)[0]) == ([(0,)], ("copy/a", "open", None))
    assert ignore(site, "--prefix", "copy/", "--until", "90d", "--apply")["done"] == 1
    look(site, world, "copy/b")
    look(site, world, "beside")
    told = [("beside", "suspected", None), ("copy/a", "ignored", "rule 1"), ("copy/b", "ignored", "rule 1")]
    assert site.sql(STATES) == [*told, ("other", "open", None)]
    [listed] = site.program.json("findings", "rules", "list")
    assert [listed[name] for name in ("keys", "set_by", "why", "held", "state")] == [
        "/copy/**", "ann", "a migration's copies", 2, "in force",
    ]  # fmt: skip
    [shown] = json.loads(site.program.run("status", "-o", "json").stdout)["restraints"]  # whether or not Kafka answers
    assert (shown["restraint"], shown["until_at"]) == ("rule 1", listed["until_at"])
    left = site.program.json("findings", "reopen", "--prefix", "copy/", "--apply")
    assert {act["detail"] for act in left["acts"]} == {"rule 1 ignores it; findings rules lift 1 ends that"}
    lift = ("findings", "rules", "lift", "1", "--who", "bob")
    assert site.program.run(*lift).returncode == 0
    assert site.sql(ON) == [(1,)]
    assert site.program.run(*lift, "--apply").returncode == 0
    assert site.sql(STATES)[1:3] == [("copy/a", "suspected", None), ("copy/b", "suspected", None)]
    due = "SELECT key FROM reconciler.look WHERE due_at <= now() AND starts_with(key, 'copy/') ORDER BY key"
    assert site.sql(due) == [("copy/a",), ("copy/b",)]
    [ended] = site.program.json("findings", "rules", "list", "--all")
    assert ended["state"] == "ended by bob"
    by = site.sql("SELECT actor, act, why FROM reconciler.history WHERE subject = 'rule 1' ORDER BY id")
    assert by == [("ann", "rule set", "a migration's copies"), ("bob", "rule lifted", "")]


def test_a_duty_ends_the_rule_whose_time_is_over(site, world):
    """What it held is reopened, to be looked at at once; what a person ignored besides stays ignored."""
    assert site.program.run("findings", "ignore", "--prefix", "other", "--apply").returncode == 0
    ignore(site, "--pattern", "copy/*", "--kind", "orphan", "--until", "1d", "--apply")
    duty = next(one for one in all_duties(Retention()) if one.name == "ignore rules")
    do_one(world, duty, lambda *_: True)
    assert site.sql(ON) == [(1,)]
    site.sql("UPDATE reconciler.restraint SET until = now()")
    assert site.program.json("findings", "rules", "list")[0]["state"] == "over, and being reopened"
    do_one(world, duty, lambda *_: True)
    assert site.sql(STATES) == [("copy/a", "suspected", None), ("other", "ignored", None)]
    assert site.sql(ON) == [(0,)]
    assert site.program.run("findings", "rules", "lift", "1", "--apply").returncode == 2


def test_where_no_consumer_runs_the_sweep_ends_the_rule(site):
    """What it held is reopened by the very sweep that finds the rule over, and opened by it or by a later look."""
    site.put("copy/a")
    site.put("other")
    ignore(site, "--prefix", "copy/", "--until", "1d", "--apply")
    sweep = ("sweep", "--fix", "--margin", "0", "--bucket", site.bucket)
    environ = {name: "" for name in site.program.environ if name.startswith("RECONCILER_KAFKA__")}
    assert site.program.run(*sweep, **environ).returncode == 0
    assert site.sql(STATES)[0] == ("copy/a", "ignored", "rule 1")
    site.sql("UPDATE reconciler.restraint SET until = now()")
    assert site.program.run(*sweep, **environ).returncode == 0
    assert site.sql(STATES)[0] in {("copy/a", "open", None), ("copy/a", "suspected", None)}
    assert site.sql(ON) == [(0,)]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--prefix", "a", "--pattern", "b", "--until", "1d"), "--prefix, --pattern"),
        (("--bucket", "elsewhere", "--prefix", "a", "--until", "1d"), "--bucket 'elsewhere'"),
        (("--until", "1d"), "--prefix, --pattern"),
        (("--pattern", "[", "--until", "1d"), "--pattern '['"),
        (("--pattern", "a"), "--until"),
        (("--prefix", "a", "--until", "soon"), "--until: 'soon'"),
        (("--prefix", "a", "--until", "0s"), "is over"),
        (("--prefix", "a", "--until", "1d", "--since", "0s"), "--since: a rule does not go by it"),
        (("--prefix", "a", "--until", "1d", "--why", ""), "--why is missing"),
        (("--prefix", "a", "--until", "1d", "--owner", "me"), "--owner"),
        (("7", "--prefix", "a", "--until", "1d"), "ids"),
        (("--prefix", "a", "--until", "1d", "--kind", "orphan", "--kind", "missing"), "--kind"),
    ],
)
def test_what_cannot_be_a_rule_is_named(site, words, named):
    """Nothing is set, and nothing ignored."""
    ended = site.program.run(*IGNORE, *words, "--apply")
    assert (ended.returncode, named in ended.stderr) == (2, True), ended.stderr
    assert site.sql(ON) == [(0,)]
