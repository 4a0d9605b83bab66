"""The stream beside its rivals: the work is what the table says, and ours flags as they do."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from benchmarks import rivals, sweep
from benchmarks.contest import Contest

OBJECTS = 10_000


@pytest.fixture
def place() -> Contest:
    """Give a place with no server."""
    return Contest("postgresql://", "localhost:1", "http://localhost:1", "u", "p", "events", OBJECTS)


@pytest.mark.parametrize(("events", "drift", "gone"), [(1_000, 0.0, 0), (1_000, 0.05, 50), (777, 1.0, 777)])
def test_a_topic_has_its_share_of_removals_each_of_a_row_without_object(events, drift, gone):
    """Spread evenly, so that whoever reads a topic to its end meets exactly so many."""
    keys = {
        name: [key.partition("/")[2] for _, key, value in written if json.loads(value)["EventName"] == name]
        for written in [list(rivals.records(OBJECTS, events, drift))]
        for name in ("s3:ObjectRemoved:Delete", "s3:ObjectCreated:Put")
    }
    assert keys["s3:ObjectRemoved:Delete"] == [sweep.key_of(OBJECTS + each) for each in range(gone)]
    assert len(keys["s3:ObjectCreated:Put"]) == events - gone
    assert all(key < sweep.key_of(OBJECTS) for key in keys["s3:ObjectCreated:Put"])


def test_ours_that_flags_waits_for_nothing(place):
    """No grace and no brake below a million flags, as rivals know neither."""
    settings = rivals.replace(place, flagging=True).settings()
    assert (settings.flagging, settings.policy.flagging) == (True, True)
    assert (settings.policy.missing_grace, settings.policy.orphan_grace) == (timedelta(0), timedelta(0))
    assert min(max(settings.brake.floor, settings.brake.share * OBJECTS), settings.brake.most) > 1_000_000


def test_ours_as_it_comes_observes_under_its_own_graces(place):
    """What a user has who configures nothing."""
    settings = place.settings()
    assert not settings.flagging
    assert settings.policy.missing_grace > timedelta(0)


def test_each_way_reads_a_share_of_each_mix():
    """A rival without a share of a mix would be measured over nothing."""
    shares = {name: [rival.share(mix) for mix in rivals.MIXES] for name, rival in rivals.WAYS.items()}
    assert all(0 < share <= 1 for name, of_mix in shares.items() if name != rivals.OBSERVING for share in of_mix)
    assert [share > 0 for share in shares[rivals.OBSERVING]] == [drift > 0 for drift in rivals.MIXES.values()]
