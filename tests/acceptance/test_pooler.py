"""Through PgBouncer in transaction mode: two sessions for all threads of a consumer and for every command beside it."""

import json
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from deploy.local import pgbouncer
from deploy.local.progress import Trouble
from reconcile.database import Database
from tests.support import consuming
from tests.support.waiting import until

JSON = ("consume", "--log-format", "json")
QUICK = {
    "RECONCILER_POLICY__MISSING_GRACE": "300ms",
    "RECONCILER_POLICY__ORPHAN_GRACE": "300ms",
    "RECONCILER_FLAGGING": "true",
    "RECONCILER_BRAKE__BUCKET_FLOOR": "1000",
}
SESSION = """
SELECT pg_backend_pid(), (SELECT count(*) FROM pg_prepared_statements), current_setting('statement_timeout'),
       current_setting('lock_timeout'), current_setting('enable_seqscan'), current_setting('IntervalStyle'),
       current_setting('default_transaction_isolation'), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')
"""
DEFAULTS = "ALTER DATABASE {} SET IntervalStyle = 'iso_8601'; ALTER DATABASE {} SET TimeZone = 'Asia/Tokyo';"
ISOLATION = "ALTER DATABASE {} SET default_transaction_isolation = 'serializable'"
UNTOUCHED = (0, "0", "0", "on", "iso_8601", "serializable", 0)
OURS = {
    "statement_timeout": "321ms",
    "lock_timeout": "200ms",
    "idle_in_transaction_session_timeout": "10s",
    "enable_seqscan": "off",
    "TimeZone": "UTC",
    "transaction_isolation": "read committed",
}
STATES = "SELECT key, kind, state FROM reconciler.finding WHERE closed_at IS NULL ORDER BY key"


@pytest.fixture(scope="module")
def poolers(stack_place, postgres, shown):
    """Start PgBouncer twice: as it comes, and told to ignore what it does not know of a session."""
    try:
        with shown():
            strict = pgbouncer.start(stack_place, postgres)
            lax = pgbouncer.start(stack_place, postgres, ignore_startup_parameters="options")
    except Trouble as trouble:
        pytest.skip(str(trouble))
    return strict, lax


@pytest.fixture
def site(tmp_path, database, minio, kafka, topic):
    """Make an application whose database has other defaults than ours, and which nobody has set up yet."""
    with psycopg.connect(database, autocommit=True) as connection:
        name = connection.info.dbname
        for statement in (*DEFAULTS.split(";")[:2], ISOLATION):
            connection.execute(statement.format(name))
    with consuming.superuser_site(tmp_path, database, minio, kafka.bootstrap, topic) as made:
        yield made


def through(site, pooled, **more: str):
    """Return the site's command with the pooler between it and the database."""
    environ = {**site.program.environ, **QUICK, "RECONCILER_DATABASE__URL": pooled(site.database), **more}
    return replace(site.program, environ=environ)


def open_findings(site) -> list[tuple[str, str, str]]:
    return site.sql(STATES)


def test_everything_goes_through_and_nothing_is_left_behind(site, poolers):
    """Stream, flags, a return, sweep, deeds and pages work; the sessions that others get next are as they were."""
    program = through(site, poolers[0], RECONCILER_DATABASE__POOLED="true")
    healthy, gone, late, stray = "healthy", "gone", "late", "stray"
    for key in (healthy, gone):
        site.put(key)
        site.row(key)
    site.put(stray)
    with program.running(*JSON) as process:
        site.remove(gone)
        site.send([site.created(healthy)] * 20 + [site.removed(gone), site.created(stray), site.created(late)])
        site.put(late)
        site.row(late)
        drift = [(gone, "missing", "open"), (stray, "orphan", "open")]
        until(lambda: open_findings(site) == drift, 30, "both drifts, and no other")
        until(site.caught_up, 20, "the committed offsets")
        site.put(gone)
        site.send([site.created(gone)])
        until(lambda: open_findings(site) == drift[1:], 20, "the return")
        untouched(site, poolers[0])
        process.terminate()
        assert process.wait(20) == 0, program.log()
    assert "consumer.paused" not in program.log(), program.log()


def test_every_kind_of_command_goes_through(site, poolers):
    """A sweep flags what no event told of; what a person asks and does is the same as without a pooler."""
    program = through(site, poolers[0], RECONCILER_DATABASE__POOLED="true")
    site.connection.execute("DROP SCHEMA reconciler CASCADE")
    assert program.run("init", "--only", "database", "--apply").returncode == 0
    row = site.row("gone", created_at="2025-09-07")
    site.put("stray")
    swept = program.run("sweep", "--fix", "--workers", "2", "--exit-code")
    assert swept.returncode == 3, swept.stderr
    assert site.status(row) == "corrupted"
    assert [found[:2] for found in open_findings(site)] == [("gone", "missing"), ("stray", "orphan")]
    [(finding,)] = site.sql("SELECT id::text FROM reconciler.finding WHERE key = 'gone'")
    for words in (
        ("findings", "note", finding, "--why", "known", "--apply"),
        ("orphans", "approve", "--all", "--why", "nobody's", "--apply"),
        ("orphans", "delete", "--limit", "1"),
        ("brake", "status"),
        ("explain", "gone"),
        ("findings", "show", finding),
        ("status",),
        ("report",),
        ("replay", "--from", "earliest"),
        ("purge", "--older-than", "0s"),
        ("migrate", "--apply"),
    ):
        ended = program.run(*words)
        assert ended.returncode == 0, (words, ended.stderr, ended.stdout)
    untouched(site, poolers[0])


def untouched(site, pooled) -> None:
    """Both sessions are as anybody finds them: no setting, no prepared statement and no lock of ours stayed."""
    seen = {}

    def both() -> bool:
        url = pooled(site.database)
        with psycopg.connect(url) as one, psycopg.connect(url) as two:
            for [pid, *session] in (*one.execute(SESSION), *two.execute(SESSION)):
                seen[pid] = tuple(session)
        return len(seen) == int(pgbouncer.SESSIONS)

    until(both, 10, "a look at each session")
    assert set(seen.values()) == {UNTOUCHED}, seen


def test_a_pooler_that_nobody_told_us_of_is_named(site, poolers):
    """Be it that it refuses a session of ours or drops its time-outs: nothing is done, and the way out is told."""
    for pooled in poolers:
        ended = through(site, pooled).run("status")
        assert ended.returncode == 2, ended.stderr
        assert "database.pooled = true" in ended.stderr
    checks = {one["check"]: one for one in json.loads(through(site, poolers[0]).run("doctor", "-o", "json").stdout)}
    assert "database.pooled = true" in checks["database"]["fix"]


def test_each_way_to_ask_has_our_settings(site, poolers):
    """A statement alone, one in a transaction and one in a pipeline are read as ours, and wait no longer than ours."""
    opened = Database(poolers[0](site.database), statement_timeout="321ms", by_index=True, pooled=True)
    asked = "SELECT array[" + ", ".join(f"current_setting('{name}')" for name in OURS) + "], interval '1 day'"
    for alone, many in ((True, False), (False, False), (False, True), (True, True)):
        with (
            opened.use() as connection,
            nullcontext() if alone else connection.transaction(),
            connection.pipeline() if many else nullcontext(),
        ):
            found = connection.execute(asked).fetchall()
        opened.close()
        assert found == [(list(OURS.values()), timedelta(days=1))]
        untouched(site, poolers[0])


def test_options_of_the_url_are_refused(site, poolers):
    """A search_path in the URL would be lost on the way, so it is a fault, with the way out."""
    program = through(site, poolers[0], RECONCILER_DATABASE__POOLED="true")
    url = f"{program.environ['RECONCILER_DATABASE__URL']}?options=-c%20search_path%3Dother"
    ended = program.run("status", RECONCILER_DATABASE__URL=url)
    assert ended.returncode == 2, ended.stderr
    assert "ALTER ROLE" in ended.stderr
