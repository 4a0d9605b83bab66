"""The sweep of a story: the real one, over a listing and rows in memory."""

from datetime import timedelta
from typing import TYPE_CHECKING

from reconcile.model import OutOfOrder
from reconcile.sweeps.compare import Facts
from reconcile.sweeps.feeding import Time, feed
from reconcile.sweeps.looker import Looker
from reconcile.sweeps.sweep import Sweep
from tests.simulation.listing import listing, rows_in_order
from tests.simulation.stepped import BUCKET, MemoryKeeper, MemoryTrial

if TYPE_CHECKING:
    from tests.simulation.play import Play


def swept(play: "Play", *, fix: bool) -> None:
    """Compare both sides as they are listed; with `fix` the reconciler looks at what differs.

    A listing out of order ends it, and what it had compared is none of its findings.
    """
    world, setting = play.world("sweep"), play.story.setting
    facts = Facts(s3_version=setting.versions == "rows", etag=setting.etags)
    keeper = MemoryKeeper(servers=play.servers)
    now = play.servers.now
    sweep = Sweep(
        Looker(MemoryTrial(world), BUCKET, now, play.pass_time),
        keeper,
        lambda _, __: listing(play.servers, facts, play.faults),
        lambda _, __: rows_in_order(play.servers.tables, facts),
    )
    try:
        sweep.run()
    except OutOfOrder:
        play.counts["sweeps given up"] += 1
        return
    sweep.see_again(timedelta(0), lambda _: None)
    play.counts["sweeps"] += 1
    if fix:
        feed(
            world,
            [*keeper.found.values(), *keeper.healed],
            1,
            lambda: None,
            Time(lambda: play.seconds, play.pass_time),
        )
