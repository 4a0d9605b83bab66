"""A bucket's event rules on a real MinIO: removed, narrowed, changed, each is noticed and told."""

from contextlib import ExitStack
from dataclasses import replace

import pytest
from minio.notificationconfig import NotificationConfig, PrefixFilterRule, QueueConfig

from consumer.duties import rulewatch
from consumer.duties.duty import do_one
from consumer.duties.figures import rule_figures
from reconcile.model import Unavailable
from reconcile.store.eventrules import EVENTS, EventRule, lacking, state
from reconcile.store.objects import Objects
from reconcile.store.server import Server
from tests.support import consuming, storage
from tests.support.proxy import BUSY, Proxy

KAFKA = "arn:minio:sqs::X:kafka"
DUTY = "SELECT checkpoint FROM reconciler.lease WHERE task = 'duty rules'"


@pytest.fixture
def site(tmp_path, database, minio, kafka, bucket):
    """Make an application whose bucket reports to the stack's topic."""
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, kafka.topic, bucket) as made:
        yield made


@pytest.fixture
def watched(site):
    """Return what watches once, and returns what is known then."""
    with ExitStack() as exits:
        world = consuming.world(site.settings(), exits, "one")

        def once(objects: Objects = world.objects) -> rulewatch.Watched:
            do_one(world, rulewatch.duty(objects, [site.bucket]), lambda *_: True)
            [(kept,)] = site.sql(DUTY)
            return rulewatch.read(kept)[site.bucket]

        yield once


def put(site, minio, *rules: QueueConfig) -> None:
    """Replace the bucket's rules."""
    site.client.set_bucket_notification(
        bucket_name=site.bucket, config=NotificationConfig(queue_config_list=list(rules))
    )


def test_removed_narrowed_and_changed_rules_are_noticed_and_told(site, minio, watched):
    """At first they are as they are; each change has its time, and `status` shows state, lack and time."""
    whole = QueueConfig(events=list(EVENTS), queue=minio.arn)
    put(site, minio, whole)
    first = watched()
    assert (first.state, first.lacking, first.changed_at) == ("whole", (), 0)
    put(site, minio, QueueConfig(events=["s3:ObjectCreated:*"], queue=minio.arn))
    narrowed = watched()
    assert (narrowed.state, narrowed.lacking) == ("narrowed", EVENTS[1:])
    assert narrowed.changed_at > 0
    assert watched() == narrowed
    put(site, minio)
    removed = watched()
    assert (removed.state, removed.lacking) == ("removed", EVENTS)
    assert removed.changed_at > narrowed.changed_at
    told = {(one.name, one.labels): one.value for one in rule_figures({"b": removed})}
    assert [told["reconciler_rules_lacking", ("b", event)] for event in EVENTS] == [1] * len(EVENTS)
    assert told["reconciler_rules_changed_timestamp_seconds", ("b",)] == removed.changed_at
    shown = site.program.run("status")
    assert "removed" in shown.stdout
    [line] = site.program.json("status")["rules"]
    assert (line["bucket"], line["rules"], line["lacking"]) == (site.bucket, "removed", ", ".join(EVENTS))
    only_some = QueueConfig(events=list(EVENTS), queue=minio.arn, prefix_filter_rule=PrefixFilterRule("users/"))
    put(site, minio, only_some)
    assert (watched().state, watched().lacking) == ("narrowed", EVENTS)
    put(site, minio, whole)
    again = watched()
    assert (again.state, again.lacking) == ("whole", ())
    assert again.changed_at > removed.changed_at


def test_what_may_not_be_read_is_told_and_is_no_change(site, minio, watched):
    """MinIO's refusal ends nothing: the state says so, and the next reading goes on from the one before."""
    before = watched()
    with Objects(Server(minio.url, minio.user, "wrong-word")) as stranger:
        refused = watched(stranger)
    assert refused.state == "refused"
    assert "403" in refused.why
    assert "wrong-word" not in refused.why
    assert watched() == before
    told = {(one.name, one.labels): one.value for one in rule_figures({"b": refused})}
    assert told["reconciler_rules_refused", ("b",)] == 1
    assert ("reconciler_rules_lacking", ("b", EVENTS[0])) not in told  # nobody knows


def test_a_bucket_that_minio_does_not_serve_hinders_no_other(site, minio):
    """Of the other a change is noticed; what was known of the silent one stays, and the outage is told."""
    host, port = minio.endpoint.split(":")
    other = storage.new_bucket(minio)
    with (
        ExitStack() as exits,
        Proxy(host, int(port)) as between,
        Objects(Server(between.url, minio.user, minio.password, timeout_s=5.0)) as objects,
    ):
        world = consuming.world(site.settings(), exits, "one")
        duty = rulewatch.duty(objects, [site.bucket, other])
        known = lambda: rulewatch.read(site.sql(DUTY)[0][0])  # noqa: E731
        do_one(world, duty, lambda *_: True)
        before = known()
        site.client.set_bucket_notification(bucket_name=other, config=NotificationConfig())
        between.set(replace(BUSY, method=f"GET /{site.bucket}?"))
        with pytest.raises(Unavailable):
            do_one(world, duty, lambda *_: True)
    assert known()[site.bucket] == before[site.bucket]
    assert (before[other].state, known()[other].state) == ("narrowed", "removed")


@pytest.mark.parametrize(
    ("rules", "expected", "lacks"),
    [
        ([EventRule(KAFKA, EVENTS)], "whole", 0),
        ([EventRule(KAFKA, ("s3:*",))], "whole", 0),
        ([EventRule(KAFKA, EVENTS[:1]), EventRule(KAFKA, EVENTS[1:])], "whole", 0),
        ([EventRule(KAFKA, ("s3:ObjectRemoved:Delete",))], "narrowed", 3),
        ([EventRule(KAFKA, EVENTS, "a/")], "narrowed", 3),
        ([EventRule(KAFKA, EVENTS, "", ".jpg"), EventRule(KAFKA, EVENTS[:1])], "narrowed", 2),
        ([EventRule(KAFKA, ("s3:ObjectAccessed:*",))], "removed", 3),
        ([EventRule("arn:minio:sqs::X:webhook", EVENTS)], "removed", 3),
        ([], "removed", 3),
    ],
)
def test_what_rules_come_to(rules, expected, lacks):
    """Only rules to Kafka count, and only those for every key are whole; several may share the events."""
    assert state(rules) == expected
    assert len(lacking(rules)) == lacks


def test_of_several_targets_that_which_is_meant_counts_whatever_its_region():
    """MinIO writes its region into the name of each."""
    rules = [EventRule("arn:minio:sqs:eu-west-1:ONE:kafka", EVENTS), EventRule("arn:minio:sqs::TWO:kafka", EVENTS[:1])]
    wanted = {
        "arn:minio:sqs::ONE:kafka": "whole",
        "arn:minio:sqs::TWO:kafka": "narrowed",
        "arn:minio:sqs::_:kafka": "removed",
    }
    assert {arn: state(rules, arn=arn) for arn in wanted} == wanted
