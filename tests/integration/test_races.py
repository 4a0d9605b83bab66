"""The application and the reconciler at the same row, in every order of their steps.

Real transactions in two threads, each of which stands at its points until it may go on (tests/support/racing.py). Each
order has a key of its own. What must hold is asked afterwards: of the rows, the findings, and of who waited for whom.
"""

from dataclasses import dataclass

import psycopg
import pytest

from reconcile.model import Kind, ObjectRef
from tests.contract.conftest import ground  # noqa: F401 - a fixture
from tests.contract.stages import GRACE, HOUR, look, look_again
from tests.support.racers import BELIEVING, LOOK_STEPS, staged
from tests.support.racing import Racer, Standing, orders, race

APPLICATION_STEPS = 3  # lock or read, write, end
LOCKED = "SELECT FROM version WHERE id = %(row)s FOR UPDATE"
READ = "SELECT * FROM version WHERE id = %(row)s"


@pytest.fixture
def stage(ground, minio):  # noqa: F811 - the fixture
    """Set the live stage, with nothing kept."""
    with staged(ground, minio) as ready:
        ready.sql("CREATE TABLE child (id text REFERENCES version ON DELETE CASCADE)")
        yield ready
        ready.sql("DROP TABLE child")


@dataclass(frozen=True)
class Work:
    """What the application does in one transaction, and what is so afterwards.

    `row` is its status when all is quiet, None if it is gone; `drifts` tells whether it then lacks its object, and
    `waits` whether its transaction may ever wait for ours.
    """

    first: str
    write: str
    end: str = "COMMIT"
    status: str | None = "active"
    drifts: bool = True
    size: int = 3
    moved: bool = False
    waits: bool = True


WORKS = {
    "locks, then archives": Work(
        LOCKED, "UPDATE version SET status = 'archived' WHERE id = %(row)s", status="archived"
    ),
    "reads, then archives": Work(READ, "UPDATE version SET status = 'archived' WHERE id = %(row)s", status="archived"),
    "archives, then not": Work(LOCKED, "UPDATE version SET status = 'archived' WHERE id = %(row)s", end="ROLLBACK"),
    "resizes": Work(READ, "UPDATE version SET size = 4 WHERE id = %(row)s", size=4),
    "makes it pending": Work(
        READ, "UPDATE version SET status = 'pending' WHERE id = %(row)s", status="pending", drifts=False
    ),
    "moves": Work(READ, "UPDATE version SET key = key || ' moved' WHERE id = %(row)s", moved=True),
    "deletes": Work(LOCKED, "DELETE FROM version WHERE id = %(row)s", status=None, drifts=False),
    "deletes the file": Work(
        READ, "UPDATE parent SET deleted_at = now() WHERE id = %(row)s", drifts=False, waits=False
    ),
    "refers to it": Work(
        "SELECT FROM version WHERE id = %(row)s FOR KEY SHARE", "INSERT INTO child VALUES (%(row)s)", waits=False
    ),
}


def application(stage, name, work, row):
    """Return the application's transaction, to be raced with."""

    def steps(pause):
        with psycopg.connect(stage.url, autocommit=True, application_name=name, options="-c search_path=public") as own:
            own.execute("BEGIN")
            own.execute(work.first, {"row": row})
            pause()
            own.execute(work.write, {"row": row})
            pause()
            own.execute(work.end)

    return steps


def quiet(stage, world, refs):
    """Look again and again, until nothing that a look could do is left."""
    for _ in range(4):
        look(world, *refs)
        stage.age(HOUR)
        look_again(world)


def ended_before_second_read(order):
    """Tell whether the application's last step came before ours from the lock to the second read."""
    ours = [place for place, first in enumerate(order) if first]
    return not any(not first for first in order[ours[3] :])


def drifting(stage):
    """Return by row what is kept of it, its status and the former one: a flag that they took off is not set again."""
    kept = {one.row_id: (one.kind, one.previous_status) for one in stage.findings()}
    return {row: (*kept[row], status) for row, status in stage.sql("SELECT id, status FROM version") if row in kept}


@pytest.mark.invariant(3)
@pytest.mark.invariant(5)
@pytest.mark.timeout(180)
@pytest.mark.parametrize("does", ["flag", "give back"])
@pytest.mark.parametrize("what", WORKS)
def test_what_the_application_does_stays_whoever_comes_first(stage, what, does):
    """Whatever the order of lock, read and write: what it wrote is there, we did not wait, and the truth is found."""
    work, world = WORKS[what], stage.world(brake=BELIEVING, actor="ours")
    played = dict(enumerate(orders(LOOK_STEPS, APPLICATION_STEPS, [*WORKS].index(what))))
    rows = {number: stage.row(f"k{number}") for number in played}
    refs = {number: ObjectRef(stage.bucket, f"k{number}") for number in played}
    look(world, *refs.values())
    stage.age(GRACE)
    if does == "give back":
        look_again(world)
        for ref in refs.values():
            stage.put(ref.key)
    waited = 0
    for number, order in played.items():
        ours = Racer(stage.connection, "ours", lambda pause, ref=refs[number]: look(Standing(world, pause), ref))
        theirs = Racer(stage.connection, f"theirs {number}", application(stage, f"theirs {number}", work, rows[number]))
        race(ours, theirs, order)
        assert not ours.waited, order
        waited += theirs.waited
        if does == "flag" and not work.drifts and ended_before_second_read(order):
            assert stage.sql("SELECT FROM version WHERE id = %s AND status = 'corrupted'", [rows[number]]) == [], order
    assert (waited > 0) == work.waits
    now = [ref._replace(key=f"{ref.key} moved") if work.moved else ref for ref in refs.values()]
    quiet(stage, world, {*refs.values(), *now})
    if does == "flag":
        ours_or_theirs = {(Kind.MISSING, work.status, "corrupted"), (Kind.MISSING, "active", work.status)}
        assert set(drifting(stage).values()) <= ours_or_theirs
        assert drifting(stage).keys() == ({*rows.values()} if work.drifts else set())
    for ref in refs.values():
        stage.remove(ref.key)
    for ref in now if work.drifts else ():
        stage.put(ref.key, b"A" * work.size)
    quiet(stage, world, {*refs.values(), *now})
    assert stage.findings() == []
    assert "refused" not in stage.history(), "what changed meanwhile was taken for a refusal"
    assert {status for (status,) in stage.sql("SELECT status FROM version")} == {work.status} - {None}


@pytest.mark.invariant(3)
def test_a_lock_that_waits_is_noticed(stage, monkeypatch):
    """Broken on purpose, so that it waits for the application: in some order we are seen to wait."""

    def waiting(connection, mapping, ids):
        lock = mapping.lock.as_string(connection).replace(" SKIP LOCKED", "")
        return [row_id for (row_id,) in connection.execute(lock.encode(), mapping.ids(ids)).fetchall()]

    monkeypatch.setattr("reconcile.world.rows.lock", waiting)
    work, world = WORKS["locks, then archives"], stage.world(brake=BELIEVING, actor="ours")
    waited = 0
    for number, order in enumerate(orders(LOOK_STEPS, APPLICATION_STEPS, 0)):
        ref, row = ObjectRef(stage.bucket, f"k{number}"), stage.row(f"k{number}")
        look(world, ref)
        stage.age(GRACE)
        ours = Racer(stage.connection, "ours", lambda pause, ref=ref: look(Standing(world, pause), ref))
        theirs = Racer(stage.connection, f"theirs {number}", application(stage, f"theirs {number}", work, row))
        race(ours, theirs, order)
        waited += ours.waited
    assert waited
