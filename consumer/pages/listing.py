"""The page of findings: by filter, the latest first, a page at a time. It never counts: a page costs its own lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from shlex import quote
from typing import Any, NamedTuple
from urllib.parse import urlencode

from reconcile import inquiry
from reconcile.database import Connection
from reconcile.human import visible
from reconcile.inquiry import Filter, Record
from reconcile.model import Kind, State

PAGE = 50
DIGITS = 19  # of a bigint
ALL = "all"
KINDS, STATES = [str(kind) for kind in Kind], [*map(str, State), ALL]
WORDS = ("bucket", "prefix", "group", "owner", "cause", "principal")
Query = Mapping[str, str]


class Read(NamedTuple):
    """One page, and whether there is more."""

    now: datetime
    columns: tuple[str, ...]
    records: Sequence[Record]
    has_more: bool


def filter_of(query: Query) -> Filter | str:
    """Return which findings are meant, or why that cannot be."""
    kind, state = query.get("kind"), query.get("state")
    if kind and kind not in KINDS:
        return f"The kind is one of {', '.join(KINDS)}."
    if state and state not in STATES:
        return f"The state is one of {', '.join(STATES)}."
    if not is_number(query.get("after") or "1"):
        return "A page goes on after the number of a finding."
    return Filter(
        states=[str(one) for one in State] if state == ALL else [state] if state else None,
        kinds=[kind] if kind else None,
        held=bool(query.get("held")),
        **{word: query.get(word) or None for word in WORDS},  # type: ignore[arg-type]  # all of these are words
    )


def is_number(word: str) -> bool:
    """Tell whether a word may be the number of a finding."""
    return word.isascii() and word.isdecimal() and len(word) < DIGITS


def read(connection: Connection, wanted: Filter, after: int | None) -> Read:
    """Read one page."""
    columns, records = inquiry.listed(connection, wanted, PAGE + 1, after)
    return Read(inquiry.now(connection), columns, records[:PAGE], len(records) > PAGE)


def told(found: Read, query: Query, buckets: Sequence[str]) -> Mapping[str, Any]:
    """Return what the template names."""
    kept = {name: word for name, word in query.items() if word and name in {*WORDS, "kind", "state", "held"}}
    findings = [dict(zip(found.columns, record, strict=True)) for record in found.records]
    return {
        "now": found.now,
        "query": {name: query.get(name, "") for name in (*WORDS, "kind", "state", "held")},
        "is_filtered": bool(kept),
        "is_first": not query.get("after"),
        "first": f"/findings?{urlencode(kept)}" if kept else "/findings",
        "more": f"/findings?{urlencode({**kept, 'after': findings[-1]['id']})}" if found.has_more else "",
        "findings": findings,
        "kinds": KINDS,
        "states": STATES,
        "buckets": buckets,
        "command": command(kept),
    }


def command(kept: Query) -> str:
    """Return the command that lists the same, `''` where a word of it cannot be typed."""
    if any(visible(word) != word for word in kept.values()):
        return ""
    words = [
        f"--{name}{'=' if word.startswith('-') else ' '}{quote(word)}" for name, word in kept.items() if name != "held"
    ]
    return " ".join(["findings list", *words, *(["--held"] if kept.get("held") else [])])
