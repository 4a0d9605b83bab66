"""A command that kills itself at a point of its work: `python -m tests.faults.victim POINT NTH WORDS...`.

It runs `storage-reconciler WORDS...` until it reaches the point for the NTH time with work in hand; without a point
('') it runs on. Where its environment names a mutant (mutants.py), its code is broken so.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from consumer.cli import main
from consumer.kafka.assignment import Assignment
from consumer.kafka.topic import Topic
from consumer.stream.hold import Hold
from reconcile import rows
from reconcile.world import LiveWorld
from tests.faults.mutants import MUTANTS

BROKEN = "RECONCILER_TEST_MUTANT"
POINTS = {
    "polled": "after the poll",
    "buried": "after the burial, not confirmed yet",
    "flagged": "in the transaction, a row is flagged",
    "written": "in the transaction, all is written",
    "transacted": "after the transaction",
    "reconciled": "before the commit of offsets",
    "committed": "after the commit of offsets",
    "held": "in the hold",
    "revoked": "during a rebalance",
}


def trap(point: str, nth: int) -> None:
    """Have this process end, as by kill -9, when it is at a point for the nth time."""
    times = count(1)

    def at(here: str, work: object) -> None:
        if here == point and work and next(times) >= nth:
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()

    poll, bury, commit, transaction = Topic.poll, Topic.bury, Topic.commit, LiveWorld.transaction
    keep, revoke, flag = Hold.keep, Assignment.revoke, rows.flag

    def polled(self: Topic, *given: Any) -> Any:
        batch = poll(self, *given)
        at("polled", batch.records)
        return batch

    def buried(self: Topic, poison: Any) -> None:
        bury(self, poison)
        at("buried", poison)

    def committed(self: Topic, offsets: Any) -> None:
        at("reconciled", offsets)
        commit(self, offsets)
        at("committed", offsets)

    @contextmanager
    def in_transaction(self: LiveWorld, refs: Any) -> Iterator[Any]:
        with transaction(self, refs) as txn:
            yield txn
            at("written", refs)
        at("transacted", refs)

    def flagged(connection: Any, mapping: Any, flags: Any) -> Any:
        done = flag(connection, mapping, flags)
        at("flagged", flags)
        return done

    def kept(self: Hold, *given: Any) -> Any:
        late = keep(self, *given)
        at("held", len(self))
        return late

    def revoked(self: Assignment, consumer: Any, places: Any) -> None:
        at("revoked", "work")
        revoke(self, consumer, places)

    Topic.poll, Topic.bury, Topic.commit = polled, buried, committed  # type: ignore[method-assign]
    LiveWorld.transaction, Hold.keep, Assignment.revoke = in_transaction, kept, revoked  # type: ignore[method-assign]
    rows.flag = flagged


if __name__ == "__main__":
    if os.environ.get(BROKEN):
        MUTANTS[os.environ[BROKEN]].breaks()
    trap(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
