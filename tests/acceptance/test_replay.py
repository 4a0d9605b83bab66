"""`replay` and `dead-letters` on real servers: what they tell, what they change, and what they leave alone."""

import json
import os
import pty
import re
import signal
import subprocess
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from tests.support import command, consuming
from tests.support.proxy import BUSY, FORBIDDEN, Pass, Proxy, Stall
from tests.support.waiting import until

OPEN_SOON = {
    "RECONCILER_POLICY__MISSING_GRACE": "300ms",
    "RECONCILER_FLAGGING": "true",
    "RECONCILER_BRAKE__BUCKET_FLOOR": "1000",
}
OLD = datetime(2025, 9, 7, tzinfo=UTC)
POISON = (b"{", None, b'{"Records": null}', b"[" * 200_000)


def told(ended) -> dict:
    """Return what a command answered as JSON."""
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def changes(report: dict) -> dict[str, int]:
    """Return what a plan says would change."""
    return {change["change"]: change["findings"] for change in report["changes"]}


def drifted(site) -> dict[str, str]:
    """Write a day of events: a healthy pair, a missing object, an orphan, a pair that is gone; return the rows' ids."""
    ids = {key: site.row(key, created_at=OLD) for key in ("healthy", "missing")}
    site.put("healthy")
    site.put("orphan")
    events = [site.created(key, ago_s=7200) for key in ("healthy", "missing", "orphan", "gone")]
    events += [site.removed("missing"), site.removed("gone"), *events]
    site.spread(events)
    return ids


def test_a_replay_prints_what_would_change_and_writes_nothing(site):
    """Invariant 9; each key is looked at once, though each was named more than once; a group is never joined."""
    ids = drifted(site)
    old_enough = {"RECONCILER_POLICY__ORPHAN_GRACE": "0s"}
    report = told(site.program.run("replay", "--from", "earliest", "-o", "json", **old_enough))
    assert changes(report) == {"missing": 1, "orphan": 1}
    assert (report["records"], report["looked_at"]) == (10, 3)
    assert {one["key"] for one in report["drifts"]} == {"missing", "orphan"}
    assert site.nothing_written()
    assert site.status(ids["missing"]) == "active"
    assert site.committed() == {}
    assert site.members() == []


def test_a_replay_tells_which_rows_would_change(site):
    """Those that would get the flag, if flags are wanted, and those that would get their status back."""
    ids = drifted(site)
    words = ("replay", "--from", "earliest", "-o", "json")
    assert told(site.program.run(*words, "--prefix", "missing"))["rows"] == []
    flagged = told(site.program.run(*words, RECONCILER_FLAGGING="true"))["rows"]
    assert flagged == [{"change": "flagged", "rows": 1}]
    told(site.program.run(*words, "--apply", **OPEN_SOON))
    assert told(site.program.run(*words, RECONCILER_FLAGGING="true"))["rows"] == []
    site.put("missing")
    back = told(site.program.run(*words, RECONCILER_FLAGGING="true"))
    assert (back["rows"], site.status(ids["missing"])) == ([{"change": "given back", "rows": 1}], "corrupted")


def test_a_replay_that_is_applied_does_it_and_says_who(site):
    """The finding, the flag, and the note in the history; what was done once is not done again."""
    ids = drifted(site)
    words = ("replay", "--from", "earliest", "--apply", "--who", "ann", "--why", "a lost week", "-o", "json")
    report = told(site.program.run(*words, **OPEN_SOON))
    acts = {act["act"]: act["findings"] for act in report["acts"]}
    assert acts == {"suspected": 2, "flagged": 1}
    assert site.status(ids["missing"]) == "corrupted"
    assert ("missing", "missing", "open") in site.open()
    kept = site.sql("SELECT actor, why FROM reconciler.history WHERE act = 'replayed'")
    assert kept == [("ann", "a lost week")]
    actors = site.sql("SELECT DISTINCT actor FROM reconciler.history WHERE act = 'flagged'")
    assert actors == [("ann",)]
    again = told(site.program.run(*words, **OPEN_SOON))
    assert "flagged" not in {act["act"] for act in again["acts"]}
    assert site.committed() == {}


def test_beside_a_running_consumer_a_replay_touches_neither_group_nor_offsets(site):
    """The member stays, what it has committed stays, and it reads on."""
    drifted(site)
    with consuming.consuming(site.settings()) as consumer:
        consuming.turning(consumer, until_true=site.caught_up)
        before, members = site.committed(), site.members()
        told(site.program.run("replay", "--from", "earliest", "--apply", "-o", "json", **OPEN_SOON))
        assert (site.committed(), site.members()) == (before, members)
        site.send([site.created("later")])
        consuming.turning(consumer, until_true=site.caught_up)
    assert site.committed() != before


def test_the_same_range_is_meant_by_offset_time_and_duration(site):
    """An edge is an offset, a time, a duration ago, or a word; a partition may be chosen; the end is not included."""
    site.send([site.created(f"k{number}") for number in range(10)], partition=1)
    [(begun,)] = site.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS')")
    site.send([site.created(f"l{number}") for number in range(5)], partition=1)
    site.send([site.created("m")], partition=2)

    def records(*words: str) -> int:
        return told(site.program.run("replay", *words, "-o", "json")).get("records", 0)

    assert records("--from", "earliest") == 16
    assert records("--from", "latest") == 0
    assert records("--from", "3", "--to", "7", "--partition", "1") == 4
    assert records("--from", begun) == 6
    assert records("--from", "1h") == 16
    assert records("--from", "1h", "--to", begun) == 10
    assert records("--from", "0", "--partition", "2") == 1


def test_filters_choose_by_bucket_prefix_and_event(site):
    """What is left out is counted as skipped."""
    site.send([site.created("a/1"), site.created("b/1"), site.removed("a/2")])

    def settled(*words: str) -> tuple[int, int]:
        report = told(site.program.run("replay", "--from", "earliest", *words, "-o", "json"))
        return report.get("looked_at", 0) + report.get("settled", 0), report.get("skipped", 0)

    assert settled() == (3, 0)
    assert settled("--prefix", "a/") == (2, 1)
    assert settled("--event", "s3:ObjectRemoved:*") == (1, 0)
    assert settled("--event", "ObjectRemoved:*") == (1, 0), "its beginning may be left out"
    assert settled("--bucket", site.bucket) == (3, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "yesterday"), "--from: 'yesterday': must be an offset"),
        (("--from", "0", "--partition", "9"), "--partition 9: topic"),
        (("--from", "7", "--to", "3"), "--to 3: is before --from 7"),
        (("--from", "1h", "--to", "2h"), "--to 2h: is before --from 1h"),
        (("--from", "0", "--bucket", "elsewhere"), "--bucket 'elsewhere': is none of those that are watched"),
    ],
)
def test_what_cannot_be_meant_is_named_with_the_rule(site, words, said):
    """Status 2, the value and what may stand there."""
    ended = site.program.run("replay", *words)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_what_retention_has_eaten_is_said_with_how_much(site):
    """The records of the range that are gone, and that a sweep is the answer."""
    site.send([site.created(f"k{number}") for number in range(10)], partition=0)
    site.delete_records(0, 6)
    ended = site.program.run("replay", "--from", "2", "--partition", "0", "-o", "json")
    [part] = told(ended)["ranges"]
    assert (part["eaten_by_retention"], part["from_offset"], part["records"]) == (4, 6, 4)
    [part] = told(site.program.run("replay", "--from", "2", "--to", "4", "--partition", "0", "-o", "json"))["ranges"]
    assert (part["eaten_by_retention"], part["records"]) == (2, 0), "no more than was asked for"
    shown = site.program.run("replay", "--from", "2", "--partition", "0").stdout
    assert "only a sweep finds" in shown


def test_a_range_behind_the_end_is_not_taken_for_nothing_happened(site):
    """Offsets of before the topic was emptied or recreated: it is said, and the status is 5."""
    site.send([site.created("k")])
    ended = site.program.run("replay", "--from", "1200", "--partition", "0", "-o", "json")
    assert ended.returncode == 5
    assert json.loads(ended.stdout)["ranges"][0]["beyond_the_end"] is True
    shown = site.program.run("replay", "--from", "1200", "--partition", "0").stdout
    assert "emptied or recreated" in shown


@pytest.mark.timeout(90)
def test_a_replay_that_loses_its_broker_says_so_and_ends(site, minio, kafka):
    """Status 6 and the server's name, from the midst of reading: the driver by itself would wait for ever."""
    site.send([site.created(f"k{number}") for number in range(6000)])
    little = {"QUEUED_MIN_MESSAGES": "1", "QUEUED_MAX_MESSAGES_KBYTES": "64", "FETCH_MESSAGE_MAX_BYTES": "65536"}
    host, port = urlsplit(minio.url).netloc.split(":")
    with Proxy(host, int(port)) as between:
        between.set(Stall())
        changed = {f"RECONCILER_KAFKA__{name}": value for name, value in little.items()}
        changed["RECONCILER_MINIO__ENDPOINT"] = between.url
        with site.program.running("replay", "--from", "earliest", **changed) as process:
            try:
                until(lambda: between.requests or process.poll() is not None, 20, "it looks at what it has read")
                kafka.control.freeze()
                between.set(Pass())
                assert process.wait(60) == 6, site.program.log()
            finally:
                kafka.control.thaw()
    assert "kafka" in site.program.log()


def test_on_a_terminal_one_line_tells_how_far_it_is_with_rate_and_time_left(site):
    """It changes in place and is gone at the end; stdout has nothing of it, and a log has no such line."""
    site.send([site.created("k")] * 20_000)
    words = [*site.program.words, "replay", "--from", "earliest", "-o", "json"]
    terminal, end = pty.openpty()
    with (
        os.fdopen(terminal, "rb", 0) as screen,
        subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=end, env=site.program.environment({}), cwd=command.ROOT
        ) as process,
    ):
        os.close(end)
        shown = everything(screen)
        result = json.loads(process.stdout.read())
    assert result["records"] == 20_000
    *lines, last = shown.split("\r\x1b[K")[1:]
    told = re.compile(rf"{site.topic}: [\d,]+ of 20,000 records, [\d,]+/s, \d+ looked at, .+ left")
    assert any(map(told.fullmatch, lines)), lines
    assert last == "", "the line is gone"
    assert "\x1b" not in site.program.run("replay", "--from", "earliest").stderr


def everything(screen) -> str:
    """Read what is written to a terminal until nobody writes to it any more."""
    said = b""
    with suppress(OSError):  # how Linux tells that the other end is closed
        while chunk := screen.read(4096):
            said += chunk
    return said.decode()


def test_a_killed_replay_costs_time_and_nothing_else(site):
    """After SIGKILL the same command comes to the same findings."""
    drifted(site)
    words = ("replay", "--from", "earliest", "--apply", "-o", "json")
    with site.program.running(*words, **OPEN_SOON) as process:
        until(lambda: site.open() or process.poll() is not None, 20)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    told(site.program.run(*words, **OPEN_SOON))
    assert {key for key, _, _ in site.open()} == {"missing", "orphan"}


def test_a_replay_that_is_applied_tells_of_what_it_could_not_see(site, minio):
    """Invariant 1: what MinIO refuses to tell is unknown; it is counted, kept for a later look, and the status is 5."""
    site.row("missing", created_at=OLD)
    site.send([site.removed("missing")])
    host, port = urlsplit(minio.url).netloc.split(":")
    with Proxy(host, int(port)) as proxy:
        proxy.set(replace(FORBIDDEN, method="HEAD"))
        words = ("replay", "--from", "earliest", "--apply", "-o", "json")
        ended = site.program.run(*words, RECONCILER_MINIO__ENDPOINT=proxy.url)
    assert ended.returncode == 5, ended.stderr
    assert json.loads(ended.stdout)["unknown"] == 1
    assert site.sql("SELECT key FROM reconciler.look") == [("missing",)]


def test_a_replay_that_the_brake_holds_says_so(site):
    """Invariant 7: the status is 4, as that of a sweep; nothing is flagged, and it is so while the brake is on."""
    ids = [site.row(f"missing{number}", created_at=OLD) for number in range(30)]
    site.send([site.removed(f"missing{number}") for number in range(30)])
    braked = {**OPEN_SOON, "RECONCILER_BRAKE__BUCKET_FLOOR": "5", "RECONCILER_BRAKE__FLOOR": "5"}
    for _ in range(2):
        ended = site.program.run("replay", "--from", "earliest", "--apply", "-o", "json", **braked)
        assert ended.returncode == 4, ended.stdout
        assert json.loads(ended.stdout)["held_by_brake"] == 30
    assert {site.status(one) for one in ids} == {"active"}


def test_dead_letters_are_listed_shown_and_discarded(site):
    """By reason and origin; a decision is kept with who and why, and takes them off the list."""
    site.send(POISON)
    with consuming.consuming(site.settings()) as consumer:
        consuming.turning(consumer, until_true=site.caught_up)
    report = told(site.program.run("dead-letters", "list", "-o", "json"))
    reasons = {one["reason"]: one["letters"] for one in report["by_reason"]}
    assert reasons == {"not-json": 1, "tombstone": 1, "no-records": 1, "wrong-shape": 1}
    first = next(one for one in report["dead_letters"] if one["id"] == "0:0")
    assert (first["reason"], first["size_bytes"], first["decision"]) == ("not-json", 1, None)
    shown = told(site.program.run("dead-letters", "show", "0:0", "-o", "json"))
    assert (shown["value"], shown["record_key"]) == ("{", "a key")
    assert shown["today"].startswith("not-json")

    plan = told(site.program.run("dead-letters", "discard", "0:0", "-o", "json"))
    assert plan[0]["status"] == "planned"
    assert len(told(site.program.run("dead-letters", "list", "-o", "json"))["dead_letters"]) == 4
    told(site.program.run("dead-letters", "discard", "0:0", "--apply", "--who", "ann", "-o", "json"))
    left = told(site.program.run("dead-letters", "list", "-o", "json"))["dead_letters"]
    assert {one["id"] for one in left} == {"0:1", "0:2", "0:3"}
    status = told(site.program.run("status", "-o", "json"))
    assert (status["dead_letters"], status["dead_letters_undecided"]) == (4, 3)
    everything = told(site.program.run("dead-letters", "list", "--all", "-o", "json"))["dead_letters"]
    assert {one["decision"] for one in everything} == {None, "dead letter discarded"}
    told(site.program.run("dead-letters", "discard", "--apply", "-o", "json"))
    assert told(site.program.run("dead-letters", "list", "-o", "json"))["dead_letters"] == []
    unknown = site.program.run("dead-letters", "discard", "7:1")
    assert unknown.returncode == 2
    assert "no dead letter has this origin" in unknown.stderr


def test_what_decodes_by_now_is_sent_through_again(site):
    """A record that an older version buried is looked at like any other; what still does not decode is left."""
    row = site.row("missing", created_at=OLD)
    buried = consuming.letter(site, site.removed("missing"), offset=17)
    site.bury([buried, consuming.letter(site, b"{", offset=18)])
    plan = told(site.program.run("dead-letters", "replay", "-o", "json"))
    assert [act["detail"] for act in plan["acts"]] == ["0:17"]
    assert [left["letters"] for left in plan["not_replayed"]] == [1]
    assert site.nothing_written()
    told(site.program.run("dead-letters", "replay", "--apply", "--who", "ann", "-o", "json", **OPEN_SOON))
    assert site.status(row) == "corrupted"
    assert site.sql("SELECT DISTINCT actor FROM reconciler.history") == [("ann",)], "whoever sent it through is named"
    left = told(site.program.run("dead-letters", "list", "-o", "json"))["dead_letters"]
    assert [one["id"] for one in left] == ["0:18"]


@pytest.mark.invariant(7)
def test_dead_letters_that_the_brake_holds_end_with_its_status(site):
    """Status 4, the count in the line, and nothing flagged; their findings wait for a release, so they are replayed."""
    ids = [site.row(f"missing{number}", created_at=OLD) for number in range(8)]
    site.bury([consuming.letter(site, site.removed(f"missing{number}"), offset=number) for number in range(8)])
    braked = {**OPEN_SOON, "RECONCILER_BRAKE__FLOOR": "5"}
    assert site.program.run("dead-letters", "replay", **braked).returncode == 0
    ended = site.program.run("dead-letters", "replay", "--apply", **braked)
    assert (ended.returncode, "8 held_by_brake" in ended.stdout) == (4, True), ended.stdout
    assert {site.status(one) for one in ids} == {"active"}
    assert told(site.program.run("dead-letters", "list", "-o", "json"))["dead_letters"] == []


@pytest.mark.invariant(1)
def test_dead_letters_that_gave_no_answer_end_as_incomplete(site, minio):
    """Status 5; what MinIO would not tell is kept for a later look."""
    site.row("missing", created_at=OLD)
    site.bury([consuming.letter(site, site.removed("missing"), offset=17)])
    host, port = urlsplit(minio.url).netloc.split(":")
    with Proxy(host, int(port)) as proxy:
        proxy.set(replace(FORBIDDEN, method="HEAD"))
        ended = site.program.run("dead-letters", "replay", "--apply", RECONCILER_MINIO__ENDPOINT=proxy.url)
    assert (ended.returncode, "1 unknown" in ended.stdout) == (5, True), ended.stdout
    assert site.sql("SELECT key FROM reconciler.look") == [("missing",)]


def test_a_dead_letter_that_the_filters_leave_out_is_not_taken_as_replayed(site):
    """It is named as left, with why, in the plan and in the act; with other filters it is sent through."""
    row = site.row("tmp/missing", created_at=OLD)
    site.bury([consuming.letter(site, site.removed("tmp/missing"), offset=17)])
    without = {**OPEN_SOON, "RECONCILER_FILTERS__EXCLUDE": "/tmp/**"}
    for words in ((), ("--apply",)):
        report = told(site.program.run("dead-letters", "replay", *words, "-o", "json", **without))
        assert report["acts"] == []
        assert [(one["letters"], "[filters]" in one["why"]) for one in report["not_replayed"]] == [(1, True)]
    assert "[filters]" in told(site.program.run("dead-letters", "show", "0:17", "-o", "json", **without))["today"]
    assert [one["id"] for one in told(site.program.run("dead-letters", "list", "-o", "json"))["dead_letters"]] == [
        "0:17"
    ]
    told(site.program.run("dead-letters", "replay", "--apply", "-o", "json", **OPEN_SOON))
    assert site.status(row) == "corrupted"


def test_a_decision_about_a_letter_of_a_topic_that_was_recreated_hides_no_other(site):
    """The new topic counts its offsets anew: the letter of the same place is another one, and is not decided."""
    site.bury([consuming.letter(site, b"{", offset=17, at_ms=1_700_000_000_000)])
    told(site.program.run("dead-letters", "discard", "--apply", "-o", "json"))
    site.bury([consuming.letter(site, b"[", offset=17, at_ms=1_800_000_000_000)])
    [left] = told(site.program.run("dead-letters", "list", "-o", "json"))["dead_letters"]
    assert (left["id"], left["decision"]) == (f"{site.topic}/0:17@1800000000000", None)
    assert told(site.program.run("dead-letters", "show", "0:17", "-o", "json"))["value"] == "["
    told(site.program.run("dead-letters", "discard", "--apply", "-o", "json"))
    assert told(site.program.run("dead-letters", "list", "-o", "json"))["dead_letters"] == []


def test_letters_of_one_place_are_told_apart_by_exact_names(site):
    """A short name that fits two is refused with both; an exact one takes that letter, and leaves the other."""
    for value, at_ms in ((b"{", 1_700_000_000_000), (b"[", 1_800_000_000_000)):
        site.bury([consuming.letter(site, value, offset=17, at_ms=at_ms)])
    older, newer = (f"{site.topic}/0:17@{at_ms}" for at_ms in (1_700_000_000_000, 1_800_000_000_000))
    listed = told(site.program.run("dead-letters", "list", "-o", "json"))["dead_letters"]
    assert [one["id"] for one in listed] == [newer, older]
    refused = site.program.run("dead-letters", "discard", "0:17", "--apply")
    assert refused.returncode == 2
    assert older in refused.stderr
    assert newer in refused.stderr
    told(site.program.run("dead-letters", "discard", older, "--apply", "-o", "json"))
    [left] = told(site.program.run("dead-letters", "list", "-o", "json"))["dead_letters"]
    assert left["id"] == newer
    assert told(site.program.run("dead-letters", "show", older, "-o", "json"))["value"] == "{"
    shown = told(site.program.run("dead-letters", "show", "0:17", "-o", "json"))
    assert (shown["id"], shown["value"]) == (newer, "[")


def test_a_moment_without_minio_ends_no_replay(site, minio):
    """It is waited for, as a sweep does; what was to be looked at then is looked at."""
    row = site.row("missing", created_at=OLD)
    site.send([site.removed("missing")])
    host, port = urlsplit(minio.url).netloc.split(":")
    with Proxy(host, int(port)) as between:
        between.set(BUSY)
        changed = {**OPEN_SOON, "RECONCILER_MINIO__ENDPOINT": between.url}
        with site.program.running("replay", "--from", "earliest", "--apply", **changed) as process:
            until(lambda: between.requests or process.poll() is not None, 20, "it looks at what it has read")
            between.set(Pass())
            assert process.wait(30) == 0, site.program.log()
    assert site.status(row) == "corrupted"


@pytest.mark.parametrize("act", ["replay", "discard"])
def test_a_limit_hides_no_dead_letter(site, act):
    """One that is named is found beyond it."""
    site.bury([consuming.letter(site, site.removed("gone"), offset=offset) for offset in (1, 2)])
    plan = told(site.program.run("dead-letters", act, "0:1", "0:2", "--limit", "1", "-o", "json"))
    assert "0:1, 0:2" in json.dumps(plan)


def test_what_still_does_not_decode_takes_no_place_of_a_limit(site):
    """Else nothing would ever be replayed behind it."""
    values = (b"no json", b"nor this", site.removed("gone"), site.removed("gone, too"))
    site.bury([consuming.letter(site, value, offset=offset) for offset, value in enumerate(values, 1)])
    plan = told(site.program.run("dead-letters", "replay", "--limit", "1", "-o", "json"))
    assert ["0:3" in act["subject"] + act["detail"] for act in plan["acts"]] == [True]
    assert "0:4" not in json.dumps(plan)


def test_dead_letters_are_replayed_and_discarded_in_little_memory(site):
    """Of 60 MB of letters no more than a batch is held at a time, neither by the plan nor by the act."""
    value = site.created("gone")[:-1] + b" " * 200_000 + b"}"
    for start in range(0, 300, 50):
        site.bury([consuming.letter(site, value, offset=start + number) for number in range(50)])
    for words in (("replay",), ("replay", "--apply"), ("list", "--all"), ("discard",)):
        tracemalloc.start()
        try:
            told(site.program.run("dead-letters", *words, "-o", "json"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 35_000_000, words
    left = told(site.program.run("dead-letters", "list", "-o", "json"))
    assert [(one["letters"], one["decided"]) for one in left["by_reason"]] == [(300, 300)]
