"""The daily report, from a past that is written into a real database, with a role that may only read our schema."""

import csv
import json
import os
import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from reconcile.database import migrate
from tests.support.command import MAPPING, ROOT, Program
from tests.support.past import Past, Step, insert, write

START = datetime(2025, 6, 2, tzinfo=UTC)  # the window is the day that begins then
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
WINDOW = ("report", "--since", "24h", "--until", "2025-06-03")


def seen(at: datetime, after: timedelta, way: str = "topic") -> Step:
    """Return a suspicion that an event told of, so long after it."""
    return Step(at + after, "suspected", "suspected", evidence={"named_by": way, "event_time": f"{at.isoformat()}"})


def lost(key: str, group: str, at: datetime, *later: Step, after: timedelta = SECOND) -> Past:
    """Return a missing version whose loss was heard at that time, and that was flagged a minute later."""
    steps = [seen(at, after), Step(at + MINUTE, "flagged", "open"), *later]
    return Past(key, "missing", group, steps, row_id=key)


def orphan(key: str, at: datetime, *later: Step, cause: str = "no row names it") -> Past:
    """Return an orphan that opened after a quarter of an hour."""
    steps = [Step(at, "suspected", "suspected"), Step(at + 15 * MINUTE, "opened", "open"), *later]
    return Past(key, "orphan", None, steps, cause=cause)


OPENED = [Step(START, "suspected", "suspected"), Step(START + MINUTE, "opened", "open")]
BACK = [
    Step(START + 4 * HOUR, "restore begun", None, "bob", "by a copy (x); asked"),
    Step(START + 5 * HOUR, "given back", "resolved", evidence={"restored_by": "bob"}),
]
STORY = [
    lost("before/kept", "users", START - 20 * HOUR),
    lost("before/back", "users", START - 20 * HOUR, Step(START - HOUR, "given back", "resolved")),
    lost("day/back", "users", START - 2 * HOUR, *BACK),
    lost("day/purged", "avatars", START - 3 * HOUR, Step(START + HOUR, "purged", "resolved", "ann", "not needed")),
    lost("day/1", "users", START + HOUR, after=SECOND),
    lost("day/2", "users", START + HOUR, after=3 * SECOND),
    lost("day/3", "avatars", START + 23 * HOUR, after=2 * SECOND),
    lost("after/1", "avatars", START + 25 * HOUR),
    lost("day/after", "users", START + 2 * HOUR, Step(START + 30 * HOUR, "given back", "resolved")),
    Past("day/passed", "missing", "users", [seen(START, SECOND), Step(START + MINUTE, "resolved", "resolved")]),
    orphan("o/1", START, Step(START + HOUR, "ignored", "ignored", "ann", "a backup")),
    orphan("o/2", START + HOUR, Step(START + 40 * HOUR, "approved", "approved", "ann")),
    orphan(
        "o/3", START - 2 * HOUR, Step(START + HOUR, "approved", "approved", "ann", "old"),
        Step(START + 2 * HOUR, "deleted", "deleted", "ann", "old"),
    ),
    Past("m/1", "mismatch", None, OPENED, cause="size: 3 bytes instead of 5", row_id="m1"),
    Past("m/2", "mismatch", None, OPENED, cause="size: 4 bytes instead of 9", row_id="m2"),
]  # fmt: skip
CHANGES = {  # measure: in the window, in the window before
    "suspected": (9, 5),
    "passed": (1, 0),
    "opened": (8, 5),
    "flagged": (4, 4),
    "given back": (1, 1),
    "resolved": (1, 1),
    "set aside": (2, 0),
    "purged": (1, 0),
    "deleted": (1, 0),
    "net": (4, 4),
}
BY_KIND = {  # kind: opened, resolved, set aside, purged, deleted, net, open; opened before
    "missing": (4, 1, 0, 1, 0, 2, 5, 4),
    "mismatch": (2, 0, 0, 0, 0, 2, 2, 0),
    "orphan": (2, 0, 2, 0, 1, 0, 1, 1),
}
BY_GROUP = {  # group: opened, flagged, given back, open
    "": (4, 0, 0, 3),
    "avatars": (1, 1, 0, 1),
    "users": (3, 3, 1, 4),
}
OPENED_BY_CAUSE = {"the object is gone": 4, "size differs": 2, "no row names it": 2}


@pytest.fixture
def told(connection) -> psycopg.Connection:
    """Give a database with the story."""
    migrate(connection)
    write(connection, STORY)
    return connection


@pytest.fixture
def program(database, told, tmp_path) -> Program:
    """Return the command as a role that may read our schema and nothing else, without any other server."""
    role = database.rsplit("/", 1)[1]
    told.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    told.execute(f"GRANT USAGE ON SCHEMA reconciler TO {role}")
    told.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA reconciler TO {role}")
    file = tmp_path / "reconciler.toml"
    file.write_text(
        f'[minio]\nendpoint = "http://127.0.0.1:1"\naccess_key = "me"\n{MAPPING.format(bucket="files")}', "utf-8"
    )
    url = re.sub(r"//[^@]*@", f"//{role}:x@", database)
    environ = {"PATH": os.environ["PATH"], "RECONCILER_CONFIG": str(file), "RECONCILER_DATABASE__URL": url}
    yield Program(file, environ | {"PYTHONPATH": str(ROOT)})
    told.execute(f"DROP OWNED BY {role}")
    told.execute(f"DROP ROLE {role}")


def test_what_came_and_went_stands_beside_the_day_before(program):
    """Every measure, in the window and in the one before."""
    report = program.json(*WINDOW)
    assert {each["measure"]: (each["findings"], each["before"]) for each in report["changes"]} == CHANGES
    assert report["headline"] == "8 opened, 4 closed; 8 open, 4 before"


def test_a_day_on_which_something_was_only_suspected_has_a_report(program, told):
    """It neither opened nor closed, which is nothing, and not unknown."""
    at = START + timedelta(days=9, hours=1)
    write(told, [Past("young", "orphan", "new", [Step(at, "suspected", "suspected")])])
    report = program.json("report", "--since", "24h", "--until", "2025-06-12")
    assert {each["measure"]: each["findings"] for each in report["changes"] if each["findings"]} == {"suspected": 1}


def test_each_kind_group_and_cause_has_its_numbers(program):
    """What is set aside, purged and deleted is told apart; causes that differ in a number are one."""
    report = program.json(*WINDOW)
    names = ("opened", "resolved", "set_aside", "purged", "deleted", "net", "open", "opened_before")
    assert {each["kind"]: tuple(each[name] for name in names) for each in report["by_kind"]} == BY_KIND
    names = ("opened", "flagged", "given_back", "open")
    assert {each["group"]: tuple(each[name] for name in names) for each in report["by_group"]} == BY_GROUP
    assert {each["cause"]: each["opened"] for each in report["by_cause"]} == OPENED_BY_CAUSE


@pytest.mark.parametrize("day", range(-1, 4))
def test_what_was_open_and_the_net_are_what_is_open(program, day):
    """At the end of every day, whatever happened since; and the view by day gives the same net."""
    end = START + timedelta(days=day)
    earlier, report = (
        program.json("report", "--since", "24h", "--until", at.isoformat()) for at in (end, end + 24 * HOUR)
    )
    net = next(each["findings"] for each in report["changes"] if each["measure"] == "net")
    assert earlier["open"] + net == report["open"]
    assert sum(slot["opened"] - slot["closed"] for slot in report["slots"]) == net
    with psycopg.connect(program.environ["RECONCILER_DATABASE__URL"]) as connection:
        [(of_day,)] = connection.execute(
            "SELECT coalesce(sum(net), 0)::int FROM reconciler.changes_by_day WHERE day = %s", [end.date()]
        ).fetchall()
    assert of_day == net


def test_what_is_another_kind_by_now_is_told_as_it_was(told, program):
    """A version that lost its object that day, and has a wrong one since, was missing."""
    write(told, [Past("k", "mismatch", "k", [*OPENED, Step(START + 40 * HOUR, "changed", "open")], cause="size: 1")])
    told.execute(
        "UPDATE reconciler.history SET kind = 'missing', cause = 'gone' WHERE act <> 'changed' AND subject = 'files/k'"
    )
    for until, kind in (("2025-06-03", "missing"), ("2025-06-05", "mismatch")):
        cells = program.run("report", "--since", "1h", "--until", until, "-o", "csv").stdout.splitlines()
        assert [cell["kind"] for cell in csv.DictReader(cells) if cell["group"] == "k"] == [kind]


def test_how_long_it_took_is_told_by_path(program):
    """From the event's own time until the finding was kept, and until its version was flagged; and the day before."""
    found = {(each["until"], each["path"]): each for each in program.json(*WINDOW)["latency"]}
    kept, flagged = found["suspected", "topic"], found["flagged", "topic"]
    assert (kept["found"], kept["p50_ms"], kept["most_ms"], kept["found_before"]) == (5, 1000, 3000, 4)
    assert (flagged["found"], flagged["p99_ms"], flagged["p99_before_ms"]) == (4, 60_000, 60_000)


def test_who_did_what_is_told_with_the_reason(program):
    """Purges, deletions, restores and what was set aside; a restore is by the person, not by the look that followed."""
    deeds = {(each["act"], each["who"], each["why"]): each["findings"] for each in program.json(*WINDOW)["deeds"]}
    assert deeds == {
        ("deleted", "ann", "old"): 1,
        ("purged", "ann", "not needed"): 1,
        ("restored", "bob", "asked"): 1,
        ("restore begun", "bob", "asked"): 1,
        ("approved", "ann", "old"): 1,
        ("ignored", "ann", "a backup"): 1,
    }


def test_sweeps_losses_and_what_held_changes_back_are_told(told, program):
    """Those of the window alone: with what the meter says, what covers a loss, who set and lifted what."""
    at, swept = START + 2 * HOUR, {"mode": "report", "bucket": "files", "actor": "cron"}
    wanted = {**swept, "state": "wanted", "reason": "minio_restarted", "facts": Jsonb(
        {"from": f"{at}", "to": f"{at}", "times": 2, "detail": "node 1"})}  # fmt: skip
    insert(told, "sweep", wanted)
    for hours, lost_ones in ((1, 0), (3, 2), (30, 1)):
        begun = {
            **swept,
            "state": "complete",
            "started_at": START + hours * HOUR,
            "finished_at": START + hours * HOUR + MINUTE,
        }
        number = insert(told, "sweep", begun | {"totals": Jsonb({"objects": 9, "missing": 1})})
        told.execute(
            "INSERT INTO reconciler.drift (sweep_id, kind, bucket, key, meter, seen_again)"
            " SELECT %s, 'missing', 'files', 'k' || i, 'lost or silent', true FROM generate_series(1, %s) AS i",
            [number, lost_ones],
        )
    brake = {"effect": "brake", "kind": "missing", "actor": "consumer-1", "why": "101 in ten minutes", "since": at}
    insert(told, "restraint", brake | {"lifted_at": at + HOUR, "lifted_by": "ann"})
    insert(
        told,
        "history",
        {"subject": "brake missing", "at": at + HOUR, "actor": "ann", "act": "brake released", "why": "ok"},
    )
    insert(told, "history", {"subject": "t/0:1", "at": at, "actor": "ann", "act": "dead letter discarded"})
    report = program.json(*WINDOW)
    assert [(each["missing"], each["lost_or_silent"]) for each in report["sweeps"]] == [(1, 0), (1, 2)]
    assert {each["of"]: (each["count"], each["before"]) for each in report["around"]} == {
        "loss windows": (1, 0),
        "lost or silent": (2, 0),
        "dead letters": (None, None),
        "sweeps complete": (2, 0),
        "sweeps not complete": (0, 0),
        "brakes set": (1, 0),
    }
    assert report["loss_windows_uncovered"] is None
    [loss] = report["losses"]
    assert (loss["reason"], loss["times"], loss["covered_at"]) == ("minio_restarted", 2, "2025-06-02T03:01:00.000Z")
    assert [(each["act"], each["of"], each["who"], each["why"]) for each in report["restraints"]] == [
        ("brake released", "brake missing", "ann", "ok"),
        ("brake set", "missing", "consumer-1", "101 in ten minutes"),
    ]
    assert "brake on" not in str(report["in_force"])  # it was lifted
    assert report["decisions"] == [{"act": "dead letter discarded", "dead_letters": 1}]


def test_what_is_to_be_looked_at_is_told_however_old_it_is(told, program):
    """A brake that is on and a loss window that no sweep covered, from long before; then neither is."""
    at = START - 40 * 24 * HOUR
    facts = Jsonb({"from": f"{at}", "to": f"{at}", "times": 1, "detail": ""})
    sweep = {"bucket": "files", "mode": "report", "actor": "cron"}
    insert(told, "sweep", sweep | {"state": "wanted", "reason": "retention", "facts": facts})
    insert(told, "restraint", {"effect": "brake", "kind": "missing", "actor": "c", "why": "a mass", "since": at})
    report = program.json(*WINDOW)
    assert report["in_force"] == ["brake on flags of missing objects since 2025-04-23 00:00 UTC: a mass"]
    assert (report["loss_windows_uncovered"], report["losses"]) == (1, [])
    insert(told, "sweep", sweep | {"state": "complete", "started_at": START})
    told.execute("UPDATE reconciler.restraint SET lifted_at = now()")
    report = program.json(*WINDOW)
    assert (report["in_force"], report["loss_windows_uncovered"]) == (None, None)


def test_dead_letters_are_unknown_without_kafka_and_that_is_said(program):
    """A number that is not known is none; the exit status is that of a report that is whole."""
    report = program.json(*WINDOW)
    assert next(each["count"] for each in report["around"] if each["of"] == "dead letters") is None
    assert report["notes"] == ["dead letters are not counted: no [kafka] is configured"]
    away = program.run(*WINDOW, "-o", "json", RECONCILER_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert away.returncode == 5
    assert "dead letters are not counted: kafka is unavailable" in away.stdout


def test_what_was_pruned_is_told_where_the_window_touches_it(told, program):
    """The window itself, or only the one before it."""
    for pruned, which in ((START + HOUR, "this window"), (START - HOUR, "the window before"), (START - 30 * HOUR, "")):
        told.execute("DELETE FROM reconciler.lease")
        told.execute(
            "INSERT INTO reconciler.lease (task, checkpoint, owner, until) VALUES ('duty retention', %s, 'me', now())",
            [json.dumps([pruned.isoformat(), None])],
        )
        notes = program.json(*WINDOW)["notes"]
        assert [
            note for note in notes if "is not whole: changes of what is closed" in note and note.startswith(which)
        ] == (notes[1:] if which else [])
        assert bool(which) is (len(notes) > 1)


def test_the_exit_status_tells_of_open_drift_only_where_it_is_asked_for(told, program):
    """3 with --exit-code while something is open."""
    assert program.run(*WINDOW).returncode == 0
    assert program.run(*WINDOW, "--exit-code").returncode == 3
    told.execute("DELETE FROM reconciler.finding")
    assert program.run("report", "--exit-code").returncode == 0


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--since", "7d"), 0),
        (("--since", "2025-06-02"), 0),
        (("--since", "soon"), 2),
        (("--until", "7d", "--since", "7d"), 0),
        (("--until", "soon"), 2),
        (("--since", "2025-06-02", "--until", "2025-06-01"), 2),
    ],
)
def test_the_window_is_named_by_a_duration_or_a_time(program, words, status):
    """What is neither, or ends before it begins, is told with the option's name."""
    ended = program.run("report", *words)
    assert ended.returncode == status, ended.stderr
    assert status == 0 or words[0] in ended.stderr


def test_it_comes_in_every_form_and_a_file_is_replaced_as_a_whole(program, tmp_path):
    """Text for a person, one line a cell for CSV and JSON lines, and a page."""
    text = program.run(*WINDOW).stdout
    assert text.startswith("Report of 1 d: 2025-06-02 00:00 to 2025-06-03 00:00 UTC\n")
    assert not re.search(r"\n\n\n|\n\n$", text)
    assert re.search(r"^missing +4 +4 +1 +1 +2 +5 +4$", text, re.MULTILINE)
    cells = list(csv.DictReader(program.run(*WINDOW, "-o", "csv").stdout.splitlines()))
    assert sum(int(cell["opened"]) for cell in cells) == 8
    assert {(cell["kind"], cell["cause"], cell["group"]) for cell in cells} >= {("mismatch", "size differs", "")}
    assert len(program.run(*WINDOW, "-o", "jsonl").stdout.splitlines()) == len(cells)
    file = tmp_path / "report.html"
    assert program.run(*WINDOW, "-o", "html", "--output-file", str(file)).stdout == ""
    assert file.read_text("utf-8").startswith("<!doctype html>")
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".html"] == ["report.html"]


def test_without_our_schema_the_way_out_is_told(connection, program):
    """It is for whoever has run init; a trial has no history."""
    connection.execute("DROP SCHEMA reconciler CASCADE")
    ended = program.run("report")
    assert (ended.returncode, "init --apply" in ended.stderr) == (2, True)


def test_an_empty_history_is_a_report_too(told, program):
    """Nothing happened: zeros, and no table of nothing."""
    told.execute("DELETE FROM reconciler.finding")
    text = program.run("report").stdout
    assert "nothing opened, nothing closed; 0 open" in text
    assert "By kind" not in text
