"""The event-loss meter on real servers: which of the sweep's drifts the stream should have told of."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from functools import partial

import pytest
from minio.notificationconfig import NotificationConfig

from consumer.duties.passed import passed
from tests.support import consuming, storage
from tests.support.waiting import until

OLD = datetime(2025, 9, 7, tzinfo=UTC)
QUICK = {
    "RECONCILER_POLICY__MISSING_GRACE": "100ms",
    "RECONCILER_POLICY__ORPHAN_GRACE": "0s",
    "RECONCILER_BRAKE__BUCKET_FLOOR": "1000",
}
DURABLE = {"RECONCILER_STREAM__EXPRESS": "false"}  # the express lane hears of removals whatever the rules say
READ_SO_FAR = "SELECT count(*) FROM reconciler.finding WHERE key = 'told'"


@pytest.fixture
def site(tmp_path, database, minio, kafka):
    """Make an application whose bucket reports to the stack's topic, with a group of its own."""
    bucket = storage.new_bucket(minio)
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, kafka.topic, bucket) as made:
        yield made


def meters(site) -> dict[str, str]:
    """Sweep, and return what the meter says of each key that was new and known to nobody."""
    ended = site.program.run("sweep", "-o", "json", **QUICK)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    return {one["key"]: one["meter"] for one in report["drifts"] if one["is_new"] and not one["known"]}


@pytest.mark.timeout(240)
def test_what_the_stream_should_have_told_is_counted_as_lost(site):
    """A rule taken away and a prefix force-deleted lose events; a change of the rows alone never has one."""
    for key in ("by hand", "rule/gone", "forced/one", "forced/two", "row gone", "told"):
        site.row(key, created_at=OLD)
        site.put(key)
    site.put("stray")
    with site.program.running("consume", **QUICK, **DURABLE):
        until(lambda: site.sql("SELECT 1 FROM reconciler.finding WHERE key = 'stray'"), 20, "the stream is read")
        until(site.caught_up, 20, "to its end")
        assert set(meters(site).values()) <= {"unmeasured"}, "before the first complete sweep nothing is measured"
        rules = site.client.get_bucket_notification(bucket_name=site.bucket)
        site.client.set_bucket_notification(bucket_name=site.bucket, config=NotificationConfig())
        site.remove("rule/gone")
        site.put("rule/stray")
        site.client.set_bucket_notification(bucket_name=site.bucket, config=rules)
        site.client._execute(  # noqa: SLF001 - an extension of MinIO's that its client does not know
            "DELETE", bucket_name=site.bucket, object_name="forced/", headers={"x-minio-force-delete": "true"}
        )
        site.sql("DELETE FROM file_versions WHERE object_key = 'row gone'")
        site.remove("told")
        until(lambda: site.sql(READ_SO_FAR) == [(1,)], 20, "the stream has told of what it knows")
        found = meters(site)
    assert found == {
        "rule/gone": "lost or silent",
        "rule/stray": "lost or silent",
        "forced/one": "lost or silent",
        "forced/two": "lost or silent",
        "row gone": "never an event",
    }
    [shown] = site.program.json("status")["meter"]
    assert shown | {"swept_at": ""} == {
        "bucket": site.bucket,
        "swept_at": "",
        "lost_or_silent": 4,
        "never_an_event": 1,
        "unmeasured": 0,
    }
    assert "Loss meter" in site.program.run("status").stdout


@pytest.mark.timeout(120)
def test_a_group_that_does_not_read_leaves_it_unmeasured_and_is_not_waited_for(site, monkeypatch):
    """Nobody consumes: the sweep ends all the same, and says why nothing could be measured."""
    if not os.environ.get("RECONCILER_TEST_LONG"):
        monkeypatch.setattr("consumer.runs.metering.passed", partial(passed, patience_s=3.0))
    site.row("gone", created_at=OLD)
    site.put("gone")
    meters(site)
    site.remove("gone")
    ended = site.program.run("sweep", "-o", "json", **QUICK)
    assert [one["meter"] for one in json.loads(ended.stdout)["drifts"]] == ["unmeasured"]
    assert "the loss meter could not measure" in ended.stdout
