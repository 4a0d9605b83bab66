"""`doctor` over a real broker, its topics and groups; and what a consumer has kept of its lanes."""

from __future__ import annotations

import json
import shlex
from contextlib import closing

import confluent_kafka as ck
import msgspec
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from consumer.doctor.check import Mark
from consumer.duties import canary
from consumer.roles import Acl
from deploy.local import kafka as kafkas
from tests.support import admitting, consuming
from tests.support.examining import one, settings, told
from tests.support.foreign import foreign
from tests.support.waiting import until

ALWAYS = ("kafka.topics", "kafka.retention", "kafka.compaction", "kafka.group")


def encoded(judged):
    """Return a judgement as it is kept."""
    return msgspec.json.encode(judged).decode()


def configure(site, topic, **entries):
    """Set what a topic is configured with."""
    admin = AdminClient({"bootstrap.servers": site.kafka["bootstrap.servers"], "log_level": 0})
    resource = ConfigResource(
        ConfigResource.Type.TOPIC,
        topic,
        incremental_configs=[
            ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for name, value in entries.items()
        ],
    )
    admin.incremental_alter_configs([resource])[resource].result()


def mended(site, check):
    """Do what a fix says with Kafka's own command line, by its client."""
    words = shlex.split(check.fix)
    name, _, value = words[words.index("--add-config") + 1].partition("=")
    configure(site, words[words.index("--entity-name") + 1], **{name.replace(".", "_"): value})


def test_all_is_well_with_a_fresh_topic(site):
    """Seven days, every event kept, a group of its own; a broker that just started has its groups to load first."""
    until(lambda: one(site.settings(), "kafka.group").mark is not Mark.UNSEEN, 30)
    checks = told(site.settings(), *ALWAYS)
    assert {check.mark for name in ALWAYS for check in checks[name]} == {Mark.OK}, checks


def test_a_broker_that_is_away_or_has_another_name_is_one_fault(tmp_path, site):
    """What needs it is not checked; the certificate's name is told as that."""
    away = told(site.settings(RECONCILER_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1"), "kafka.retention")
    assert [(check.mark, "bootstrap.servers" in check.fix) for check in away["kafka"]] == [(Mark.BAD, True)]
    assert [check.mark for check in away["kafka.retention"]] == [Mark.UNSEEN]
    with foreign(tmp_path, "elsewhere.test") as (port, ca):
        secure = {"RECONCILER_KAFKA__SECURITY_PROTOCOL": "SSL", "RECONCILER_KAFKA__SSL_CA_LOCATION": str(ca)}
        secure["RECONCILER_KAFKA__BOOTSTRAP_SERVERS"] = f"127.0.0.1:{port}"
        moved = one(site.settings(**secure), "kafka")
        assert (moved.mark, "subjectAltName" in moved.fix) == (Mark.BAD, True), moved
    with foreign(tmp_path, "localhost") as (port, _):
        secure = {"RECONCILER_KAFKA__SECURITY_PROTOCOL": "SSL"}
        secure["RECONCILER_KAFKA__BOOTSTRAP_SERVERS"] = f"localhost:{port}"
        unknown = one(site.settings(**secure), "kafka")
        assert (unknown.mark, "ssl.ca.location" in unknown.fix) == (Mark.BAD, True), unknown


def test_a_topic_that_is_not_there(site):
    """The command that creates it is the fix."""
    missing = one(site.settings(RECONCILER_STREAM__DEAD_LETTER_TOPIC="no-such-topic"), "kafka.topics")
    assert (missing.mark, "'no-such-topic'" in missing.found) == (Mark.BAD, True)
    assert missing.fix == "storage-reconciler init --only kafka --apply"


def test_a_retention_that_is_too_short_and_one_by_size(site):
    """An hour loses what a consumer misses by night, two days a weekend."""
    for kept, mark in (("3600000", Mark.BAD), ("172800000", Mark.WARN)):
        configure(site, site.topic, retention_ms=kept)
        found = one(site.settings(), "kafka.retention")
        assert found.mark is mark
        mended(site, found)
        assert one(site.settings(), "kafka.retention").mark is Mark.OK
    configure(site, site.topic, retention_bytes="1048576")
    by_size, by_time = told(site.settings(), "kafka.retention")["kafka.retention"]
    assert (by_size.mark, "1.0 MiB" in by_size.found, by_time.mark) == (Mark.WARN, True, Mark.OK)


def test_a_compacted_topic(site):
    """Only the last event of an object would be left."""
    configure(site, site.topic, cleanup_policy="compact")
    found = one(site.settings(), "kafka.compaction")
    assert found.mark is Mark.BAD
    mended(site, found)
    assert one(site.settings(), "kafka.compaction").mark is Mark.OK


def test_another_service_in_our_group(site, new_topic):
    """It reads another topic, or has committed our own; our own commits are ours."""
    site.row("new")
    site.put("new")
    site.send([site.created("new")])
    with consuming.consuming(site.settings()) as consumer:
        consuming.turning(consumer, until_true=site.caught_up)
        assert one(site.settings(), "kafka.group").mark is Mark.OK
    other = new_topic(1)
    settings = {"bootstrap.servers": site.kafka["bootstrap.servers"], "group.id": site.kafka["group.id"]}
    with closing(ck.Consumer({**settings, "log_level": 0})) as stranger:
        stranger.commit(offsets=[ck.TopicPartition(other, 0, 0)], asynchronous=False)
        found = one(site.settings(), "kafka.group")
        assert (found.mark, repr(other) in found.found, "group.id" in found.fix) == (Mark.BAD, True, True)
        stranger.commit(offsets=[ck.TopicPartition(site.topic, 1, 0)], asynchronous=False)
        _, committed = told(site.settings(), "kafka.group")["kafka.group"]
        assert (committed.mark, "partitions 1" in committed.found) == (Mark.BAD, True)


def test_without_kafka_there_is_nothing_to_see(database):
    """A trial needs none, and is told of no fault for it."""
    checks = told(settings(database), "kafka.group", "minio.rules", "lanes")
    for name in ("stream", "kafka.group", "minio.rules", "lanes"):
        assert [check.mark for check in checks[name]] == [Mark.UNSEEN]


def test_a_lane_that_is_silent_and_a_sweep_that_is_wanted(site):
    """As the process that sends the canary has judged; nobody who sends one is a fault, too."""
    assert one(site.settings(), "lanes").fix == '[canary] interval = "1m"'
    watched = site.settings(RECONCILER_CANARY__INTERVAL="1m")
    assert one(watched, "lanes").fix == "storage-reconciler consume"
    given = {"bucket": site.bucket, "number": 7, "owner": "test", "forgotten": "0", "left": "null"}
    site.connection.execute(canary.SQL["send"], given)
    judged = canary.Judged(silent={"durable": ("rule_removed", "no rule sends it")})
    told_of = {"bucket": site.bucket, "lanes": ["durable"], "owner": "test", "judged": encoded(judged)}
    site.connection.execute(canary.SQL["judge"], told_of)
    found = one(watched, "lanes")
    assert (found.mark, "durable lane is silent" in found.found) == (Mark.BAD, True)
    assert "init --only bucket --apply" in found.fix
    site.connection.execute(canary.SQL["judge"], told_of | {"judged": encoded(canary.Judged())})
    assert one(watched, "lanes").mark is Mark.OK
    assert one(watched, "losses").mark is Mark.OK


def test_the_command_tells_all_and_its_exit_status_is_that_of_the_worst(site):
    """Table and JSON from the same answer; a fix is there in full."""
    ended = site.program.run("doctor")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "✗ minio.rules" in ended.stdout
    rows = {row["check"]: row for row in json.loads(site.program.run("doctor", "-o", "json").stdout)}
    assert rows["database"]["mark"] == "✓"
    assert rows["minio.rules"]["fix"] in ended.stdout
    assert site.program.environ["RECONCILER_MINIO__SECRET_KEY"] not in ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def guarded(stack_place):
    """Start a broker of this module's own that wants a password and grants nothing by itself."""
    with admitting.broker(stack_place, ["alice"]) as (broker, secure):
        kafkas.create_topic(broker.bootstrap, f"{broker.topic}.dead-letter", 1)
        yield broker, secure


def allow(broker, operation):
    """Let alice do something with every topic, and with the group."""
    admitting.allow(broker, (Acl("alice", (operation,), kind, "*") for kind in ("topic", "group")))


def test_a_wrong_password_and_rights_that_lack(database, guarded):
    """Each is told as what it is; the password is in no word of it."""
    broker, secure = guarded
    kafka = admitting.login(secure, "alice")
    wrong = one(settings(database, kafka={**kafka, "sasl.password": "s3cr3t"}), "kafka")
    assert (wrong.mark, "sasl.username" in wrong.fix, "s3cr3t" in str(wrong)) == (Mark.BAD, True, False), wrong
    let_in = settings(database, kafka=kafka)
    unseen = told(let_in, "kafka.topics")["kafka.topics"]
    assert [(check.mark, "we may not see it" in check.found) for check in unseen] == [(Mark.BAD, True)] * 2
    allow(broker, "Describe")
    until(lambda: one(let_in, "kafka.topics").mark is Mark.OK)
    closed = one(let_in, "kafka.retention")
    assert (closed.mark, "DescribeConfigs" in closed.fix) == (Mark.UNSEEN, True), closed
    allow(broker, "DescribeConfigs")
    until(lambda: one(let_in, "kafka.retention").mark is Mark.OK)
