"""`sweep` where a side cannot be read, for a moment or for good."""

from __future__ import annotations

import pytest

from tests.support.sweeping import FOUND, THOUSANDS, TOTALS
from tests.support.sweeps import AT_ONCE, WORDS, found, swept, told, whole


def test_a_page_that_breaks_once_is_read_again(many, lists):
    """The listing breaks in its midst, and once more when the driver tries; nothing is left out or counted twice."""
    lists.at, lists.times = 5, 2
    assert whole(swept(many, RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)
    assert lists.broken == 2


@pytest.mark.parametrize("at", [1, 5])
def test_a_listing_that_breaks_for_good_is_incomplete_and_goes_on_later(many, lists, at):
    """Status 5, nothing is believed of what was not read, and --resume comes to the same once the server answers."""
    lists.at, lists.times = at, 1_000_000
    ended = many.process(*WORDS, **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url)
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
    ended = many.process(*WORDS, "--ranges", "8", **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url)
    assert ended.returncode == 5, ended.stderr
    seen = found(told(ended))
    assert seen
    assert seen < FOUND
    last = max(key for _, key in seen)
    assert seen == {one for one in FOUND if one[1] <= last}
    lists.at = 0
    assert whole(swept(many, "--resume", RECONCILER_MINIO__ENDPOINT=lists.url)) == (FOUND, TOTALS)
