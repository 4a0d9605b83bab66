"""The express lane on real servers: at once, by one holder, never still for long, and no second truth."""

import os
import signal
from time import monotonic

import pytest
import structlog

from tests.support import consuming, proxy
from tests.support.consuming import turning
from tests.support.waiting import until

QUICK = {"RECONCILER_POLICY__MISSING_GRACE": "300ms", "RECONCILER_POLICY__ORPHAN_GRACE": "300ms"}
LEASE = """
SELECT owner FROM reconciler.lease
WHERE task LIKE 'express %' AND until > now() AND checkpoint = 'express.listening'
"""
SAID = "SELECT checkpoint FROM reconciler.lease WHERE task LIKE 'express %'"
NAMED = "SELECT key, named_by FROM reconciler.finding"
AWKWARD = ("a+b", "100%", "50%25", "two  spaces ", "Привет/мир.txt", "a&b=c?d#e", "tab\tand'quote\"", "%2F+%20")


@pytest.fixture
def reporting(tmp_path, database, minio, kafka, bucket):
    """Make an application whose bucket reports to the stack's topic."""
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, kafka.topic, bucket) as made:
        yield made


def holder(site) -> str:
    """Wait until somebody listens, and return who."""
    [(owner,)] = until(lambda: site.sql(LEASE), 15, "a lane listens")
    return owner


def test_a_deletion_is_suspected_at_once(site, minio):
    """Within a second, where the topic may take three; the evidence says who did it and from where."""
    for number in range(5):
        site.put(f"file {number}")
        site.row(f"file {number}")
    with consuming.lane(site.settings(), site.bucket):
        holder(site)
        took = []
        for number in range(5):
            begun = monotonic()
            site.remove(f"file {number}")
            wanted = (f"file {number}", "missing", "suspected")
            until(lambda wanted=wanted: wanted in site.open(), 10, "it is suspected")
            took.append(monotonic() - begun)
    assert sorted(took)[2] < 1, took
    [(named_by, evidence)] = site.sql("SELECT named_by, evidence FROM reconciler.finding WHERE key = 'file 0'")
    assert named_by == ["express"]
    assert evidence["principal"] == minio.user
    assert evidence["source_address"] == "127.0.0.1"


@pytest.mark.invariant(2)
def test_another_takes_the_lane_over_when_its_holder_dies(site):
    """The holder is killed with kill -9: another listens within six seconds, and hears what goes then."""
    site.put("file")
    site.row("file")
    with consuming.killed_at(site, "lane") as child:
        assert holder(site) == f"child {child.pid}"
        with consuming.lane(site.settings(), site.bucket, actor="heir"):
            os.kill(child.pid, signal.SIGKILL)
            begun = monotonic()
            until(lambda: holder(site) == "heir", 15, "the heir listens")
            assert monotonic() - begun < 6 + 2  # a busy machine's
            site.remove("file")
            until(lambda: ("file", "missing", "suspected") in site.open(), 10, "the heir hears")


def test_what_a_dead_holder_said_of_itself_is_not_said_of_its_heir(site, minio):
    """Whoever takes the lane over does not listen yet, and the lease does not say so."""
    host, port = minio.endpoint.split(":")
    dead = (
        "INSERT INTO reconciler.lease (task, checkpoint, owner, until) VALUES (%s, 'express.listening', 'dead', now())"
    )
    site.sql(dead, f"express {site.bucket}")
    with proxy.Proxy(host, int(port)) as between:
        between.set(proxy.Stall())
        with consuming.lane(site.settings(), site.bucket, "heir", between.url):
            until(lambda: site.sql(SAID) == [("express.waiting",)], what="the heir says that it waits")


def test_a_lane_that_is_left_in_order_is_taken_at_once(site):
    """Who stops lets go of the lease; nobody waits for it to run out."""
    with consuming.lane(site.settings(), site.bucket, actor="first"):
        assert holder(site) == "first"
        with consuming.lane(site.settings(), site.bucket, actor="second"):
            until(lambda: site.sql("SELECT 1 FROM pg_stat_activity WHERE application_name = 'second'"))
            assert holder(site) == "first"
    with consuming.lane(site.settings(), site.bucket, actor="third"):
        begun = monotonic()
        until(lambda: holder(site) == "third")
        assert monotonic() - begun < 3


def test_a_stream_that_is_still_is_noticed_and_said(site, minio):
    """Nothing comes, not even a ping: within six seconds the log and the lease say so; then the lane listens anew."""
    site.put("file")
    site.row("file")
    host, port = minio.endpoint.split(":")
    with (
        proxy.Proxy(host, int(port)) as between,
        structlog.testing.capture_logs() as told,
        consuming.lane(site.settings(), site.bucket, minio_url=between.url),
    ):
        holder(site)
        between.set(proxy.Stall())
        begun = monotonic()
        until(lambda: any(line["event"] == "express.silent" for line in told), 15, "the log says so")
        assert monotonic() - begun < 6 + 2  # a busy machine's
        until(lambda: site.sql(SAID) == [("express.silent",)], 3, "the lease says so")
        between.set(proxy.Pass())
        holder(site)
        site.remove("file")
        until(lambda: ("file", "missing", "suspected") in site.open(), 10, "the lane hears again")
    assert [line["event"] for line in told if line["event"] == "express.listening"] == ["express.listening"] * 2


def test_a_lane_that_is_cut_or_refused_comes_back(site, minio):
    """A connection that breaks, and a server that answers 403 or 503, are said and tried again each second."""
    site.put("file")
    site.row("file")
    host, port = minio.endpoint.split(":")
    with (
        proxy.Proxy(host, int(port)) as between,
        structlog.testing.capture_logs() as told,
        consuming.lane(site.settings(), site.bucket, minio_url=between.url),
    ):
        for fault in (proxy.Cut(), proxy.FORBIDDEN, proxy.BUSY):
            holder(site)
            between.set(proxy.Cut())
            between.set(fault)
            until(lambda: site.sql(SAID) == [("express.down",)], 10, f"{fault} is said")
            between.set(proxy.Pass())
        holder(site)
        site.remove("file")
        until(lambda: ("file", "missing", "suspected") in site.open(), 10, "the lane hears again")
    assert [line["event"] for line in told if line["event"] == "express.down"] == ["express.down"] * 3


@pytest.mark.invariant(8)
def test_both_lanes_at_one_key_in_one_moment_leave_one_finding(site):
    """Sixty deletions are told by both at once: each is one finding, suspected once and flagged once."""
    keys = [f"file {number}" for number in range(60)]
    for key in keys:
        site.put(key)
        site.row(key)
    settings = site.settings(**QUICK, RECONCILER_FLAGGING="true")
    truth = {(key, "missing", "open") for key in keys}
    with consuming.lane(settings, site.bucket), consuming.consuming(settings) as consumer:
        holder(site)
        turning(consumer, until_true=lambda: len(site.members()) == 1, what="it joined")
        for key in keys:
            site.remove(key)
            site.producer.produce(site.topic, site.removed(key))
            site.producer.poll(0)
            consumer.turn()
        site.producer.flush()
        turning(consumer, until_true=lambda: site.open() == truth and site.caught_up(), seconds=30, what="the truth")
    assert site.sql("SELECT count(*) FROM reconciler.finding") == [(60,)]
    acts = "SELECT act, count(*), count(DISTINCT subject) FROM reconciler.history GROUP BY 1 ORDER BY 1"
    assert site.sql(acts) == [("flagged", 60, 60), ("suspected", 60, 60)]
    assert {name for _, named_by in site.sql(NAMED) for name in named_by} >= {"express", "event"}


def test_awkward_keys_come_by_both_lanes(reporting):
    """Plus, percent, spaces, Cyrillic: what either lane names is the row's key, and both are witnesses of it."""
    for key in AWKWARD:
        reporting.put(key)
        reporting.row(key)
    settings = reporting.settings(**QUICK, RECONCILER_FLAGGING="true")
    with consuming.lane(settings, reporting.bucket), consuming.consuming(settings) as consumer:
        holder(reporting)
        for key in AWKWARD:
            reporting.remove(key)
        both = [(key, ["express", "event"]) for key in sorted(AWKWARD)]
        truth = {(key, "missing", "open") for key in AWKWARD}

        def told_by_both() -> bool:
            return sorted(reporting.sql(NAMED)) == both and reporting.open() == truth

        turning(consumer, until_true=told_by_both, seconds=30, what="both lanes told")
