"""Consumers that are broken on purpose, in one place each: what is asked from the outside must notice.

Each runs as processes of its own, beside a fault that is aimed at what is broken.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from consumer.kafka.assignment import Assignment
from consumer.kafka.topic import Topic
from consumer.stream import hold, loop
from reconcile import rows
from reconcile.model import Absent, Unavailable
from reconcile.steps import Tally
from reconcile.store import objects
from reconcile.store.heads import Broken

EARLY = "passed before its outcome"
NEVER_AWAY = "flagged, though its object was never away"
LOST, FALSE = "not found", "found, and not so"


@dataclass(frozen=True)
class Mutant:
    """What is broken, the fault that makes it matter, and as what it must be noticed."""

    breaks: Callable[[], None]
    fault: str
    noticed: str


def commits_what_it_polled() -> None:
    """Commit offsets before anything was done about their events."""
    poll = Topic.poll

    def polled(self: Topic, *given: Any) -> Any:
        batch = poll(self, *given)
        if batch.next_offsets:
            self._member.commit(batch.next_offsets)
        return batch

    Topic.poll = polled  # type: ignore[method-assign]


def commits_when_revoked() -> None:
    """Commit what was read of a partition when it is taken away, though some of it is held."""
    revoke = Assignment.revoke

    def revoked(self: Assignment, consumer: Any, places: Any) -> None:
        read = [place for place in consumer.position(places) if place.offset >= 0]
        if read:
            consumer.commit(offsets=read, asynchronous=False)
        revoke(self, consumer, places)

    Assignment.revoke = revoked  # type: ignore[method-assign]


def passes_what_it_holds() -> None:
    """Commit past events that wait for their row."""
    hold._Offsets.may_commit = lambda self: self.next_offset  # type: ignore[method-assign]  # noqa: SLF001


def drops_poison() -> None:
    """Write no dead letters."""
    Topic.bury = lambda *_: None  # type: ignore[method-assign]


def goes_on() -> None:
    """Take an outage for the end of the work."""
    reconcile = loop.reconcile

    def reconciled(*given: Any) -> Tally:
        with suppress(Unavailable):
            return reconcile(*given)
        return Tally()

    loop.reconcile = reconciled


def takes_silence_for_absence() -> None:
    """Take a HEAD that was not answered for an absence."""
    side = objects.side
    objects.side = lambda answer, ref: Absent("NoSuchKey") if isinstance(answer, Broken) else side(answer, ref)


def flags_apart() -> None:
    """Commit the flag before its finding."""
    flag = rows.flag

    def flagged(connection: Any, *given: Any) -> Any:
        done = flag(connection, *given)
        if done:
            connection.execute("COMMIT")
            connection.execute("BEGIN")
        return done

    rows.flag = flagged


MUTANTS = {
    "commits what it polled": Mutant(
        commits_what_it_polled, "consumer killed in the transaction, all is written", EARLY
    ),
    "commits what it read when it is revoked": Mutant(commits_when_revoked, "consumers come and go", EARLY),
    "passes what it holds": Mutant(passes_what_it_holds, "consumer killed in the hold", EARLY),
    "drops poison": Mutant(drops_poison, "consumer killed at a random moment", EARLY),
    "goes on in an outage": Mutant(goes_on, "MinIO's connections cut", EARLY),
    "takes silence for absence": Mutant(takes_silence_for_absence, "MinIO is silent for long", NEVER_AWAY),
    "flags apart": Mutant(flags_apart, "consumer killed in the transaction, a row is flagged", LOST),
}
