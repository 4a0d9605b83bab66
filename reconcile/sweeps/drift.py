"""The words of the sweep: an object as a listing tells it, a drift as it is reported, and the report. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

HELD_BY_BRAKE = "held_by_brake"  # the total of what --fix would have opened or flagged
HELD_BY_WINDOW = "held_by_window"  # the same of suppression windows


class Entry(NamedTuple):
    """One object, or one version of it, as a listing tells it; what the listing does not tell is None or `''`.

    `modified` is as the listing writes it (ISO 8601). `s3_version` is `''` where versions are not listed; `latest` is
    False for a noncurrent version. Delete markers are no entries.
    """

    key: str
    size: int | None = None
    etag: str = ""
    modified: str = ""
    s3_version: str = ""
    latest: bool = True


class Class(StrEnum):
    """What kind of drift the sweep reports: the kinds of findings, and what is neither missing nor an orphan.

    A lookalike is a row or an object of which the other side has one whose key differs only in its form: a leading
    slash, `//`, URL-encoding, NFC. Healed is a finding that is none any more; it is counted, and no drift.
    """

    MISSING = "missing"
    MISMATCH = "mismatch"
    ORPHAN = "orphan"
    LEFTOVER = "leftover"
    LOOKALIKE = "lookalike"
    HEALED = "healed"


DRIFTS = tuple(str(kind) for kind in Class if kind is not Class.HEALED)


class Meter(StrEnum):
    """Whether the stream should have told of a drift that the sweep found (docs/design.md, the loss meter)."""

    LOST = "lost or silent"
    NEVER = "never an event"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True, slots=True)
class Drift:
    """One drift that was confirmed by a look at both sides; `row_id` is `''` where it is the object's.

    `since` is the row's created-at or the object's Last-Modified, None where unknown. `is_new` is False if the last
    complete sweep reported it, too. `known` tells that a finding of the stream, or a person, had it already.
    """

    kind: Class
    bucket: str
    key: str
    s3_version: str = ""
    row_id: str = ""
    cause: str = ""
    size_bytes: int | None = None
    group: str = ""
    owner: str = ""
    since: datetime | None = None
    counterpart: str = ""
    is_new: bool = True
    known: bool = False
    meter: Meter = Meter.UNMEASURED


class Count(NamedTuple):
    """How many drifts of each class something has: a group, a prefix, an age, a bucket."""

    name: str
    missing: int = 0
    mismatch: int = 0
    orphan: int = 0
    leftover: int = 0
    lookalike: int = 0
    size_bytes: int = 0


class OfKind(NamedTuple):
    """What a sweep found of one class; `new` since the last complete sweep."""

    name: str
    found: int
    new: int
    size_bytes: int


class Metered(NamedTuple):
    """How many drifts of one class and age (today, this week, older, unknown) the stream should have told of."""

    kind: str
    age: str
    lost: int
    never: int
    unmeasured: int


class Past(NamedTuple):
    """One sweep of the history, the latest first; `brought` is one over a listing that a person had.

    `lost_or_silent` is what its loss meter counted, None where it did not come to measure.
    """

    id: int
    started_at: datetime
    state: str
    objects: int
    rows: int
    missing: int
    mismatch: int
    orphan: int
    leftover: int
    brought: bool = False
    lost_or_silent: int | None = None


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep came to. `drifts` may be the first of many; `counts` are of all.

    `state` is complete, incomplete, held or running; `reason` says why it is not complete. `brought` is whether the
    listing was a person's, which may be of any time: such a sweep is never the last complete one. `resumable` is
    whether something of it was left to --resume: not of keys that were asked and gave no answer. `totals` by name:
    objects, rows, agreed, candidates, young, omitted_by_list, flagged_by_others, unknown, healed, new, still,
    lost_or_silent, held_by_brake, held_by_window.
    """

    bucket: str
    mode: str
    state: str
    started_at: datetime
    finished_at: datetime | None = None
    id: int | None = None
    prefix: str = ""
    reason: str = ""
    brought: bool = False
    resumable: bool = False
    totals: Mapping[str, int] = field(default_factory=dict)
    by_kind: Sequence[OfKind] = ()
    by_group: Sequence[Count] = ()
    by_prefix: Sequence[Count] = ()
    by_age: Sequence[Count] = ()
    meter: Sequence[Metered] = ()
    drifts: Sequence[Drift] = ()
    total_drifts: int = 0
    history: Sequence[Past] = ()
    notes: Sequence[str] = ()
