"""Loss windows on real servers: each is kept with its bounds as a sweep that is wanted, until one covers it."""

from contextlib import ExitStack

import confluent_kafka as ck
import pytest

from consumer.doctor.lanes import losses
from consumer.duties.duty import do_one
from consumer.duties.losses import Loss, Sight
from consumer.duties.losswatch import Heartbeat, Watch, want, wanted
from consumer.duties.passed import Group
from consumer.kafka.positions import group_offsets
from deploy.local import kafka as kafkas
from reconcile import pruning
from reconcile.opening import named_buckets
from tests.support import consuming, databases, examining
from tests.support.waiting import until


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
    watch = Watch(site.topic, dict(settings.kafka), world.objects, named_buckets(settings), exits)
    return lambda: do_one(world, watch.duty(), lambda *_: True), lambda: watch.before_joining(world.database, actor)


def consumed(site, count=5):
    """Have a consumer read some removals, and leave."""
    with consuming.consuming(site.settings()) as consumer:
        site.send([site.removed(f"k{number}") for number in range(count)])
        consuming.turning(consumer, until_true=site.caught_up)


def reasons(site):
    """Return what is wanted, by bucket."""
    return {(bucket, reason) for _, bucket, reason, *_ in wanted(site.connection)}


def test_while_all_is_well_nothing_is_wanted(site, exits):
    """Reading on, a pause, two consumers side by side: no loss; each commit carries its own consumer's heartbeat."""
    look, before_joining = watcher(site, exits)
    look()
    before_joining()
    consumed(site)
    look()
    settings = site.settings()
    with consuming.consuming(settings, "one") as one, consuming.consuming(settings, "two") as two:
        for number in range(3):
            consuming.turning(one, two, until_true=lambda: one.topic.assigned() == two.topic.assigned() == 2)
            site.spread([site.removed(f"k{number}/{at}") for at in range(8)])
            consuming.turning(one, two, until_true=site.caught_up)
            before_joining()
            look()
    assert reasons(site) == set()
    stamps = {place.metadata.partition(" by=")[2] for place in group_offsets(site.topic, site.kafka)}
    assert stamps == {"one", "two"}


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
    [(_, bucket, reason, began, ended, times, detail)] = wanted(site.connection)
    assert (bucket, reason, times) == (site.bucket, "retention", 1)
    assert detail == "records that were not read are gone: 7 of partition 0"
    assert began < ended
    look()
    [(_, _, _, began_then, ended_then, times, _)] = wanted(site.connection)
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


def skip(site, admin):
    """Have five records written, and somebody set the group's offset behind them."""
    site.send([site.removed("skipped")] * 5)
    group = site.kafka["group.id"]
    place = ck.ConsumerGroupTopicPartitions(group, [ck.TopicPartition(site.topic, 0, 10)])
    until(lambda: not site.members(), 20, "the group is empty")
    admin.alter_consumer_group_offsets([place])[group].result()


def test_an_offset_that_somebody_set_is_noticed(site, exits, admin):
    """Skipping what was not read leaves no other trace than that the commit is not ours."""
    look, before_joining = watcher(site, exits)
    consumed(site)
    look()
    skip(site, admin)
    before_joining()
    [(_, _, reason, *_, detail)] = wanted(site.connection)
    assert (reason, detail) == ("offset_reset", "not by a consumer: partition 0: 5 -> 10")


@pytest.mark.timeout(120)
def test_an_offset_that_somebody_set_is_noticed_by_a_consumer_that_was_there_before_its_broker(
    site, exits, admin, kafka
):
    """All was down, and comes up in this order: what it reads and commits afterwards does not hide it."""
    look, _ = watcher(site, exits)
    consumed(site)
    look()
    skip(site, admin)
    site.send([site.removed("read")])
    kafka.control.freeze()
    with site.program.running("consume") as process:
        try:
            until(
                lambda: "outage.begun" in site.program.log() or process.poll() is not None,
                40,
                "it asks in vain",
            )
        finally:
            kafka.control.thaw()
        until(site.caught_up, 40, "what is left is read and committed")
        until(lambda: reasons(site) == {(site.bucket, "offset_reset")}, 20, "it is told")


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
            [(_, bucket, reason, began, ended, times, _)] = wanted(restored.connection)
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


def test_a_database_that_went_back_is_noticed_however_much_another_consumer_writes_meanwhile(site, exits):
    """Each has a number of its own, which no other's writing makes higher; the window begins where it last wrote."""
    world = consuming.world(site.settings(), exits, "quiet")
    quiet, other = (Heartbeat(world.database, owner, [site.bucket]) for owner in ("quiet", "other"))
    quiet(wrote=True)
    site.sql("CREATE TABLE earlier AS SELECT * FROM reconciler.lease WHERE task = 'heartbeat'")
    quiet(wrote=True)
    site.sql("DELETE FROM reconciler.lease WHERE task = 'heartbeat'")
    site.sql("INSERT INTO reconciler.lease SELECT * FROM earlier")
    for _ in range(3):
        other(wrote=True)
    assert reasons(site) == set()
    assert quiet(wrote=True) == "beat=3 by=quiet"
    [(_, _, reason, began, ended, times, _)] = wanted(site.connection)
    assert (reason, times) == ("database_went_back", 1)
    assert began < ended
    for beating in (quiet, other, quiet):
        beating(wrote=True)
    assert wanted(site.connection)[0][5] == 1


def test_heartbeats_of_processes_that_are_gone_are_forgotten_but_for_those_that_a_commit_names(site, exits):
    """After a day; else each restart would leave one for ever."""
    look, _ = watcher(site, exits)
    consumed(site)
    with_owner = (
        "INSERT INTO reconciler.lease (task, lower, tally, owner, until) VALUES ('heartbeat', %s, %s, '', now())"
    )
    site.sql(with_owner, "gone", '{"beat": 4, "at": "2025-06-01T00:00:00Z"}')
    look()
    owners = "SELECT lower FROM reconciler.lease WHERE task = 'heartbeat' ORDER BY 1"
    assert site.sql(owners) == [("gone",), ("test",)]
    site.sql("UPDATE reconciler.lease SET until = now() - interval '2 days' WHERE task = 'heartbeat'")
    look()
    assert site.sql(owners) == [("test",)]
    assert reasons(site) == set()


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


def test_a_wanted_sweep_of_a_bucket_that_is_gone_is_dismissed_by_a_person_with_a_reason(site):
    """Nothing without --why or --apply; then it is neither shown nor kept, and the history has who and why."""
    window = Sight("2025-06-01T12:00:00Z"), Sight("2025-06-01T12:00:15Z")
    want(site.connection, [Loss("retention", "gone"), Loss("offset_reset", "set")], window, ["removed"], "test")
    first, second = (record[0] for record in wanted(site.connection))
    words = ("sweep", "--dismiss", str(first))
    with examining.opened(site.settings()) as checked:
        found = [check.found for check in losses(checked)]
    assert found == ["removed: events may be lost (retention)", "removed: events may be lost (offset_reset)"]
    assert {one["id"] for one in site.program.json("status")["wanted"]} == {first, second}
    without = site.program.run(*words, "--apply")
    assert (without.returncode, "--why" in without.stderr) == (2, True)
    unknown = site.program.run("sweep", "--dismiss", str(second + 1), "--why", "x", "--apply")
    assert (unknown.returncode, "is not wanted" in unknown.stderr) == (2, True)
    planned = site.program.run(*words, "--why", "the bucket is gone")
    assert (planned.returncode, "planned" in planned.stdout, len(wanted(site.connection))) == (0, True, 2)
    done = site.program.run(*words, "--why", "the bucket is gone", "--who", "ann", "--apply")
    assert (done.returncode, "done" in done.stdout) == (0, True)
    assert [record[0] for record in wanted(site.connection)] == [second]
    [kept] = site.sql("SELECT actor, why, evidence ->> 'for' FROM reconciler.history WHERE act = 'sweep dismissed'")
    assert kept == ("ann", "the bucket is gone", "retention")
    want(site.connection, [Loss("minio_restarted", "before any bucket was known")], window, [], "test")
    [nowhere] = [record[0] for record in wanted(site.connection) if record[1] == ""]
    done = site.program.run("sweep", "--dismiss", str(nowhere), str(second), "--why", "nothing was there", "--apply")
    assert (done.returncode, "no bucket that was known" in done.stdout, wanted(site.connection)) == (0, True, [])
    want(site.connection, [Loss("retention", "again")], window, ["removed"], "test")
    assert first not in {record[0] for record in wanted(site.connection)}
    site.sql("UPDATE reconciler.sweep SET finished_at = now() - interval '100 days' WHERE finished_at IS NOT NULL")
    assert pruned(site) == 3


def pruned(site) -> int:
    """Prune as the duty does; returns how many sweeps went."""
    days = site.settings().retention
    return pruning.prune(site.connection, days.history, days.findings, days.sweeps).get("sweeps", 0)
