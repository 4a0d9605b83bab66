"""Whether the stream has passed a moment, asked of a real MinIO that wants a token, and of a real broker."""

import secrets
import tempfile
import threading
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from time import monotonic

import minio as minio_py
import pytest
from confluent_kafka import Consumer, TopicPartition
from minio.credentials import StaticProvider

from consumer.duties.passed import FIGURES, Figures, Queue, bearer, figures_of, incomplete, passed, through
from consumer.kafka.positions import group_offsets
from deploy.local import kafka as kafkas
from deploy.local import minio as minios
from deploy.local.place import Place, Way
from reconcile.model import Unavailable
from reconcile.store.objects import Objects
from reconcile.store.server import Server
from tests.support import storage
from tests.support.waiting import until

FORBIDDEN = "MinIO answers HTTP 403; grant the access key admin:Prometheus"


@pytest.fixture(scope="module")
def place(stack_place):
    """Give a directory to servers of this module's own; named ones cannot be told how to start."""
    if stack_place.way is Way.ENVIRONMENT:
        pytest.skip("servers that are named by the environment are not configured here")
    with tempfile.TemporaryDirectory(prefix="reconciler-passed-") as directory, ExitStack() as exits:
        yield Place(Path(directory), exits, stack_place.way, stack_place.network)


@pytest.fixture(scope="module")
def stream(place, kafka):
    """Name a broker and a topic to which only this module's MinIO writes."""
    topic = f"passed-{secrets.token_hex(4)}"
    kafkas.create_topic(kafka.bootstrap, topic, 4)
    return replace(kafka, topic=topic)


@pytest.fixture(scope="module")
def strict_minio(place, stream):
    """Start a MinIO whose metrics want a token, as they do unless it is told otherwise."""
    usual = minios.settings

    def strict(*words):
        return {name: value for name, value in usual(*words).items() if name != "MINIO_PROMETHEUS_AUTH_TYPE"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minios, "settings", strict)
        return minios.find_or_start(place, stream)


@pytest.fixture
def upload(strict_minio):
    """Return what puts an object whose event goes to the topic."""
    name, client = storage.new_bucket(strict_minio), storage.client(strict_minio)
    return lambda: client.put_object(bucket_name=name, object_name=secrets.token_hex(4), data=BytesIO(), length=0)


@pytest.fixture
def store(strict_minio):
    """Open the objects' side of that MinIO."""
    with Objects(server_of(strict_minio)) as opened:
        yield opened


@pytest.fixture
def group(stream):
    """Give a user's [kafka] with a group that does not exist yet."""
    return {"bootstrap.servers": stream.bootstrap, "group.id": f"passed-{secrets.token_hex(4)}", "log_level": 0}


@pytest.fixture
def admin(strict_minio):
    """Give the administration of that MinIO."""
    credentials = StaticProvider(strict_minio.user, strict_minio.password)
    return minio_py.MinioAdmin(
        endpoint=strict_minio.endpoint, credentials=credentials, region=strict_minio.region, secure=strict_minio.secure
    )


def server_of(minio, **changes):
    """Say how to reach a MinIO, perhaps as somebody else."""
    return Server(**{"endpoint": minio.url, "access_key": minio.user, "secret_key": minio.password, **changes})


def marks(stream, group):
    """Return where the topic's partitions end, as soon as a broker that has just started can tell."""

    def ask():
        with suppress(Unavailable):
            return {one.partition: one.high_watermark for one in group_offsets(stream.topic, group)}

    return until(ask, what="the broker answers")


def sent(stream, group, upload):
    """Put an object, and return when its event is in the topic."""
    before = marks(stream, group)
    upload()
    until(lambda: marks(stream, group) != before, what="the event arrives")


def read(stream, group, but=0):
    """Commit for the group all there is, less so many records of the first partition that has them."""
    ends = marks(stream, group)
    if but:
        ends[next(partition for partition, end in ends.items() if end >= but)] -= but
    with closing(Consumer(group)) as consumer:
        consumer.commit(offsets=[TopicPartition(stream.topic, *end) for end in ends.items()], asynchronous=False)


def test_without_events_it_is_past_at_once(store, stream, group):
    """Nothing is queued, nothing is unread, and no figure has to grow old for that."""
    read(stream, group)
    begun = monotonic()
    assert passed(store, stream.topic, group).proven
    assert monotonic() - begun < 8


def test_an_event_that_is_sent_and_read_is_passed(store, stream, group, upload):
    """The figures of before the upload are not taken for those of after it."""
    figures_of(store.metrics(FIGURES, bearer_of(store)).decode())
    sent(stream, group, upload)
    read(stream, group)
    assert passed(store, stream.topic, group).proven


def test_a_group_that_lags_is_waited_for_until_the_deadline(store, stream, group, upload):
    """What is unread is told, and what is read in the meantime counts."""
    sent(stream, group, upload)
    read(stream, group, but=1)
    begun = monotonic()
    answer = passed(store, stream.topic, group, begun - 60, 1.0)
    assert not answer.proven
    assert f"has not read 1 records of {stream.topic!r}" in answer.why
    assert "it lags" in answer.why
    assert monotonic() - begun < 4
    timer = threading.Timer(1.0, read, (stream, group))
    timer.start()
    assert passed(store, stream.topic, group, begun - 60).proven
    timer.join()


def test_a_group_that_does_not_exist_is_not_waited_for_without_end(store, stream, group, upload):
    """Nobody has ever read: not passed, with a hint at the group's name."""
    sent(stream, group, upload)
    begun = monotonic()
    answer = passed(store, stream.topic, group, begun - 60, 1.0)
    assert not answer.proven
    assert "it has never committed" in answer.why
    assert monotonic() - begun < 4


def test_what_waits_in_a_queue_is_not_passed(store, stream, group, upload):
    """The broker stands still: the event is in the queue of its target, until the broker goes on."""
    read(stream, group)
    stream.control.freeze()
    try:
        upload()
        answer = passed(store, stream.topic, group, patience_s=12.0)
        assert not answer.proven
        assert "1 events wait in the queue of target RECON on " in answer.why
    finally:
        stream.control.thaw()
    assert "it lags" in passed(store, stream.topic, group).why, (
        "the event is in the topic, and the group has not read it"
    )
    read(stream, group)
    assert passed(store, stream.topic, group).proven


def test_an_access_key_without_the_right_is_told_so(strict_minio, stream, group, admin):
    """The right to read objects is not that to read metrics; the latter alone is enough."""
    admin.user_add("reader", "reader-secret")
    admin.policy_set("readwrite", user="reader")
    with Objects(server_of(strict_minio, access_key="reader", secret_key="reader-secret")) as store:
        answer = passed(store, stream.topic, group)
        assert not answer.proven
        assert FORBIDDEN in answer.why
        assert "MINIO_PROMETHEUS_AUTH_TYPE=public" in answer.why
        read(stream, group)
        admin.policy_set("diagnostics", user="reader")
        assert passed(store, stream.topic, group).proven


def test_a_wrong_secret_is_refused(strict_minio, stream, group):
    """At once: a refusal does not change by waiting."""
    begun = monotonic()
    with Objects(server_of(strict_minio, secret_key="wrong")) as store:
        assert FORBIDDEN in passed(store, stream.topic, group).why
    assert monotonic() - begun < 3


def test_public_metrics_need_no_right(minio, stream, group):
    """The stack's own MinIO shows its metrics to everybody."""
    with Objects(server_of(minio, secret_key="wrong")) as store:
        assert figures_of(store.metrics(FIGURES, "no token").decode()).nodes == 1


def test_servers_that_do_not_answer_are_waited_for_and_named(store, stream, group):
    """MinIO or the broker is away: not passed within the time, and which it was."""
    with Objects(Server("http://127.0.0.1:9", "a", "b")) as nobody:
        assert "minio is unavailable" in passed(nobody, stream.topic, group, patience_s=0.5).why
    away = group | {"bootstrap.servers": "127.0.0.1:9"}
    assert "kafka is unavailable" in passed(store, stream.topic, away, monotonic() - 60, 0.5).why


def test_a_topic_that_does_not_exist_is_told(store, group):
    """A fault that does not go away ends the waiting."""
    assert "does not exist" in passed(store, "no-such-topic", group, monotonic() - 60).why


def test_each_node_must_tell_of_its_queue():
    """A node that is away takes its queue with it, so the others' empty ones prove nothing."""
    told = """
minio_cluster_nodes_offline_total{server="a:9000"} 1
minio_cluster_nodes_online_total{server="a:9000"} 1
minio_notify_events_sent_total{server="a:9000"} 7
minio_notify_target_current_send_in_progress{server="a:9000",target_id="x",target_name="kafka"} 0
minio_notify_target_failed_events{server="a:9000",target_id="x",target_name="kafka"} 2
minio_notify_target_queue_length{server="a:9000",target_id="x",target_name="kafka"} 1.2e+03
minio_notify_target_queue_length{server="a:9000",target_id="w",target_name="webhook"} 9
minio_notify_target_total_events{server="a:9000",target_id="x",target_name="kafka"} 7
"""
    found = figures_of(told)
    assert found == Figures((Queue("a:9000", "x", 7, 2, 0, 1200),), 2, 7)
    assert incomplete(found) == "only 1 of MinIO's 2 nodes tell of their queues"
    assert incomplete(found._replace(nodes=1)) == ""
    assert "no Kafka target" in incomplete(figures_of(""))


@pytest.mark.parametrize(
    ("now", "is_through"),
    [
        (Queue("a", "x", 10, 0, 0, 0), True),
        (Queue("a", "x", 13, 0, 0, 4), False),
        (Queue("a", "x", 14, 0, 0, 4), True),
        (Queue("a", "x", 14, 0, 1, 4), False),
        (Queue("a", "x", 14, 1, 0, 4), False),
        (Queue("a", "y", 14, 0, 0, 4), False),
        (Queue("a", "x", 2, 0, 0, 1), False),
    ],
)
def test_a_queue_that_never_empties_is_through_when_it_has_sent_what_had_come(now, is_through):
    """Ten had come: those that came since may wait; a failed one, and a restarted MinIO's count, do not help."""
    assert through(now, [Queue("a", "x", 10, 0, 1, 3)]) is is_through


def bearer_of(store):
    """Return a token of the store's own."""
    return bearer(store.server.access_key, store.server.secret_key, datetime(2099, 1, 1, tzinfo=UTC))
