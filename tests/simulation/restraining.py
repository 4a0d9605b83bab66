"""Watches what holds back: windows and rules that persons have set, and the brakes, each counted anew from outside."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from reconcile.model import Finding, Kind
from reconcile.restraint import PURGES, RULE
from tests.simulation.servers import BY_HAND, Line, Restraint, Servers
from tests.simulation.stepped import BUCKET, SteppedTxn, SteppedWorld, in_force
from tests.simulation.story import PATTERNS
from tests.simulation.violated import Violated

FLAGGED = {"flagged", "flagged after release"}


@dataclass
class Restraining:
    """What is remembered of a story: by brake, when something happened that it counts."""

    servers: Servers
    counts: Counter[str]
    happened: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))

    def restrained(self, txn: SteppedTxn, one: Finding, act: str) -> None:
        """Ask that nothing opens in a window, nor begins under a rule; and that what a rule ignored is under it.

        What is set after it was read counts the next time; whoever reads nothing is judged by what is there.
        """
        at_work = in_force(self.servers, txn.now) if txn.by_hand is None else txn.by_hand
        on = {number: each.effect for number, each in at_work.items() if covers(each, one)}
        opens = act in {"opened", "flagged", "flagged after release"}
        if opens and "suppress" in on.values():
            raise Violated(f"invariant 7: {one} was {act} in a window")
        if (opens or act == "suspected") and "ignore" in on.values():
            raise Violated(f"invariant 7: {one} was {act} under a rule")
        by_rule = act == "ignored" and (one.held_by or "").startswith(RULE)  # else a person did it
        if by_rule and on.get(int((one.held_by or "").removeprefix(RULE))) != "ignore":
            raise Violated(f"invariant 7: {one} was ignored, and {on or 'nothing'} covers it")
        self.counts["invariant 7: ignored by a rule"] += by_rule
        self.counts["invariant 7: held by a window"] += act == "held" and "suppress" in on.values()

    def braked(self, world: SteppedWorld, txn: SteppedTxn) -> None:
        """Ask for no more than each brake believes, and for nothing while it is on, unless a person released it."""
        if txn.before is None:
            return
        lines = self.servers.tables.history[len(txn.before.history) :]
        on = {one.kind for one in txn.before.active("brake")}
        for line in lines:
            finding = self.servers.tables.findings[line.finding_id].finding
            self.counts["invariant 7: held by the brake"] += line.act == "held" and finding.held_by == "brake"
            was = txn.before.findings.get(line.finding_id)
            is_released = was is not None and was.finding.held_by == "released"
            kind = brake_for(line, finding)
            if (kind in on and not is_released) or (kind == PURGES and Kind.MISSING in on):
                raise Violated(f"invariant 7: {finding} was {line.act}, and the brake is on")
            if kind is not None and not is_released:
                self.happened[kind].append(line.at)
                self._believed(world, txn.now, kind)

    def _believed(self, world: SteppedWorld, now: datetime, kind: str) -> None:
        """Compare what happened since a person lifted this brake the last time with what is believed."""
        brakes = [one for one in self.servers.tables.restraints if one.effect == "brake" and one.kind == kind]
        lifted = max((one.lifted_at for one in brakes if one.lifted_at), default=None)
        since = now - world.brake.window
        count = sum(at > since and (lifted is None or at >= lifted) for at in self.happened[kind])
        live = self.servers.tables.live.get(BUCKET, 0)
        if count > min(max(world.brake.floor, live * world.brake.share), world.brake.most):
            raise Violated(f"invariant 7: {count} of {kind}, {world.brake} of {live} live rows")
        is_many = count >= world.brake.bucket_floor and count > live * world.brake.bucket_share
        if live and is_many and kind != Kind.ORPHAN:
            raise Violated(f"invariant 7: {count} of {kind}, and the bucket has {live} live rows")
        self.counts[f"invariant 7: {kind} counted by its brake"] += 1


def brake_for(line: Line, finding: Finding) -> str | None:
    """Return which brake is there for such a line."""
    if line.act == "purged":
        return PURGES
    if line.act in FLAGGED:
        return Kind.MISSING
    return Kind.ORPHAN if line.act == "opened" and finding.kind in {Kind.ORPHAN, Kind.LEFTOVER} else None


def covers(one: Restraint, finding: Finding) -> bool:
    """Tell whether what a person has set covers a finding, by the keys that its pattern is known to name."""
    return one.effect in BY_HAND and one.kind in {None, finding.kind} and finding.ref.key in PATTERNS[one.pattern]
