"""The code, broken on purpose in one place at a time: a proof that cannot fail proves nothing.

Each is named by the invariant that it breaks, and what is wrong. Those of defects that stories have found are marked.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from consumer.stream import hold, loop
from reconcile import life, reconciler, restraint, verdict
from reconcile.model import Absent, Drift, Foreign, Kind, State, Undecided, Unknown
from reconcile.repair import erasing
from reconcile.repair.triage import Deed
from reconcile.steps import GiveBack, Tally
from reconcile.sweeps import compare, sweep

Broken = Callable[..., Any]


def patched(owner: Any, name: str, broken: Callable[[Any], Any]) -> Callable[[], AbstractContextManager[None]]:
    """Return what puts a broken variant in the place of something, which `broken` is given."""

    @contextmanager
    def opened() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, broken(getattr(owner, name)))
            yield

    return opened


def unknown_is_absent(real: Broken) -> Broken:
    """Take a time-out for an absence."""

    def broken(row, finding, side, *hashed):
        return real(row, finding, Absent("NoSuchKey") if isinstance(side, Unknown) else side, *hashed)

    return broken


def unknown_is_an_orphan(real: Broken) -> Broken:
    """Take a time-out for an object that no row names."""

    def broken(rows, side, *version):
        said = real(rows, side, *version)
        return Drift(Kind.ORPHAN, "no row names it") if isinstance(side, Unknown) and not rows else said

    return broken


def purged_on_a_time_out(real: Broken) -> Broken:
    """Purge what no HEAD was answered of."""

    def broken(self, subject, *given):
        if self.act is life.Input.PURGE and isinstance(subject.verdict, Undecided):
            subject = subject._replace(verdict=Drift(Kind.MISSING, "it timed out"))
        return real(self, subject, *given)

    return broken


def at_once_for_objects(real: Broken) -> Broken:
    """Give no grace to what no row names."""
    return lambda kind, *given: timedelta(0) if kind in life.OF_OBJECTS else real(kind, *given)


def foreign_is_ours(real: Broken) -> Broken:
    """Take a flag that others set for a drift."""

    def broken(*given):
        said = real(*given)
        return Drift(Kind.MISSING, "flagged") if isinstance(said, Foreign) else said

    return broken


def commits_too_soon(real: Broken) -> Broken:
    """Commit before what is late was looked at."""

    def broken(self, *given):
        late = real(self, *given)
        self.topic.commit(self.hold.offsets())
        return late

    return broken


def sheet_is_passed(real: Broken) -> Broken:
    """Hold a sheet, and not its offsets."""

    def broken(self, plain, now):
        is_held = real(self, plain, now)
        for partition, offset in plain.lowest().items() if is_held else ():
            oldest = self._partitions[partition].oldest
            oldest[:] = sorted(one for one in oldest if one != offset)
        return is_held

    return broken


def sheet_is_kept(real: Broken) -> Broken:
    """Let go of hints alone."""

    def broken(self):
        self._trying_whole = []
        real(self)

    return broken


def without_effect(real: Broken) -> Broken:
    """Give no status back."""

    def broken(*given):
        change = real(*given)
        return replace(change, effect=None) if isinstance(change.effect, GiveBack) else change

    return broken


def flagged_again(real: Broken) -> Broken:
    """Flag what the application has taken our flag off."""

    def broken(subject, policy):
        one = subject.finding
        return real(subject._replace(finding=replace(one, previous_status=None)) if one else subject, policy)

    return broken


def always_active(real: Broken) -> Broken:
    """Give a status back that the row never had."""

    def broken(*given):
        change = real(*given)
        if isinstance(change.effect, GiveBack):
            return replace(change, effect=GiveBack(change.row_id, "active"))
        return change

    return broken


def as_approved(real: Broken) -> Broken:
    """Delete what was approved, whatever it is now."""

    def broken(self, subject, moved, side, now):
        change = life.by_hand(subject, self.act) if self.act is life.Input.ERASE else None
        return (
            (replace(change, facts=self.facts(subject, side)), "") if change else real(self, subject, moved, side, now)
        )

    return broken


def never_again(real: Broken) -> Broken:
    """Plan the look at what is open for years from now: to plan none changes nothing, since none is ended beside it."""

    def broken(subject, change, attempt, now, policy):
        state = change.state if change else subject.finding.state if subject.finding else None
        planned = real(subject, change, attempt, now, policy)
        return replace(planned, after=timedelta(days=1000)) if planned and state is State.OPEN else planned

    return broken


def by_the_clock(_: Broken) -> Broken:
    """Forget a removal after ten seconds, though an older event is held."""

    def broken(self, hint, now):
        removed_at = self._removed.get(hint.ref)
        return removed_at is not None and now - removed_at <= self._patience.removed_for

    return broken


def unbraked(kind: str) -> Callable[[Any], Any]:
    """Take one of the brakes away."""
    return lambda real: lambda change: None if real(change) == kind else real(change)


def without(*keys: Any) -> Callable[[Any], Any]:
    """Leave lines out of the table of a finding's life."""
    return lambda table: {key: value for key, value in table.items() if key not in keys}


def giving(value: Any) -> Callable[[Any], Any]:
    """Return always the same."""
    return lambda _: lambda *__: value


MUTANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "1: a time-out is an absence": patched(life, "judge_row", unknown_is_absent),
    "1: an orphan on a time-out": patched(life, "judge_object", unknown_is_an_orphan),
    "1: purged on a time-out": patched(Deed, "_changed", purged_on_a_time_out),
    "1: an old answer is believed": patched(reconciler, "FRESH_S", lambda _: 1e9),
    "2: held events are passed": patched(hold._Offsets, "may_commit", lambda _: lambda self: self.next_offset),  # noqa: SLF001
    "2: a held sheet is passed": patched(hold.Hold, "_hold_whole", sheet_is_passed),
    "2: a held sheet is never let go": patched(hold.Hold, "_release", sheet_is_kept),
    "2: committed before the outcome": patched(loop.Consumer, "glance", commits_too_soon),
    "2: poison is dropped": patched(loop, "decode_all", lambda real: lambda *a, **k: real(*a, **k)._replace(poison=[])),
    "2: what is not asked is forgotten": patched(reconciler, "postpone", giving(Tally())),
    "2: what is late is dropped": patched(hold.Hold, "keep", lambda real: lambda *a: real(*a)[:0]),
    "4: a grace is over at once": patched(
        life, "_grace_over", lambda _: lambda subject, *__: subject.finding is not None
    ),
    "4: orphans have no grace": patched(life, "grace", at_once_for_objects),
    "4: what changed since the look does not count": patched(reconciler, "overtaken", giving(value=False)),
    "5: no status is given back": patched(life, "_with_effect", without_effect),
    "5: another status is given back": patched(life, "_with_effect", always_active),
    "5: a flag of others is taken for ours": patched(life, "judge_row", foreign_is_ours),
    "5: flagged again": patched(life, "_late_flag", flagged_again),
    "6: deleted as it was approved": patched(Deed, "_changed", as_approved),
    "6: a withdrawal comes too late": patched(erasing, "withdrawn", lambda _: lambda *_, **__: ""),
    "6: an approval outlives its reason": patched(life, "LIFE", without((State.APPROVED, life.Input.HEALTHY))),
    "7: there is no brake": patched(reconciler, "restrain", lambda _: lambda steps, *__: (list(steps), [])),
    "7: flags have no brake": patched(restraint, "braked", unbraked(Kind.MISSING)),
    "7: orphans have no brake": patched(restraint, "braked", unbraked(Kind.ORPHAN)),
    "7: purges have no brake": patched(restraint, "braked", unbraked(restraint.PURGES)),
    "7: more than half of a bucket is believed": patched(
        restraint, "foreseen", lambda real: lambda wanted, there, brake: real(wanted, replace(there, live={}), brake)
    ),
    "7: a window holds nothing": patched(restraint, "_suppressed", lambda _: lambda step, *__: step),
    "7: a rule is not asked where it would open": patched(
        restraint, "ignore", lambda _: lambda steps, *__: list(steps)
    ),
    "7: a rule is not asked where it begins": patched(reconciler, "ignore", lambda _: lambda steps, *__: list(steps)),
    "8: a removal settles at a glance": patched(verdict, "rows_of", giving([])),
    "8: a size does not count at a glance": patched(verdict, "_agrees", lambda _: lambda *given: bool(given[1])),
    "8: an ETag does not count at a glance": patched(
        verdict, "_agrees", lambda real: lambda hint, rows: real(hint, [row._replace(etag=None) for row in rows])
    ),
    "8: an ETag does not count": patched(
        verdict, "difference", lambda real: lambda row, side: real(row._replace(etag=None), side)
    ),
    "8: a removal is not remembered": patched(hold.Hold, "recently_removed", giving(value=False)),
    "8: a removal is forgotten by the clock (found)": patched(hold.Hold, "recently_removed", by_the_clock),
    "8: nobody looks again at what is open": patched(life, "next_look", never_again),
    "8: a version that is not the latest stands for it (found)": patched(
        compare,
        "_same_version",
        lambda _: lambda one, row: not one.s3_version or not row.s3_version or one.s3_version == row.s3_version,
    ),
    "8: a sighted version is not looked at (found)": patched(
        sweep, "hints_of", lambda real: lambda *given: list(real(*given))[:1]
    ),
    "8: a refused flag is not tried again": patched(life, "_late_flag", giving(None)),
    "9: flagged while observing": patched(
        life, "_may_flag", lambda real: lambda row, policy: real(row, replace(policy, flagging=True))
    ),
}
