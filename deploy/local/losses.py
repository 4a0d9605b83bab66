"""The demo's story goes on: what no event tells, which only a sweep finds; and a mass, which is not believed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minio.deleteobjects import DeleteObject

from deploy.local.application import Version
from deploy.local.story import CONTENT, Cause, Demo, Scene, Untrue, expect, path, still_there, told

OK, GONE = 200, 404
MASS = 120
SWEEP_S = 60.0
SWEPT = "SELECT state, objects, rows, totals FROM reconciler.sweeps WHERE id = %(id)s"
LOST = "SELECT key FROM reconciler.drift WHERE sweep_id = %(id)s AND meter = 'lost or silent' ORDER BY key"
NO_FINDING = "SELECT key FROM reconciler.findings WHERE key = ANY(%(keys)s)"
SEEN_YOUNG = """\
SELECT FROM reconciler.lease
WHERE task = 'duty young' AND substring(checkpoint FROM '^[^ ]+ [^ ]+')::timestamptz > (
    SELECT max(created_at) FROM file_versions WHERE id = ANY(%(ids)s::uuid[]))
"""
HELD = "SELECT * FROM reconciler.findings WHERE held_by = 'brake' ORDER BY id LIMIT 1"
BRAKES = "SELECT why FROM reconciler.restraint WHERE effect = 'brake' AND lifted_at IS NULL"
MASS_NOW = """\
SELECT count(*) FILTER (WHERE v.status = 'corrupted') AS flagged, count(*) FILTER (WHERE f.held_by = 'brake') AS held,
       count(f.id) AS suspected
FROM file_versions AS v
LEFT JOIN reconciler.finding AS f ON f.row_id = v.id::text AND f.kind = 'missing' AND f.closed_at IS NULL
WHERE v.id = ANY(%(ids)s::uuid[])
"""


def losses(demo: Demo) -> None:
    """Show it all, in order; raises Untrue at the first thing that did not happen."""
    versions = [demo.application.store(f"photo-{number:03}.jpg", CONTENT) for number in range(MASS + 2)]
    first_sweep(demo)
    lost_on_the_way(demo, versions.pop(), versions.pop())
    mass_deletion(demo, versions)


def first_sweep(demo: Demo) -> None:
    """Sweep once, as every night: what is known by then is no loss, and the loss meter has a begin."""
    started = time.monotonic()
    report = swept(demo, demo.run("sweep", "-o", "json", log="sweep.log", stdout=subprocess.PIPE))
    swept_ms = 1000 * (time.monotonic() - started)
    kept = demo.onlooker.execute(SWEPT, {"id": report["id"]}).fetchone() or {}
    expect(kept.get("state") == "complete", "the first sweep is complete")
    among = f"{kept['objects']} objects, {kept['rows']} rows"
    expect(all(one["known"] for one in report["drifts"]), "the first sweep finds nothing that was not known")
    found = f"complete: {among}, {report['total_drifts']} drifts, all known"
    demo.tell(Scene("a first sweep compares everything", found, "sweep", None, swept_ms))


def lost_on_the_way(demo: Demo, version: Version, wanted: Version) -> None:
    """Lose notifications, in both lanes: a sweep finds what they would have told, and counts it as lost.

    One of the files is `wanted` meanwhile: its reader is the first to meet the loss.
    """
    stray = "imports/lost.bin"
    ids = {"ids": [version.id, wanted.id]}
    demo.until(lambda: demo.onlooker.execute(SEEN_YOUNG, ids).fetchall(), "no row is so young that it is looked at")
    with unheard(demo):
        failed_read(demo, wanted)
        demo.stranger.remove_object(bucket_name=demo.bucket, object_name=version.key)
        demo.application.upload(stray, CONTENT)
    unknown = demo.onlooker.execute(NO_FINDING, {"keys": [version.key, stray]}).fetchall()
    expect(not unknown, "the consumer is up again, and knows nothing of what was lost")
    started = time.monotonic()
    process = demo.run("sweep", "--fix", "-o", "json", log="sweep.log", stdout=subprocess.PIPE)
    demo.found(
        Cause("a deletion's notification is lost", version.key, "missing"),
        Cause("an upload's notification is lost", stray, "orphan"),
    )
    report = swept(demo, process)
    done = time.monotonic()
    expect(demo.application.status(version) == "corrupted", "the version whose deletion was lost is corrupted")
    still_there(demo, stray)
    lost = [row["key"] for row in demo.onlooker.execute(LOST, {"id": report["id"]})]
    counted = sum(one["lost_or_silent"] for one in report["meter"])
    why = "; ".join(report["notes"])
    expect(sorted([version.key, stray]) == lost, f"both are counted as lost or silent, and nothing else ({why})")
    expect(counted == len(lost), "the sweep's report counts what the database does")
    demo.tell(
        Scene("neither was heard of", f"{counted} counted as lost or silent", "loss meter", None, ms(started, done))
    )


def failed_read(demo: Demo, version: Version) -> None:
    """Download, by the application's own page, what was deleted unheard: its version is corrupted by the answer."""
    page = demo.page
    if page is None:
        raise Untrue("the application's page is served")
    demo.until(lambda: page.url, "the application's page is served")
    expect(page.download(version) == OK, "what is there can be downloaded")
    demo.stranger.remove_object(bucket_name=demo.bucket, object_name=version.key)
    since = time.monotonic()
    expect(page.download(version) == GONE, "the download of the deleted object is a 404")
    done = time.monotonic()
    expect(demo.application.status(version) == "corrupted", "its version is corrupted by then")
    row = demo.finding(version.key, "missing", "open") or {}
    expect(row.get("named_by") == ["read"], "nobody but the reader has told of it")
    demo.tell(
        Scene("a download meets a deletion that nobody heard of", f"404; {told(row)}", path(row), None, ms(since, done))
    )


@contextmanager
def unheard(demo: Demo) -> Iterator[None]:
    """Take the bucket's rule away, with the consumer down, so that neither lane hears; then put both back."""
    client = demo.application.client
    rule = client.get_bucket_notification(bucket_name=demo.bucket)
    demo.stop()
    client.delete_bucket_notification(bucket_name=demo.bucket)
    yield
    client.set_bucket_notification(bucket_name=demo.bucket, config=rule)
    demo.start()
    demo.ready()


def swept(demo: Demo, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return the report of a sweep that is running."""
    out, _ = process.communicate(timeout=SWEEP_S)
    expect(process.returncode == 0, f"a sweep ends with 0 (it was {process.returncode}; {demo.directory}/sweep.log)")
    report: dict[str, Any] = json.loads(out)
    return report


def mass_deletion(demo: Demo, versions: list[Version]) -> None:
    """Delete a mass by hand: the brake holds, and not every version is flagged."""
    doomed = [DeleteObject(name=version.key) for version in versions]
    failed = list(demo.stranger.remove_objects(bucket_name=demo.bucket, delete_object_list=doomed))
    expect(not failed, "all objects are deleted")
    since = time.monotonic()
    ids = {"ids": [version.id for version in versions]}
    now: dict[str, Any] = {}

    def all_of(*names: str) -> bool:
        now.update(demo.onlooker.execute(MASS_NOW, ids).fetchone() or {})
        return sum(int(now[name]) for name in names) == len(versions)

    suspected = demo.until(lambda: all_of("suspected"), "all of the mass are suspected")
    done = demo.until(lambda: all_of("flagged", "held"), "each of the mass is flagged or held")
    expect(now["flagged"] < len(versions), "the brake holds: fewer than all are flagged")
    brakes = demo.onlooker.execute(BRAKES).fetchall()
    expect(len(brakes) == 1, "one brake is on")
    process = demo.run("brake", "status", "-o", "json", log="brake.log", stdout=subprocess.PIPE)
    answer = json.loads(process.communicate(timeout=SWEEP_S)[0])
    expect((answer["brake"], answer["held"]) == ("on", now["held"]), "`brake status` says so")
    found = f"brake on: {now['flagged']} flagged, {now['held']} held; {brakes[0]['why']}"
    by = path(demo.onlooker.execute(HELD).fetchone() or {})
    demo.tell(Scene(f"{len(versions)} objects are deleted at once", found, by, ms(since, suspected), ms(since, done)))


def ms(since: float, until: float) -> float:
    """Return the milliseconds between two monotonic times."""
    return 1000 * (until - since)
