"""Loss windows on real servers: each is kept with its bounds as a sweep that is wanted, until one covers it."""

from contextlib import ExitStack

import confluent_kafka as ck
import pytest

from consumer.duties import do_one
from consumer.kafka_positions import positions
from consumer.losswatch import Watch, wanted
from consumer.passed import Group
from consumer.service import buckets_of
from deploy.local import kafka as kafkas
from reconcile import ledger
from tests.support import consuming, databases
from tests.support.waiting import until


@pytest.fixture
def site(tmp_path, database, minio, kafka, topic):
    """Make an application."""
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, topic) as made:
        yield made


@pytest.fixture
def exits():
    """Close what a test opens."""
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def admin(kafka):
    """Ask the broker as its operator does."""
    return ck.admin.AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})


def watcher(site, exits, actor="watch"):
    """Return what looks once, as the duty does, and what looks before a consumer joins."""
    settings = site.settings()
    world = consuming.world(settings, exits, actor)
    watch = Watch(site.topic, dict(settings.kafka), world.objects, buckets_of(settings), exits)
    return lambda: do_one(world, watch.duty(), lambda *_: True), lambda: watch.before_joining(world.database, actor)


def consumed(site, count=5):
    """Have a consumer read some removals, and leave."""
    with consuming.consuming(site.settings()) as consumer:
        site.send([site.removed(f"k{number}") for number in range(count)])
        consuming.turning(consumer, until_true=site.caught_up)


def reasons(site):
    """Return what is wanted, by bucket."""
    return {(bucket, reason) for bucket, reason, *_ in wanted(site.connection)}


def test_while_all_is_well_nothing_is_wanted(site, exits):
    """Reading on, a pause, another consumer: no loss; each commit carries a heartbeat."""
    look, before_joining = watcher(site, exits)
    look()
    for _ in range(2):
        before_joining()
        consumed(site)
        look()
    assert reasons(site) == set()
    [place] = [one for one in positions(site.topic, site.kafka) if one.committed]
    assert place.metadata.startswith("beat=")


@pytest.mark.invariant(2)
def test_retention_that_overtakes_the_group_is_noticed_before_it_joins(site, exits):
    """What was eaten unread is told with its number and bounds, though the group reads on behind it at once."""
    look, before_joining = watcher(site, exits)
    consumed(site)
    look()
    site.send([site.removed(f"later{number}") for number in range(10)])
    site.delete_records(0, 12)
    before_joining()
    consumed(site)
    [(bucket, reason, began, ended, times, detail)] = wanted(site.connection)
    assert (bucket, reason, times) == (site.bucket, "retention", 1)
    assert detail == "records that were not read are gone: 7 of partition 0"
    assert began < ended
    look()
    [(_, _, began_then, ended_then, times, _)] = wanted(site.connection)
    assert (began_then, times) == (began, 2)
    assert ended_then > ended


@pytest.mark.invariant(2)
def test_a_topic_that_was_recreated_is_not_taken_for_one_that_is_read(site, exits, admin, kafka):
    """Before the group is back the stream is not proven to be read, a sweep is wanted, and the consumer reads on."""
    look, _ = watcher(site, exits)
    consumed(site)
    look()
    admin.delete_topics([site.topic])[site.topic].result()
    until(lambda: site.topic not in admin.list_topics(timeout=10).topics, 20, "it is gone")
    kafkas.create_topic(kafka.bootstrap, site.topic, 4)
    until(lambda: site.topic in admin.list_topics(timeout=10).topics, 20, "it is there again")
    until(
        lambda: (look(), reasons(site) == {(site.bucket, "topic_recreated")})[1], 20, "the driver knows the new topic"
    )
    if site.committed():  # a broker may forget a group's offsets with the topic
        assert "emptied or recreated" in Group(site.topic, site.kafka).behind()
    site.row("after")
    with consuming.consuming(site.settings()) as consumer:
        site.send([site.removed("after")])
        consuming.turning(consumer, until_true=lambda: ("after", "missing", "suspected") in site.open())
        consuming.turning(consumer, until_true=site.caught_up)


def test_an_offset_that_somebody_set_is_noticed(site, exits, admin):
    """Skipping what was not read leaves no other trace than that the commit is not ours."""
    look, before_joining = watcher(site, exits)
    consumed(site)
    look()
    site.send([site.removed("skipped")] * 5)
    group = site.kafka["group.id"]
    place = ck.ConsumerGroupTopicPartitions(group, [ck.TopicPartition(site.topic, 0, 10)])
    until(lambda: not site.members(), 20, "the group is empty")
    admin.alter_consumer_group_offsets([place])[group].result()
    before_joining()
    [(_, reason, *_, detail)] = wanted(site.connection)
    assert (reason, detail) == ("offset_reset", "not by a consumer: partition 0: 5 -> 10")


@pytest.mark.invariant(2)
def test_a_database_that_went_back_is_noticed(site, exits, postgres, tmp_path, minio, kafka):
    """A copy of an earlier moment takes its place: its heartbeat is behind what the group has committed."""
    consumed(site)
    look, _ = watcher(site, exits, "first")
    look()
    while site.opened:
        site.opened.pop().close()
    exits.close()
    with databases.new_database(postgres, site.database.rsplit("/", 1)[1]) as earlier:
        site.row("lost")
        consumed(site, 7)
        with consuming.site(tmp_path, earlier, minio, kafka.bootstrap, site.topic, site.bucket) as restored:
            restored.program.environ["RECONCILER_KAFKA__GROUP_ID"] = site.kafka["group.id"]
            look, before_joining = watcher(restored, exits, "second")
            before_joining()
            before_joining()
            look()
            [(bucket, reason, began, ended, times, _)] = wanted(restored.connection)
    assert (bucket, reason, times) == (site.bucket, "database_went_back", 1)
    assert began < ended


def test_a_database_that_went_back_under_a_running_consumer_is_noticed_at_its_next_commit(site):
    """It knows the number that it wrote last."""
    with consuming.consuming(site.settings()) as consumer:
        for key in "abc":
            site.row(key)
            site.send([site.removed(key)])
            consuming.turning(consumer, until_true=site.caught_up)
        site.sql("UPDATE reconciler.lease SET tally = tally || '{\"beat\": 1}' WHERE task = 'heartbeat'")
        site.send([site.removed("a")])
        consuming.turning(consumer, until_true=site.caught_up)
    assert reasons(site) == {(site.bucket, "database_went_back")}
    [(beat,)] = site.sql("SELECT (tally ->> 'beat')::int FROM reconciler.lease WHERE task = 'heartbeat'")
    assert beat > 2


def test_a_complete_sweep_that_began_after_it_covers_it_and_status_shows_it_until_then(site, exits):
    """One of another bucket, of a prefix, or that was not complete does not; nor is it pruned before."""
    look, _ = watcher(site, exits)
    consumed(site)
    look()
    site.delete_records(0, 5)
    site.send([site.removed("eaten")])
    site.delete_records(0, 6)
    look()
    [shown] = site.program.json("status")["wanted"]
    assert (shown["bucket"], shown["reason"]) == (site.bucket, "retention")
    sweep = (
        "INSERT INTO reconciler.sweep (bucket, prefix, mode, state, actor, finished_at)"
        " VALUES (%s, %s, 'report', %s, 'x', now())"
    )
    for bucket, prefix, state in (
        ("other", "", "complete"),
        (site.bucket, "a/", "complete"),
        (site.bucket, "", "held"),
    ):
        site.sql(sweep, bucket, prefix, state)
    site.sql("UPDATE reconciler.sweep SET started_at = now() - interval '100 days' WHERE state = 'wanted'")

    assert pruned(site) == 0
    assert len(wanted(site.connection)) == 1
    site.sql(sweep, site.bucket, "", "complete")
    assert wanted(site.connection) == []
    assert "wanted" not in site.program.json("status")
    assert pruned(site) == 1


def pruned(site) -> int:
    """Prune as the duty does; returns how many sweeps went."""
    days = site.settings().retention
    return ledger.prune(site.connection, days.history, days.findings, days.sweeps).get("sweeps", 0)
