"""What HEADs have proven in a look, and since when it is suspected: what a decision must rest on."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from reconcile.model import (
    FINAL,
    Absent,
    Finding,
    Kind,
    NotAsked,
    ObjectRef,
    ObjectSide,
    Policy,
    Present,
    Unknown,
)
from tests.simulation.servers import Line, Servers
from tests.simulation.violated import Violated

ANSWERED = (Present, Absent)
FRESH_S = 6.0  # a second for the HEADs, and five


class Moment(NamedTuple):
    """When something was so: by the database's clock, and in seconds whatever the clocks say."""

    at: datetime
    elapsed: float


class Proof(NamedTuple):
    """A HEAD: when it was answered, by steps and in seconds, and what."""

    step: int
    elapsed: float
    side: ObjectSide


@dataclass
class Proofs:
    """The HEADs of each process's latest look, and the latest suspicion of each row or object."""

    servers: Servers
    counts: Counter[str]
    elapsed: Callable[[], float]  # in seconds, whatever the clocks say
    of_look: dict[int, dict[ObjectRef, Proof]] = field(default_factory=lambda: defaultdict(dict))  # by world
    suspected: dict[tuple[ObjectRef, str], Moment] = field(default_factory=dict)

    def begin(self, world: int) -> None:
        """Note that a look begins: what an earlier one has proven is none of its proofs."""
        self.of_look[world].clear()

    def answered(self, world: int, step: int, ref: ObjectRef, side: ObjectSide) -> None:
        """Note a HEAD."""
        self.of_look[world][ref] = Proof(step, self.elapsed(), side)
        self.counts["invariant 1: nothing was proven"] += isinstance(side, Unknown | NotAsked)

    def of(self, world: int, ref: ObjectRef) -> Proof | None:
        """Return what the look of a process has proven of a reference."""
        return self.of_look[world].get(ref)

    def suspects(self, one: Finding, was: Finding | None, last: Line, proof: Proof | None) -> None:
        """Note since when a row is suspected, of whatever begins: what a rule ignores is not named so."""
        begins = was is None or was.state in FINAL or last.act in {"suspected", "changed"}
        if begins and proof is not None:
            self.suspected[one.ref, one.row_id] = Moment(last.at, proof.elapsed)

    def rests(self, what: object, proof: Proof | None, *sides: type) -> None:
        """Ask for a HEAD of this look that said such a thing."""
        if proof is None or not isinstance(proof.side, sides):
            raise Violated(f"invariant 1: it rests on {proof}: {what}")

    def fresh(self, what: object, proof: Proof | None, at: float) -> None:
        """Ask for a HEAD that was not long ago when the transaction began."""
        if proof is not None and at - proof.elapsed > FRESH_S:
            raise Violated(f"invariant 1: it rests on what was so {at - proof.elapsed} s before: {what}")
        self.counts["invariant 1: the absence was fresh"] += 1

    def aged(self, what: object, ref: ObjectRef, row_id: str, grace: timedelta) -> None:
        """Ask for a suspicion that is older than its grace."""
        began = self.suspected.get((ref, row_id))
        if began is None:
            raise Violated(f"invariant 4: it was never suspected: {what}")
        lasted = max(self.servers.now - began.at, timedelta(seconds=self.elapsed() - began.elapsed))
        if lasted < grace and self.servers.now >= began.at:
            raise Violated(f"invariant 4: suspected at {began.at}, and its grace is not over: {what}")


def sides(one: Finding, act: str) -> tuple[type, ...]:
    """Return what a HEAD may have said for a finding to become so."""
    match act:
        case "adopted":
            return (object,)  # a person says it
        case "resolved" | "given back":
            return ANSWERED
        case "refused" if one.previous_status is not None:
            return ANSWERED  # a purge, or a status that was to be given back
        case "deleted":
            return (Absent,)
        case _:
            return (Absent,) if one.kind is Kind.MISSING else (Present,)


def grace_of(one: Finding, policy: Policy) -> timedelta:
    """Return how long a finding stays suspected at the least."""
    return policy.orphan_grace if one.kind in {Kind.ORPHAN, Kind.LEFTOVER} else policy.missing_grace
