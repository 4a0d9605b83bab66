"""The commands as processes on real servers: what they show, what they change, and how they end."""

import io
import json
import os
import pty
import re
import secrets
import signal
import subprocess
import termios

import minio as minio_py
import psycopg
import pytest
from minio.notificationconfig import NotificationConfig, PrefixFilterRule, QueueConfig
from psycopg import sql

from deploy.local import kafka as kafkas
from tests.support import command, storage
from tests.support.waiting import until

NOBODY = "127.0.0.1:1"


@pytest.fixture
def bare(connection) -> psycopg.Connection:
    """Take our schema out of the test's database, as before the first `init`."""
    connection.execute("DROP SCHEMA IF EXISTS reconciler CASCADE")
    return connection


@pytest.fixture
def program(tmp_path, database, minio, bucket, kafka) -> command.Program:
    """Give the command, configured for the stack's topic and a group of its own."""
    group = f"test-{secrets.token_hex(6)}"
    settings = {"bootstrap.servers": kafka.bootstrap, "group.id": group}
    made = command.program(tmp_path, database, minio, bucket, settings)
    made.environ["RECONCILER_STREAM__TOPIC"] = kafka.topic
    return made


@pytest.fixture
def installed(bare, program, kafka) -> command.Program:
    """Give the command with its schema and topics made."""
    kafkas.create_topic(kafka.bootstrap, f"{kafka.topic}.dead-letter", 1)
    ended = program.run("migrate", "--apply")
    assert ended.returncode == 0, ended.stderr
    return program


def put(objects: minio_py.Minio, bucket: str, key: str, size: int = 10) -> None:
    """Put an object of so many bytes."""
    objects.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(b"x" * size), length=size)


def add_row(connection: psycopg.Connection, key: str, size: int = 10) -> str:
    """Commit a file with one live version, and return the version's id."""
    [(file,)] = connection.execute("INSERT INTO storage_files (bucket_type) VALUES ('staging') RETURNING id").fetchall()
    insert = "INSERT INTO file_versions (file_id, version_number, object_key, size) VALUES (%s, 1, %s, %s) RETURNING id"
    [(version,)] = connection.execute(insert, [file, key, size]).fetchall()
    return str(version)


def add_findings(connection: psycopg.Connection, bucket: str, count: int, held_by: str | None = None) -> None:
    """Put findings of two kinds where the reconciler would have put them."""
    connection.execute(
        """
        INSERT INTO reconciler.finding (bucket, key, row_id, kind, cause, state, group_name, owner, size_bytes, held_by,
                                        evidence)
        SELECT %s, format('users/%%s/f-%%s', mod(i, 3), i), CASE mod(i, 2) WHEN 0 THEN format('row-%%s', i) ELSE '' END,
               CASE mod(i, 2) WHEN 0 THEN 'missing' ELSE 'orphan' END,
               CASE mod(i, 2) WHEN 0 THEN format('hidden by delete marker %%s: recoverable', i) ELSE 'no row names' END,
               CASE mod(i, 5) WHEN 0 THEN 'suspected' ELSE 'open' END, format('g%%s', mod(i, 4)), 'o', i, %s,
               jsonb_build_object('principal', 'alice', 'event', CASE mod(i, 2)
                   WHEN 0 THEN 's3:ObjectRemoved:DeleteMarkerCreated' ELSE 's3:ObjectCreated:Put' END)
        FROM generate_series(1, %s) AS i
        """,
        [bucket, held_by, count],
    )


def test_init_prints_its_plan_does_it_and_has_nothing_left_to_do(bare, program, minio, objects, new_topic, kafka):
    """Invariant 9: without --apply nothing is made; with it everything is, once; somebody else's rule is kept."""
    bucket, topic = storage.new_bucket(minio, events=["s3:ObjectAccessed:Get"]), f"new-{secrets.token_hex(6)}"
    words = ("init", "--bucket", bucket, "--arn", minio.arn)
    changed = {"RECONCILER_STREAM__TOPIC": topic}
    plan = program.process(*words, "-o", "json", **changed)
    assert plan.returncode == 0, plan.stderr
    shown = json.loads(plan.stdout)
    assert [(act["act"], act["status"]) for act in shown["acts"]] == [
        ("create schema", "planned"),
        ("create topic", "planned"),
        ("create topic", "planned"),
        ("add event rule", "planned"),
    ]
    assert "MINIO_API_SYNC_EVENTS=on" in shown["minio"]["notes"]
    assert f"MINIO_NOTIFY_KAFKA_TOPIC_RECON={topic}" in shown["minio"]["notes"]
    assert bare.execute("SELECT to_regnamespace('reconciler')").fetchall() == [(None,)]

    done = program.process(*words, "--apply", "--who", "ann", "--why", "first", "-o", "json", **changed)
    assert done.returncode == 0, done.stderr
    assert {act["status"] for act in json.loads(done.stdout)["acts"]} == {"done"}
    kept = bare.execute("SELECT actor, why, act FROM reconciler.history ORDER BY id").fetchall()
    told = ("migrated", "topic created", "topic created", "event rule added")
    assert kept == [("ann", "first", act) for act in told]
    [rule] = objects.get_bucket_notification(bucket_name=bucket).queue_config_list
    assert {"s3:ObjectAccessed:Get", "s3:ObjectCreated:*", "s3:ObjectRemoved:*"} <= set(rule.events)

    again = program.run(*words, "--apply", "-o", "json", **changed)
    assert json.loads(again.stdout)["acts"] == []


def test_init_keeps_a_filtered_rule_beside_its_own(bare, program, minio, objects):
    """A rule for a prefix belongs to somebody else: ours stands beside it."""
    bucket = storage.new_bucket(minio, events=["s3:ObjectCreated:*"])
    theirs = QueueConfig(
        queue=minio.arn, events=["s3:ObjectCreated:Put"], config_id="theirs", prefix_filter_rule=PrefixFilterRule("in/")
    )
    objects.set_bucket_notification(bucket_name=bucket, config=NotificationConfig(queue_config_list=[theirs]))
    ended = program.run("init", "--only", "bucket", "--bucket", bucket, "--arn", minio.arn, "--apply")
    assert ended.returncode == 0, ended.stderr
    rules = objects.get_bucket_notification(bucket_name=bucket).queue_config_list
    assert {rule.config_id for rule in rules} >= {"theirs"}
    assert len(rules) == 2


def test_init_prints_sql_that_the_owner_can_run(bare, program):
    """What --sql prints is what --apply would do: after it nothing is lacking, and the grants are runnable."""
    printed = program.run("init", "--sql")
    assert printed.returncode == 0, printed.stderr
    assert bare.execute("SELECT to_regnamespace('reconciler')").fetchall() == [(None,)]
    bare.execute(printed.stdout.encode())
    assert program.json("migrate") == []


def test_init_of_a_bucket_that_is_not_there_names_it(bare, program):
    """The fault names the bucket and the way out."""
    ended = program.run("init", "--only", "bucket", "--bucket", "no-such-bucket")
    assert ended.returncode == 2
    assert "'no-such-bucket'" in ended.stderr
    assert "create it" in ended.stderr


def test_init_with_a_target_that_minio_does_not_know_keeps_what_it_made_and_names_the_way_out(bare, program, bucket):
    """Status 2; what came before the rule stands, and init may be run again."""
    words = ("init", "--bucket", bucket, "--arn", "arn:minio:sqs::NOBODY:kafka", "--apply", "-o", "json")
    ended = program.run(*words)
    assert (ended.returncode, "set MINIO_NOTIFY_KAFKA_*_NOBODY" in ended.stderr) == (2, True), ended.stderr
    done = {one["act"]: one["status"] for one in json.loads(ended.stdout)["acts"]}
    assert (done["create schema"], done["add event rule"]) == ("done", "failed")
    assert bare.execute("SELECT act FROM reconciler.history WHERE act = 'event rule added'").fetchall() == []


def test_config_check_compares_the_mapping_with_the_tables(bare, program):
    """A column that is not there is a fault of the configuration, told with its key; secrets are not shown."""
    assert program.run("config", "check").returncode == 0
    ended = program.run("config", "check", RECONCILER_MAPPING__VERSION__SIZE="sise")
    assert ended.returncode == 2
    assert "mapping.version.size" in ended.stderr
    assert program.run("config", "check", "--offline", RECONCILER_MAPPING__VERSION__SIZE="sise").returncode == 0
    shown = program.run("config", "show")
    assert program.environ["RECONCILER_MINIO__SECRET_KEY"] not in shown.stdout
    assert "RECONCILER_DATABASE__URL" in shown.stdout


def test_explain_needs_neither_init_nor_kafka_and_only_reading(bare, program, database, objects, bucket):
    """Invariant 9: who may only SELECT the mapped columns sees both sides and the verdict; nothing is written."""
    put(objects, bucket, "users/here.pdf")
    add_row(bare, "users/here.pdf")
    gone = add_row(bare, "users/gone.pdf", 4321)
    reader = sql.Identifier(f"reader_{secrets.token_hex(4)}")
    bare.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'reading'").format(reader))
    columns = sql.SQL("id, object_key, file_id, size, status, created_at")
    bare.execute(sql.SQL("GRANT SELECT ({}) ON file_versions TO {}").format(columns, reader))
    bare.execute(sql.SQL("GRANT SELECT (id, bucket_type, owner_id, deleted_at) ON storage_files TO {}").format(reader))
    user = reader.as_string().strip('"')
    changed = {"RECONCILER_DATABASE__URL": re.sub(r"//[^@]*@", f"//{user}:reading@", database)}
    changed |= {name: "" for name in program.environ if name.startswith(("RECONCILER_KAFKA", "RECONCILER_STREAM"))}

    healthy = program.process("explain", "users/here.pdf", "-o", "json", "--exit-code", **changed)
    assert healthy.returncode == 0, healthy.stderr
    assert {one["verdict"] for one in json.loads(healthy.stdout)["verdicts"]} == {"healthy"}
    missing = program.run("explain", gone, "-o", "json", "--exit-code", **changed)
    assert missing.returncode == 3, missing.stderr
    shown = json.loads(missing.stdout)
    assert (shown["key"], shown["object"], shown["answer"]) == ("users/gone.pdf", "absent", "NoSuchKey")
    assert shown["verdicts"][0]["verdict"] == "missing"
    assert "4,321 bytes" in shown["repair"]["notes"][0]
    assert "init" in shown["kept"]["notes"][0]
    bare.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(reader))


def test_explain_tells_an_orphan_and_a_mismatch(installed, connection, objects, bucket):
    """Each verdict comes with its reason and what would repair it, and with our schema what is kept of it."""
    put(objects, bucket, "orphan.bin")
    put(objects, bucket, "users/short.pdf", 9)
    add_row(connection, "users/short.pdf", 10)
    [orphan] = installed.json("explain", "orphan.bin")["verdicts"]
    assert (orphan["verdict"], orphan["why"]) == ("orphan", "no row names the object")
    row, _ = installed.json("explain", "users/short.pdf")["verdicts"]
    assert (row["verdict"], row["why"]) == ("mismatch", "size: row 10, object 9")
    assert "nothing is kept" in installed.json("explain", "orphan.bin")["kept"]["notes"][0]


def test_explain_shows_the_rows_while_minio_is_away(installed, connection):
    """A side that cannot be read is unknown and ends incomplete; the other side is shown all the same."""
    add_row(connection, "users/x.pdf")
    ended = installed.run("explain", "users/x.pdf", "-o", "json", RECONCILER_MINIO__ENDPOINT=f"http://{NOBODY}")
    assert ended.returncode == 5
    shown = json.loads(ended.stdout)
    assert shown["object"] == "unknown"
    assert len(shown["rows"]) == 1
    assert {one["verdict"] for one in shown["verdicts"]} == {"unknown"}


def test_findings_are_listed_filtered_and_paged(installed, connection, bucket):
    """Filters narrow, pages follow one another without a gap, groups count, and --exit-code tells of drift."""
    add_findings(connection, bucket, 30)
    seen: list[int] = []
    after: tuple[str, ...] = ()
    while page := installed.json("findings", "list", "--limit", "8", *after):
        seen += [one["id"] for one in page]
        after = ("--after", str(seen[-1]))
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 30
    listed = installed.json("findings", "list", "--kind", "missing", "--group", "g2", "--prefix", "users/1")
    assert listed
    assert all(one["kind"] == "missing" and one["group_name"] == "g2" for one in listed)
    assert installed.json("findings", "list", "--since", "2099-01-01") == []
    assert len(installed.json("findings", "list", "--cause", "RECOVERABLE", "--principal", "alice")) == 15
    [cause, _] = installed.json("findings", "list", "--group-by", "cause")
    assert cause["findings"] == 15
    prefixes = installed.json("findings", "list", "--group-by", "prefix", "--depth", "2")
    assert prefixes == installed.json("findings", "list", "--group-by", "prefix", "--depth", "255"), "the most it takes"
    assert {one["prefix"] for one in prefixes} == {"users/0/", "users/1/", "users/2/"}
    assert installed.run("findings", "list").returncode == 0
    assert installed.run("findings", "list", "--exit-code").returncode == 3
    assert installed.run("findings", "list", "--exit-code", "--bucket", "other").returncode == 0


def test_a_finding_is_shown_with_its_history(installed, connection, bucket):
    """One finding comes with all it has; an id that is not there is named."""
    add_findings(connection, bucket, 1)
    [(number,)] = connection.execute("SELECT id FROM reconciler.finding").fetchall()
    connection.execute(
        "INSERT INTO reconciler.history (finding_id, subject, actor, act) VALUES (%s, 'x', 'me', 'opened')",
        [number],
    )
    shown = installed.json("findings", "show", str(number))
    assert shown["evidence"] == {"principal": "alice", "event": "s3:ObjectCreated:Put"}
    assert [one["act"] for one in shown["history"]] == ["opened"]
    ended = installed.run("findings", "show", "987654")
    assert ended.returncode == 2
    assert "987654" in ended.stderr


def test_a_brake_is_told_and_released_by_a_person(installed, connection, bucket):
    """Invariant 7: a release frees what is held and asks for a look at each, and keeps who and why; a plan does not."""
    assert installed.run("brake", "status", "--exit-code").returncode == 0
    add_findings(connection, bucket, 6, held_by="brake")
    connection.execute(
        "INSERT INTO reconciler.restraint (effect, kind, actor, why) VALUES ('brake', 'missing', 'x', '6')"
    )
    told = installed.run("brake", "status", "-o", "json", "--exit-code")
    assert told.returncode == 4
    assert (json.loads(told.stdout)["brake"], json.loads(told.stdout)["held"]) == ("on", 6)
    assert installed.run("brake", "status").returncode == 0

    installed.json("brake", "release")
    held = "SELECT count(*) FROM reconciler.finding WHERE held_by = 'brake'"
    assert connection.execute(held).fetchall() == [(6,)]
    installed.json("brake", "release", "--apply", "--who", "ann", "--why", "a migration")
    assert connection.execute(held).fetchall() == [(0,)]
    assert connection.execute("SELECT count(*) FROM reconciler.look WHERE due_at <= now()").fetchall() == [(6,)]
    assert connection.execute("SELECT lifted_by FROM reconciler.restraint").fetchall() == [("ann",)]
    kept = "SELECT DISTINCT actor, why FROM reconciler.history WHERE act IN ('released', 'brake released')"
    assert connection.execute(kept).fetchall() == [("ann", "a migration")]
    assert installed.json("brake", "release", "--apply") == []


def test_consume_finds_a_deletion_and_ends_when_told(installed, connection, objects, bucket):
    """From the event to the finding, the lag gone, the status told, and an orderly end within five seconds."""
    put(objects, bucket, "users/doomed.pdf")
    version = add_row(connection, "users/doomed.pdf")
    query = "SELECT kind, state FROM reconciler.finding WHERE row_id = %s AND state = 'open'"
    with installed.running("consume") as process:
        until(lambda: "consumer.started" in installed.log() or process.poll(), 20, "the consumer starts")
        objects.remove_object(bucket_name=bucket, object_name="users/doomed.pdf")
        until(lambda: connection.execute(query, [version]).fetchall() == [("missing", "open")], 30, "the finding opens")
        until(lambda: installed.json("status").get("lag") == 0, 30, "the group has caught up")
        shown = installed.json("status")
        assert shown["flagging"] is False
        assert shown["would_have_flagged"] == 1
        assert any(lane["task"] == f"express {bucket}" for lane in shown["lanes"])
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=5)
    assert process.returncode == 0, installed.log()
    assert re.search(r"^read +\d", out, re.MULTILINE)
    assert connection.execute("SELECT status FROM file_versions WHERE id = %s", [version]).fetchall() == [("active",)]
    assert installed.run("status", "--exit-code").returncode == 3


def test_consume_ends_on_ctrl_c_as_interrupted(installed):
    """Ctrl-C ends as orderly as SIGTERM, and says so by its status."""
    with installed.running("consume", "--log-format", "json") as process:
        until(lambda: "consumer.started" in installed.log(), 20, "the consumer starts")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=5)
    assert process.returncode == 130
    assert all(json.loads(line)["event"] for line in installed.log().splitlines())


def test_consume_refuses_to_start_with_every_reason_at_once(bare, program):
    """Without schema and without an index nothing is consumed; each fault has its way out."""
    bare.execute("ALTER TABLE file_versions DROP CONSTRAINT file_versions_object_key_key")
    ended = program.process("consume")
    assert ended.returncode == 2
    assert "migrate --apply" in ended.stderr
    assert "CREATE INDEX" in ended.stderr
    assert ended.stdout == ""


def test_consume_dry_run_tells_and_does_nothing(installed, connection):
    """Invariant 9: a dry run of the consumer reads, writes and commits nothing."""
    shown = installed.json("consume", "--dry-run")
    assert shown["flagging"] is False
    assert connection.execute("SELECT count(*) FROM reconciler.lease").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("words", "variable", "value", "status"),
    [
        (("findings", "list"), "RECONCILER_DATABASE__URL", f"postgresql://me:hidden@{NOBODY}/x", 6),
        (("init", "--only", "kafka"), "RECONCILER_KAFKA__BOOTSTRAP_SERVERS", NOBODY, 6),
        (("init", "--only", "bucket", "--bucket", "b"), "RECONCILER_MINIO__ENDPOINT", f"http://{NOBODY}", 6),
        (("status",), "RECONCILER_KAFKA__BOOTSTRAP_SERVERS", NOBODY, 5),
    ],
)
def test_a_server_that_is_away_is_named(installed, words, variable, value, status):
    """A server that cannot be reached has its own exit status and is named, without a traceback or a secret."""
    ended = installed.process(*words, **{variable: value})
    assert ended.returncode == status, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "hidden" not in ended.stderr


def test_without_init_the_way_out_is_named(bare, program):
    """What needs our schema says how to get it."""
    for words in (("findings", "list"), ("status",), ("brake", "status"), ("brake", "release", "--apply")):
        ended = program.run(*words)
        assert ended.returncode == 2
        assert "init --apply" in ended.stderr


def test_uninstall_takes_away_what_init_made_and_says_what_stays(installed, connection, objects, minio, bucket):
    """The plan tells what would be lost; --apply takes our rule and schema alone: tables and others' rules stay."""
    add_row(connection, "users/x.pdf")
    theirs = QueueConfig(["s3:ObjectAccessed:Get"], "theirs", PrefixFilterRule("in/"), queue=minio.arn)
    objects.set_bucket_notification(bucket_name=bucket, config=NotificationConfig(queue_config_list=[theirs]))
    there = ("--arn", minio.arn)
    installed.json("init", "--only", "bucket", "--apply", *there)
    plan = installed.json("uninstall", *there)
    assert [(act["act"], act["status"]) for act in plan["acts"]] == [
        ("remove event rule", "planned"), ("drop schema", "planned"),
    ]  # fmt: skip
    assert not any(bucket in note for note in plan["left"]["notes"])
    assert len(objects.get_bucket_notification(bucket_name=bucket).queue_config_list) == 2
    [removed, _] = installed.json("uninstall", *there, "--apply")["acts"]
    assert "<Id>theirs</Id>" in removed["detail"]
    assert objects.get_bucket_notification(bucket_name=bucket).queue_config_list == [theirs]
    assert connection.execute("SELECT to_regnamespace('reconciler')").fetchall() == [(None,)]
    assert connection.execute("SELECT count(*) FROM file_versions").fetchall() == [(1,)]
    assert installed.json("uninstall", *there)["acts"] == []


def test_uninstall_leaves_a_rule_that_it_cannot_see_to_a_person(installed, bucket):
    """What MinIO does not answer hinders nothing: the line for its operator is told."""
    plan = installed.json("uninstall", "--bucket", "no-such-bucket")
    assert [act["act"] for act in plan["acts"]] == ["drop schema"]
    assert any("ALIAS/no-such-bucket" in note for note in plan["left"]["notes"])


def test_a_reader_that_has_seen_enough_ends_it_quietly(installed, connection, bucket):
    """A pipe that closes early, such as that of `head`, is no error."""
    add_findings(connection, bucket, 3000)
    words = [*command.PROGRAM, "findings", "list", "--limit", "3000", "-o", "jsonl"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=installed.environ, text=True, cwd=command.ROOT
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(10) == 0


def on_terminal(program: command.Program, *words: str, **changed: str) -> str:
    """Run a command on a terminal of 60 columns, and return all that it sent there."""
    screen, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 60))
    environ = program.environment({"TERM": "xterm", **changed})
    process = subprocess.Popen([*command.PROGRAM, *words], stdout=theirs, env=environ, cwd=command.ROOT)
    os.close(theirs)
    sent = b""
    try:
        while read := os.read(screen, 65536):
            sent += read
    except OSError:  # how Linux says that nobody writes there any more
        pass
    os.close(screen)
    assert process.wait(10) == 0
    return sent.decode()


def test_a_terminal_gets_colours_and_no_line_too_wide(installed, connection, bucket):
    """Colours are for a terminal only, and not where NO_COLOR asks for none; a table fits the screen."""
    add_findings(connection, bucket, 4)
    shown = on_terminal(installed, "findings", "list")
    assert "\x1b[" in shown
    plain = on_terminal(installed, "findings", "list", NO_COLOR="1")
    assert not re.search(r"\x1b\[3\dm", plain)
    bare = re.sub(r"\x1b\[[0-9;]*m", "", plain)
    assert "…" in bare
    assert "\x1b" not in installed.run("findings", "list").stdout


def test_status_tells_the_last_complete_sweep_of_each_bucket(installed, connection, bucket):
    """A night that was missed, held or given up is seen: when the last complete one was, and what came since.

    One over a listing that somebody brought, which may be of any time, is none of them.
    """
    assert [(one["bucket"], one["since_then"]) for one in installed.json("status")["sweeps"]] == [
        (bucket, "never swept")
    ]
    connection.execute(
        "INSERT INTO reconciler.sweep (bucket, prefix, mode, state, reason, actor, totals, started_at, facts)"
        " SELECT bucket, prefix, 'report', state, reason, 'me', totals::jsonb, now() - ago::interval, facts::jsonb"
        " FROM (VALUES (%(bucket)s, '', 'complete', '', '{}', '9 days', '{}'),"
        " (%(bucket)s, '', 'complete', '', %(totals)s, '3 days', '{}'),"
        " (%(bucket)s, '', 'incomplete', 'away', '{}', '2 days', '{}'),"
        " (%(bucket)s, '', 'held', 'too many', '{}', '1 day', '{}'),"
        " (%(bucket)s, '', 'complete', '', %(totals)s, '2 hours', %(brought)s),"
        " (%(bucket)s, 'part/', 'complete', '', %(totals)s, '1 hour', '{}'),"
        " ('other', '', 'held', 'empty', '{}', '1 hour', '{}'))"
        " AS v (bucket, prefix, state, reason, totals, ago, facts)",
        {
            "bucket": bucket,
            "brought": '{"listing": true}',
            "totals": '{"missing": 2, "mismatch": 0, "orphan": 3, "leftover": 0, "lookalike": 1}',
        },
    )
    rows = {(one["bucket"], one["prefix"]): one for one in installed.json("status")["sweeps"]}
    told = {at: (one["drifts"], one["since_then"], one["tries"], one["why"]) for at, one in rows.items()}
    assert told == {
        (bucket, None): (6, "held", 2, "too many"),
        (bucket, "part/"): (6, None, None, None),
        ("other", None): (None, "held", 1, "empty"),
    }
    days = "SELECT extract(day FROM now() - %s::timestamptz), extract(day FROM now() - %s::timestamptz)"
    whole = rows[bucket, None]
    assert connection.execute(days, [whole["last_complete_at"], whole["first_at"]]).fetchall() == [(3, 2)]
    assert rows["other", None]["last_complete_at"] is None


def test_status_is_watched_until_ctrl_c(installed):
    """--watch shows the state again and again, and ends as interrupted."""
    with installed.running("status", "--watch", "0.01", "-o", "jsonl") as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode == 130
    assert all(line["brake"] == "off" for line in lines)
