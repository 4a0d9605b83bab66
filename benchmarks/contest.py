"""Where a way is measured beside others, and under which settings ours is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import timedelta

from benchmarks import sweep
from benchmarks.stream import Place, place_of
from deploy.local.control import Native
from deploy.local.stack import Servers
from reconcile.config.settings import Settings
from reconcile.model import Brake

NEVER = 1_000_000_000  # flags: no measurement comes to so many
RELEASED = Brake(floor=NEVER, most=NEVER, bucket_floor=NEVER)


@dataclass(frozen=True)
class Contest(Place):
    """A place; `warm` names a topic of which so many first events warm a worker up, before its own are measured.

    `flagging`: ours flags as soon as a second look finds the same, and nothing holds it back. `paced`: events come one
    by one, and what asks by itself asks all the time. `postmaster` is PostgreSQL's process, 0 where it runs elsewhere.
    """

    warm: str = ""
    warm_events: int = 0
    flagging: bool = False
    paced: bool = False
    postmaster: int = 0

    def settings(self) -> Settings:
        """Return the settings of a consumer with a group of its own."""
        plain = super().settings()
        if not self.flagging:
            return plain
        at_once = replace(plain.policy, flagging=True, missing_grace=timedelta(0), orphan_grace=timedelta(0))
        return replace(plain, flagging=True, policy=at_once, brake=RELEASED)


def contest_of(servers: Servers, database: str, events: int, prefix: str = "") -> Contest:
    """Make a topic for so many events."""
    control = servers.postgres.control
    postmaster = control.pid if isinstance(control, Native) else 0
    there = asdict(place_of(servers, database, events, prefix)) | {"bucket": sweep.BUCKET}
    return Contest(**there, postmaster=postmaster)
