"""`sweep` where a side cannot be read, for a moment or for good."""

from __future__ import annotations

import time

import pytest

from tests.support.proxy import BUSY, Pass, Slow
from tests.support.sweeping import FOUND, THOUSANDS, TOTALS
from tests.support.sweeps import AT_ONCE, WORDS, found, report_of, swept, told, whole
from tests.support.waiting import until


def test_a_page_that_breaks_once_is_read_again(many, lists):
    """The listing breaks in its midst, and once more when the driver tries; nothing is left out or counted twice."""
    lists.at, lists.times = 5, 2
    assert whole(swept(many, RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)
    assert lists.broken == 2


@pytest.mark.parametrize("at", [1, 5])
def test_a_listing_that_breaks_for_good_is_incomplete_and_goes_on_later(many, lists, at):
    """Status 5, nothing is believed of what was not read, and --resume comes to the same once the server answers."""
    lists.at, lists.times = at, 1_000_000
    ended = many.run(*WORDS, **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url)
    assert ended.returncode == 5, ended.stderr
    report = told(ended)
    assert report["state"] == "incomplete"
    assert "--resume" in report["reason"]
    assert found(report) == set()
    lists.at = 0
    assert whole(swept(many, "--resume", RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)


def test_of_a_broken_sweep_only_the_ranges_are_believed_that_were_read(many, lists):
    """With several ranges the report holds the drifts of those that came to their end, and of no other."""
    lists.at, lists.times = 5 + THOUSANDS // 5, 1_000_000
    ended = many.run(*WORDS, "--ranges", "8", **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url)
    assert ended.returncode == 5, ended.stderr
    seen = found(told(ended))
    assert seen
    assert seen < FOUND
    last = max(key for _, key in seen)
    assert seen == {one for one in FOUND if one[1] <= last}
    lists.at = 0
    assert whole(swept(many, "--resume", RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)


def test_heads_that_break_for_a_moment_are_asked_again(many, lists):
    """Neither an object nor the bucket answers, twice over: the sweep waits a little, and comes to the same."""
    lists.what, lists.at, lists.times = b"HEAD /", 2, 2 * (TOTALS["candidates"] + 1) + 3
    assert whole(swept(many, RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)
    assert lists.broken == lists.times


def test_heads_that_break_for_good_are_incomplete_and_go_on_later(many, lists):
    """Status 5 after some seconds of patience; nothing is believed, and --resume comes to the same."""
    lists.what, lists.at, lists.times = b"HEAD /", 2, 1_000_000
    began = time.monotonic()
    ended = many.run(*WORDS, **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url)
    assert ended.returncode == 5, ended.stderr
    assert time.monotonic() - began < 40, "the patience has an end"
    report = told(ended)
    assert report["state"] == "incomplete"
    assert "--resume" in report["reason"]
    assert found(report) == set()
    lists.at = 0
    assert whole(swept(many, "--resume", RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)


def test_a_server_that_is_busy_for_a_moment_does_not_stall_the_sweep(many, lists):
    """503 with Retry-After 60: it is asked again within seconds, and the sweep goes on."""
    lists.set(Slow(0.05))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    with many.running(*WORDS, **AT_ONCE, **slow) as sweep:
        until(lambda: lists.asked, what="a page that is asked for")
        lists.set(BUSY)
        refused = lists.requests
        until(lambda: lists.requests > refused + 2, what="it is asked again")
        lists.set(Pass())
        began = time.monotonic()
        assert whole(report_of(sweep)) == (FOUND, TOTALS)
    assert time.monotonic() - began < 30, "Retry-After is not obeyed"
