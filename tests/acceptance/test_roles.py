"""The roles that `roles` prints, on real servers: each suffices for its commands, and the one below it does not."""

from io import BytesIO

import psycopg
import pytest
from minio import Minio as Client
from minio.error import S3Error

from tests.acceptance.test_commands import add_row
from tests.support import command, consuming
from tests.support.orphans import Office
from tests.support.repairing import Repairing
from tests.support.roles import staff
from tests.support.sweeps import AT_ONCE, WORDS, found, swept
from tests.support.waiting import until

WRITTEN = "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables ORDER BY 1"


@pytest.fixture
def made(tmp_path, database, connection, minio, bucket):
    """Make the users, and nothing else."""
    program = command.program(tmp_path, database, minio, bucket, {})
    program.environ["RECONCILER_POLICY__ORPHAN_GRACE"] = "0s"
    with staff(program, connection, minio) as people:
        yield people


@pytest.fixture
def people(made):
    """Make the users, and let the owner make the schema."""
    assert made.role("owner").run("init", "--only", "database", "--apply").returncode == 0
    return made


@pytest.fixture
def office(people, connection, objects, bucket):
    """Give what finds orphans and keeps versions."""
    return Office(people.program, connection, objects, bucket)


def written(connection):
    """Return how often each table was written."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    return connection.execute(WRITTEN).fetchall()


def test_the_owner_makes_schema_and_event_rule_and_nobody_else_does(made, connection, objects, bucket):
    """The consumer is refused by each server, told why, and nothing is half made."""
    objects.delete_bucket_notification(bucket_name=bucket)
    for only in ("database", "bucket"):
        refused = made.role("consumer").run("init", "--only", only, "--bucket", bucket, "--apply")
        assert refused.returncode == 2, refused.stderr
        assert "denied" in (refused.stderr + refused.stdout).lower()
    assert not objects.get_bucket_notification(bucket_name=bucket).queue_config_list
    assert connection.execute("SELECT to_regclass('reconciler.finding')").fetchall() == [(None,)]
    for only in ("database", "bucket"):
        done = made.role("owner").run("init", "--only", only, "--bucket", bucket, "--apply")
        assert done.returncode == 0, done.stderr
    assert objects.get_bucket_notification(bucket_name=bucket).queue_config_list
    assert made.role("reader").run("status").returncode == 0


def test_the_reader_sees_all_and_writes_nothing(people, office, connection):
    """Every command that shows works; what would write is refused, and no table was written."""
    [orphan] = office.find({"orphan": b"AAA"})
    add_row(connection, "gone")
    before, reader = written(connection), people.role("reader")
    assert found(swept(reader)) == {("orphan", "orphan"), ("missing", "gone")}
    shown = (["findings", "list"], ["findings", "show", str(orphan)], ["orphans", "list"], ["explain", "gone"])
    shown += (["orphans", "show", str(orphan)], ["status"], ["config", "check"], ["brake", "status"], ["report"])
    for words in (*shown, ["suppress", "list"], ["findings", "rules", "list"], ["doctor"]):
        ended = reader.run(*words)
        assert ended.returncode == 0, ended.stderr
    acts = (["findings", "note", str(orphan)], ["orphans", "approve", str(orphan)])
    window = ["suppress", "add", "--bucket", office.bucket, "--until", "2h"]
    for words in (*([*act, "--apply", "--why", "x"] for act in (*acts, window)), [*WORDS, "--fix"]):
        ended = reader.run(*words, **AT_ONCE)
        assert ended.returncode == 2, (words, ended)
        assert "roles sql" in ended.stderr or "to be written" in ended.stderr, (words, ended)
    assert written(connection) == before


def test_nobody_is_told_what_lacks(people):
    """A user without any grant is told the GRANT, with status 2."""
    ended = people.role("nobody").run(*WORDS)
    assert ended.returncode == 2
    assert "GRANT SELECT" in ended.stderr


def test_the_consumer_marks_and_can_delete_nothing(people, minio, objects, bucket, connection):
    """A sweep flags as the consumer; no object and no row can be deleted, whatever a defect tried."""
    objects.put_object(bucket_name=bucket, object_name="kept", data=BytesIO(b"A"), length=1)
    add_row(connection, "gone")
    ended = people.role("consumer").run(*WORDS, "--fix", **AT_ONCE)
    assert ended.returncode == 0, ended.stderr
    assert connection.execute("SELECT status FROM file_versions").fetchall() == [("corrupted",)]
    key = people.objects("consumer")
    client = Client(
        endpoint=minio.endpoint, access_key=key["RECONCILER_MINIO__ACCESS_KEY"], secret_key=people.word, secure=False
    )
    with pytest.raises(S3Error, match="Access Denied"):
        client.remove_object(bucket_name=bucket, object_name="kept")
    with psycopg.connect(people.rows("consumer")["RECONCILER_DATABASE__URL"]) as other:
        for statement in ("DELETE FROM file_versions", "UPDATE file_versions SET object_key = 'x'"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                other.execute(statement)
            other.rollback()
    assert objects.stat_object(bucket_name=bucket, object_name="kept").size == 1


def test_only_the_purger_deletes_a_row(people, connection, objects, bucket):
    """The consumer's purge is refused before anything; the purger's is done."""
    app = Repairing(people.program, connection, objects, bucket)
    file = app.file()
    app.flagged("old", file, 1)
    app.put("new")
    app.version("new", file, 2)
    words = ("purge", "--older-than", "30d", "--apply")
    refused = people.role("consumer").run(*words)
    assert (refused.returncode, "GRANT DELETE" in refused.stderr) == (2, True)
    assert set(app.statuses()) == {"old", "new"}
    assert people.role("purger").json(*words)["done"] == 1
    assert set(app.statuses()) == {"new"}


@pytest.mark.parametrize("versioned", [True, False], ids=["versioned", "unversioned"])
def test_only_the_deleter_deletes_an_object(people, office, versioned):
    """The consumer is refused, and the orphan stays approved; the deleter hides or copies it, and brings it back."""
    if versioned:
        office.keep_versions()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    words = ("orphans", "delete", "--unversioned", office.bucket, "--apply")
    refused = people.role("consumer").run(*words, "-o", "json")
    assert (refused.returncode, "AccessDenied" in refused.stdout) == (5, True)
    assert (office.state(number), office.listed()) == ("approved", ["a"])
    assert people.role("deleter").json(*words)["done"] == 1
    assert office.listed() == [] or not versioned
    assert people.role("deleter").json("orphans", "undo", str(number), "--apply")["done"] == 1
    assert office.content("a") == b"AAA"


@pytest.mark.parametrize("versioned", [True, False], ids=["marker", "backup"])
def test_only_the_restorer_brings_back(people, connection, objects, bucket, versioned):
    """The consumer's restore is refused and changes nothing; the restorer's is done, from a marker or a backup."""
    app = Repairing(people.program, connection, objects, bucket)
    if versioned:
        app.keep_versions()
        app.put("k")
        app.hide("k")
    else:
        app.put("copies/k")
    app.flagged("k")
    source = () if versioned else ("--from", f"{bucket}/copies/")
    words = ("restore", "--key", "k", *source, "--apply")
    refused = people.role("consumer").run(*words, "-o", "json")
    assert (refused.returncode, "AccessDenied" in refused.stdout) == (5, True)
    assert app.statuses()["k"] == "corrupted"
    assert people.role("restorer").json(*words)["done"] == 1
    assert (app.statuses()["k"], app.read("k")) == ("active", b"AAA")


def test_consume_runs_as_the_consumer_and_not_as_the_reader(tmp_path, database, minio, kafka, topic):
    """The reader's is refused at its start; the consumer's hears a removal, marks, and reads MinIO's own figures."""
    with consuming.superuser_site(tmp_path, database, minio, kafka.bootstrap, topic) as site:
        site.program.environ.update(RECONCILER_FLAGGING="true", RECONCILER_POLICY__MISSING_GRACE="300ms")
        with staff(site.program, site.connection, minio) as people:
            for flagging, lacks in (("true", "GRANT UPDATE"), ("false", "roles sql")):
                refused = people.role("reader").process("consume", RECONCILER_FLAGGING=flagging)
                assert (refused.returncode, lacks in refused.stderr) == (2, True), refused.stderr
            site.client.put_object(bucket_name=site.bucket, object_name="k", data=BytesIO(b"A"), length=1)
            add_row(site.connection, "k")
            consumer = people.role("consumer")
            with consumer.running("consume", "--log-format", "json") as process:
                until(lambda: "express.listening" in consumer.log(), 60, "the express lane")
                site.client.remove_object(bucket_name=site.bucket, object_name="k")
                until(lambda: site.sql("SELECT status FROM file_versions") == [("corrupted",)], 60, "the flag")
                process.terminate()
                assert process.wait(30) == 0
            assert "denied" not in consumer.log().lower()
