"""The daily report after real acts on real servers: what persons did, what the stream found, and how fast."""

from __future__ import annotations

import pytest

from tests.acceptance.test_replay import OLD, OPEN_SOON, POISON
from tests.support import command, consuming
from tests.support.orphans import Office
from tests.support.repairing import repairing
from tests.support.waiting import until

REPORT = ("report", "--since", "1h")


@pytest.fixture
def app(tmp_path, database, minio, bucket, connection, objects):
    """Give the application with our schema made."""
    return repairing(command.program(tmp_path, database, minio, bucket, {}), connection, objects, bucket)


def deeds(report: dict) -> dict[tuple[str, str, str], int]:
    """Return how many findings each act was done to, by whom and why."""
    return {(deed["act"], deed["who"], deed["why"]): deed["findings"] for deed in report["deeds"]}


def buried(report: dict) -> tuple[int, int]:
    """Return how many dead letters there were, in the window and in the one before."""
    [(count, before)] = [(each["count"], each["before"]) for each in report["around"] if each["of"] == "dead letters"]
    return count, before


def test_purges_deletions_and_restores_are_told_with_who_and_why(app):
    """Each as its command did it; what a look did afterwards is a person's, too."""
    app.program.environ["RECONCILER_POLICY__ORPHAN_GRACE"] = "0s"
    app.keep_versions()
    app.put("hidden")
    app.hide("hidden")
    _, hidden = app.flagged("hidden", days=1)
    file = app.file()
    app.flagged("old", file, 1)
    app.put("new")
    app.version("new", file, 2)
    office = Office(app.program, app.connection, app.objects, app.bucket)
    [orphan] = office.find({"orphan": b"AAA"})
    said = ("--apply", "--who", "ann", "--why")
    app.program.json("restore", str(hidden), *said, "asked for")
    app.program.json("purge", "--older-than", "30d", *said, "nobody asked")
    app.program.json("orphans", "approve", str(orphan), *said, "of a test")
    app.program.json("orphans", "delete", str(orphan), "--apply", "--who", "bob", "--why", "approved")
    report = app.program.json(*REPORT)
    assert deeds(report) == {
        ("deleted", "bob", "approved"): 1,
        ("purged", "ann", "nobody asked"): 1,
        ("restored", "ann", "asked for"): 1,
        ("restore begun", "ann", "asked for"): 1,
        ("approved", "ann", "of a test"): 1,
    }
    assert report["open"] == 0


def test_what_the_stream_found_is_told_with_its_latency_and_the_dead_letters_are_counted(
    tmp_path, database, minio, kafka, topic
):
    """Each path with the times of what it found; dead letters by the broker's own time."""
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, topic) as site:
        keys = [f"gone/{number}" for number in range(5)]
        for key in keys:
            site.row(key, created_at=OLD)
        site.spread([site.removed(key) for key in keys])
        site.send(POISON)
        with consuming.consuming(site.settings(**OPEN_SOON)) as consumer:
            flagged = "SELECT count(*) FROM file_versions WHERE status = 'corrupted'"
            consuming.turning(consumer, until_true=lambda: site.caught_up() and site.sql(flagged) == [(5,)])
        until(lambda: site.letters(wanted=len(POISON)))
        report = site.program.json(*REPORT)
        assert buried(report) == (len(POISON), 0)
        found = {(each["until"], each["path"]): each for each in report["latency"]}
        assert {each[0]: (told["found"], 0 < told["p50_ms"] < 60_000) for each, told in found.items()} == {
            "suspected": (5, True),
            "flagged": (5, True),
        }
        assert (report["open"], report["changes"][3]["findings"]) == (5, 5)
        earlier = site.program.json("report", "--since", "1h", "--until", "1h")
        assert (earlier["open"], buried(earlier)) == (0, (0, 0))
