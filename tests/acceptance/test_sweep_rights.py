"""`sweep` where less is allowed: a role that may only read, a database that takes no writes, a standby."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from deploy.local import postgres as postgreses
from deploy.local.place import Way, place
from reconcile.database import migrate
from tests.acceptance.test_commands import add_row
from tests.support import command, databases
from tests.support.sweeping import put
from tests.support.sweeps import AT_ONCE, WORDS, found, held, swept

READ_ONLY = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on")
DRIFTS = {("orphan", "orphan"), ("missing", "gone")}


def fill(connection: psycopg.Connection, objects, bucket: str) -> None:
    """Make thirty uploads that agree, and two drifts."""
    for number in range(30):
        put(objects, bucket, f"fine/{number:02}")
        add_row(connection, f"fine/{number:02}")
    put(objects, bucket, "orphan")
    add_row(connection, "gone")


@pytest.fixture
def drifted(connection, objects, bucket) -> None:
    """Make a world of two drifts."""
    fill(connection, objects, bucket)


WRITTEN = "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables ORDER BY 1"


@pytest.mark.invariant(9)
@pytest.mark.parametrize("schema", [False, True])
def test_who_may_only_read_can_sweep_and_writes_nothing(reader, program, connection, objects, bucket, schema):
    """SELECT on two tables, list and read on one bucket: the trial works, beside somebody's schema or without."""
    if schema:
        migrate(connection)
    fill(connection, objects, bucket)
    add_row(connection, "flagged")
    connection.execute("UPDATE file_versions SET status = 'corrupted' WHERE object_key = 'flagged'")
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        psycopg.connect(reader.environ["RECONCILER_DATABASE__URL"]) as other,
    ):
        other.execute("DELETE FROM file_versions")
    connection.execute("SELECT pg_stat_force_next_flush()")
    before = connection.execute(WRITTEN).fetchall()
    schemas = connection.execute("SELECT nspname FROM pg_namespace ORDER BY 1").fetchall()
    report = swept(reader)
    assert found(report) == DRIFTS
    assert any("nothing was kept" in one for one in report["notes"])
    assert any("its findings may not be read" in one for one in report["notes"]) is schema
    assert report["totals"]["flagged_by_others"] == 1
    assert connection.execute(WRITTEN).fetchall() == before
    assert connection.execute("SELECT nspname FROM pg_namespace ORDER BY 1").fetchall() == schemas
    assert len(list(objects.list_objects(bucket_name=bucket, recursive=True))) == 31


def test_a_trial_has_nothing_to_mend(reader, bucket):
    """What is neither there nor to be seen for who may only read is no fault: the status is 0."""
    ended = reader.run("doctor")
    assert (ended.returncode, "✗" in ended.stdout) == (0, False), ended.stdout


@pytest.mark.invariant(9)
@pytest.mark.parametrize("asked", [["--fix"], ["--baseline"], ["--resume"], ["--join", "1"]])
def test_a_database_that_takes_no_writes_refuses_what_would_be_kept(installed, connection, drifted, asked):
    """Status 2 names the setting and the way out, before anything is compared."""
    connection.execute(READ_ONLY.format(sql.Identifier(connection.info.dbname)))
    ended = installed.run(*WORDS, *asked, **AT_ONCE)
    assert ended.returncode == 2, ended.stderr
    assert "default_transaction_read_only" in ended.stderr
    assert connection.execute("SELECT count(*) FROM reconciler.sweep").fetchall() == [(0,)]


def test_a_database_that_takes_no_writes_can_be_reported_on(installed, connection, drifted):
    """The report says that nothing was kept, and why."""
    connection.execute(READ_ONLY.format(sql.Identifier(connection.info.dbname)))
    report = swept(installed)
    assert found(report) == DRIFTS
    assert any("nothing was kept" in one and "read-only" in one for one in report["notes"])
    assert connection.execute("SELECT count(*) FROM reconciler.sweep").fetchall() == [(0,)]


@pytest.fixture
def standby(tmp_path, minio, objects, bucket, monkeypatch) -> Iterator[command.Program]:
    """Give the command over a database of its own that has become a standby."""
    monkeypatch.setenv("RECONCILER_SERVERS", "native")
    with place(Way.NATIVE) as here:
        server = postgreses.find_or_start(here)
        with psycopg.connect(server.url, autocommit=True) as connection:
            databases.fill(connection)
            migrate(connection)
            fill(connection, objects, bucket)
        server.control.stop()
        (here.directory / "postgres" / "data" / "standby.signal").touch()
        server.control.start()
        yield command.program(tmp_path, server.url, minio, bucket, {})


def test_a_standby_is_not_believed_unless_somebody_says_so(standby):
    """Its rows may be old: reported, held with status 4 and not kept; believed with a reason, and never written."""
    report = held(standby)
    assert found(report) == DRIFTS
    assert "standby" in report["reason"]
    assert "--believe" in report["reason"]
    assert any("nothing was kept" in one for one in report["notes"])
    assert standby.run(*WORDS, "--fix", **AT_ONCE).returncode == 2
    believed = swept(standby, "--believe", "--why", "it lags by a second", "--who", "ann")
    assert found(believed) == DRIFTS
    assert believed["reason"].startswith("believed by ann: it lags by a second")
