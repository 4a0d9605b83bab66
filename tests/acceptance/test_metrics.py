"""`consume` as it is watched: a scrape of the real process, its probes, and the catalogue that `metrics` prints."""

import signal

from consumer.metrics import CATALOGUE, HISTOGRAM
from tests.support import consuming, scraping
from tests.support.waiting import until

JSON = ("consume", "--log-format", "json")


def test_a_real_consumer_is_scraped_and_tells_what_it_did(site):
    """Read, settled, buried, looked at, what MinIO said, findings, lag: as the test made it; ready once assigned."""
    for number in range(30):
        site.row(f"healthy/{number}")
        site.put(f"healthy/{number}")
    site.row("gone")
    with site.program.running(*JSON, RECONCILER_FLAGGING="true") as process:
        page = scraping.page(site.program)
        until(lambda: page.ask("/readyz").status == 200, 20, "it is ready")
        site.spread([site.created(f"healthy/{number}") for number in range(30)])
        site.send([site.removed("gone"), b"no JSON", None])
        until(lambda: page.value("reconciler_changes_total", act="flagged") == 1, 20, "the version is flagged")
        until(site.caught_up, 20)
        until(lambda: page.value("reconciler_corrupted_versions", group="user") == 1, 25, "the figures are read")
        until(lambda: page.value("reconciler_rules_refused", bucket=site.bucket) == 0, 25, "and the rules")
        series = page.series()
        first, listed = page.ask("/"), page.ask("/findings?kind=missing")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    names = {name for name, _ in series}
    wanted = {one.name + ("_count" if one.kind == HISTOGRAM else "") for one in CATALOGUE}
    assert {name for name in wanted if "_canary_" not in name} <= names  # which is off
    told = {name: value for (name, labels), value in series.items() if not labels}
    assert told["reconciler_records_total"] == told["reconciler_batch_records_sum"] == 33
    assert told["reconciler_settled_total"] == 30
    assert told["reconciler_assigned_partitions"] == 4
    assert told["reconciler_held_records"] == 0
    assert series["reconciler_dead_letters_total", frozenset({("reason", "not-json")})] == 1
    assert series["reconciler_dead_letters_total", frozenset({("reason", "tombstone")})] == 1
    assert series["reconciler_answers_total", frozenset({("answer", "absent")})] >= 2
    assert series["reconciler_findings", frozenset({("kind", "missing"), ("state", "open")})] == 1
    assert told["reconciler_dead_letters_kept"] == 2
    for stage in ("read", "committed"):  # a sample stands for its neighbours, so that only all kinds together are exact
        of = [frozenset({("stage", stage), ("kind", kind)}) for kind in ("created", "removed", "look")]
        assert sum(series["reconciler_event_latency_seconds_count", one] for one in of) == 31
        assert 0 <= sum(series["reconciler_event_latency_seconds_sum", one] for one in of) <= 31 * 15
    assert told["reconciler_unmeasured_events_total"] == 0
    assert 0 <= told["reconciler_clock_uncertainty_seconds"] <= 0.6
    for partition in range(4):
        assert ("reconciler_lag_records", frozenset({("partition", str(partition))})) in series
    assert "1 version has no object" in first.text
    assert "2 records never decoded" in first.text
    assert "gone</code>" in listed.text


def test_the_status_page_can_be_off(site):
    """Then metrics and probes are served, and nothing that shows a key."""
    with site.program.running(*JSON, RECONCILER_WEB__STATUS="false"):
        page = scraping.page(site.program)
        assert page.ask("/metrics").status == 200
        assert [page.ask(path).status for path in ("/", "/findings", "/sweeps")] == [404, 404, 404]


def test_a_real_consumer_times_its_lanes_by_the_canary(tmp_path, database, minio, kafka, bucket):
    """Both lanes tell of it, it is exported, rules and clocks are known, and nothing of it is ever a finding."""
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, kafka.topic, bucket) as site:
        with site.program.running(*JSON, RECONCILER_CANARY__INTERVAL="10s"):
            page = scraping.page(site.program)
            of = {"bucket": bucket}

            def timed() -> bool:
                found = page.series()
                names = [("reconciler_canary_latency_seconds", {**of, "lane": lane}) for lane in ("durable", "express")]
                return all((name, frozenset(labels.items())) in found for name, labels in names)

            until(timed, 45, "both lanes are timed")
            assert page.value("reconciler_canary_silent", lane="durable", cause="unknown", **of) == 0
            assert page.value("reconciler_rules_lacking", event="s3:ObjectRemoved:*", **of) == 0
            assert page.value("reconciler_rules_lacking", event="s3:LifecycleDelMarkerExpiration:Delete", **of) == 1
        shown = site.program.json("status")
        assert shown["rules"][0]["rules"] == "narrowed"
        assert "minio_clock_ahead_ms" in shown
        assert site.sql("SELECT FROM reconciler.finding") == site.sql("SELECT FROM reconciler.look") == []


def test_metrics_prints_the_catalogue(site):
    """Name, type, unit, labels, who exports it, meaning: without any configuration."""
    shown = site.program.json("metrics")
    assert [row["name"] for row in shown] == [one.name for one in CATALOGUE]
    assert {row["exported_by"] for row in shown} == {"each process", "the lease's holder"}
    assert all(row["meaning"].endswith(".") for row in shown)


def test_a_second_consumer_on_the_same_port_ends_with_2(site):
    """It says which port, and how to have another."""
    with site.program.running(*JSON):
        page = scraping.page(site.program)
        ended = site.program.process("consume", RECONCILER_WEB__PORT=str(page.port))
    assert ended.returncode == 2
    assert f"web.port = {page.port}: cannot be listened on" in ended.stderr
