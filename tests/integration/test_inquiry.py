"""The statements that a person's questions run, on a real database."""

import re
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from reconcile import acts, ignoring, inquiry, windows
from reconcile.database import Database, migrate, pending
from reconcile.model import Misconfigured, Unavailable
from reconcile.reports import chronicle

QUESTIONS = sorted(set(inquiry.SQL) - {"matching", "principal", "cause"})
SET = [(of, name) for of in (ignoring.SQL, windows.SQL, chronicle.SQL) for name in sorted(of)]


@pytest.fixture
def kept(connection) -> psycopg.Connection:
    """Give a database with our schema."""
    migrate(connection)
    return connection


@pytest.fixture
def opened(database) -> Iterator[Database]:
    """Lend the database as the commands open it."""
    lent = Database(database)
    yield lent
    lent.close()


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_can_be_asked(kept, name):
    """Each statement is planned by the server as it stands, with every parameter in its type."""
    explained(kept, inquiry.filled(inquiry.SQL[name]))


@pytest.mark.parametrize(("of", "name"), SET, ids=[name for _, name in SET])
def test_every_other_statement_for_persons_is_planned(kept, of, name):
    """The server takes each as it stands."""
    explained(kept, inquiry.filled(of[name]))


def explained(kept, statement) -> None:
    """Have a statement planned, with every parameter in its type."""
    parameters = dict.fromkeys(re.findall(r"%\((\w+)\)s", statement.as_string()))
    kept.execute(sql.SQL("EXPLAIN ") + statement, parameters)


def test_a_question_cannot_write(kept, opened):
    """Whatever is asked, the transaction it is asked in refuses to write."""
    with pytest.raises(Unavailable, match="read-only transaction"), inquiry.reading(opened) as connection:
        connection.execute("DELETE FROM reconciler.finding")


def test_the_newest_finding_comes_first_and_pages_follow(kept, opened):
    """A page goes on after the last id of the one before, in the list's own order."""
    kept.execute(
        "INSERT INTO reconciler.finding (bucket, key, kind, state) SELECT 'b', 'k' || i, 'orphan', 'open' "
        "FROM generate_series(1, 5) AS i"
    )
    with inquiry.reading(opened) as connection:
        now = inquiry.now(connection)
        first = inquiry.findings(connection, inquiry.Filter(), 2, None)
        second = inquiry.findings(connection, inquiry.Filter(since=now - timedelta(hours=1)), 9, first.records[-1][0])
    at = first.columns.index("key")
    assert [record[at] for record in (*first.records, *second.records)] == ["k5", "k4", "k3", "k2", "k1"]
    assert first.total == 5


def test_what_is_done_by_a_person_is_kept(kept, opened):
    """Who did what, and why, stands in the history even where no finding is concerned, if there is one."""
    acts.tell(opened, acts.Who("ann", "why not"), "event rule added", "files", {"before": "<a/>"})
    select = "SELECT actor, why, act, subject, evidence FROM reconciler.history"
    assert kept.execute(select).fetchall() == [("ann", "why not", "event rule added", "files", {"before": "<a/>"})]
    acts.drop(opened)
    acts.tell(opened, acts.Who("ann"), "event rule added", "files", {})
    assert pending(kept)


def test_who_may_not_read_is_told_the_way_out(kept, database):
    """A user without a grant learns where the grants are printed."""
    kept.execute("CREATE ROLE nobody_here LOGIN PASSWORD 'x'")
    stranger = Database(re.sub(r"//[^@]*@", "//nobody_here:x@", database))
    with pytest.raises(Misconfigured, match="roles sql prints the grants"), inquiry.reading(stranger) as connection:
        inquiry.records(connection, "looks")
    stranger.close()
    kept.execute("DROP ROLE nobody_here")


def test_a_sweep_at_work_has_not_failed_yet(kept):
    """Of the tries since the last complete sweep it counts only once nobody holds its lease any more."""
    for state in ("incomplete", "running"):
        kept.execute(
            "INSERT INTO reconciler.sweep (bucket, mode, state, actor) VALUES ('b', 'report', %s, 'test')", [state]
        )
    kept.execute(
        "INSERT INTO reconciler.lease (task, owner, until)"
        " SELECT 'sweep ' || max(id), 'test', now() + interval '1 minute' FROM reconciler.sweep"
    )
    tries = lambda: [record[6] for record in inquiry.records(kept, "sweeps")]  # noqa: E731 - one line says it
    assert tries() == [1]
    kept.execute("UPDATE reconciler.lease SET until = now()")
    assert tries() == [2]
