"""`doctor` over a real database: each check in its bad case, with a fix that mends it."""

from __future__ import annotations

import os
import shutil
from time import monotonic
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from consumer.doctor.check import Mark
from consumer.duties.canary import Canary, Judged
from consumer.duties.losswatch import Heartbeat
from deploy.local import postgres as postgreses
from deploy.local.place import Way, place
from reconcile.database import Database, migrate
from reconcile.model import Unavailable
from tests.support import databases, paging
from tests.support.examining import one, settings, told
from tests.support.foreign import certificate
from tests.support.waiting import until


@pytest.fixture
def role(connection, database):
    """Make a role that may read the mapped columns, and return its URL; whatever it was granted ends with it."""
    parts = urlsplit(database)
    name = f"role_{parts.path[-12:]}"
    connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'word'")
    yield urlunsplit(parts._replace(netloc=f"{name}:word@{parts.hostname}:{parts.port}"))
    connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def with_number(url, **sections):
    """Return settings whose mapping knows the version's number."""
    made = settings(url, **sections)
    object.__setattr__(made.mapping.version, "number", "version_number")
    return made


def test_all_is_well_with_the_seeds_tables_and_our_schema(database, connection):
    """No check of the database complains of what the documents recommend."""
    migrate(connection)
    checks = told(with_number(database))
    of_database = {name: found for name, found in checks.items() if name.split(".")[0] in {"database", "schema"}}
    assert {check.mark for found in of_database.values() for check in found} == {Mark.OK}, of_database
    of_mapping = {name: found for name, found in checks.items() if name.startswith("mapping")}
    not_ok = {name for name, found in of_mapping.items() if {check.mark for check in found} != {Mark.OK}}
    assert not_ok <= {"mapping.young_rows"}, of_mapping


def test_a_database_that_is_away_is_one_fault_and_the_rest_is_not_checked(database):
    """Neither a traceback nor twenty faults."""
    away = urlunsplit(urlsplit(database)._replace(netloc="127.0.0.1:1"))
    checks = told(settings(away))
    [reached] = checks.pop("database")
    assert reached.mark is Mark.BAD
    assert "correct database.url" in reached.fix
    for name in ("schema", "mapping", "mapping.triggers"):
        [check] = checks[name]
        assert (check.mark, check.found[:11]) == (Mark.UNSEEN, "not checked")


def test_a_wrong_password_and_a_wrong_name_are_told_apart(database):
    """The way out names the key, and the password is in no word of it."""
    parts = urlsplit(database)
    word = one(settings(urlunsplit(parts._replace(netloc=f"nobody:s3cr3t@{parts.hostname}:{parts.port}"))), "database")
    assert word.mark is Mark.BAD
    assert "user and password" in word.fix
    assert "s3cr3t" not in str(word)
    name = one(settings(urlunsplit(parts._replace(path="/no_such_database"))), "database")
    assert (name.mark, "correct the name" in name.fix) == (Mark.BAD, True)


def test_a_missing_and_an_old_schema_and_one_that_is_not_ours(database, connection, role):
    """Each has its own command."""
    absent = one(settings(database, kafka={"bootstrap.servers": "127.0.0.1:1"}), "schema")
    assert (absent.mark, "init --only database --apply" in absent.fix) == (Mark.BAD, True)
    migrate(connection)
    connection.execute("DELETE FROM reconciler.migration WHERE number = 2")
    assert "migrate --apply" in one(settings(database), "schema").fix
    connection.execute("INSERT INTO reconciler.migration (number, sha256) VALUES (2, 'x')")
    connection.execute(f"GRANT USAGE ON SCHEMA reconciler TO {urlsplit(role).username}")
    connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA reconciler TO {urlsplit(role).username}")
    assert one(settings(role), "schema.rights").mark is Mark.WARN, "who reads all and writes nothing is to look alone"
    connection.execute(f"GRANT INSERT ON reconciler.look TO {urlsplit(role).username}")
    closed = one(settings(role), "schema.rights")
    assert closed.mark is Mark.BAD
    connection.execute(closed.fix)
    assert one(settings(role), "schema.rights").mark is Mark.OK


def test_a_trial_without_a_stream_needs_no_schema(database):
    """It works, and keeps nothing: a thing to know, with what would mend it; nobody has rights to what is not there."""
    absent = one(settings(database), "schema")
    assert (absent.mark, "init --only database --apply" in absent.fix) == (Mark.WARN, True)
    assert one(settings(database), "schema.rights").mark is Mark.UNSEEN


def test_a_database_that_takes_no_writes(database, connection):
    """The service could keep nothing."""
    [(name,)] = connection.execute("SELECT current_database()").fetchall()
    connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert one(settings(database), "database.writes").mark is Mark.BAD


def test_a_missing_grant_is_made_out_to_our_role(database, connection, role):
    """Its fix can be run as it is."""
    user = urlsplit(role).username
    columns = "id, file_id, object_key, size, created_at"
    connection.execute(f"GRANT SELECT ({columns}) ON file_versions TO {user}; GRANT SELECT ON storage_files TO {user}")
    lacking = one(settings(role), "mapping")
    assert lacking.mark is Mark.BAD
    connection.execute(lacking.fix)
    assert one(settings(role), "mapping").mark is Mark.OK
    update = one(settings(role), "mapping.flag")
    assert update.mark is Mark.WARN
    assert one(settings(role, flagging=True), "mapping.flag").mark is Mark.BAD
    connection.execute(update.fix.removesuffix(", or observe only"))
    assert one(settings(role, flagging=True), "mapping.flag").mark is Mark.OK


def test_rows_that_policies_hide(database, connection, role):
    """Hidden rows would make orphans of their objects; where that was allowed it stays to know."""
    user = urlsplit(role).username
    connection.execute(f"GRANT SELECT ON file_versions, storage_files TO {user}")
    connection.execute("ALTER TABLE file_versions ENABLE ROW LEVEL SECURITY")
    assert "row level security" in one(settings(role), "mapping").found
    allowed = settings(role)
    object.__setattr__(allowed.mapping, "allow_row_security", True)
    assert one(allowed, "mapping.row_security").mark is Mark.WARN


def test_a_key_without_an_index(database, connection):
    """The index to create is the fix."""
    connection.execute("ALTER TABLE file_versions DROP CONSTRAINT file_versions_object_key_key")
    lacking = one(settings(database), "mapping.index")
    assert lacking.mark is Mark.BAD
    connection.execute(lacking.fix.split(", or set")[0])
    assert one(settings(database), "mapping.index").mark is Mark.OK


def test_an_enum_without_the_status(database, connection):
    """The value to add is the fix."""
    connection.execute("CREATE TYPE life AS ENUM ('active', 'deleted', 'pending')")
    connection.execute("ALTER TABLE file_versions ALTER status DROP DEFAULT, ALTER status TYPE life USING status::life")
    lacking = one(settings(database), "mapping")
    assert lacking.mark is Mark.BAD
    connection.execute(lacking.fix.split(", or ")[-1])
    assert one(settings(database), "mapping").mark is Mark.OK


def test_what_is_not_unique_is_told_with_its_index(database, connection):
    """Of the key and of a file's version number; an index with an expression in it makes nothing unique."""
    connection.execute("ALTER TABLE file_versions DROP CONSTRAINT file_versions_object_key_key")
    connection.execute("CREATE INDEX ON file_versions (object_key)")
    connection.execute("CREATE UNIQUE INDEX ON file_versions (object_key, (size + 1))")
    connection.execute("ALTER TABLE file_versions DROP CONSTRAINT file_versions_file_id_version_number_key")
    for name in ("mapping.unique_key", "mapping.unique_number"):
        found = one(with_number(database), name)
        assert found.mark is Mark.WARN
        connection.execute(found.fix)
        assert one(with_number(database), name).mark is Mark.OK


def test_a_unique_index_of_the_rows_that_are_not_deleted_makes_unique_and_finds_none(database, connection):
    """With soft deletion it is the usual one; a row that it does not hold is not found by it."""
    connection.execute("ALTER TABLE file_versions DROP CONSTRAINT file_versions_object_key_key")
    connection.execute("ALTER TABLE file_versions DROP CONSTRAINT file_versions_file_id_version_number_key")
    for columns in ("object_key", "file_id, version_number"):
        connection.execute(f"CREATE UNIQUE INDEX ON file_versions ({columns}) WHERE status <> 'deleted'")
    for name in ("mapping.unique_key", "mapping.unique_number"):
        found = one(with_number(database), name)
        assert (found.mark, "unique among rows where (status <> 'deleted'" in found.found) == (Mark.OK, True)
    assert one(settings(database), "mapping.index").mark is Mark.BAD


def test_keys_of_several_rows_are_counted(database, connection):
    """Of those that claim the object; a deleted row does not."""
    connection.execute("ALTER TABLE file_versions DROP CONSTRAINT file_versions_object_key_key")
    connection.execute("CREATE INDEX ON file_versions (object_key)")
    insert = (
        "WITH f AS (INSERT INTO storage_files (bucket_type) VALUES ('user') RETURNING id)"
        " INSERT INTO file_versions (file_id, version_number, object_key, size, status)"
        " SELECT id, 1, %s, 1, %s FROM f"
    )
    for status in ("active", "deleted"):
        connection.execute(insert, ["a%/b", status])
    assert one(settings(database), "mapping.shared_keys").mark is Mark.OK
    connection.execute(insert, ["a%/b", "active"])
    found = one(settings(database), "mapping.shared_keys")
    assert (found.mark, "1 keys" in found.found, "a%/b" in found.found) == (Mark.WARN, True, True)


def test_triggers_on_the_status_and_an_orms_count(database, connection):
    """A trigger of other columns does not fire, nor one with the condition that is proposed."""
    connection.execute(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.created_at = now(); RETURN NEW; END'"
    )
    create = "CREATE OR REPLACE TRIGGER {} BEFORE UPDATE{} ON file_versions FOR EACH ROW {} EXECUTE FUNCTION touch()"
    connection.execute(create.format("of_size", " OF size", ""))
    assert one(settings(database), "mapping.triggers").mark is Mark.OK
    connection.execute(create.format("touched", "", ""))
    found = one(settings(database), "mapping.triggers")
    assert (found.mark, "touched" in found.found) == (Mark.WARN, True)
    connection.execute(create.format("touched", "", found.fix.split(": ")[1]))
    assert one(settings(database), "mapping.triggers").mark is Mark.OK
    assert one(with_number(database), "mapping.orm_version").mark is Mark.OK
    connection.execute("ALTER TABLE file_versions ADD lock_version int NOT NULL DEFAULT 0")
    assert "lock_version" in one(with_number(database), "mapping.orm_version").found


def test_how_rows_are_read_is_told(database, connection):
    """Without an index in byte order they are copied out; with one they are read by pages."""
    assert "copied to a spool" in one(settings(database), "mapping.reading").found
    connection.execute('CREATE INDEX ON file_versions (object_key COLLATE "C")')
    assert "by pages" in one(settings(database), "mapping.reading").found


def test_a_canary_that_is_refused_is_not_one_that_nobody_sends(database, connection):
    """None that is refused counts as sent, however long somebody tries: the right that lacks is the cause."""
    migrate(connection)
    keep = "INSERT INTO reconciler.lease (task, lower, tally, owner, until) VALUES ('canary', 'files', %s, 'x', now())"
    of = settings(database, canary={"interval": "1m"}, kafka={"bootstrap.servers": "127.0.0.1:1"})
    assert "nobody sends the canary" in one(of, "lanes").found
    connection.execute(keep, [paging.encoded(Canary(judged=Judged(refused="403 AccessDenied")))])
    found = one(of, "lanes")
    assert (found.mark, found.found) == (Mark.BAD, "files: the canary cannot be sent: 403 AccessDenied")


@pytest.fixture(scope="module")
def secured(stack_place):
    """Start a PostgreSQL of this module's own, which speaks TLS under another host's name."""
    if stack_place.way is not Way.NATIVE:
        pytest.skip("only a server of our own can be made a standby")
    with place(Way.NATIVE) as here:
        server = postgreses.find_or_start(here)
        home = here.directory / "postgres" / "data"
        file, key = certificate(here.directory, "elsewhere.test")
        owner = home.stat().st_uid
        for source in (file, key):
            target = home / source.name
            shutil.copy(source, target)
            os.chown(target, owner, -1)
            target.chmod(0o600)
        with psycopg.connect(server.url, autocommit=True) as connection:
            databases.fill(connection)
            connection.execute("ALTER SYSTEM SET ssl = on")
            connection.execute("SELECT pg_reload_conf()")
        yield server, home, file


def test_a_certificate_that_names_another_host_is_told_as_that(secured):
    """Neither "away" nor "wrong password": the name; and where the CA is not known, the CA."""
    server, home, ca = secured
    url = f"{server.url}?sslmode=verify-full&sslrootcert={ca}"
    found = until(lambda: None if "SSL" in (check := one(settings(url), "database")).found else check)
    assert (found.mark, "subjectAltName" in found.fix) == (Mark.BAD, True), found
    (home.parent / "other").mkdir()
    other, _ = certificate(home.parent / "other", "another.test")
    found = one(settings(f"{server.url}?sslmode=verify-full&sslrootcert={other}"), "database")
    assert (found.mark, "sslrootcert" in found.fix) == (Mark.BAD, True), found


def as_standby(secured):
    """Have the server be a standby, if it is not one yet."""
    server, home, _ = secured
    server.control.stop()
    (home / "standby.signal").touch()
    server.control.start()
    return server


def test_a_standby_is_no_place_to_keep_anything(secured):
    """Its rows may be old, too."""
    server = as_standby(secured)
    found = one(settings(server.url), "database.writes")
    assert (found.mark, "standby" in found.found, "primary" in found.fix) == (Mark.BAD, True, True), found


@pytest.mark.invariant(2)
@pytest.mark.parametrize("pooled", [True, False])
def test_a_standby_is_not_believed_by_whoever_commits_offsets(secured, pooled):
    """A row that has not come to it yet looks as if it had never been: to whoever consumes it is away."""
    url = as_standby(secured).url
    consuming = Database(url, pooled=pooled, primary=True, patience_s=0.1)
    with pytest.raises(Unavailable, match="standby"), consuming.use():
        pass
    reading = Database(url, pooled=pooled)
    with reading.use() as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    if pooled:  # and it came behind an open connection
        reading.primary = True
        with pytest.raises(Unavailable, match="standby"):
            Heartbeat(reading, "one", [], _at=monotonic())(False)  # noqa: FBT003 - what it asks
    reading.close()
