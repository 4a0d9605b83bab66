"""Leases that are kept alive while their owner is busy, on a real PostgreSQL."""

from __future__ import annotations

import psycopg
import pytest

from reconcile import ledger
from reconcile.database import Database, migrate
from reconcile.sweeps.heartbeat import Heartbeat
from tests.support.waiting import until

LEASE_S = 1.2
HELD = "SELECT task FROM reconciler.lease WHERE owner = 'me' AND until > now() ORDER BY task"
UNTIL = "SELECT until FROM reconciler.lease WHERE task = %s"


@pytest.fixture
def kept(connection) -> psycopg.Connection:
    """Give a connection to a database with our schema."""
    migrate(connection)
    return connection


def take(connection: psycopg.Connection, task: str, owner: str = "me") -> None:
    assert ledger.take_lease(connection, task, owner, LEASE_S) == (None,)


def renewals(connection: psycopg.Connection, task: str, how_many: int) -> None:
    """Wait until a lease was renewed so often."""
    seen = set()

    def renewed() -> bool:
        seen.update(connection.execute(UNTIL, [task]).fetchall())
        return len(seen) > how_many

    until(renewed, what=f"{how_many} renewals of {task}")


def test_leases_outlive_their_time_while_their_owner_is_busy(kept, database):
    """Each of an owner's leases is renewed again and again, and lasts no longer than one lease after the end."""
    take(kept, "a")
    take(kept, "b")
    with Heartbeat(Database(database), "me", LEASE_S):
        renewals(kept, "a", 4)
        assert kept.execute(HELD).fetchall() == [("a",), ("b",)]
    until(lambda: not kept.execute(HELD).fetchall(), what="the leases' end")


def test_a_lease_that_ran_out_is_not_taken_back(kept, database):
    """What is another's by now, given up or run out stays so, whatever else is renewed."""
    for task in ("ran out", "alive"):
        take(kept, task)
    kept.execute("UPDATE reconciler.lease SET until = now() WHERE task = 'ran out'")
    take(kept, "another's", "you")
    before = kept.execute(UNTIL, ["another's"]).fetchall()
    with Heartbeat(Database(database), "me", LEASE_S):
        renewals(kept, "alive", 2)
    assert kept.execute(HELD).fetchall() == [("alive",)]
    assert kept.execute(UNTIL, ["another's"]).fetchall() == before


def test_a_beat_that_finds_no_database_is_followed_by_one_that_does(kept, database):
    """Its connection is cut between two beats, and the lease lives on."""
    take(kept, "a")
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'beating'"
    with Heartbeat(Database(database, name="beating"), "me", LEASE_S):
        renewals(kept, "a", 1)
        assert kept.execute(cut).fetchall() == [(True,)]
        renewals(kept, "a", 3)


def test_a_beat_does_not_wait_for_a_lease_that_is_being_written(kept, database):
    """Its owner has it locked, and renews it anyway; the others are renewed meanwhile."""
    take(kept, "locked")
    take(kept, "free")
    with psycopg.connect(database) as writing:
        writing.execute("UPDATE reconciler.lease SET until = now() + interval '1 hour' WHERE task = 'locked'")
        with Heartbeat(Database(database), "me", LEASE_S):
            renewals(kept, "free", 2)
