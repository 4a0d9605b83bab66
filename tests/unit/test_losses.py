"""What two sightings of topic, group and MinIO tell of what was missed between them."""

import msgspec
import pytest

from consumer.duties.losses import Place, Sight, ahead_of, caught_up, known, losses
from consumer.duties.losswatch import beat_of, stamp

THEN, NOW = "2025-06-01T12:00:00Z", "2025-06-01T12:00:15Z"


def seen(at=THEN, topic="one", starts=None, counts=None, **place) -> Sight:
    """Return a sighting of a topic with one partition, at its end unless it is said otherwise."""
    facts = {"committed": 100, "beat": 3, "low": 0, "high": 100, "by": "me"} | place
    return Sight(at, topic, {0: Place(**facts)}, starts or {"a": 1.0}, counts or {"skipped on a": 5.0})


@pytest.mark.parametrize(
    ("now", "reasons"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"committed": 250, "high": 300, "low": 90}, [], id="it goes on"),
        pytest.param({"low": 100}, [], id="all that was read is gone"),
        pytest.param({"low": 101, "high": 200}, ["retention"], id="one that was not read is gone"),
        pytest.param({"low": 200, "high": 200, "committed": 200}, ["retention"], id="read on behind the gap"),
        pytest.param({"topic": "two"}, ["topic_recreated"], id="another topic of the name, as long"),
        pytest.param({"high": 99, "committed": 99}, ["topic_recreated"], id="offsets jump back"),
        pytest.param({"high": 100, "committed": 101}, ["topic_recreated"], id="beyond the end"),
        pytest.param({"committed": 300, "beat": None, "high": 400}, ["offset_reset"], id="set forward by a tool"),
        pytest.param({"committed": 50, "high": 400}, ["offset_reset"], id="set back"),
        pytest.param({"committed": None, "beat": None}, ["offset_reset"], id="forgotten"),
        pytest.param({"beat": 8, "topic": "two"}, ["database_went_back"], id="the database went back: that alone"),
        pytest.param({"starts": {"a": 1.4}}, [], id="the same start, as it is rounded"),
        pytest.param({"starts": {"a": 9.0}, "counts": {"skipped on a": 0.0}}, ["minio_restarted"], id="restarted"),
        pytest.param({"starts": {"a": 1.0, "b": 9.0}}, [], id="a new node"),
        pytest.param({"counts": {"skipped on a": 6.0}}, ["minio_events_lost"], id="one more skipped"),
        pytest.param(
            {"starts": {"a": 9.0}, "counts": {"skipped on a": 1.0}},
            ["minio_restarted", "minio_events_lost"],
            id="counted from 0 after a restart",
        ),
    ],
)
def test_what_is_a_loss(now, reasons):
    """And what is none."""
    assert [loss.reason for loss in losses(seen(), seen(NOW, **now), {"me": 7})] == reasons


def test_a_group_that_never_read_is_overtaken_by_nothing():
    """It begins at the oldest record there is."""
    before = seen(committed=None, beat=None)
    assert losses(before, seen(NOW, committed=None, beat=None, low=50), {}) == []


def test_a_partition_without_a_commit_is_overtaken_where_the_group_reads_others():
    """What came into it while the group was away, and went again, nobody read; a new partition is as an empty one."""

    def places(low: int) -> Sight:
        read, unread = Place(100, 3, 0, 100, "me"), Place(None, None, low, max(low, 20))
        return Sight(NOW, "one", {0: read, 1: unread, 2: unread})

    then = Sight(THEN, "one", {0: places(0).places[0], 1: Place(None, None, 5, 5)})
    [loss] = losses(then, places(20), {"me": 7})
    assert loss.reason == "retention"
    assert loss.detail == "records that were not read are gone: 15 of partition 1, 20 of partition 2"
    assert losses(then, places(0), {"me": 7}) == []


def test_each_consumer_has_a_heartbeat_of_its_own():
    """One that writes more often hides nothing of another, and none is taken for another's."""

    def places(quiet: int, busy: int) -> Sight:
        one, other = Place(100, quiet, 0, 100, "quiet"), Place(100, busy, 0, 100, "busy")
        return Sight(NOW, "one", {0: one, 1: other})

    before, now = places(2, 900), places(3, 950)
    assert losses(before, now, {"quiet": 3, "busy": 950}) == []
    [loss] = losses(before, now, {"quiet": 2, "busy": 950})
    assert (loss.reason, loss.detail) == (
        "database_went_back",
        "the heartbeat of quiet is 2, and the group has committed what it did at 3",
    )
    assert ahead_of(now, {"busy": 950}) == {"quiet": 3}


def test_what_could_not_be_asked_is_as_it_was():
    """A broker or MinIO that is away for a while hides nothing from the next comparison."""
    kept = known(seen(), Sight(NOW))
    assert kept == msgspec.structs.replace(seen(), at=NOW)
    assert losses(seen(), Sight(NOW), {"me": 7}) == []
    assert [loss.reason for loss in losses(kept, seen(NOW, low=150, high=200), {"me": 7})] == ["retention"]


def test_a_node_that_is_away_for_one_sight_is_no_new_node():
    """What it counted before is kept, so that its restart and what it lost are told."""
    both = {"starts": {"a": 1.0, "b": 1.0}, "counts": {"skipped on a": 5.0, "skipped on b": 5.0}}
    kept = known(seen(**both), seen(NOW, starts={"a": 2.0}, counts={"failed on a": 1.0}))
    assert kept.starts == {"a": 2.0, "b": 1.0}
    assert kept.counts == {"failed on a": 1.0, "skipped on b": 5.0}
    again = seen(NOW, starts={"a": 2.0, "b": 9.0}, counts={"failed on a": 1.0, "skipped on b": 0.0})
    assert [(loss.reason, loss.detail) for loss in losses(kept, again, {"me": 7})] == [("minio_restarted", "b")]


def test_before_joining_what_was_committed_last_counts_as_read():
    """The former sighting may be some seconds older than the last commit; one by somebody else does not count."""
    now = seen(NOW, committed=140, low=140, high=140)
    assert [loss.reason for loss in losses(seen(), now, {"me": 7})] == ["retention"]
    assert losses(caught_up(seen(), now), now, {"me": 7}) == []
    theirs = seen(NOW, committed=140, beat=None, low=140, high=140)
    assert [loss.reason for loss in losses(caught_up(seen(), theirs), theirs, {"me": 7})] == [
        "offset_reset",
        "retention",
    ]


def test_a_commit_carries_the_heartbeat():
    """What another tool has written is none."""
    assert beat_of(stamp(17, "here:1")) == (17, "here:1")
    assert [beat_of(other) for other in ("", "beat=", "beat=x by=me", "lag=3", "beat=-1")] == [(None, "")] * 5
