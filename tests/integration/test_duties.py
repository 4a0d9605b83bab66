"""The duties on a real database: each row is looked at once, nothing is skipped, one process of many does the work."""

from contextlib import ExitStack
from datetime import timedelta
from threading import Event
from time import monotonic

import pytest

from consumer.duties import duty
from consumer.duties.duty import PAGE, all_duties, attend, do_one, let_go
from consumer.service import Service, passengers_of
from reconcile import ledger
from reconcile.config.settings import Retention
from reconcile.reconciler import reconcile
from tests.support import consuming, proxy
from tests.support.waiting import until

MINUTES = timedelta(minutes=1)
OWNER = "SELECT owner FROM reconciler.lease WHERE task = %s AND until > now()"


@pytest.fixture
def between(minio):
    """Put a proxy before MinIO, which counts what is asked."""
    host, port = minio.endpoint.split(":")
    with proxy.Proxy(host, int(port)) as made:
        yield made


@pytest.fixture
def process(site, between):
    """Return what opens the world of another process."""
    with ExitStack() as exits:

        def opened(actor: str, **changed: str):
            return consuming.world(site.settings(**changed), exits, actor, between.url)

        yield opened


def of(name: str, retention: Retention | None = None) -> duty.Duty:
    """Return a duty by its name."""
    return next(duty for duty in all_duties(retention or Retention()) if duty.name == name)


def watched(*_: object) -> bool:
    return True


def all_rows_at_once(site, count: int, ago: str) -> list[str]:
    """Commit so many live rows in one statement: all share their time."""
    insert = """
        WITH f AS (INSERT INTO storage_files (bucket_type) VALUES ('user') RETURNING id)
        INSERT INTO file_versions (file_id, version_number, object_key, size, created_at)
        SELECT f.id, n, format('young/%%s', n), 10, now() - %s::interval FROM f, generate_series(1, %s) AS n
        RETURNING object_key
    """
    return [key for (key,) in site.sql(insert, ago, count)]


def passes(world, name: str, count: int) -> None:
    """Do a duty so many times."""
    for _ in range(count):
        do_one(world, of(name), watched)


def test_young_rows_are_looked_at_once_each_pass(site, between, process):
    """A row past its grace costs one HEAD, and none at the next pass; one before its grace costs none."""
    for key in all_rows_at_once(site, 5, "1 minute"):
        site.put(key)
    world = process("one")
    site.row("too young")
    passes(world, "young", 1)
    assert between.requests == 5
    passes(world, "young", 3)
    until(lambda: (passes(world, "young", 1), between.requests == 6)[1], 5, "the sixth is past its grace")
    assert site.open() == {("too young", "missing", "suspected")}
    passes(world, "young", 3)
    assert between.requests == 6


def test_young_rows_are_looked_at_page_after_page(site, between, process, monkeypatch):
    """A bulk import, whose uploads never came: one pass goes on while pages are full, and keeps its place at each."""
    monkeypatch.setattr(duty, "PAGES_S", 60.0)
    keys = all_rows_at_once(site, 2000, "1 minute")
    passes(process("one"), "young", 1)
    assert site.sql("SELECT count(DISTINCT key) FROM reconciler.finding") == [(len(keys),)]
    assert between.requests == 2000


@pytest.mark.invariant(2)
def test_rows_of_one_transaction_are_not_skipped_at_the_end_of_a_page(site, between, process, monkeypatch):
    """More rows than a page holds share their time, and a restart falls in between: each is found, none twice."""
    monkeypatch.setattr(duty, "PAGES_S", 0.0)
    keys = all_rows_at_once(site, 2 * PAGE + 50, "1 minute")
    first = process("first")
    passes(first, "young", 1)
    assert len(site.open()) == PAGE
    let_go(first, [of("young")])
    second = process("second")
    passes(second, "young", 1)
    assert len(site.open()) == 2 * PAGE
    passes(second, "young", 2)
    assert site.open() == {(key, "missing", "suspected") for key in keys}
    assert between.requests == len(keys)
    assert site.sql("SELECT DISTINCT named_by FROM reconciler.finding") == [(["young"],)]


def test_a_page_that_ends_within_one_transaction_does_not_lose_what_came_before(site, between, process):
    """Rows of many times, then one time across the page's end, then later ones."""
    for number in range(30):
        site.row(f"early/{number}", created_at=site.sql("SELECT now() - interval '3 minutes'")[0][0])
    all_rows_at_once(site, PAGE, "2 minutes")
    for number in range(5):
        site.row(f"later/{number}", created_at=site.sql("SELECT now() - interval '1 minute'")[0][0])
    passes(process("one"), "young", 3)
    assert len(site.open()) == between.requests == PAGE + 35


@pytest.mark.invariant(2)
def test_a_row_that_was_committed_long_after_its_time_is_found_by_the_second_look(site, process):
    """The first pass has gone by when it comes; ten minutes after its time it is looked at all the same."""
    world = process("one")
    passes(world, "young", 1)
    passes(world, "young again", 1)
    site.row("slow", created_at=site.sql("SELECT now() - interval '601 seconds'")[0][0])
    passes(world, "young", 2)
    assert site.open() == set()
    until(lambda: (passes(world, "young again", 1), site.open())[1] == {("slow", "missing", "suspected")}, 5)


def test_live_rows_are_counted_for_the_brake(site, process):
    """What is deleted, pending or flagged is not live; the count and its time are kept with the bucket."""
    for number in range(7):
        site.row(f"live {number}")
    for status in ("deleted", "pending", "corrupted"):
        site.row(status, status=status)
    site.sql("UPDATE storage_files SET deleted_at = now() WHERE id IN (SELECT file_id FROM file_versions LIMIT 1)")
    passes(process("one"), "live rows", 1)
    [(bucket, live, is_new)] = site.sql(
        "SELECT lower, tally ->> 'live', (tally ->> 'at')::timestamptz > now() - interval '1 minute'"
        " FROM reconciler.lease WHERE task = 'live_rows'"
    )
    assert (bucket, live, is_new) == (site.bucket, "6", True)


def test_what_is_closed_is_pruned_and_what_is_open_keeps_its_history(site, process):
    """Past its retention: a closed finding, its history, a lifted restraint. Whatever its age: what is open."""
    add = """
        WITH f AS (
            INSERT INTO reconciler.finding (bucket, key, kind, state, suspected_at, closed_at)
            SELECT 'b', key, 'orphan', state, now() - interval '100 days', now() - closed::interval
            FROM (VALUES ('open', 'open', NULL), ('old', 'resolved', '91 days'), ('new', 'resolved', '89 days'))
                AS v (key, state, closed) RETURNING id, key)
        INSERT INTO reconciler.history (finding_id, subject, actor, act, at)
        SELECT id, key, 'me', 'suspected', now() - interval '100 days' FROM f
    """
    site.sql(add)
    site.sql(
        "INSERT INTO reconciler.history (subject, actor, act, at)"
        " VALUES ('brake', 'me', 'x', now() - interval '91 days'), ('brake', 'me', 'y', now() - interval '89 days')"
    )
    site.sql(
        "INSERT INTO reconciler.restraint (effect, kind, actor, lifted_at)"
        " VALUES ('brake', 'missing', 'old', now() - interval '91 days'), ('brake', 'orphan', 'new', NULL)"
    )
    passes(process("one"), "retention", 1)
    assert site.sql("SELECT key FROM reconciler.finding ORDER BY key") == [("new",), ("open",)]
    assert site.sql("SELECT subject, act FROM reconciler.history ORDER BY id") == [
        ("open", "suspected"),
        ("brake", "y"),
    ]
    assert site.sql("SELECT actor FROM reconciler.restraint") == [("new",)]
    [(told, due)] = site.sql(
        "SELECT (checkpoint::jsonb ->> 0)::timestamptz, now() - interval '90 days' FROM reconciler.lease"
        " WHERE task = 'duty retention' AND checkpoint::jsonb ->> 1 IS NULL"  # no sweep was pruned
    )
    assert abs(told - due) < timedelta(minutes=1)


def test_what_is_much_is_pruned_a_page_at_a_time(site, process):
    """No statement lasts as long as all of it would: a hundred thousand drifts of one sweep, and as much history."""
    site.sql(
        "WITH s AS (INSERT INTO reconciler.sweep (bucket, kind, mode, state, actor, started_at, finished_at)"
        " VALUES ('b', 'sweep', 'report', 'incomplete', 'me', now() - interval '1 year', now() - interval '1 year')"
        " RETURNING id) INSERT INTO reconciler.drift (sweep_id, kind, bucket, key)"
        " SELECT id, 'orphan', 'b', 'key ' || n FROM s, generate_series(1, 100000) AS n"
    )
    site.sql(
        "INSERT INTO reconciler.history (subject, actor, act, at)"
        " SELECT 'brake', 'me', 'x', now() - interval '1 year' FROM generate_series(1, 100000)"
    )
    world = process("one")
    world.database.statement_timeout = "100ms"
    passes(world, "retention", 1)
    assert (
        site.sql("SELECT count(*) FROM reconciler.drift") == site.sql("SELECT count(*) FROM reconciler.sweep") == [(0,)]
    )
    assert site.sql("SELECT count(*) FROM reconciler.history") == [(0,)]


def test_what_is_too_much_to_prune_at_once_is_left_to_the_next_turn(site, process, monkeypatch):
    """Other duties wait for no more than a turn; each brings it on."""
    monkeypatch.setattr("consumer.duties.duty.PRUNED_S", 0.0)
    site.sql(
        "INSERT INTO reconciler.history (subject, actor, act, at)"
        " SELECT 'brake', 'me', 'x', now() - interval '1 year' FROM generate_series(1, 2500)"
    )
    left = []
    for _ in range(3):
        passes(process("one"), "retention", 1)
        left += site.sql("SELECT count(*) FROM reconciler.history")
        site.sql("UPDATE reconciler.lease SET until = now() WHERE task = 'duty retention'")
    assert left == [(1500,), (500,), (0,)]


def test_sweeps_are_pruned_but_never_the_last_complete_one(site, process):
    """Past its retention a sweep goes, however it ended, with drifts and ranges; the last complete one stays."""
    site.sql(
        "INSERT INTO reconciler.sweep (bucket, prefix, mode, state, actor, started_at, finished_at)"
        " SELECT bucket, prefix, 'report', state, 'me', now() - started::interval, now() - finished::interval"
        " FROM (VALUES ('kept', '', 'complete', '99 days', '99 days'), ('kept', '', 'complete', '98 days', '98 days'),"
        " ('kept', 'part/', 'complete', '97 days', '97 days'), ('kept', '', 'held', '96 days', '96 days'),"
        " ('kept', '', 'running', '95 days', NULL), ('kept', '', 'incomplete', '91 days', '89 days'),"
        " ('never', '', 'incomplete', '99 days', '99 days'), ('never', '', 'held', '1 day', '1 day'),"
        " ('at work', '', 'running', '99 days', NULL))"
        " AS v (bucket, prefix, state, started, finished)"
    )
    site.sql(
        "INSERT INTO reconciler.drift (sweep_id, kind, bucket, key)"
        " SELECT id, 'orphan', bucket, 'k' FROM reconciler.sweep"
    )
    site.sql(
        "INSERT INTO reconciler.lease (task, owner, until) SELECT 'sweep ' || id, 'me', now() FROM reconciler.sweep"
    )
    site.sql(
        "INSERT INTO reconciler.lease (task, owner, until)"
        " VALUES ('sweep of at work', 'you', now() + interval '1 minute')"
    )
    passes(process("one"), "retention", 1)
    kept = site.sql("SELECT id, bucket, prefix, state FROM reconciler.sweep ORDER BY id")
    assert [row[1:] for row in kept] == [
        ("kept", "", "complete"),
        ("kept", "part/", "complete"),
        ("kept", "", "incomplete"),
        ("never", "", "held"),
        ("at work", "", "running"),
    ]
    ids = [(row[0],) for row in kept]
    assert ids[0] == (2,)
    assert site.sql("SELECT sweep_id FROM reconciler.drift ORDER BY 1") == ids
    ranges = "SELECT substr(task, 7)::bigint FROM reconciler.lease WHERE task ~ '^sweep [0-9]' ORDER BY 1"
    assert site.sql(ranges) == ids


def test_one_process_of_two_does_a_duty(site, between, process):
    """While one holds the lease the other does nothing; it does once the lease is let go, from its checkpoint."""
    for key in all_rows_at_once(site, 5, "1 minute"):
        site.put(key)
    first, second = process("first"), process("second")
    passes(first, "young", 1)
    passes(second, "young", 2)
    assert between.requests == 5
    assert site.sql(OWNER, "duty young") == [("first",)]
    let_go(first, [of("young")])
    passes(second, "young", 1)
    assert site.sql(OWNER, "duty young") == [("second",)]
    assert between.requests == 5


def test_a_process_that_dies_leaves_its_duties_to_another(site, process):
    """The lease runs out by itself; whoever asks then has it."""
    passes(process("dead"), "young", 1)
    heir = process("heir")
    passes(heir, "young", 1)
    assert site.sql(OWNER, "duty young") == [("dead",)]
    site.sql("UPDATE reconciler.lease SET until = now()")
    passes(heir, "young", 1)
    assert site.sql(OWNER, "duty young") == [("heir",)]


@pytest.mark.invariant(2)
def test_duties_outlive_an_outage_and_end_when_told(site, between, process):
    """MinIO is away: the page is not passed over; back again, its rows are found. The leases are let go at the end."""
    world, loop, stop = process("one"), process("two"), Event()

    def all_found():
        reconcile(loop, loop.due(10))  # what was asked in vain just before MinIO came back is a look
        return len(site.open()) == 5

    all_rows_at_once(site, 5, "1 minute")
    between.set(proxy.Cut())
    work = lambda: attend(world, all_duties(Retention()), watched, stop.wait)  # noqa: E731
    with consuming.beside(work, stop):
        until(lambda: between.requests > 2, 10, "it asks in vain")
        assert site.open() == set()
        between.set(proxy.Pass())
        until(all_found, 10, "all five are found")
        begun = monotonic()
        stop.set()
    assert monotonic() - begun < 3
    assert site.sql("SELECT count(*) FROM reconciler.lease WHERE until > now()") == [(0,)]


def test_a_count_that_takes_long_keeps_no_figure_from_being_told(site, monkeypatch):
    """Figures that are gone while large tables are counted would begin each alert's time anew."""
    stop, counting = Event(), Event()
    monkeypatch.setattr(duty, "count_live_rows", lambda _: counting.set() or stop.wait())
    service = Service(site.settings(), stop, "one")
    with ExitStack() as exits:
        for name, work in passengers_of(service, service.mapping(), exits):
            if name in ("duties", "figures"):
                exits.enter_context(consuming.beside(work, stop))
        until(counting.is_set, what="live rows are counted")
        until(lambda: service.counting.leased.figures, what="figures are told meanwhile")


def test_where_a_column_names_buckets_those_of_live_rows_are_attended_to(site):
    """Those that are named, and those of rows: counted at the first start, later as they were counted last."""
    [(file_id,)] = site.sql("SELECT file_id FROM file_versions WHERE id = %s", site.row("k"))
    site.sql("UPDATE storage_files SET bucket_type = 'staging' WHERE id = %s", file_id)
    named = {"RECONCILER_MAPPING__BUCKET__COLUMN": "file.bucket_type", "RECONCILER_MAPPING__BUCKET__NAME": "files"}
    by_column = Service(site.settings(**named), Event())
    by_column.mapping()
    assert by_column.lanes == ["files", "staging"]
    assert by_column.is_watched()("whatever", "k"), "a bucket that is new to the column is read at once"
    ledger.keep_live_rows(site.connection, {"later": 1}, {}, "a test")
    by_column.mapping()
    assert by_column.lanes == ["files", "later"]
    by_name = Service(site.settings(), Event())
    by_name.mapping()
    assert by_name.lanes == [site.bucket]
    assert not by_name.is_watched()("whatever", "k")
