"""What of an event is evidence for a finding: who did it and from where, if the event fits what was seen. Pure.

An event is older than the look that it leads to, so the object may have changed again. An event that tells of a removal
says nothing about who put the object that is there now, and the other way round.
"""

from __future__ import annotations

from reconcile.model import (
    Absent,
    Action,
    Facts,
    Hint,
    Kind,
    NotAsked,
    ObjectSide,
    Present,
    Unknown,
)

REMOVALS = ("s3:ObjectRemoved", "s3:LifecycleExpiration", "s3:LifecycleDelMarkerExpiration")
CREATIONS = ("s3:ObjectCreated",)
OF_AN_EVENT = frozenset(
    {
        "event",
        "event_time",
        "principal",
        "source_address",
        "user_agent",
        "request_id",
        "sequencer",
        "s3_version",
        "etag",
        "size",
        "topic",
        "partition",
        "offset",
    }
)


def explains(hint: Hint, kind: Kind) -> bool:
    """Tell whether what a hint claims can be what made a finding of this kind."""
    match hint.action:
        case Action.REMOVED:
            return kind is Kind.MISSING
        case Action.CREATED:
            return kind is not Kind.MISSING
        case Action.LOOK:
            return False


def evidence(hint: Hint | None) -> Facts:
    """Return what a hint brought along."""
    return hint.evidence.facts() if hint else {}


def claim(hint: Hint | None) -> Action:
    """Return what a hint claims to have happened; of a stored look what the event claimed that it remembers."""
    if hint is None or hint.action is not Action.LOOK:
        return hint.action if hint else Action.LOOK
    event = str(evidence(hint).get("event", ""))
    if event.startswith(REMOVALS):
        return Action.REMOVED
    return Action.CREATED if event.startswith(CREATIONS) else Action.LOOK


def testimony(hint: Hint | None, side: ObjectSide) -> Facts:
    """Return what a hint tells, with who named it; of one whose claim is not what is seen at most who named it.

    An upload that is read late says nothing about who removed the object since, and must not take the place of that.
    """
    claimed = claim(hint)
    told = {**evidence(hint), "named_by": named_by(hint)}
    if (claimed is Action.CREATED and isinstance(side, Absent)) or (
        claimed is Action.REMOVED and isinstance(side, Present)
    ):
        is_stored = hint is not None and hint.action is Action.LOOK
        return {name: fact for name, fact in told.items() if name not in OF_AN_EVENT} if is_stored else {}
    return told


def named_by(hint: Hint | None) -> str:
    """Return who first named the reference: for a stored look, whoever asked for it."""
    if hint is None:
        return "look"
    return str(evidence(hint).get("named_by", hint.named_by)) if hint.named_by == "look" else hint.named_by


def side_facts(side: ObjectSide) -> Facts:
    """Return what the object side was seen to be, ready for JSON."""
    match side:
        case Present(size, etag, s3_version, last_modified):
            return {"seen": "present", "size": size, "etag": etag, "s3_version": s3_version, "modified": last_modified}
        case Absent(code, delete_marker):
            return {"seen": "absent", "code": code, "delete_marker": delete_marker}
        case Unknown(reason):
            return {"seen": "unknown", "reason": reason}
        case NotAsked():
            return {"seen": "not asked"}
