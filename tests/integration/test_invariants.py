"""Tries to break what must always hold, on the seed's tables and real objects, by looks alone.

The scenarios are played side by side on one bucket and one database, so that nobody waits for long.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from random import Random

import psycopg
import pytest

from reconcile import acts
from reconcile.model import Action, Brake, Hint, ObjectRef, Unavailable
from reconcile.reconciler import reconcile
from tests.contract.stages import Meanwhile
from tests.integration.scenarios import INVARIANTS, Scene, plays, set_scene
from tests.support import databases
from tests.support.proxy import BUSY, FORBIDDEN, NOT_FOUND, Cut, Pass, Proxy, Stall
from tests.support.waiting import until


@pytest.fixture(scope="module")
def scene(postgres, template_database, minio) -> Iterator[Scene]:
    """Set the scene for this module: one database, a bucket with events, one with versions."""
    with ExitStack() as opened:
        url = opened.enter_context(databases.new_database(postgres, template_database))
        yield set_scene(url, minio, opened)


@pytest.fixture(scope="module")
def played(scene) -> dict[str, BaseException | str | None]:
    """Play all scenarios side by side; return what became of each: None if it came to its end."""
    world = scene.world()
    running = {name: scenario(scene, key) for name, (scenario, key) in plays().items()}
    waiting = dict.fromkeys(running, lambda: True)
    outcomes: dict[str, BaseException | str | None] = dict.fromkeys(running, "not within its time")

    def advance(name) -> None:
        try:
            if waiting[name]():
                waiting[name] = next(running[name])
        except StopIteration:
            outcomes[name] = None
        except AssertionError as failed:
            outcomes[name] = failed
        if outcomes[name] != "not within its time":
            del waiting[name]

    def all_done() -> bool:
        scene.turn(world)
        for name in list(waiting):
            advance(name)
        return not waiting

    with suppress(AssertionError):  # what did not come to its end is told by the outcomes
        until(all_done, seconds=60)
    return outcomes


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.invariant(INVARIANTS.get(plays()[name][0], 1))) for name in plays()],
)
def test_what_must_hold_holds(played, name):
    """Each scenario comes to its end, beside all the others."""
    match played[name]:
        case BaseException() as failed:
            raise failed
        case str() as late:
            pytest.fail(f"{name}: {late}")


@pytest.fixture
def own(database, minio) -> Iterator[Scene]:
    """Set a scene for one test alone."""
    with ExitStack() as opened:
        yield set_scene(database, minio, opened)


@pytest.mark.invariant(1)
@pytest.mark.parametrize(
    "fault", [FORBIDDEN, NOT_FOUND, BUSY, Stall(), Cut()], ids=["403", "404 without a code", "503", "stalled", "cut"]
)
def test_no_fault_of_minio_is_an_absence(own, minio, fault):
    """Whatever MinIO or what stands before it says or does not say: nothing is flagged until an absence is proven."""
    host, _, port = minio.endpoint.partition(":")
    with Proxy(host, int(port)) as proxy:
        far = replace(own.server, endpoint=proxy.url, timeout_s=0.5, connect_s=0.3)
        world = own.world(server=far)
        world.look_deadline_s = 0.5
        for n in range(12):
            own.row(f"k{n}")
            own.tell(f"k{n}", Action.REMOVED)
        proxy.set(fault)
        events = list(own.events)
        for _ in range(3):
            with suppress(Unavailable):
                own.turn(world)
        assert own.sql("SELECT count(*) FROM reconciler.finding") == [(0,)]
        proxy.set(Pass())
        own.events = events
        own.reach(world, lambda: {own.status(f"k{n}") for n in range(12)} == {"corrupted"})
        own.reach(world, lambda: own.sql("SELECT 1 FROM reconciler.restraint WHERE lifted_at IS NULL") == [])


WORK = (
    "INSERT INTO comment SELECT id, file_id FROM file_versions WHERE object_key = 'k'",
    """INSERT INTO file_versions (file_id, version_number, object_key)
        SELECT file_id, 2, 'k2' FROM file_versions WHERE object_key = 'k' ON CONFLICT DO NOTHING""",
    "UPDATE storage_files SET name = 'renamed'",
    "UPDATE file_versions SET size = 4 WHERE object_key = 'other'",
)


@pytest.mark.invariant(3)
def test_the_application_works_on_while_we_write(own):
    """With our transaction open and a version flagged in it: what refers to it, other rows, the parent: at once."""
    world, worked = own.world(), []
    own.sql("CREATE TABLE comment (version_id uuid REFERENCES file_versions, file_id uuid REFERENCES storage_files)")
    own.row("k")
    own.row("other")
    own.tell("k", Action.REMOVED)
    own.reach(world, lambda: own.findings("k") == [("missing", "suspected")])

    def work():
        with psycopg.connect(own.url, options="-c lock_timeout=50ms") as application:
            for statement in WORK:
                application.execute(statement)
        worked.append(own.status("k"))

    own.reach(Meanwhile(world, before_commit=work), lambda: own.status("k") == "corrupted")
    assert set(worked) == {"active"}


@pytest.mark.invariant(7)
def test_a_mass_deletion_is_held_until_a_person_releases_it(own):
    """Of 130 vanished objects none is flagged; what returns resolves meanwhile; a release flags the rest."""
    world = own.world(brake=Brake())
    keys = [f"{n:03}" for n in range(130)]
    for key in keys:
        own.row(key)
        own.tell(key, Action.REMOVED)
    held = "SELECT count(*) FROM reconciler.finding WHERE held_by = 'brake' AND closed_at IS NULL"
    own.reach(world, lambda: own.sql(held) == [(130,)])
    assert {own.status(key) for key in keys} == {"active"}
    for key in keys[:20]:
        own.put(key)
    own.reach(world, lambda: own.sql(held) == [(110,)])
    acts.release(world.database, acts.Who("person", "it was us"), ["missing"])
    own.reach(world, lambda: {own.status(key) for key in keys[20:]} == {"corrupted"})
    assert {own.status(key) for key in keys[:20]} == {"active"}
    assert own.sql("SELECT count(*) FROM reconciler.restraint WHERE lifted_at IS NULL") == [(0,)]


@pytest.mark.invariant(8)
@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_the_same_events_ends_in_the_same_findings(scene, played, seed):
    """Shuffled, repeated, split into any batches: over the same final world the same findings are open."""
    world, random = scene.world(), Random(seed)  # noqa: S311
    under = f"order{seed}"
    final = {"healthy": (3, 3), "missing": (3, None), "orphan": (None, 3), "mismatch": (3, 5), "gone": (None, None)}
    hints = []
    for name, (row, size) in final.items():
        for n in range(4):
            key = f"{under}/{name}{n}"
            if row is not None:
                scene.row(key, size=row)
            if size is not None:
                scene.put(key, b"A" * size, told=False)
            ref = ObjectRef(scene.bucket, key)
            hints += [Hint(ref, Action.CREATED, "event", of) for of in (1, 3, size or 9)] + [
                Hint(ref, Action.REMOVED, "event")
            ]
    hints *= 3
    random.shuffle(hints)
    while hints:
        take = random.randint(1, 40)
        batch, hints = hints[:take], hints[take:]
        reconcile(world, batch)
        if random.random() < 0.3:
            reconcile(world, world.due(50))
    pending = "SELECT 1 FROM reconciler.finding WHERE key LIKE %s AND state = 'suspected'"
    scene.reach(world, lambda: not scene.sql(pending, f"{under}/%"))
    found = scene.sql(
        "SELECT key, kind, state FROM reconciler.finding WHERE key LIKE %s AND closed_at IS NULL ORDER BY key",
        f"{under}/%",
    )
    expected = {(f"{under}/{name}{n}", name, "open") for name in ("missing", "orphan", "mismatch") for n in range(4)}
    assert set(found) == expected


@pytest.mark.invariant(2)
@pytest.mark.invariant(8)
def test_many_processes_at_the_same_keys_agree(own):
    """Four, given the same hints in other orders at the same time: one finding a row, one flag, nothing lost."""
    keys = [f"{n:02}" for n in range(40)]
    for key in keys:
        own.row(key)
        own.put(f"{key} orphan", told=False)
    refs = [ObjectRef(own.bucket, key) for name in keys for key in (name, f"{name} orphan")]
    worlds = [own.world(actor=f"process {n}") for n in range(4)]
    failed: list[BaseException] = []
    done = threading.Event()

    def run(number, world) -> None:
        random = Random(number)  # noqa: S311
        try:
            while not done.is_set():
                some = random.sample(refs, 25)
                reconcile(world, [Hint(ref, Action.REMOVED, "event") for ref in some] + world.due(20))
        except Unavailable:
            run(number, world)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test shall tell
            failed.append(error)

    threads = [threading.Thread(target=run, args=numbered) for numbered in enumerate(worlds)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: failed or {own.status(key) for key in keys} == {"corrupted"}, 40)
        opened = "SELECT count(*), count(DISTINCT (key, row_id)) FROM reconciler.finding WHERE state = 'open'"
        until(lambda: failed or own.sql(opened) == [(80, 80)], 40)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert own.sql("SELECT count(*), count(DISTINCT finding_id) FROM reconciler.history WHERE act = 'flagged'") == [
        (40, 40)
    ]
    unlooked = """SELECT key FROM reconciler.finding AS f
        WHERE closed_at IS NULL AND NOT EXISTS (SELECT FROM reconciler.look AS l WHERE l.key = f.key)"""
    assert own.sql(unlooked) == []
    for key in keys:
        own.put(key, told=False)
        own.remove(f"{key} orphan", told=False)
    own.reach(worlds[0], lambda: {own.status(key) for key in keys} == {"active"})
    own.reach(worlds[0], lambda: own.sql("SELECT 1 FROM reconciler.finding WHERE closed_at IS NULL") == [])
