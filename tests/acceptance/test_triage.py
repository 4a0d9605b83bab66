"""A person's acts on findings, by the commands on real servers."""

import json
from io import BytesIO

import pytest

from tests.support import command

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def program(tmp_path, database, minio, bucket):
    """Give the command with its schema made."""
    made = command.program(tmp_path, database, minio, bucket, {})
    assert made.run("migrate", "--apply").returncode == 0
    return made


def add_row(connection, key, status="active"):
    """Commit a file with one version, and return the version's id."""
    [(file,)] = connection.execute("INSERT INTO storage_files (bucket_type) VALUES ('staging') RETURNING id").fetchall()
    insert = (
        "INSERT INTO file_versions (file_id, version_number, object_key, size, status)"
        " VALUES (%s, 1, %s, 3, %s) RETURNING id"
    )
    [(version,)] = connection.execute(insert, [file, key, status]).fetchall()
    return str(version)


def add_open(connection, bucket, count, state="open"):
    """Keep findings of orphans."""
    connection.execute(
        "INSERT INTO reconciler.finding (bucket, key, kind, state)"
        " SELECT %s, format('old/%%s', i), 'orphan', %s FROM generate_series(1, %s) AS i",
        [bucket, state, count],
    )


def states(connection):
    """Return how many findings are in each state."""
    return dict(connection.execute("SELECT state, count(*) FROM reconciler.finding GROUP BY 1").fetchall())


def test_a_thousand_are_ignored_and_reopened_while_minio_is_away(program, connection, bucket):
    """Neither needs a proof: plan and act are brief, and the history says who and why."""
    add_open(connection, bucket, 1000)
    away = {"RECONCILER_MINIO__ENDPOINT": NOBODY}
    words = ("findings", "ignore", "--prefix", "old/", "--who", "ann", "--why", "known", "-o", "json")
    plan = program.run(*words, **away)
    assert plan.returncode == 0, plan.stderr
    told = json.loads(plan.stdout)
    assert (told["planned"], len(told["acts"])) == (1000, 20)
    assert states(connection) == {"open": 1000}
    done = program.run(*words, "--apply", **away)
    assert done.returncode == 0, done.stderr
    assert states(connection) == {"ignored": 1000}
    kept = connection.execute("SELECT DISTINCT actor, act, why FROM reconciler.history WHERE finding_id > 0").fetchall()
    assert kept == [("ann", "ignored", "known")]
    assert program.run("findings", "reopen", "1", "2", "--apply", **away).returncode == 0
    assert states(connection) == {"ignored": 998, "suspected": 2}
    due = "SELECT count(*) FROM reconciler.look WHERE due_at <= now()"
    assert connection.execute(due).fetchall() == [(2,)]


def test_an_approval_is_withdrawn_and_what_is_closed_is_left_alone(program, connection, bucket):
    """The outcome says why nothing was done; an id that there is not is named before anything is."""
    add_open(connection, bucket, 1, "approved")
    told = program.json("findings", "reopen", "1", "--apply")
    assert told["acts"][0]["detail"] == "approval withdrawn"
    assert states(connection) == {"open": 1}
    connection.execute("UPDATE reconciler.finding SET state = 'resolved', closed_at = now()")
    assert program.json("findings", "ignore", "1", "--apply")["left_alone"] == 1
    ended = program.run("findings", "ignore", "1", "77", "--apply")
    assert (ended.returncode, "finding 77" in ended.stderr) == (2, True)
    assert program.run("findings", "ignore", "--apply").returncode == 2


def test_a_note_is_kept_in_the_history(program, connection, bucket):
    """It changes no state, and is written with --apply only."""
    add_open(connection, bucket, 2)
    words = ("findings", "note", "1", "2", "--why", "asked the owner", "--who", "ann")
    assert program.run(*words).returncode == 0
    assert connection.execute("SELECT count(*) FROM reconciler.history WHERE finding_id = 1").fetchall() == [(0,)]
    assert program.run(*words, "--apply").returncode == 0
    [line] = program.json("findings", "show", "1")["history"]
    assert (line["act"], line["why"], line["actor"]) == ("noted", "asked the owner", "ann")
    assert states(connection) == {"open": 2}


def test_flags_of_others_are_adopted_and_given_back_where_the_object_is(program, connection, objects, bucket):
    """What is there gets its status at once; what is missing becomes ours, and open; live rows are left alone."""
    there, gone = (add_row(connection, key, "corrupted") for key in ("there", "gone"))
    add_row(connection, "live")
    objects.put_object(bucket_name=bucket, object_name="there", data=BytesIO(b"AAA"), length=3)
    words = ("findings", "adopt", "--status", "active", "--all")
    assert program.json(*words)["planned"] == 2
    assert states(connection) == {}
    assert program.json(*words, "--apply")["done"] == 2
    status = dict(connection.execute("SELECT id::text, status FROM file_versions").fetchall())
    assert (status[there], status[gone]) == ("active", "corrupted")
    kept = connection.execute("SELECT row_id, state, previous_status FROM reconciler.finding ORDER BY id").fetchall()
    assert set(kept) == {(there, "resolved", None), (gone, "open", "active")}
    assert program.json(*words)["planned"] == 0
    assert program.run("findings", "adopt", "--status", "corrupted", "--all").returncode == 2


def test_a_plan_to_adopt_says_what_is_given_back_and_ids_are_answered_one_by_one(program, connection, objects, bucket):
    """A live row is left alone with the reason, and an id that there is not is named before anything is done."""
    there, gone, live = (
        add_row(connection, "there", "corrupted"),
        add_row(connection, "gone", "corrupted"),
        add_row(connection, "live"),
    )
    objects.put_object(bucket_name=bucket, object_name="there", data=BytesIO(b"AAA"), length=3)
    words = ("findings", "adopt", "--status", "active")
    told = program.json(*words, there, live)
    details = {act["subject"].split()[1]: (act["detail"], act["status"]) for act in told["acts"]}
    assert details["there"][0].startswith("adopted; its object is there")
    assert details["live"] == ("its row carries no flag", "left alone")
    nobody = "00000000-0000-4000-8000-000000000000"
    ended = program.run(*words, there, nobody, "not-an-id", "--apply")
    assert (ended.returncode, nobody in ended.stderr, "not-an-id" in ended.stderr) == (2, True, True)
    assert states(connection) == {}
    assert program.json(*words, gone, "--apply")["done"] == 1
    assert program.json(*words, gone)["acts"][0]["detail"] == "finding 1 has it already"


@pytest.mark.parametrize(
    ("status", "live", "named"),
    [
        ("actve", "", "no row has it"),
        ("corrupted", "", "must be the status of a row whose object is there"),
        ("deleted", "", "must be the status of a row whose object is there"),
        ("active", '["stored"]', "mapping.status.live: stored"),
    ],
)
def test_a_status_that_no_row_could_be_given_back_is_refused(program, connection, status, live, named):
    """A slip of the pen is no status to go back to."""
    add_row(connection, "live")
    add_row(connection, "gone", "corrupted")
    if live:
        text = program.file.read_text("utf-8").replace("[mapping.status]", f"[mapping.status]\nlive = {live}")
        program.file.write_text(text, "utf-8")
    ended = program.run("findings", "adopt", "--status", status, "--all", "--apply")
    assert (ended.returncode, named in ended.stderr) == (2, True), ended.stderr
    assert states(connection) == {}


def test_a_status_that_is_an_enum_has_its_labels_only(program, connection):
    """The way out names them."""
    connection.execute(
        "CREATE TYPE word AS ENUM ('active', 'corrupted', 'deleted', 'pending');"
        "ALTER TABLE file_versions ALTER status DROP DEFAULT, ALTER status TYPE word USING status::word"
    )
    ended = program.run("findings", "adopt", "--status", "fine", "--all")
    assert (ended.returncode, "active, corrupted, deleted, pending" in ended.stderr) == (2, True), ended.stderr
