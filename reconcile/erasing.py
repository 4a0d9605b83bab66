"""What is approved, and in which way it goes: when an object still is the one that was seen. Pure.

Facts are kept as JSON in a finding's evidence: times come back as text.
"""

from __future__ import annotations

from datetime import datetime

from reconcile.model import Facts, Present

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
