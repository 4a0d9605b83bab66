"""What races with what: states to begin with, and the work of a process that stands at its points (racing.py)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from reconcile.model import Action, Brake, Hint
from reconcile.reconciler import reconcile
from tests.contract.conftest import live_stage
from tests.contract.live import LiveStage
from tests.contract.stages import GRACE, HOUR, ORPHAN_GRACE, look, look_again
from tests.support.racing import Racer, Standing

BELIEVING = Brake(floor=100_000, bucket_floor=100_000)
LOOK_STEPS = 5  # to after the HEADs, to after the read, to before the second read, to before the commit, to the end


@contextmanager
def staged(ground, minio) -> Iterator[LiveStage]:
    """Set the live stage, with nothing kept."""
    with ExitStack() as opened:
        ready = live_stage(ground, minio, opened)
        ready.clear()
        yield ready


def two(stage):
    """Start two processes."""
    return tuple(stage.world(brake=BELIEVING, actor=name) for name in ("one", "other"))


def looking(stage, world, ref, action=Action.LOOK):
    """Look as a consumer does."""
    return reconcile(world, [Hint(ref, action, named_by="event")])


def suspected(stage, world, ref):
    """Have a row whose object is gone, its grace over."""
    stage.row(ref.key)
    look(world, ref)


def flagged(stage, world, ref):
    """Have it flagged."""
    suspected(stage, world, ref)
    stage.age(GRACE)
    look(world, ref)


def back(stage, world, ref):
    """Have it flagged, and its object back."""
    flagged(stage, world, ref)
    stage.put(ref.key)


def orphan(stage, world, ref):
    """Have an orphan, open."""
    stage.put(ref.key)
    look(world, ref)
    stage.age(ORPHAN_GRACE)
    look(world, ref)


def claimed(stage, world, ref):
    """Have an open orphan whose row has come."""
    orphan(stage, world, ref)
    stage.row(ref.key)


def racer(stage, world, work):
    """Have a process's work raced with, which is given its World and what stands at a point."""
    return Racer(stage.connection, world.actor, lambda pause: work(Standing(world, pause), pause))


def quiet(stage, world, refs):
    """Look again and again, until nothing that a look could do is left."""
    for _ in range(3):
        look(world, *refs)
        stage.age(HOUR)
        look_again(world)
