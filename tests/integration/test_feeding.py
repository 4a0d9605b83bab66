"""What --fix, and a replay that is applied, do at their end with many suspicions."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

from reconcile.model import Brake, Hint, ObjectRef
from reconcile.reconciler import reconcile
from reconcile.sweeps.feeding import Time, drain
from tests.support import consuming

MANY = 900
UNBRAKED = Brake(floor=10_000, most=10_000, bucket_floor=10_000)


def test_a_mass_is_drained_to_its_end_though_its_time_is_over(site):
    """More than can be asked for at once, and by no clock's leave: each has its look, and is flagged."""
    refs = [ObjectRef(site.bucket, f"missing{number}") for number in range(MANY)]
    for ref in refs:
        site.row(ref.key)
    with ExitStack() as exits:
        world = consuming.world(site.settings(RECONCILER_FLAGGING="true"), exits, "one")
        world = replace(world, policy=replace(world.policy, missing_grace=timedelta(0)), brake=UNBRAKED)
        world.look_deadline_s = 10.0
        reconcile(world, [Hint(ref) for ref in refs])
        clock = iter([0.0])
        tally = drain(world, set(refs), Time(now=lambda: next(clock, 1e9)))
    assert tally.acts == {"flagged": MANY}
    assert site.sql("SELECT status, count(*) FROM file_versions GROUP BY 1") == [("corrupted", MANY)]
