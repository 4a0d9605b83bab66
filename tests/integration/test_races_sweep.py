"""A sweep against the stream, in every order of their steps, as in test_races.py."""

import pytest

from consumer.runs.sides import Scope, facts_of, opened
from reconcile.model import Action, Hint, ObjectRef
from reconcile.reconciler import reconcile
from reconcile.sweeps.looker import Looker
from reconcile.sweeps.sweep import Sweep
from reconcile.sweeps.unkept import Unkept
from reconcile.trial import Trial
from tests.contract.conftest import ground  # noqa: F401 - a fixture
from tests.support.racers import LOOK_STEPS, flagged, looking, quiet, racer, staged, two
from tests.support.racing import orders, race


@pytest.fixture
def stage(ground, minio):  # noqa: F811 - the fixture
    """Set the live stage, with nothing kept."""
    with staged(ground, minio) as ready:
        yield ready


@pytest.fixture
def worlds(stage):
    """Start two processes."""
    return two(stage)


def swept(stage, standing, pause, ref):
    """Sweep one key, and look at what differs as `--fix` does."""
    scope = Scope(stage.bucket, ref.key)
    [(began,)] = stage.sql("SELECT now()")
    looker = Looker(Trial(standing, has_kept=True), stage.bucket, began, lambda _: None)
    keeper = Unkept()
    facts = facts_of(standing.mapping, scope)
    with opened(standing.database, standing.mapping, standing.objects, scope, facts) as sides:

        def rows(lower, upper):
            pause()
            yield from sides.rows(lower, upper)

        def objects(lower, upper):
            pause()
            yield from sides.objects(lower, upper)

        Sweep(looker, keeper, objects, rows).run()
    reconcile(standing, [Hint(one, named_by="sweep") for one, _ in keeper.found])


def comes(stage, world, ref, pause):
    """Upload, commit the row, and hear of it."""
    stage.put(ref.key)
    pause()
    stage.row(ref.key)
    pause()
    looking(stage, world, ref, Action.CREATED)


def goes(stage, world, ref, pause):
    """Delete the row, remove its object, and hear of it."""
    stage.delete_row(f"row of {ref.key}")
    pause()
    stage.remove(ref.key)
    pause()
    looking(stage, world, ref, Action.REMOVED)


def returns(stage, world, ref, pause):
    """Put back what was flagged, and hear of it."""
    pause()
    stage.put(ref.key)
    pause()
    looking(stage, world, ref, Action.CREATED)


def whole(stage, _, ref):
    """Have an object and its row."""
    stage.put(ref.key)
    stage.row(ref.key)


PASSED = {"suspected", "resolved"}
CHANGES = {
    comes: (lambda *_: None, PASSED),
    goes: (whole, PASSED),
    returns: (flagged, PASSED | {"flagged", "given back"}),
}


@pytest.mark.invariant(1)
@pytest.mark.invariant(5)
@pytest.mark.timeout(180)
@pytest.mark.parametrize("change", CHANGES)
def test_a_sweep_and_the_stream_at_what_changes_meanwhile(stage, worlds, change):
    """Whatever the sweep had read before: no whole row is flagged, and when all is quiet nothing is left of it."""
    prepare, acts = CHANGES[change]
    refs = {}
    for number, order in enumerate(orders(2 * LOOK_STEPS + 2, LOOK_STEPS + 2, [*CHANGES].index(change))):
        ref = refs[number] = ObjectRef(stage.bucket, f"k{number:03}")
        prepare(stage, worlds[0], ref)
        race(
            racer(stage, worlds[0], lambda standing, pause, ref=ref: swept(stage, standing, pause, ref)),
            racer(stage, worlds[1], lambda standing, pause, ref=ref: change(stage, standing, ref, pause)),
            order,
        )
    quiet(stage, worlds[1], refs.values())
    assert stage.findings() == []
    assert set(stage.history()) <= acts
    assert {status for (status,) in stage.sql("SELECT status FROM version")} <= {"active"}
