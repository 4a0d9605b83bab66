"""Clocks that differ do not falsify a latency: the difference is measured, told, and taken into account."""

from contextlib import ExitStack
from time import monotonic

import pytest

from consumer.duties import clocks
from consumer.duties.duty import do_one
from consumer.stream.latency import Latency
from tests.support import consuming


@pytest.mark.parametrize("behind_s", [0, 600])
def test_the_latency_of_an_event_is_by_the_clock_that_stamped_it(site, behind_s):
    """Ten minutes that MinIO's clock is behind are not ten minutes of latency; the hold sees it alike."""
    heard = []
    with consuming.consuming(site.settings()) as consumer:
        consumer.server_ahead = lambda: clocks.wall_ahead() - behind_s
        consumer.latency = Latency(lambda *told: heard.append(told))
        site.row("new")
        site.put("new")
        site.send([site.created("new", ago_s=behind_s)])
        consuming.turning(consumer, until_true=site.caught_up)
    assert [told[:2] for told in heard] == [("read", "created"), ("committed", "created")]
    read, committed = (seconds for *_, seconds, _ in heard)
    assert 0 <= read <= committed < 15


def test_minios_clock_is_measured_against_the_databases_and_status_tells(site):
    """One process measures, each time more surely; `status` tells the difference and corrects by it."""
    with ExitStack() as exits:
        world = consuming.world(site.settings(), exits, "one")
        duty = clocks.duty(world.objects, site.bucket)
        found = []
        for _ in range(5):
            do_one(world, duty, lambda *_: True)
            [(kept,)] = site.sql("SELECT checkpoint FROM reconciler.lease WHERE task = 'duty clock'")
            found.append(clocks.read(kept))
        assert all(one.least - 0.1 <= 0 <= one.most + 0.1 for one in found)  # both run on this machine
        assert found[-1].within <= found[0].within <= 0.75
        shown = site.program.json("status")
        assert abs(shown["minio_clock_ahead_ms"]) <= 600
        assert 0 <= shown["give_or_take_ms"] <= 750
        site.sql(
            "INSERT INTO reconciler.history (subject, actor, act, evidence) VALUES ('b/k', 'test', 'suspected',"
            " jsonb_build_object('named_by', 'event', 'event_time', now() - interval '61 seconds'))"
        )
        tell = "UPDATE reconciler.lease SET checkpoint = '[-60.0, -60.0, 0.0]' WHERE task = 'duty clock'"
        site.sql(tell)
        [path] = site.program.json("status")["paths"]
        assert path["path"] == "event"
        assert 990 <= path["p50_ms"] <= 1010


def test_a_loops_clock_tells_what_it_knows_and_how_surely(site):
    """MinIO's clock against this machine's, which are one here; nothing while MinIO does not answer."""
    told = []
    with ExitStack() as exits:
        world = consuming.world(site.settings(), exits, "one")
        clock = clocks.ServerClock(world.objects, site.bucket, lambda *known: told.append(known))
        ahead = clock()
        assert abs(ahead - clocks.wall_ahead()) <= 0.6
        [(seconds, within)] = told
        assert abs(seconds) <= within + 0.1
        nowhere = exits.enter_context(type(world.objects)(type(world.objects.server)("http://127.0.0.1:1", "a", "b")))
        begun = monotonic()
        assert clocks.ServerClock(nowhere, site.bucket)() is None
        assert monotonic() - begun < 10
