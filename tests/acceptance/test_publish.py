"""`consume` with `stream.publish_findings`, from `init` to whoever reads the findings topic."""

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from tests.support import consuming
from tests.support.publishing import WAITING, acts, published
from tests.support.waiting import until

ON = {
    "RECONCILER_STREAM__PUBLISH_FINDINGS": "true",
    "RECONCILER_FLAGGING": "true",
    "RECONCILER_POLICY__MISSING_GRACE": "300ms",
}


@pytest.fixture
def site(tmp_path, database, minio, kafka, topic):
    """Make an application whose process publishes."""
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, topic) as made:
        made.program.environ.update(ON)
        yield made


def test_init_makes_the_topic_and_the_consumer_fills_it(site):
    """A deletion is told as suspected and flagged, also by a command; what is told is marked."""
    plan = site.program.json("init", "--only", "kafka")
    assert [act["subject"] for act in plan] == [f"{site.topic}.findings"]
    site.program.json("init", "--only", "kafka", "--apply")
    row = site.row("a")
    with site.program.running("consume") as process:
        site.send([site.removed("a")])
        until(lambda: site.status(row) == "corrupted", 30, site.program.log())
        read = published(site, 2)
        assert acts(read, "a") == ["suspected", "flagged"]
        [number] = {change.finding for _, change in read}
        assert site.program.run("findings", "ignore", str(number), "--why", "known", "--apply").returncode == 0
        assert acts(published(site, 3), "a")[2:] == ["ignored"]
        until(lambda: site.sql(WAITING) == [(0,)])
        process.terminate()
        assert process.wait(10) == 0
    assert [change.why for _, change in published(site, 3) if change.act == "ignored"] == ["known"]


@pytest.mark.invariant(2)
@pytest.mark.parametrize("topic", ["TOPIC", "DEAD_LETTER_TOPIC", "FINDINGS_TOPIC"])
def test_no_topic_of_ours_is_compacted(site, kafka, topic):
    """A broker whose default that is would drop events, changes of a finding, and refuse letters without a key."""
    name = site.program.environ[f"RECONCILER_STREAM__{topic}"] = f"{site.topic}.{topic.lower()}"
    site.program.json("init", "--only", "kafka", "--apply")
    asked = ConfigResource(ResourceType.TOPIC, name)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    policy = until(lambda: admin.describe_configs([asked])[asked].result(10))["cleanup.policy"]
    assert (policy.value, policy.is_default) == ("delete", False)


def test_a_topic_that_the_broker_cannot_make_is_a_fault_that_names_the_options(site):
    """It is there and answers: to wait for it, or to correct its address, would help nothing."""
    refused = site.program.run("init", "--only", "kafka", "--replication", "9", "--apply")
    assert refused.returncode == 2, refused.stderr
    told = (f"{site.topic}.findings", "INVALID_REPLICATION_FACTOR", "--replication")
    assert all(word in refused.stderr for word in told), refused.stderr


def test_a_findings_topic_that_is_not_there_ends_the_consumer_and_names_the_way_out(site):
    """It does not run on, and let what it was to publish wait for ever."""
    ended = site.program.process("consume")
    assert ended.returncode == 2, ended.stderr
    assert f"topic '{site.topic}.findings' does not exist" in ended.stderr
    assert "init --only kafka --apply" in ended.stderr
