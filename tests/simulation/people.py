"""What people do in a story, through the one mechanism that they have."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from reconcile.life import Input, Subject
from reconcile.model import FINAL, Finding, Kind, ObjectSide, RowState, State
from reconcile.repair import erasing
from reconcile.repair.triage import Deed, Named, Outcome, as_it_is, carried_out, unasked
from reconcile.steps import Purge
from tests.simulation.memory import MemoryWorld
from tests.simulation.servers import FLAG, Servers

if TYPE_CHECKING:
    from tests.simulation.play import Play

NOW = timedelta(0)


def fits(what: str, one: Finding) -> bool:
    """Tell whether an act is for such a finding."""
    match what:
        case "ignore":
            return one.state in {State.SUSPECTED, State.OPEN}
        case "reopen":
            return one.state is State.IGNORED
        case "approve":
            return one.state is State.OPEN and one.kind in {Kind.ORPHAN, Kind.LEFTOVER}
        case "withdraw" | "delete":
            return one.state is State.APPROVED
        case _:
            return one.state is State.OPEN and one.previous_status is not None


def not_flagged(subject: Subject, _: ObjectSide, __: datetime) -> str:
    """Say why there is nothing to adopt."""
    flagged = subject.row is not None and subject.row.state == RowState.FLAGGED
    return "" if flagged and subject.finding is None else "it is none"


DEEDS: dict[str, Callable[[], Deed]] = {
    "ignore": lambda: Deed(Input.IGNORE, "ours", as_it_is, through=unasked),
    "reopen": lambda: Deed(Input.REOPEN, "ours no more", as_it_is, through=unasked, after=NOW),
    "withdraw": lambda: Deed(Input.REOPEN, "not so sure", as_it_is, through=unasked, after=NOW),
    "approve": lambda: Deed(Input.APPROVE, "away with it", facts=lambda _, __: {"erasing": None}),
    "delete": lambda: Deed(Input.ERASE, "as approved", facts=lambda _, __: {"erasing": {"how": "at once"}}, after=NOW),
    "purge": lambda: Deed(Input.PURGE, "given up", effect=lambda subject: Purge(subject.row_id)),
    "adopt": lambda: Deed(Input.ADOPT, "an older script", not_flagged, previous_status="active", after=NOW),
}


def act(play: "Play", what: str, number: int) -> None:
    """Do something with one of the findings, or rows, that there are."""
    tables = play.servers.answer()
    if what == "release":
        play.release()
        return
    if what == "adopt":
        rows = [row for row in tables.rows.values() if row.status == FLAG]
        named = [Named(None, row.ref(), row.row_id) for row in rows]
    else:
        kept = [one.finding for one in tables.findings.values() if one.finding.state not in FINAL]
        named = [Named(one.id, one.ref, one.row_id) for one in kept if fits(what, one)]
    if named:
        one = named[number % len(named)]
        deed = DEEDS[what]()
        world = play.world("person")
        for outcome in carried_out(world, deed, [one], "person"):
            told(play, what, outcome)
            play.counts[f"person: {what}, {'done' if outcome.done else 'left alone'}"] += 1


def rules_over(servers: Servers) -> list[int]:
    """Return the numbers of the rules that are over, and have still to be closed, or hold something anew."""
    tables = servers.answer()
    rules = [(n, one) for n, one in enumerate(tables.restraints, 1) if one.effect == "ignore"]
    return [n for n, one in rules if one.until <= servers.now and (not one.lifted_at or tables.held(f"rule {n}"))]


def end_rules(servers: Servers, world: Callable[[], MemoryWorld]) -> bool:
    """Reopen what rules held that are over, and close them, as the duty does; tells whether nothing was left."""
    deed, left = Deed(Input.REOPEN, "its end", as_it_is, through=unasked, after=NOW), False
    for number in rules_over(servers):
        named = [Named(one.id, one.ref, one.row_id) for one in servers.answer().held(f"rule {number}")]
        if all(outcome.done for outcome in carried_out(world(), deed, named, "rule")):
            restraints = servers.answer().restraints
            restraints[number - 1] = restraints[number - 1]._replace(lifted_at=servers.now)
        else:
            left = True
    return not left


def told(play: "Play", what: str, outcome: Outcome) -> None:
    """Delete what was to be deleted, after whatever happens until then, if the approval of it still holds."""
    ref, number = outcome.named.ref, outcome.named.finding or 0
    if not outcome.done or what != "delete" or ref.s3_version:
        return
    play.between()
    kept = play.servers.answer().findings[number].finding
    if erasing.withdrawn(kept.state, begun=kept.erasing):
        play.counts["invariant 6: withdrawn before the removal"] += 1
        return
    if any(row.state != RowState.EXPECTS_ABSENCE for row in play.servers.tables.known(ref).rows):
        return
    play.watch.removing(number)
    play.files.remove(ref.key, "told")
