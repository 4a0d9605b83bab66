"""The ACLs that `roles acls` prints, on a real broker that grants nothing else: each role does its part and no more."""

from __future__ import annotations

import json

import confluent_kafka as ck
import pytest

from consumer.roles import PREFIX, ROLES, acls
from tests.support import admitting, consuming
from tests.support.appointed import log_in
from tests.support.waiting import until

KAFKA = ("topics", "retention", "compaction", "group")
USERS = [f"{PREFIX}{name}" for name in ROLES]


@pytest.fixture(scope="module")
def guarded(stack_place):
    """Start a broker that knows every role by its name, and grants nothing yet."""
    with admitting.broker(stack_place, USERS) as found:
        yield found


@pytest.fixture
def site(tmp_path, database, minio, guarded, topic_name):
    """Make an application whose broker lets each role do what is printed for it."""
    broker, _ = guarded
    with consuming.superuser_site(tmp_path, database, minio, broker.bootstrap, topic_name) as made:
        admitting.allow(broker, acls(made.settings(), list(ROLES.values())))
        yield made


@pytest.fixture
def topic_name(guarded, request) -> str:
    """Name a topic of the test's own, which is not made yet."""
    return f"events-{abs(hash(request.node.name)) % 10_000_000}"


def topics(site: consuming.Site) -> set[str]:
    """Return the topics that there are."""
    return set(site.asker.list_topics(timeout=10).topics)


def test_only_the_owner_makes_topics(site, guarded):
    """The consumer's init is refused with status 2 and makes none; the owner's makes what lacks."""
    words = ("init", "--only", "kafka", "--partitions", "2", "--apply")
    refused = log_in(site.program, guarded[1], "consumer").process(*words)
    assert refused.returncode == 2, refused
    assert "roles acls" in refused.stderr
    assert site.topic not in topics(site)
    done = log_in(site.program, guarded[1], "owner").process(*words)
    assert done.returncode == 0, done.stderr
    assert site.topic in topics(site)


@pytest.mark.timeout(240)
def test_the_consumer_reads_commits_and_buries_and_the_reader_does_not(site, guarded):
    """As the reader it ends with status 2, and nothing is committed; as the consumer all is worked off."""
    words = ("init", "--only", "kafka", "--partitions", "4", "--apply")
    assert log_in(site.program, guarded[1], "owner").process(*words).returncode == 0
    site.send([site.created("orphan"), b"no JSON"])
    refused = log_in(site.program, guarded[1], "reader").process("consume")
    assert refused.returncode == 2, refused
    assert "roles acls" in refused.stderr
    assert site.committed() == {}
    consumer = log_in(site.program, guarded[1], "consumer")
    assert log_in(site.program, guarded[1], "reader").process("status").returncode == 0
    with consumer.running("consume", "--log-format", "json") as process:
        until(site.caught_up, 30, "all is committed")
        assert len(site.letters()) == 1
        process.terminate()
        assert process.wait(30) == 0
    reader = log_in(site.program, guarded[1], "reader")
    for words in (["list"], ["show", "0:1"]):
        assert reader.process("dead-letters", *words).returncode == 0, words
    examined = json.loads(reader.process("doctor", "-o", "json").stdout)
    of_kafka = {one["check"]: one["mark"] for one in examined if one["check"].startswith("kafka")}
    assert of_kafka == dict.fromkeys(("kafka", *(f"kafka.{one}" for one in KAFKA)), "✓")
    replayed = consumer.process("replay", "--from", "earliest")
    assert replayed.returncode == 0, replayed.stderr
    assert consumer.process("dead-letters", "list").returncode == 0


def test_the_consumer_can_write_no_event(site, guarded):
    """Nobody but MinIO writes what is believed to come from it."""
    words = ("init", "--only", "kafka", "--partitions", "1", "--apply")
    assert log_in(site.program, guarded[1], "owner").process(*words).returncode == 0
    told: list[ck.KafkaError | None] = []
    producer = ck.Producer({**admitting.login(guarded[1], f"{PREFIX}consumer"), "log_level": 0})
    producer.produce(site.topic, b"{}", on_delivery=lambda fault, _: told.append(fault))
    producer.flush(20)
    [fault] = told
    assert fault is not None
    assert fault.code() == ck.KafkaError.TOPIC_AUTHORIZATION_FAILED
