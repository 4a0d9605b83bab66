"""Orphans as a person works through them, by the commands on real servers: lists, groups, causes, approvals."""

import csv
import io
import json
from time import monotonic

import pytest

from reconcile.model import Hint, ObjectRef, Told
from reconcile.reconciler import reconcile
from tests.support import command
from tests.support.orphans import Office

CLUES = {
    "users/1/lost.jpg": "rollback",
    "users/1/caf%C3%A9.jpg": "other-spelling",
    "backup/2024/users.tar": "backup",
    "other/was.jpg": "row-deleted",
    "alone.bin": "unknown",
}


@pytest.fixture
def office(tmp_path, database, connection, minio, bucket, objects):
    """Give the commands with their schema made."""
    made = command.program(tmp_path, database, minio, bucket, {})
    assert made.run("migrate", "--apply").returncode == 0
    return Office(made, connection, objects, bucket)


def test_fifty_thousand_are_ten_lines_at_once(office):
    """They are counted by prefix, the most bytes first, in one statement, and everything else is one line."""
    office.connection.execute(
        "INSERT INTO reconciler.finding (bucket, key, kind, state, size_bytes)"
        " SELECT %s, format('p%%s/%%s', i %% 25, i), 'orphan', 'open', 1000 * (i %% 25)"
        " FROM generate_series(1, 50000) AS i",
        [office.bucket],
    )
    began = monotonic()
    told = office.program.json("orphans", "list", "--group-by", "prefix", "--limit", "9")
    assert monotonic() - began < 3
    assert (len(told), told[0]["prefix"], told[0]["orphans"]) == (10, "p24/", 2000)
    assert (told[-1]["prefix"], told[-1]["orphans"]) == ("(all others)", 32000)
    assert sum(one["size_bytes"] for one in told) == 2000 * 1000 * sum(range(25))


def test_a_list_is_of_the_most_bytes_first_and_goes_on_where_it_ended(office):
    """Filters by prefix, size and age choose; a page tells where the next one begins."""
    sizes = {"a/1": 10, "a/2": 30, "a/3": 20, "b/1": 40}
    office.find({key: b"x" * size for key, size in sizes.items()})
    words = ("orphans", "list", "--limit", "2")
    first = office.program.json(*words)
    assert [one["key"] for one in first] == ["b/1", "a/2"]
    after = str(first[-1]["id"])
    assert [one["key"] for one in office.program.json(*words, "--after", after)] == ["a/3", "a/1"]
    assert f"--after {after}" in office.program.run(*words).stdout
    chosen = office.program.json("orphans", "list", "--prefix", "a/", "--larger-than", "20")
    assert [one["key"] for one in chosen] == ["a/2", "a/3"]
    assert office.program.json("orphans", "list", "--older-than", "1h") == []
    office.connection.execute(
        """UPDATE reconciler.finding SET evidence = '{"object": {"modified": "2020-01-01T00:00:00Z"}}'"""
    )
    assert len(office.program.json("orphans", "list", "--older-than", "1h")) == 4
    assert office.program.run("orphans", "list", "--older-than", "soon").returncode == 2


def test_each_has_a_cause_suggested_by_what_is_around_it(office):
    """Rows beside it, in another spelling, or known from before, an upload under way, a name; one can ask for one."""
    for key in ("users/1/kept.jpg", "users/1/café.jpg"):
        office.add_row(key)
    office.connection.execute(
        "INSERT INTO reconciler.finding (bucket, key, row_id, kind, state, closed_at)"
        " VALUES (%s, 'other/was.jpg', 'gone', 'missing', 'resolved', now())",
        [office.bucket],
    )
    office.find(dict.fromkeys((*CLUES, "being/put"), b"AAA"))
    office.objects._create_multipart_upload(office.bucket, "being/put", {})  # noqa: SLF001 - the driver begins one only in a whole upload
    told = {one["key"]: one["suggested_cause"] for one in office.program.json("orphans", "list")}
    assert told == CLUES | {"being/put": "upload-in-progress"}
    [found] = office.program.json("orphans", "list", "--cause", "rollback")
    assert (found["key"], "kept.jpg" in found["clue"] or "café" in found["clue"]) == ("users/1/lost.jpg", True)
    grouped = office.program.json("orphans", "list", "--group-by", "cause")
    assert {one["cause"]: one["orphans"] for one in grouped} == dict.fromkeys(told.values(), 1)
    away = {"RECONCILER_MINIO__ENDPOINT": "http://127.0.0.1:1"}
    assert "uploads under way are not known" in office.program.run("orphans", "list", **away).stdout


def test_one_is_shown_with_all_that_is_known_of_it(office):
    """Evidence, the object now and what of it changed, a cause, rows near it, history, and what could be done."""
    office.add_row("users/1/kept.jpg")
    [number] = office.find({"users/1/lost.jpg": b"AAA"})
    office.put("users/1/lost.jpg", b"BBBB")
    told = office.program.json("orphans", "show", str(number))
    assert "size was 3, is 4" in told["now"]["since_found"]
    assert told["suggestion"]["cause"] == "rollback"
    assert [one["key"] for one in told["near"]] == ["users/1/kept.jpg"]
    assert [one["act"] for one in told["history"]] == ["opened", "suspected"]
    assert f"orphans approve {number}" in told["notes"][0]
    assert office.program.run("orphans", "show", "77").returncode == 2


def test_what_told_of_one_is_shown_the_event_and_the_sweeps(office):
    """Which event, where in the topic, who and from where; and each sweep that saw it."""
    office.program.environ["RECONCILER_POLICY__ORPHAN_GRACE"] = "0s"
    office.put("a", b"AAA")
    event = {"event": "s3:ObjectCreated:Put", "topic": "events", "partition": 3, "offset": 17, "principal": "mallory",
             "source_address": "10.0.0.9"}  # fmt: skip
    with office.world() as world:
        reconcile(world, [Hint(ObjectRef(office.bucket, "a"), named_by="event", evidence=Told(event))])
    assert office.program.run("sweep", "--fix").returncode == 0
    [(number,)] = office.connection.execute("SELECT id FROM reconciler.finding").fetchall()
    told = office.program.json("orphans", "show", str(number))
    assert {name: told["evidence"].get(name) for name in event} == event
    [(sweep,)] = office.connection.execute("SELECT id FROM reconciler.sweep").fetchall()
    assert [(one["sweep"], one["kind"]) for one in told["sweeps"]] == [(sweep, "orphan")]


def test_lines_for_mc_are_quoted_for_a_shell(office):
    """What a shell or a terminal might obey stays a name."""
    office.find({"it's $(rm).jpg": b"A", "tab\there": b"AA"})
    told = office.program.run("orphans", "list", "--mc", "--alias", "prod").stdout.splitlines()
    assert told[2:] == [
        f"mc rm $'prod/{office.bucket}/tab\\x09here'",
        f"""mc rm 'prod/{office.bucket}/it'"'"'s $(rm).jpg'""",
    ]


def test_a_key_with_a_line_end_of_its_own_survives_the_reviewed_list(office, tmp_path):
    """Whichever it is: the list holds the key as it is, and it is that orphan which is approved."""
    office.find({"cr\rhere": b"1", "lf\nhere": b"22", "both\r\nhere": b"333"})
    file = tmp_path / "reviewed.csv"
    assert office.program.run("orphans", "list", "-o", "csv", "--output-file", str(file)).returncode == 0
    assert office.program.json("orphans", "approve", "--from", str(file), "--apply")["done"] == 3
    assert office.states() == {"approved": 3}


@pytest.mark.parametrize("number", ["0", "-1", "9223372036854775808", "one"])
def test_what_cannot_be_an_id_in_a_reviewed_list_is_named_with_its_line(office, tmp_path, number):
    """Nothing is approved then."""
    office.find({"a": b"1"})
    listed = office.program.run("orphans", "list", "-o", "csv").stdout
    file = tmp_path / "reviewed.csv"
    [identity] = [line.partition(",")[0] for line in listed.splitlines()[1:]]
    file.write_text(listed.replace(f"\n{identity},", f"\n{number},"))
    ended = office.program.run("orphans", "approve", "--from", str(file), "--apply")
    assert (ended.returncode, "line 2" in ended.stderr, f"'{number}' is no id" in ended.stderr) == (2, True, True)


def test_approvals_keep_what_was_seen_and_are_taken_back(office):
    """One by its id as it is now, a group only as far as each is what was found; who and why are kept."""
    first, second, third = office.find({"a/1": b"1", "a/2": b"22", "b": b"333"})
    office.put("a/2", b"new")
    words = ("orphans", "approve", "--prefix", "a/", "--who", "ann", "--why", "seen")
    assert (office.program.json(*words)["planned"], office.states()) == (1, {"open": 3})
    told = office.program.json(*words, "--apply")
    assert (told["done"], told["left_alone"]) == (1, 1)
    assert "size was 2, is 3" in told["acts"][1]["detail"]
    assert office.program.json("orphans", "approve", str(second), "--apply")["done"] == 1
    [(seen,)] = office.connection.execute(
        "SELECT evidence -> 'approved' FROM reconciler.finding WHERE id = %s", [second]
    )
    assert (seen["size"], set(seen)) == (3, {"size", "etag", "s3_version", "modified"})
    kept = "SELECT actor, why FROM reconciler.history WHERE finding_id = %s AND act = 'approved'"
    assert office.connection.execute(kept, [first]).fetchall() == [("ann", "seen")]
    told = office.program.json("orphans", "approve", str(first), str(third), "--withdraw", "--apply")
    assert (told["done"], told["left_alone"], office.states()) == (1, 1, {"open": 2, "approved": 1})
    assert office.program.run("orphans", "approve", "--apply").returncode == 2


def test_backups_are_approved_only_where_they_are_named(office):
    """No other filter means them, and no line for mc removes them: restore may want them."""
    office.program.environ["RECONCILER_BACKUP__PREFIX"] = "kept/"
    first, backup, other = office.find({"a": b"1", "kept/a": b"1", "kept/b": b"22"})
    assert office.program.run("orphans", "list", "--mc").stdout.count("mc rm") == 1
    for words in (("--all",), ("--cause", "backup"), ("--larger-than", "1"), ("--prefix", "k")):
        office.program.json("orphans", "approve", *words, "--apply")
        assert (office.state(backup), office.state(other)) == ("open", "open")
    told = office.program.json("orphans", "approve", "--all")
    assert (told["left_alone"], "it is a backup" in told["acts"][0]["detail"]) == (2, True)
    assert office.state(first) == "approved"
    assert office.program.json("orphans", "approve", str(backup), "--apply")["done"] == 1
    assert office.program.json("orphans", "approve", "--prefix", "kept/b", "--apply")["done"] == 1
    assert office.program.json("orphans", "approve", "--all", "--withdraw", "--apply")["done"] == 3
    assert office.program.run("orphans", "list", "--mc", "--prefix", "kept/").stdout.count("mc rm") == 2


def test_what_a_row_may_mean_is_approved_only_where_that_is_said(office):
    """Its row spells it otherwise, and has no other object: the only content that there is."""
    office.add_row("users/1/caf\u00e9.jpg")
    spelled, other = office.find({"users/1/cafe\u0301.jpg": b"AAA", "users/1/lost.jpg": b"AAA"})
    assert office.program.run("orphans", "list", "--mc").stdout.count("mc rm") == 1
    told = office.program.json("orphans", "approve", "--prefix", "users/", "--apply")
    assert (told["left_alone"], "may mean it" in told["acts"][1]["detail"]) == (1, True)
    assert (office.state(spelled), office.state(other)) == ("open", "approved")
    assert office.program.json("orphans", "approve", "--cause", "other-spelling", "--apply")["done"] == 1


def test_what_was_seen_of_an_object_outlives_an_act_that_asks_nothing(office):
    """After a withdrawal, and after an ignored one was reopened, the lines for mc and what was seen are as before."""
    office.keep_versions()
    first, second = office.find({"a": b"1", "b": b"22"})
    seen = "SELECT evidence -> 'object' FROM reconciler.finding ORDER BY id"
    listed, kept = office.program.run("orphans", "list", "--mc").stdout, office.connection.execute(seen).fetchall()
    assert listed.count("--version-id") == 2
    office.approve(first)
    assert office.program.json("orphans", "approve", str(first), "--withdraw", "--apply")["done"] == 1
    assert office.program.json("findings", "ignore", str(second), "--why", "ours", "--apply")["done"] == 1
    assert office.program.json("findings", "reopen", str(second), "--apply")["done"] == 1
    assert office.connection.execute(seen).fetchall() == kept
    office.connection.execute("UPDATE reconciler.finding SET state = 'open'")
    assert office.program.run("orphans", "list", "--mc").stdout == listed


def test_a_reviewed_list_approves_what_has_not_changed_since(office, tmp_path):
    """Lines that were taken out are not approved; what was written anew since is told with what differs."""
    first, *_ = office.find({"a": b"1", "b": b"22", "c": b"333"})
    listed = office.program.run("orphans", "list", "-o", "csv").stdout
    lines = list(csv.DictReader(io.StringIO(listed)))
    file = tmp_path / "reviewed.csv"
    with file.open("w", encoding="utf-8-sig") as out:  # as a spreadsheet writes it
        writer = csv.DictWriter(out, lines[0], delimiter=";")
        writer.writeheader()
        writer.writerows(line for line in lines if line["key"] != "c")
    office.put("b", b"99")
    told = office.program.json("orphans", "approve", "--from", str(file), "--apply")
    assert (told["done"], told["left_alone"]) == (1, 1)
    assert "it is not what was reviewed: ETag was" in told["acts"][1]["detail"]
    assert office.states() == {"approved": 1, "open": 2}
    file.write_text("id,key\n1,a\n")
    ended = office.program.run("orphans", "approve", "--from", str(file), "--apply")
    assert (ended.returncode, "etag" in ended.stderr) == (2, True)
    file.write_text(listed.replace(f"\n{first},", "\none,"))
    assert "line" in office.program.run("orphans", "approve", "--from", str(file)).stderr
    file.write_text(listed.replace(",c,", ",d,"))
    assert "it is about" in json.dumps(office.program.json("orphans", "approve", "--from", str(file)))
