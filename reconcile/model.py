"""The words of the project: references, what is seen of both sides, findings, steps. Pure.

Knows no driver, no clock, no configuration. A reference is only a name of something to look at; everything
that decides is read anew at each look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

Facts = Mapping[str, object]


class ObjectRef(NamedTuple):
    """Names one object: a bucket, a decoded key, and an S3 version (`''` means the latest).

    Sorts in UTF-8 byte order, since code points and their UTF-8 bytes sort alike.
    """

    bucket: str
    key: str
    s3_version: str = ""


class Action(StrEnum):
    """What a hint claims to have happened."""

    CREATED = "created"
    REMOVED = "removed"
    LOOK = "look"


class Evidence(Protocol):
    """Where a hint came from, told only when something is kept."""

    def facts(self) -> Facts:
        """Return names and plain values, ready for JSON."""
        ...


class Told(NamedTuple):
    """Evidence that is at hand already, such as that of a stored look."""

    known: Facts

    def facts(self) -> Facts:
        """Return what was told."""
        return self.known


NOTHING_TOLD = Told({})


class Hint(NamedTuple):
    """Names a reference to look at, and what somebody claims of it, or of the version `s3_version`; never proof."""

    ref: ObjectRef
    action: Action = Action.LOOK
    named_by: str = "look"
    size: int | None = None
    etag: str | None = None
    evidence: Evidence = NOTHING_TOLD
    s3_version: str = ""


class RowState(StrEnum):
    """What a row says about its object, from its status, its parent and its soft deletion."""

    LIVE = "live"
    FLAGGED = "flagged"
    EXPECTS_ABSENCE = "expects_absence"


class Row(NamedTuple):
    """One version row of the application, in the shape every mapping yields.

    `size`, `etag`, `status`, `group`, `owner`, `created_at`, `sha256` are None where they are not mapped or NULL.
    `state` may be the plain word of a RowState, as the database returns it: compare by ==. `sha256` is as it is
    written (checksum.py reads it).
    """

    row_id: str
    file_id: str | None
    bucket: str
    key: str
    s3_version: str
    size: int | None
    etag: str | None
    status: str | None
    state: RowState
    group: str | None
    owner: str | None
    created_at: datetime | None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Present:
    """HEAD answered 200."""

    size: int
    etag: str
    s3_version: str | None = None
    last_modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """HEAD proved the absence; `delete_marker` is the marker's version where one hides the key."""

    code: str
    delete_marker: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """HEAD was sent and proved nothing: 403, 5xx, a time-out, a missing bucket."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotAsked:
    """The pool had no room before the deadline; nothing was sent, so nothing is held against the bucket."""


ObjectSide = Present | Absent | Unknown | NotAsked


@dataclass(frozen=True, slots=True)
class Hashed:
    """A content that was read to its end: its SHA-256 (lower-case hex), and by what a HEAD knows it again."""

    sha256: str
    etag: str
    s3_version: str | None = None
    modified: datetime | None = None

    def is_of(self, present: Present) -> bool:
        """Tell whether the object is that very content, and was not written anew since."""
        seen = (present.etag, present.s3_version, present.last_modified)
        return (self.etag, self.s3_version, self.modified) == seen


class Kind(StrEnum):
    """What is wrong."""

    MISSING = "missing"
    ORPHAN = "orphan"
    MISMATCH = "mismatch"
    LEFTOVER = "leftover"


class State(StrEnum):
    """Where a finding is in its life; resolved and deleted are final."""

    SUSPECTED = "suspected"
    OPEN = "open"
    IGNORED = "ignored"
    APPROVED = "approved"
    RESOLVED = "resolved"
    DELETED = "deleted"


FINAL = frozenset({State.RESOLVED, State.DELETED})


@dataclass(frozen=True, slots=True)
class Finding:
    """A drift that is kept: of one row (`row_id`), or of the object itself (`row_id == ''`).

    `previous_status` is set while the row carries our flag, `revision` grows with each change, `named_by` tells which
    sources have named the reference so far, `hashed` is the content on which it rests, if one was read. `erasing` tells
    that a deletion was begun, so that an absence is its end.
    """

    id: int
    ref: ObjectRef
    row_id: str
    kind: Kind
    state: State
    revision: int
    suspected_at: datetime
    cause: str = ""
    previous_status: str | None = None
    held_by: str | None = None
    named_by: tuple[str, ...] = ()
    hashed: Hashed | None = None
    erasing: bool = False


class Known(NamedTuple):
    """What the database says of one reference: its rows, its findings that are not final, its look.

    For the latest version (`s3_version == ''`) `rows` holds all rows of the key, since any may claim the object; for
    another its own and those that name none, since these claim whichever is the latest.
    `asks` counts the hints that asked for the pending look (None: none is pending), `attempt` how often it came back.
    """

    rows: tuple[Row, ...] = ()
    findings: tuple[Finding, ...] = ()
    asks: int | None = None
    attempt: int = 0


NOTHING_KNOWN = Known()


@dataclass(frozen=True, slots=True)
class Healthy:
    """Nothing is wrong; what is open resolves. `absent`: since there is no object."""

    why: str
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Drift:
    """The two sides disagree; `hashed` is the content that was read, where only its checksum differs."""

    kind: Kind
    cause: str
    hashed: Hashed | None = None


@dataclass(frozen=True, slots=True)
class Foreign:
    """The row carries a flag that is not ours: never touched, counted apart."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """Nothing could be proven; look again. `asked` is False where no question was sent."""

    reason: str
    asked: bool = True


Verdict = Healthy | Drift | Foreign | Undecided


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient and how bold the reconciler is; every number is configuration."""

    flagging: bool = False
    flag: str | None = "corrupted"
    missing_grace: timedelta = timedelta(seconds=30)
    orphan_grace: timedelta = timedelta(minutes=15)
    young_age: timedelta = timedelta(0)
    young_grace: timedelta = timedelta(minutes=5)
    look_again: timedelta = timedelta(seconds=5)
    look_again_most: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Brake:
    """How many flags within `window` are believed; beyond that a person is asked (see docs/design.md)."""

    window: timedelta = timedelta(minutes=10)
    floor: int = 100
    share: float = 0.01
    most: int = 1_000
    bucket_share: float = 0.5
    bucket_floor: int = 20


class Undecodable(Exception):
    """A record never becomes a hint: bury it in the dead letter topic. `reason` is a short, stable word."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Unavailable(Exception):
    """A server does not answer: commit nothing, wait, read again. `server` names it."""

    def __init__(self, server: str, detail: str) -> None:
        super().__init__(f"{server} is unavailable: {detail}")
        self.server = server
        self.detail = detail


class OutOfOrder(Exception):
    """A source of ascending keys descends: the sweep is given up."""


class Misconfigured(Exception):
    """The service must not start; `faults` holds every fault at once, each naming value, rule and way out."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
