"""Metrics and probes over HTTP: what is counted is exported, from 0, and a probe says what is wrong."""

import socket
import threading
from contextlib import ExitStack, contextmanager

import pytest

from consumer import metrics
from consumer.counting import UNKNOWN, Counting, Figure
from consumer.duties import counted
from consumer.duties.canary import DURABLE
from consumer.duties.duty import Duty, count_live_rows, do_one, let_go
from consumer.duties.figures import INTERVAL_S, Reader, Topics
from consumer.duties.losses import Loss, Sight
from consumer.duties.losswatch import want
from consumer.web import LIVE_WITHIN_S, Probes, Site, Web
from reconcile import inquiry, ledger
from reconcile.database import Database
from reconcile.model import Misconfigured
from reconcile.steps import Tally
from tests.support import consuming, proxy
from tests.support.scraping import Page

SWEPT = "reconciler_last_complete_sweep_timestamp_seconds"
SENT = "reconciler_canary_sent_timestamp_seconds"


@contextmanager
def serving(counting: Counting, database: str = ""):
    """Serve what is counted, and lend the page."""
    stop = threading.Event()
    database_of_probes = Database(database, patience_s=0.2)
    web = Web(Site(Probes(counting, database_of_probes)), "127.0.0.1", 0)
    with consuming.beside(lambda: web.run(stop.wait), stop):
        yield Page(web.port)
    web.close()
    database_of_probes.close()


def test_every_name_of_the_catalogue_is_exported_with_all_its_known_labels_from_0():
    """Before anything happened, and nothing is exported that the catalogue does not name."""
    counting = Counting()
    counting.leased.show([Figure("reconciler_lag_records", 0, ("0",))], counting.now() + 60)
    with serving(counting) as page:
        answer = page.ask("/metrics")
        series = page.series()
    families = {line.split()[2]: line.split()[3] for line in answer.text.splitlines() if line.startswith("# TYPE")}
    ours = {name: kind for name, kind in families.items() if name.startswith("reconciler_")}
    assert ours == {one.name: one.kind for one in metrics.CATALOGUE}
    for one in metrics.CATALOGUE:
        suffix = "_count" if one.kind == metrics.HISTOGRAM else ""
        for labels in () if one in metrics.LEASED and not one.labels else one.known():  # these are read, not counted
            told = frozenset(zip(one.labels, labels, strict=True))
            at_first = UNKNOWN if one.name == "reconciler_clock_uncertainty_seconds" else 0
            assert series[one.name + suffix, told] == at_first, (one.name, told)
    assert series["process_resident_memory_bytes", frozenset()] > 0


def test_what_turns_return_is_counted():
    """Each count of a tally comes out under its name, and two turns add up."""
    counting = Counting()
    tally = Tally(
        looks=5,
        settled=7,
        held=3,
        busy=1,
        unknown=1,
        not_asked=2,
        acts={"read": 20, "skipped": 4, "buried": 2, "given back": 1},
        answers={"present": 3, "absent": 1, "unknown": 1},
        buried={"not-json": 2},
    )
    with serving(counting) as page:
        counting.turned(tally, 4)
        counting.turned(tally, 2)
        counting.looked("express", Tally(looks=1, answers={"absent": 1}))
        assert page.value("reconciler_held_records") == 3
        for _ in ("begun", "tried in vain"):
            counting.outage("minio")
        assert page.value("reconciler_held_records") == 0, "what was held is read again"
        assert page.value("reconciler_turns_total") == 2
        assert page.value("reconciler_records_total") == 40
        assert page.value("reconciler_batch_records_sum") == 40
        assert page.value("reconciler_skipped_events_total") == 8
        assert page.value("reconciler_settled_total") == 14
        assert page.value("reconciler_dead_letters_total", reason="not-json") == 4
        assert page.value("reconciler_looks_total", path="stream") == 10
        assert page.value("reconciler_looks_total", path="express") == 1
        assert page.value("reconciler_answers_total", answer="absent") == 3
        assert page.value("reconciler_answers_total", answer="not_asked") == 4
        assert page.value("reconciler_changes_total", act="given_back") == 2
        assert page.value("reconciler_busy_total", path="stream") == 2
        assert page.value("reconciler_assigned_partitions") == 2
        assert page.value("reconciler_outage", server="minio") == 1
        counting.outage("")
        assert page.value("reconciler_outage", server="minio") == 0
        assert page.value("reconciler_outages_total", server="minio") == 1


def test_only_known_paths_are_served():
    """Whatever else is asked for is a 404, and nothing can be sent."""
    with serving(Counting()) as page:
        assert page.ask("/livez").status == page.ask("/metrics").status == 200
        for path in ("/", "/metrics/", "/livez2", "/..%2fmetrics", "/favicon.ico"):
            assert page.ask(path).status == 404, path
        assert page.ask("/livez", "HEAD").status == 200
        for path in ("/livez", "/metrics"):
            refused = page.ask(path, "POST")
            assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")
        assert "Server" not in page.ask("/livez").headers


def test_a_loop_that_stands_still_is_not_alive():
    """A turn, or a question whether to stop while a server is waited for, is a sign of life."""
    at = [0.0]
    counting = Counting(now=lambda: at[0])
    asked = counting.beating(lambda: False)
    with serving(counting) as page:
        assert asked() is False
        at[0] = LIVE_WITHIN_S - 1
        assert page.ask("/livez").status == 200
        at[0] = LIVE_WITHIN_S + 1
        answer = page.ask("/livez")
        assert (answer.status, answer.text) == (503, "the loop has stood still for 61 s\n")
        asked()
        assert page.ask("/livez").status == 200


def test_readiness_says_what_is_missing(postgres, database):
    """Not assigned, an outage, a database that is away: each is told, and each passes; all the while it is alive."""
    counting = Counting()
    host, port = postgres.url.split("@")[-1].split("/")[0].split(":")
    with proxy.Proxy(host, int(port)) as between:
        url = database.replace(f":{port}/", f":{between.port}/")
        with serving(counting, url) as page:
            assert "its part" in page.ask("/readyz").text
            counting.turned(Tally(), 0)
            assert page.ask("/readyz").status == 200
            counting.outage("kafka")
            answer = page.ask("/readyz")
            assert (answer.status, answer.text) == (503, "an outage: waiting for kafka\n")
            counting.outage("")
            between.set(proxy.Cut())
            answer = page.ask("/readyz")
            assert answer.status == 503
            assert answer.text.startswith("postgresql is unavailable")
            assert page.ask("/livez").status == 200
            between.set(proxy.Pass())
            assert page.ask("/readyz").status == 200


def test_a_port_that_is_taken_is_told_with_the_way_out():
    """Nothing is started on a port that another has."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match=rf"web.port = {port}: cannot be listened on .*or 0 for any"):
            Web(Site(Probes(Counting(), Database(""))), "127.0.0.1", port)


@pytest.fixture
def reader(site):
    """Return what makes the reader of figures of one process, with its world."""
    with ExitStack() as exits:

        def opened(actor: str) -> tuple[Reader, Counting, object]:
            settings = site.settings()
            counting = Counting()
            topics = Topics(site.topic, f"{site.topic}.dead-letter", settings.kafka)
            made = Reader(counting.leased, topics, (site.bucket,), (site.bucket,), exits)
            return made, counting, consuming.world(settings, exits, actor)

        yield opened


def figures(counting: Counting) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return the leased samples that are shown."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in counting.leased.collect()
        for sample in family.samples
    }


def test_the_figures_are_those_of_the_database_and_of_the_topic(site, reader):
    """Findings by kind, state and group, the lag in records and seconds, brakes, lanes and looks are as they are."""
    with consuming.consuming(site.settings(RECONCILER_FLAGGING="true")) as consumer:
        row_id = site.row("gone")
        site.put("orphan", 7)
        site.send([site.removed("gone"), site.created("orphan", 7), None])
        flagged = lambda: site.hurry() or (site.status(row_id) == "corrupted" and len(site.open()) == 2)  # noqa: E731
        consuming.turning(consumer, until_true=flagged)
    site.send([site.removed("later"), site.removed("later still")])
    with site.connection.transaction():
        ledger.restrain(site.connection, "brake", site.bucket, "missing", "a test", "test")
    window = Sight("2025-06-01T12:00:00Z"), Sight("2025-06-01T12:00:15Z")
    want(site.connection, [Loss("retention", "two are gone")], window, [site.bucket], "test")
    made, counting, world = reader("one")
    do_one(world, made.duty(), lambda *_: True)
    found = figures(counting)
    assert found["reconciler_findings", ("missing", "open")] == 1
    assert found["reconciler_findings", ("mismatch", "open")] == 0
    assert found["reconciler_corrupted_versions", ("user",)] == 1
    assert found["reconciler_corrupted_versions", ("",)] == 0
    assert found["reconciler_orphans", ("orphan", "")] == 1
    assert found["reconciler_orphans_bytes", ("orphan",)] == 7
    assert found["reconciler_brakes", ("missing",)] == found["reconciler_restraints", ("brake",)] == 1
    assert found["reconciler_brakes", ("orphan",)] == 0
    assert found["reconciler_looks_planned", ()] == 2
    assert found["reconciler_lag_records", ("0",)] == 2
    assert found["reconciler_lag_records", ("1",)] == found["reconciler_lag_seconds", ("1",)] == 0
    assert 0 <= found["reconciler_lag_seconds", ("0",)] < 30
    assert found["reconciler_dead_letters_kept", ()] == 1
    assert found["reconciler_last_complete_sweep_timestamp_seconds", (site.bucket,)] == 0
    assert found["reconciler_swept_drifts", (site.bucket, "missing", "this_week", "lost_or_silent")] == 0
    assert found["reconciler_sweep_wanted", ("retention",)] == 1
    assert found["reconciler_sweep_wanted", ("topic_recreated",)] == 0
    assert found["reconciler_express_lanes", (site.bucket,)] == 0
    assert made.duty().lease_s > INTERVAL_S
    kept = counted.read(inquiry.records(site.connection, "leases"))
    assert (kept.kinds["missing"].open, kept.kinds["missing"].flagged, kept.kinds["orphan"].size_bytes) == (1, 1, 7)
    assert (kept.lag_records, kept.dead_letters) == (2, 1)


def test_a_bucket_that_is_given_up_is_told_no_more(site, reader):
    """Neither the age of its sweep, nor its canary; what live rows name is told, and once none does, no more."""
    sweep = "INSERT INTO reconciler.sweep (bucket, mode, state, actor) VALUES (%s, 'report', 'complete', 'test')"
    for bucket in ("given-up", "by-rows"):
        site.sql(sweep, bucket)
    site.sql("INSERT INTO reconciler.lease (task, lower, owner, until) VALUES ('canary', 'given-up', '', now())")
    made, counting, world = reader("one")
    made.canary_lanes, made.canary_interval_s = (DURABLE,), 60.0
    ledger.keep_live_rows(site.connection, {"by-rows": 1}, {}, "test")
    for known in ({site.bucket, "by-rows"}, {site.bucket}):
        do_one(world, made.duty(), lambda *_: True)
        found = figures(counting)
        assert {labels[0] for name, labels in found if name == SWEPT} == known
        assert {labels[0] for name, labels in found if name == SENT} == {site.bucket}
        do_one(world, Duty("live rows", 600.0, count_live_rows), lambda *_: True)
    assert found[SENT, (site.bucket,)] == 0, "none was sent yet, which is told"
    assert found["reconciler_canary_interval_seconds", ()] == 60


def test_figures_of_the_servers_are_shown_by_one_process_alone(reader):
    """The second shows nothing until the first lets go, and what the first showed ends before its lease."""
    first, of_first, its_world = reader("first")
    second, of_second, other_world = reader("second")
    do_one(its_world, first.duty(), lambda *_: True)
    do_one(other_world, second.duty(), lambda *_: True)
    assert ("reconciler_brakes", ("missing",)) in figures(of_first)
    assert figures(of_second) == {}
    let_go(its_world, [first.duty()])
    do_one(other_world, second.duty(), lambda *_: True)
    assert ("reconciler_brakes", ("missing",)) in figures(of_second)
    later = of_first.leased.until
    assert later < of_first.now() + first.duty().lease_s
    of_first.leased.now = lambda: later
    assert figures(of_first) == {}


def test_a_group_that_was_once_shown_stays_shown_at_0(site, reader):
    """So that an alert on it ends, instead of going on with what was seen last."""
    made, counting, world = reader("one")
    insert = """INSERT INTO reconciler.finding (bucket, key, row_id, kind, state, group_name, previous_status)
                VALUES ('b', 'k', '1', 'missing', 'open', 'team', 'active')"""
    site.sql(insert)
    do_one(world, made.duty(), lambda *_: True)
    assert figures(counting)["reconciler_corrupted_versions", ("team",)] == 1
    site.sql("UPDATE reconciler.finding SET closed_at = now(), state = 'resolved'")
    do_one(world, made.duty(), lambda *_: True)
    assert figures(counting)["reconciler_corrupted_versions", ("team",)] == 0


def test_a_broker_that_is_away_hides_the_lag_alone(site, reader):
    """The figures of the database are shown all the same."""
    made, counting, world = reader("one")
    made.topics = Topics(site.topic, "none", {**made.topics.kafka, "bootstrap.servers": "127.0.0.1:1"})
    do_one(world, made.duty(), lambda *_: True)
    assert ("reconciler_brakes", ("missing",)) in figures(counting)
    assert not [
        name for name, _ in figures(counting) if name.startswith(("reconciler_lag", "reconciler_dead_letters_"))
    ]
