"""Reads and writes our own schema: what is kept of findings, looks, restraints and leases.

Knows the statements of queries.sql; knows nothing of the application's tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from psycopg import errors
from psycopg.types.json import Jsonb, set_json_dumps

from reconcile.database import BRAKE_LOCK, SQL, Busy, Connection, Crowded, first_line
from reconcile.model import (
    Facts,
    Finding,
    Hint,
    Kind,
    Known,
    NotAsked,
    ObjectRef,
    ObjectSide,
    Present,
    Told,
)
from reconcile.restraint import COUNTED, IGNORE, SUPPRESS, Restraint, Restraints, Trip, covered
from reconcile.steps import Change, Step
from reconcile.testimony import evidence, explains, named_by, side_facts, testimony

set_json_dumps(msgspec.json.encode)


def record(
    connection: Connection,
    steps: Sequence[Step],
    hints: Mapping[ObjectRef, Hint],
    actor: str,
    *,
    silent: bool = False,
) -> None:
    """Keep every change, with its evidence, in findings and history; raises Busy where a revision has moved on.

    What is new is never published if `silent`; later changes are.
    """
    changes = [_change(step, change, hints.get(step.ref)) for step in steps for change in step.changes]
    if not changes:
        return
    kept = connection.execute(SQL["record"], {"changes": Jsonb(changes), "actor": actor, "silent": silent}).fetchone()
    if kept is None or kept[0] != len(changes):
        raise Busy("a finding changed meanwhile")


def witness(connection: Connection, seen: Mapping[ObjectRef, Known], hints: Mapping[ObjectRef, Hint]) -> None:
    """Add what an event tells of findings that others found first: who did it, from where, when."""
    told = [
        {"id": finding.id, "named_by": hint.named_by, "evidence": evidence(hint)}
        for ref, known in seen.items()
        for finding in known.findings
        if (hint := hints.get(ref)) and hint.named_by not in finding.named_by and explains(hint, finding.kind)
    ]
    if told:
        connection.execute(SQL["witness"], {"told": Jsonb(told)})


def _change(step: Step, change: Change, hint: Hint | None) -> dict[str, Any]:
    row, before = change.row, change.before
    seen = step.side if isinstance(step.side, Present) else None
    return {
        **_name(step.ref),
        "id": before.id if before else None,
        "row_id": change.row_id,
        "kind": change.kind,
        "cause": change.cause,
        "state": change.state,
        "revision": before.revision + 1 if before else 1,
        "file_id": row.file_id if row else None,
        "group_name": row.group if row else None,
        "owner": row.owner if row else None,
        "size_bytes": row.size if row else seen.size if seen else None,
        "etag": row.etag if row else seen.etag if seen else None,
        "previous_status": change.previous_status,
        "held_by": change.held_by,
        "named_by": testimony(hint, step.side).get("named_by") or _first_named_by(before),
        "evidence": {**testimony(hint, step.side), **_object(step.side), **change.facts},
        "act": change.act,
        "from_state": before.state if before else None,
        "why": change.why,
    }


def _object(side: ObjectSide) -> dict[str, Any]:
    """Return what was seen of the object; nothing where it was not asked for, so that what was seen before stays."""
    return {} if isinstance(side, NotAsked) else {"object": side_facts(side)}


def _first_named_by(before: Finding | None) -> str:
    return before.named_by[0] if before and before.named_by else "look"


def _name(ref: ObjectRef) -> dict[str, str]:
    return {"bucket": ref.bucket, "key": ref.key, "s3_version": ref.s3_version}


def ask(connection: Connection, hints: Iterable[Hint], after: timedelta, reason: str) -> None:
    """Ask for a look at each reference: sooner than planned if one is planned, never later."""
    looks = {
        hint.ref: {
            **_name(hint.ref),
            "after_s": after.total_seconds(),
            "attempt": 0,
            "reason": reason,
            "evidence": {**evidence(hint), "named_by": named_by(hint)},
        }
        for hint in hints
    }
    if looks:
        connection.execute(SQL["ask"], {"looks": Jsonb([looks[ref] for ref in sorted(looks)])})


def plan_looks(
    connection: Connection, steps: Sequence[Step], asks: Mapping[ObjectRef, int | None], hints: Mapping[ObjectRef, Hint]
) -> None:
    """Keep each step's next look, and end looks that nobody asked for again since they were read."""
    again = [_look(step, asks[step.ref], hints.get(step.ref)) for step in steps if step.look]
    done = [{**_name(step.ref), "asks": asks[step.ref]} for step in steps if not step.look]
    done = [look for look in done if look["asks"] is not None]
    if again:
        connection.execute(SQL["look_again"], {"looks": Jsonb(again)})
    if done:
        connection.execute(SQL["looked"], {"looks": Jsonb(done)})


def _look(step: Step, asks: int | None, hint: Hint | None) -> dict[str, Any]:
    look = step.look
    return {
        **_name(step.ref),
        "after_s": look.after.total_seconds() if look else 0,
        "attempt": look.attempt if look else 0,
        "asks": asks or 0,
        "reason": look.reason if look else "",
        "evidence": testimony(hint, step.side),
    }


def unreadable(connection: Connection) -> dict[str, bool]:
    """Return the buckets that cannot be read, and of each whether its next probe is due."""
    return dict(connection.execute(SQL["unreadable"]).fetchall())


def due(connection: Connection, limit: int, unreadable: Mapping[str, bool]) -> list[Hint]:
    """Claim looks that are due, the oldest first; of an unreadable bucket only the probe of its back-off."""
    parameters = {"limit": limit, "unreadable": list(unreadable)}
    claimed = connection.execute(SQL["due"], parameters).fetchall() if limit > 0 else []
    for bucket in (bucket for bucket, probe in unreadable.items() if probe):
        claimed += connection.execute(SQL["probe"], {"bucket": bucket}).fetchall()
    return [_look_of(row) for row in claimed]


def due_among(connection: Connection, limit: int, unreadable: Iterable[str], refs: Iterable[ObjectRef]) -> list[Hint]:
    """Claim looks at these references that are due, the oldest first; none of an unreadable bucket."""
    given = {"limit": limit, "unreadable": list(unreadable), "refs": Jsonb([ref._asdict() for ref in refs])}
    return [_look_of(row) for row in connection.execute(SQL["due_among"], given).fetchall()]


def _look_of(row: tuple[Any, ...]) -> Hint:
    bucket, key, s3_version, reason, told = row
    return Hint(ObjectRef(bucket, key, s3_version), named_by="look", evidence=Told({**told, "look": reason}))


def read_restraints(connection: Connection, window: timedelta, counting: Collection[tuple[str, str]]) -> Restraints:
    """Take the lock that all processes share, then read what restrains; held until the transaction ends.

    Only where one of these (kind, bucket) could set a brake is counted what would: that reads each line of the window.
    Raises Crowded where others keep the lock for long.
    """
    try:
        connection.execute(SQL["take_brake"], {"lock": BRAKE_LOCK})
    except errors.LockNotAvailable as error:
        raise Crowded(first_line(error)) from error
    active = frozenset((kind, bucket) for kind, bucket in connection.execute(SQL["brakes"]).fetchall())
    acts = sorted({COUNTED[pair[0]] for pair in counting if not covered(pair, active)})
    recent = connection.execute(SQL["recent"], {"window": window, "acts": acts}).fetchall() if acts else []
    live = connection.execute(SQL["live_rows"]).fetchall() if acts else []
    return Restraints(
        active,
        {(kind, bucket): count for kind, bucket, count in recent},
        dict(live),
        set_by_hand(connection, SUPPRESS, IGNORE),
    )


def set_by_hand(connection: Connection, *effects: str) -> list[Restraint]:
    """Return the restraints in force that persons have set."""
    found = connection.execute(SQL["set_by_hand"], {"effects": list(effects)}).fetchall()
    return [Restraint(one[0], one[1], one[2], one[3] and Kind(one[3]), *one[4:]) for one in found]


def set_brakes(connection: Connection, trips: Iterable[Trip], actor: str) -> None:
    """Latch the brakes that tripped; one that is latched already stays as it is."""
    for trip in trips:
        restrain(connection, "brake", trip.bucket, trip.kind, trip.why, actor)


def restrain(connection: Connection, effect: str, bucket: str, kind: str | None, why: str, actor: str) -> bool:
    """Set a restraint, unless the same is in force; tells whether it is new."""
    until_s = 5 if effect == "unreadable" else None
    parameters = {"effect": effect, "bucket": bucket, "kind": kind, "until_s": until_s, "actor": actor, "why": why}
    return connection.execute(SQL["restrain"], parameters).fetchone() is not None


def lift(
    connection: Connection,
    effect: str,
    buckets: Iterable[str] | None,
    actor: str,
    kinds: Sequence[str] | None = None,
) -> list[tuple[Any, ...]]:
    """Lift restraints of some buckets and kinds, or of all (None); returns (id, bucket, kind, since, why) of each."""
    parameters = {
        "effect": effect,
        "buckets": list(buckets or ()),
        "everywhere": buckets is None,
        "kinds": None if kinds is None else list(kinds),
        "actor": actor,
    }
    return connection.execute(SQL["lift"], parameters).fetchall()


def finding_of(ref: ObjectRef, row_id: str, kept: Facts) -> Finding:
    """Make a finding of what the glance tells of it."""
    return msgspec.convert({**kept, "ref": ref, "row_id": row_id}, Finding, strict=False)


def take_lease(connection: Connection, lease: str, owner: str, until_s: float) -> tuple[str | None] | None:
    """Take or keep a lease; returns (checkpoint,), or None while another owner holds it."""
    parameters = {"task": lease, "owner": owner, "until_s": until_s}
    row = connection.execute(SQL["take_lease"], parameters).fetchone()
    return (row[0],) if row else None


def is_leased(connection: Connection, lease: str) -> bool:
    """Tell whether anybody holds a lease."""
    return bool(connection.execute(SQL["is_leased"], {"task": lease}).fetchall())


def advance_lease(connection: Connection, lease: str, owner: str, until_s: float, checkpoint: str | None) -> bool:
    """Keep the lease and move its checkpoint; tells whether it was still ours."""
    parameters = {"task": lease, "owner": owner, "until_s": until_s, "checkpoint": checkpoint}
    return connection.execute(SQL["advance_lease"], parameters).fetchone() is not None


def renew_leases(connection: Connection, owner: str, until_s: float) -> None:
    """Keep all leases of an owner that did not run out; none that is being written now is waited for."""
    connection.execute(SQL["renew_leases"], {"owner": owner, "until_s": until_s})


def drop_lease(connection: Connection, lease: str, owner: str) -> None:
    """Let another owner have the lease at once."""
    connection.execute(SQL["drop_lease"], {"task": lease, "owner": owner})


def keep_live_rows(connection: Connection, live: Mapping[str, int], flagged: Mapping[str, int], owner: str) -> None:
    """Keep how many live rows each bucket has, for the brake's share, and how many carry the flag, whoever set it."""
    for bucket in live.keys() | flagged.keys():
        counted = {"live": live.get(bucket, 0), "flagged": flagged.get(bucket, 0)}
        connection.execute(SQL["keep_live_rows"], {"bucket": bucket, **counted, "owner": owner})


def forget_live_rows(connection: Connection, buckets: Iterable[str]) -> None:
    """Keep no count of any other bucket: no row names it any more."""
    connection.execute(SQL["forget_live_rows"], {"buckets": list(buckets)})
