"""`sweep` over what must not be taken at its word: a bucket's name, an order, a listing that a person brought."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from reconcile.sweeps import spool
from tests.acceptance.test_commands import add_row
from tests.support.proxy import Proxy
from tests.support.sweeping import FOUND, TOTALS, put
from tests.support.sweeps import AT_ONCE, WORDS, found, swept, told, whole


class Disorder(Proxy):
    """Lets one key of a listing come where it does not belong, while `lying`; `early` begins that key's name."""

    lying = True
    early = b"000080"

    def _hand_on(self, chunk: bytes, source: Any, target: Any, *, asking: bool) -> None:
        if self.lying and not asking:
            chunk = chunk.replace(self.early, b"999999", 1)  # as long, and before keys that are less
        super()._hand_on(chunk, source, target, asking=asking)


@pytest.fixture
def disorder(minio) -> Iterator[Disorder]:
    """Stand before MinIO, to disturb the order of its listing."""
    host, _, port = minio.endpoint.partition(":")
    with Disorder(host, int(port)) as proxy:
        yield proxy


@pytest.mark.parametrize("early", [b"000080", b"002990"], ids=["in its first block", "in a later one"])
def test_a_listing_that_descends_is_believed_in_nothing(many, connection, disorder, monkeypatch, early):
    """Status 5 names the keys, nothing of it is compared, and once the order is right --resume comes to the same."""
    monkeypatch.setattr(spool, "BLOCK_BYTES", 1 << 14)
    disorder.early = early
    ended = many.run(*WORDS, **AT_ONCE, RECONCILER_MINIO__ENDPOINT=disorder.url)
    assert ended.returncode == 5, ended.stderr
    report = told(ended)
    assert report["state"] == "incomplete"
    assert "out of order" in report["reason"]
    assert "999999" in report["reason"]
    assert found(report) == set()
    kept = "SELECT checkpoint, tally FROM reconciler.lease WHERE checkpoint IS NOT NULL"
    assert connection.execute(kept).fetchall() == [("", {})]
    disorder.lying = False
    assert whole(swept(many, "--resume", RECONCILER_MINIO__ENDPOINT=disorder.url)) == (FOUND, TOTALS)


def test_a_bucket_that_does_not_exist_is_no_empty_one(installed, connection):
    """Status 2 names it and the server, and no sweep is begun."""
    add_row(connection, "a")
    ended = installed.run(*WORDS, "--bucket", "no-such-bucket", **AT_ONCE)
    assert ended.returncode == 2, ended.stderr
    assert "'no-such-bucket': does not exist on" in ended.stderr
    assert connection.execute("SELECT count(*) FROM reconciler.sweep").fetchall() == [(0,)]


def test_a_listing_through_a_pipe_is_refused(installed, connection, objects, bucket):
    """It is read more than once, and a pipe gives what was read to nobody else: status 2 says so, and none is begun."""
    put(objects, bucket, "orphan")
    source, target = os.pipe()
    with os.fdopen(target, "w") as file:
        file.write("orphan\n")
    with os.fdopen(source):
        ended = installed.run(*WORDS, "--listing", f"/dev/fd/{source}", **AT_ONCE)
    assert ended.returncode == 2, ended.stderr
    assert "write it to one first" in ended.stderr
    assert connection.execute("SELECT count(*) FROM reconciler.sweep").fetchall() == [(0,)]


def test_of_a_brought_listing_only_the_prefix_is_compared(installed, connection, objects, bucket, tmp_path):
    """What the file has beside it is neither counted nor looked at, and --fix writes nothing of it."""
    for key in ("in/fine", "out/fine"):
        put(objects, bucket, key)
        add_row(connection, key)
    for key in ("in/orphan", "out/orphan"):
        put(objects, bucket, key)
    file = tmp_path / "listing"
    file.write_text("in/fine\nin/orphan\nout/fine\nout/orphan\n", "utf-8")
    report = swept(installed, "--fix", "--listing", str(file), "--prefix", "in/")
    assert found(report) == {("orphan", "in/orphan")}
    assert (report["totals"]["objects"], report["totals"]["candidates"]) == (2, 1)
    assert connection.execute("SELECT key FROM reconciler.finding").fetchall() == [("in/orphan",)]


def test_what_a_brought_listing_says_is_looked_at_all_the_same(installed, connection, objects, bucket, tmp_path):
    """An old file lacks what was uploaded since, and has what was deleted with its row: neither is a drift."""
    listed = [f"fine/{number:02}" for number in range(30)]
    for key in (*listed, "since"):
        put(objects, bucket, key)
        add_row(connection, key)
    file = tmp_path / "listing"
    file.write_text("".join(f"{key}\n" for key in (*listed, "deleted", "lost")), "utf-8")
    add_row(connection, "lost")
    report = swept(installed, "--listing", str(file))
    assert found(report) == set(), "what is lost is in the listing and has a row, so it is no candidate"
    assert report["totals"]["candidates"] == 2
    assert found(swept(installed)) == {("missing", "lost")}
