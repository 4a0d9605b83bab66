"""The canary on real servers: each lane is timed, and of a silent one the likely cause is told."""

import json
import secrets
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import minio as minio_py
import pytest
from minio.commonconfig import ENABLED
from minio.credentials.providers import StaticProvider
from minio.notificationconfig import NotificationConfig
from minio.versioningconfig import VersioningConfig

from consumer.duties import canary
from consumer.duties.canary import DURABLE, EXPRESS, Keeper
from consumer.duties.duty import do_one
from consumer.duties.figures import canary_figures
from consumer.duties.silence import Causes
from deploy.local import minio as minios
from deploy.local.place import Place, Way
from reconcile.config.settings import Canary
from reconcile.model import ObjectRef, Unavailable
from reconcile.store.objects import Objects
from reconcile.store.server import Server
from reconcile.store.storing import Storing
from tests.support import consuming, proxy, storage
from tests.support.configuration import faults
from tests.support.waiting import until

ON = {"RECONCILER_CANARY__INTERVAL": "10s", "RECONCILER_CANARY__MISSES": "2"}
HIDDEN = "SELECT tally FROM reconciler.lease WHERE task = 'canary'"


@pytest.fixture
def site(tmp_path, database, minio, kafka, bucket):
    """Make an application whose bucket reports to the stack's topic."""
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, kafka.topic, bucket) as made:
        yield made


def server_of(minio) -> Server:
    """Say how to reach a MinIO."""
    return Server(minio.url, minio.user, minio.password, timeout_s=5.0)


class Flight:
    """Sends canaries into one bucket as the duty does, and tells what is known then."""

    def __init__(self, site, exits: ExitStack, server: Server, lanes=(DURABLE,), bucket: str = "") -> None:
        self.site, self.bucket = site, bucket or site.bucket
        settings = site.settings()
        self.world = consuming.world(settings, exits, "keeper")
        objects = exits.enter_context(Objects(server))
        causes = Causes(objects, self.world.database, site.topic, settings.kafka)
        storing = exits.enter_context(Storing(server, 5.0))
        self.keeper = Keeper(storing, Canary(misses=2), (self.bucket,), lanes, causes.of)

    def once(self) -> canary.Canary:
        """Do one turn of the duty."""
        do_one(self.world, self.keeper.duty(), lambda *_: True)
        return self.known()

    def known(self) -> canary.Canary:
        """Return what is kept."""
        with self.world.database.use() as connection:
            return canary.kept(connection)[self.bucket]

    def cause(self, lane: str = DURABLE) -> tuple[str, str]:
        """Send until the lane has missed enough of them, and return why."""
        for _ in range(4):
            known = self.once()
        return known.judged.silent[lane]


@pytest.fixture
def flight(site, minio):
    """Return what makes a flight over the site."""
    with ExitStack() as exits:
        yield lambda server=None, **more: Flight(site, exits, server or server_of(minio), **more)


@contextmanager
def reading(site, **changed: str):
    """Open a loop that notes what arrives."""
    with consuming.consuming(site.settings(**changed)) as consumer:
        consumer.arrived = partial(canary.arrived, consumer.world.database, DURABLE)
        yield consumer


def test_each_lane_is_timed_and_nothing_is_left_behind(site, flight):
    """The express lane tells at once, the durable one within its seconds; no finding, no object, no silence."""
    aloft = flight(lanes=(DURABLE, EXPRESS))
    with reading(site) as consumer, consuming.lane(site.settings(), site.bucket) as lane:
        lane.arrived = partial(canary.arrived, lane.world.database, EXPRESS)
        until(lambda: lane.state == "express.listening", 15, "the lane listens")
        aloft.once()
        arrived = lambda: {one: told.number for one, told in aloft.known().lanes.items()}  # noqa: E731
        consuming.turning(consumer, until_true=lambda: arrived() == {DURABLE: 1, EXPRESS: 1}, seconds=30)
        second = aloft.once()
    assert second.number == 2
    assert second.judged == canary.Judged()
    assert 0 <= second.lanes[EXPRESS].took_s < 1
    assert 0 <= second.lanes[DURABLE].took_s < 30
    assert site.open() == set()
    assert list(site.client.list_objects(bucket_name=site.bucket, recursive=True)) == []
    shown = site.program.run("status", **ON)
    assert "Canary, by lane" in shown.stdout
    assert "heard" in shown.stdout
    assert "Canary" not in site.program.run("status").stdout
    told = {(one.name, one.labels): one.value for one in canary_figures({"b": second}, (DURABLE,))}
    assert told["reconciler_canary_latency_seconds", ("b", DURABLE)] == second.lanes[DURABLE].took_s
    assert told["reconciler_canary_silent", ("b", DURABLE, "rule_removed")] == 0
    assert told["reconciler_canary_sent_timestamp_seconds", ("b",)] == second.sent_at > 0


def test_a_versioned_bucket_keeps_neither_a_version_nor_a_marker(site, flight):
    """The very version is removed."""
    site.client.set_bucket_versioning(bucket_name=site.bucket, config=VersioningConfig(ENABLED))
    assert flight().once().judged == canary.Judged()
    assert list(site.client.list_objects(bucket_name=site.bucket, include_version=True, recursive=True)) == []


def test_a_rule_that_was_removed_is_named_and_the_lane_is_heard_again(site, flight, minio):
    """Two missed in a row are silence, one is not; once the rule is back and a canary arrives, it is over."""
    rules = site.client.get_bucket_notification(bucket_name=site.bucket)
    site.client.set_bucket_notification(bucket_name=site.bucket, config=NotificationConfig())
    aloft = flight()
    assert [aloft.once().judged.silent for _ in range(2)] == [{}, {}]
    cause, why = aloft.cause()
    assert (cause, site.bucket in why) == ("rule_removed", True)
    told = {(one.name, one.labels): one.value for one in canary_figures({"b": aloft.known()}, (DURABLE,))}
    assert told["reconciler_canary_silent", ("b", DURABLE, "rule_removed")] == 1
    assert "silent: rule_removed" in site.program.run("status", **ON).stdout
    site.client.set_bucket_notification(bucket_name=site.bucket, config=rules)
    sent = aloft.once().number
    with reading(site) as consumer:
        heard = lambda: aloft.known().lanes[DURABLE].number == sent  # noqa: E731
        consuming.turning(consumer, until_true=heard, seconds=30)
    assert aloft.once().judged.silent == {}


def test_events_that_nobody_reads_are_told_apart(site, flight):
    """They are in the topic, and the group has not committed them."""
    aloft = flight()
    for _ in range(3):
        aloft.once()
    why = lambda: aloft.keeper.cause(site.bucket, DURABLE)[0]  # noqa: E731 - figures are kept for 10 s
    until(lambda: why() == "not_consumed", 40, "MinIO's queue is seen to be empty, and the lag is told")


def test_a_buffered_stream_is_named(site, flight, minio):
    """The stream's holder hears nothing, not even the ping: that is what its lease says."""
    host, port = minio.endpoint.split(":")
    with (
        proxy.Proxy(host, int(port)) as between,
        consuming.lane(site.settings(), site.bucket, minio_url=between.url) as lane,
    ):
        until(lambda: lane.state == "express.listening", 15, "the lane listens")
        between.set(proxy.Stall())
        until(lambda: lane.state == "express.silent", 15, "it is silent")
        aloft = flight(lanes=(EXPRESS,))
        assert aloft.cause(EXPRESS)[0] == "stream_buffered"
        between.set(proxy.Pass())


def test_a_lane_that_nobody_holds_is_named(flight):
    """No consumer runs, so none listens."""
    assert flight(lanes=(EXPRESS,)).cause(EXPRESS)[0] == "no_lane"


@pytest.fixture
def own_minio(stack_place):
    """Return what starts a MinIO with other settings than the stack's; named ones cannot be told how to start."""
    if stack_place.way is Way.ENVIRONMENT:
        pytest.skip("servers that are named by the environment are not configured here")
    with tempfile.TemporaryDirectory(prefix="reconciler-canary-") as directory, ExitStack() as exits:

        def start(kafka, changed):
            usual = minios.settings
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(minios, "settings", lambda *words: changed(usual(*words)))
                place = Place(Path(directory), exits, stack_place.way, stack_place.network)
                return minios.find_or_start(place, kafka)

        yield start


def test_a_target_that_is_gone_is_named(site, kafka, flight, own_minio):
    """MinIO runs without its Kafka target, as after a restart with other settings."""
    without = own_minio(
        kafka, lambda usual: {name: value for name, value in usual.items() if "NOTIFY_KAFKA" not in name}
    )
    name = f"test-{secrets.token_hex(6)}"
    storage.client(without).make_bucket(bucket_name=name)
    assert flight(server_of(without), bucket=name).cause()[0] == "target_gone"


def test_a_broker_that_minio_does_not_reach_is_named(site, kafka, flight, own_minio):
    """Its events wait in the queue on its disk."""
    apart = own_minio(kafka, lambda usual: usual | {"MINIO_NOTIFY_KAFKA_BROKERS_RECON": "127.0.0.1:1"})
    aloft = flight(server_of(apart), bucket=storage.new_bucket(apart))
    known = lambda: aloft.once().judged.silent.get(DURABLE, ("", ""))[0]  # noqa: E731 - figures are kept for 10 s
    until(lambda: known() == "broker_unreachable", 40, "its queue is seen")


def test_what_minio_forbids_is_told_and_leaves_one_object_at_most(site, minio, flight):
    """With the right to put and none to delete, the first that stays is the last that is put; then all goes on."""
    user, word = f"canary-{secrets.token_hex(4)}", secrets.token_hex(12)
    admin = minio_py.MinioAdmin(
        endpoint=minio.endpoint,
        credentials=StaticProvider(minio.user, minio.password),
        region=minio.region,
        secure=minio.secure,
    )
    admin.user_add(access_key=user, secret_key=word)

    def allow(*actions: str) -> None:
        where = f"arn:aws:s3:::{site.bucket}/{canary.PREFIX}*"
        one = {"Effect": "Allow", "Action": list(actions), "Resource": [where]}
        admin.policy_add(policy_name=user, policy=json.loads(json.dumps({"Version": "2012-10-17", "Statement": [one]})))
        admin.policy_set(policy_name=user, user=user)

    aloft = flight(Server(minio.url, user, word, timeout_s=5.0))
    there = lambda: [one.object_name for one in site.client.list_objects(site.bucket, recursive=True)]  # noqa: E731
    assert "403" in aloft.once().judged.refused
    allow("s3:PutObject")
    for _ in range(3):
        refused = aloft.once().judged
        assert "403" in refused.refused
        assert there() == [f"{canary.PREFIX}1"]
    told = {(one.name, one.labels): one.value for one in canary_figures({"b": aloft.known()}, (DURABLE,))}
    assert told["reconciler_canary_refused", ("b",)] == 1
    assert site.program.run("status", **ON).stdout.count("refused") == 1
    allow("s3:PutObject", "s3:DeleteObject")
    assert aloft.once().judged == canary.Judged()
    assert there() == []


def test_what_an_outage_kept_from_being_removed_is_removed_the_next_time(site, minio, flight):
    """MinIO answers no deletion for a while: what was put is known, however the round ended."""
    host, port = minio.endpoint.split(":")
    with proxy.Proxy(host, int(port)) as between:
        aloft = flight(Server(between.url, minio.user, minio.password, timeout_s=5.0))
        there = lambda: [one.object_name for one in site.client.list_objects(site.bucket, recursive=True)]  # noqa: E731
        between.set(replace(proxy.BUSY, method="DELETE"))
        for _ in range(2):
            with pytest.raises(Unavailable):
                aloft.once()
            assert there() == [f"{canary.PREFIX}1"]
        between.set(proxy.Pass())
        until(lambda: aloft.once().judged == canary.Judged(), 20, "it is let in again")
        assert there() == []


def test_a_bucket_that_minio_does_not_serve_hinders_no_other(site, minio, flight):
    """Whichever comes first, the other's canary flies in each turn, and the outage is told."""
    host, port = minio.endpoint.split(":")
    other = storage.new_bucket(minio)
    with proxy.Proxy(host, int(port)) as between:
        aloft = flight(Server(between.url, minio.user, minio.password, timeout_s=5.0))
        aloft.keeper = replace(aloft.keeper, buckets=(site.bucket, other))
        between.set(replace(proxy.BUSY, method=f"DELETE /{site.bucket}/"))
        for number in (1, 2):
            with pytest.raises(Unavailable):
                aloft.once()
            with aloft.world.database.use() as connection:
                flown = {bucket: one.number for bucket, one in canary.kept(connection).items()}
            assert flown == {site.bucket: 1, other: number}


def test_a_bucket_that_is_not_configured_any_more_is_forgotten(site, minio, flight):
    """Else its last canary would be told as one that nobody sends, for ever."""
    aloft, other = flight(), storage.new_bucket(minio)
    aloft.keeper = replace(aloft.keeper, buckets=(site.bucket, other))
    aloft.once()
    aloft.keeper = replace(aloft.keeper, buckets=(site.bucket,))
    aloft.once()
    with aloft.world.database.use() as connection:
        assert set(canary.kept(connection)) == {site.bucket}


def test_an_arrival_counts_once_and_only_of_what_was_sent(site, flight):
    """What is told twice, late, or by somebody who wrote below our prefix changes nothing."""
    aloft = flight()
    for _ in range(2):
        aloft.once()
    database = aloft.world.database
    note = lambda *names: canary.arrived(database, DURABLE, [ref(name) for name in names])  # noqa: E731
    ref = lambda name: ObjectRef(site.bucket, f"{canary.PREFIX}{name}")  # noqa: E731
    note("2", "99999")
    first = aloft.known().lanes[DURABLE]
    assert first.number == 2, "what was never sent hides nothing that arrives with it"
    note("2", "1", "3", "99999", "-1", "x", "", "9" * 40)
    assert aloft.known().lanes[DURABLE] == first


def test_too_short_an_interval_is_a_fault():
    """Events of the durable lane may take three seconds."""
    assert faults('[canary]\ninterval = "2s"') == [
        "canary.interval = 2s: must be 10s or longer, since events may take 3 s; 0s turns it off"
    ]
