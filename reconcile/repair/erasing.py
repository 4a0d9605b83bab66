"""What is approved, and in which way it goes: when an object still is the one that was seen. Pure.

Facts are kept as JSON in a finding's evidence: times come back as text.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from reconcile.config.settings import Trash
from reconcile.model import Facts, ObjectRef, Present, State
from reconcile.store.versions import NULL
from reconcile.sweeps.lookalike import LONGEST_BYTES
from reconcile.verdict import s3_version_of

NAMES = {"size": "size", "etag": "ETag", "s3_version": "S3 version", "modified": "Last-Modified"}


def facts_of(seen: Present) -> Facts:
    """Return by what an object is known again."""
    return {"size": seen.size, "etag": seen.etag, "s3_version": seen.s3_version, "modified": seen.last_modified}


def changed(then: Facts, now: Present) -> str:
    """Say what is not as it was, `''` where all is; what was not known then does not count."""
    seen = facts_of(now)
    told = [
        f"{NAMES[name]} was {_said(was)}, is {_said(seen[name])}"
        for name, was in then.items()
        if name in NAMES and (_moment(was) if name == "modified" else was) != seen[name]
    ]
    return ", ".join(told)


def _moment(value: object) -> object:
    """Return a time that was kept as text as a time."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _said(value: object) -> str:
    return "none" if value in (None, "") else value.isoformat() if isinstance(value, datetime) else str(value)


class How(StrEnum):
    """In which way an object goes: hidden by a marker, that very version, or whatever is there at that moment."""

    MARKER = "marker"
    VERSION = "version"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is about to be removed: which S3 version ('': there are none), what it was seen to be, where its copy is.

    `below` is the S3 version that comes to light by it, '' for none; what an earlier release began lacks it (None).
    """

    how: How
    s3_version: str
    seen: Present
    copy: ObjectRef | None = None
    below: str | None = None

    def facts(self) -> Facts:
        """Return what is kept of it before anything is done."""
        bucket, key = self.copy[:2] if self.copy else (None, None)
        way = {"how": self.how, "version": self.s3_version, "below": self.below}
        return {**way, "copy_bucket": bucket, "copy_key": key, **facts_of(self.seen)}

    def target(self, ref: ObjectRef) -> ObjectRef:
        """Return what is removed, which names a version unless there are none."""
        return ref if self.how is How.MARKER else ref._replace(s3_version=self.s3_version)

    def lay_below(self, there: Present) -> bool:
        """Tell whether what is there now came to light as this was removed: the version that lay below it.

        Where that was not kept, what was written earlier; Last-Modified has no fractions of a second.
        """
        if self.s3_version in {"", s3_version_of(there)}:
            return False
        if self.below is not None:
            return self.below == s3_version_of(there)
        if there.last_modified is None or self.seen.last_modified is None:
            return False
        return there.last_modified < self.seen.last_modified

    def told(self) -> str:
        """Say in which way it goes, in words that are the same for many."""
        kept = f"; a copy stays in {self.copy.bucket}" if self.copy else ""
        match self.how:
            case How.MARKER:
                return "hidden by a delete marker"
            case How.VERSION:
                return f"its version removed{kept}"
            case How.OBJECT:
                return f"removed{kept}"


def withdrawn(state: str, *, begun: bool) -> str:
    """Say that an approval holds no longer since a deletion began, `''` where it does, or where that has ended."""
    if state == State.DELETED or (state == State.APPROVED and begun):
        return ""
    return "its approval was withdrawn" + (" and given anew" if state == State.APPROVED else "")


def erasure_of(facts: Facts) -> Erasure:
    """Return what was kept."""
    seen = msgspec.convert({"size": facts["size"], "etag": facts["etag"], **_rest(facts)}, Present)
    copy = ObjectRef(str(facts["copy_bucket"]), str(facts["copy_key"])) if facts.get("copy_key") else None
    below = facts.get("below")
    return Erasure(How(str(facts["how"])), str(facts["version"]), seen, copy, None if below is None else str(below))


def _rest(facts: Facts) -> Facts:
    return {"s3_version": facts.get("s3_version"), "last_modified": facts.get("modified")}


def erasure(ref: ObjectRef, seen: Present, versioning: str, trash: Trash, number: int) -> Erasure:
    """Say in which way an object goes: what its bucket could not bring back leaves a copy in the trash.

    Of a key that ends with a slash MinIO keeps no versions, whatever its bucket's versioning is.
    """
    if ref.key.endswith("/"):
        versioning = "Off"
    if versioning == "Enabled" and not ref.s3_version and not trash.always:
        return Erasure(How.MARKER, "", seen)
    copy = copy_of(ref, trash, number)
    s3_version = ref.s3_version or seen.s3_version or ("" if versioning == "Off" else NULL)
    return Erasure(How.OBJECT if s3_version in {"", NULL} else How.VERSION, s3_version, seen, copy)


def copy_of(ref: ObjectRef, trash: Trash, number: int) -> ObjectRef:
    """Return where the copy of a finding's object lies: below its number, so that no copy takes another's place."""
    place = f"{trash.prefix}{ref.bucket}/{number}/"
    key = place + ref.key
    if len(key.encode()) > LONGEST_BYTES:
        key = place + hashlib.sha256(ref.key.encode()).hexdigest()
    return ObjectRef(trash.bucket or ref.bucket, key)
