"""`sweep` where the row side lies: policies that hide rows, and a search_path that leads to other tables."""

from __future__ import annotations

from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from reconcile.database import Database
from tests.acceptance.test_commands import add_row
from tests.acceptance.test_sweep_rights import DRIFTS, fill
from tests.support.sweeps import AT_ONCE, WORDS, found, held, swept

HIDING = "ALTER TABLE file_versions ENABLE ROW LEVEL SECURITY"
SHOWING = "CREATE POLICY shown ON file_versions USING (object_key LIKE %s)"
ALLOWED = {"RECONCILER_MAPPING__ALLOW_ROW_SECURITY": "true"}
OTHERS = """
CREATE SCHEMA other;
CREATE TABLE other.storage_files (LIKE public.storage_files INCLUDING ALL);
CREATE TABLE other.file_versions (LIKE public.file_versions INCLUDING ALL);
"""
LED = sql.SQL("ALTER DATABASE {} SET search_path = {}")


def test_rows_that_a_policy_may_hide_are_not_swept(reader, connection, objects, bucket):
    """Status 2 names the table and both ways out, and nothing is compared: what it hides would look like orphans."""
    fill(connection, objects, bucket)
    connection.execute(HIDING)
    ended = reader.run(*WORDS, **AT_ONCE)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert 'row level security of "public"."file_versions" may hide rows' in ended.stderr
    assert "BYPASSRLS" in ended.stderr
    assert "allow_row_security" in ended.stderr


def test_a_policy_that_was_said_to_show_all_and_shows_nothing_holds_the_sweep(reader, connection, objects, bucket):
    """Status 4 says what to compare; once it shows all, the sweep comes to the same as ever."""
    fill(connection, objects, bucket)
    connection.execute(HIDING)
    assert "no row names an object, and there are 31" in held(reader, **ALLOWED)["reason"]
    connection.execute(psycopg.ClientCursor(connection).mogrify(SHOWING, ["%"]))
    assert found(swept(reader, **ALLOWED)) == DRIFTS


def test_a_policy_that_hides_rows_after_a_complete_sweep_holds_the_next(
    reader,
    installed,
    connection,
    objects,
    bucket,
):
    """Far fewer rows than last time: status 4 names both numbers, and --fix writes nothing."""
    fill(connection, objects, bucket)
    swept(installed)
    name = sql.Identifier(reader.environ["RECONCILER_MINIO__ACCESS_KEY"])
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA reconciler TO {}").format(name))
    connection.execute(
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA reconciler TO {}").format(name)
    )
    connection.execute(HIDING)
    connection.execute(psycopg.ClientCursor(connection).mogrify(SHOWING, ["%/0%"]))
    reason = held(reader, "--fix", **ALLOWED)["reason"]
    assert "10 rows, and the last complete sweep had 31" in reason
    assert "its schema" in reason
    assert connection.execute("SELECT count(*) FROM reconciler.finding").fetchall() == [(0,)]


def test_a_search_path_without_the_tables_is_named(installed, connection, objects, bucket):
    """Status 2 names the table that is not there, and where one like it is."""
    fill(connection, objects, bucket)
    connection.execute("CREATE SCHEMA other")
    connection.execute(LED.format(sql.Identifier(connection.info.dbname), sql.Identifier("other")))
    ended = installed.run(*WORDS, **AT_ONCE)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "there is no such table in this database that we may see; did you mean public.file_versions?" in ended.stderr


@pytest.mark.parametrize(
    ("others", "why"),
    [(0, "no row names an object, and there are 31"), (30, "not one of 31 objects and 30 rows agree")],
)
def test_a_search_path_that_leads_to_other_tables_holds_the_sweep(installed, connection, objects, bucket, others, why):
    """Empty ones, or those of another application: status 4 says what to compare, and --fix writes nothing."""
    fill(connection, objects, bucket)
    connection.execute(OTHERS)
    connection.execute("SET search_path = other")
    for number in range(others):
        add_row(connection, f"theirs/{number:02}")
    connection.execute(LED.format(sql.Identifier(connection.info.dbname), sql.Identifier("other")))
    reason = held(installed, "--fix")["reason"]
    assert why in reason
    assert "the mapping" in reason
    assert connection.execute("SELECT count(*) FROM reconciler.finding").fetchall() == [(0,)]


@pytest.mark.parametrize(
    "setting", ["client_encoding = 'LATIN1'", "DateStyle = 'German'", "default_transaction_isolation = 'serializable'"]
)
def test_what_an_application_has_set_for_its_own_sessions_is_not_ours(installed, connection, objects, bucket, setting):
    """Keys beyond ASCII, times and transactions are read as ever by what looks, writes and tells."""
    fill(connection, objects, bucket)
    add_row(connection, "ß")
    set_for_all = sql.SQL("ALTER DATABASE {} SET ").format(sql.Identifier(connection.info.dbname))
    connection.execute(set_for_all.as_string(connection) + setting)
    assert found(swept(installed, "--fix")) == {*DRIFTS, ("missing", "ß")}
    assert {one["key"] for one in installed.json("findings", "list")} == {"orphan", "gone", "ß"}
    with Database(installed.environ["RECONCILER_DATABASE__URL"]).use() as ours:
        assert ours.execute("SHOW transaction_isolation").fetchall() == [("read committed",)]
        ours.close()


def test_the_options_of_the_url_are_heeded(installed, connection, objects, bucket):
    """A search_path that an application's own URL has is ours, too; that of PGOPTIONS is passed over."""
    fill(connection, objects, bucket)
    connection.execute(OTHERS)
    connection.execute("INSERT INTO other.storage_files SELECT * FROM public.storage_files")
    connection.execute("INSERT INTO other.file_versions SELECT * FROM public.file_versions")
    connection.execute("TRUNCATE public.storage_files, public.file_versions CASCADE")
    url = installed.environ["RECONCILER_DATABASE__URL"]
    led = f"{url}{'&' if '?' in url else '?'}options={quote('-c search_path=other')}"
    assert found(swept(installed, RECONCILER_DATABASE__URL=led, PGOPTIONS="-c search_path=nowhere")) == DRIFTS
