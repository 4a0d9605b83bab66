"""Turns the bytes of a notification into hints; whatever comes, a hint or Undecodable. Pure.

Knows how object stores write their events and which of them matter; knows no broker and no database. A dialect is a
function from a record's value to events, and `DIALECTS` names them all: another store is another function.
"""

from __future__ import annotations

from binascii import a2b_qp
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_plus

import msgspec

from consumer.stream.notification import Envelope, Event, Target, told
from reconcile.model import Action, Facts, Hint, ObjectRef, Undecodable

KEY_MOST_BYTES = 1024  # S3's own limit; a longer key names nothing, and would not fit our indexes either
BUCKET_MOST = 255


class Record(NamedTuple):
    """One record of a topic as it was read; `timestamp_ms` is the broker's, -1 where there is none."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, str | bytes | None], ...] = ()
    timestamp_ms: int = -1


class Poison(NamedTuple):
    """A record that never becomes a hint, and why; it belongs into the dead letter topic."""

    record: Record
    reason: str
    detail: str


class Sighting(msgspec.Struct, gc=False, eq=False):
    """The evidence of a hint that an event brought; `read_at` is monotonic seconds, `topic` empty off Kafka.

    Equal to itself alone, so that a hint can be hashed without its evidence being read.
    """

    event: Event
    topic: str = ""
    partition: int = -1
    offset: int = -1
    read_at: float = 0.0

    def facts(self) -> Facts:
        """Tell who did what, from where and when, and where it is written; nothing that is empty."""
        facts: dict[str, object] = {**told(self.event)}
        if self.event.s3.object.size is not None:
            facts["size"] = self.event.s3.object.size
        if self.topic:
            facts |= {"topic": self.topic, "partition": self.partition, "offset": self.offset}
        return facts

    def event_seconds(self) -> float | None:
        """Return the event's time by the server's clock, in seconds since 1970; None if it does not say."""
        return seconds(self.event.event_time)


Dialect = Callable[[bytes | None], Sequence[Event]]


def seconds(said: str) -> float | None:
    """Return a time as an event says it in seconds since 1970; None if it says none."""
    try:
        time = datetime.fromisoformat(said)
        return time.timestamp() if time.tzinfo else None
    except (ValueError, OverflowError):
        return None


def hint_of(sighting: Sighting, named_by: str = "event") -> Hint | None:
    """Return what an event hints at, or None if no object can have come or gone by it."""
    event = sighting.event
    action, size = meaning(event.event_name)
    if action is None:
        return None
    target = event.s3.object
    ref = _ref(event.s3.bucket.name, target)
    if action is not Action.CREATED:
        return Hint(ref, action, named_by, None, None, sighting)
    if target.size is not None:
        size = target.size
    if size is None:
        return Hint(ref, Action.LOOK, named_by, None, None, sighting)
    return _tuple(Hint, (ref, action, named_by, size, target.etag or None, sighting, ""))


def references(ref: ObjectRef, *, versioned: bool) -> tuple[ObjectRef, ...]:
    """Return what to look at: the latest version, and the event's own where rows name versions."""
    if not ref.s3_version:
        return (ref,)
    latest = ObjectRef(ref.bucket, ref.key)
    return (ref, latest) if versioned else (latest,)


def aim(hint: Hint, *, versioned: bool) -> tuple[Hint, ...]:
    """Return the hint once for each reference to look at."""
    if not hint.ref.s3_version:
        return (hint,)
    version = hint.ref.s3_version if versioned else ""
    return tuple(hint._replace(ref=ref, s3_version=version) for ref in references(hint.ref, versioned=versioned))


def decode_minio(value: bytes | None) -> Sequence[Event]:
    """Decode a record of MinIO's Kafka target; its keys are URL-encoded, a space as a plus sign."""
    events = _events(value)
    if not events:
        raise Undecodable("no-records")
    for event in events:
        target = event.s3.object
        if "%" in target.key or "+" in target.key:
            target.key = _unquoted(target.key)
    return events


def decode_minio_listen(value: bytes | None) -> Sequence[Event]:
    """Decode a line of MinIO's listen stream; its keys are as they are, and a ping brings no event."""
    return _events(value) if value and not value.isspace() else ()


DIALECTS: dict[str, Dialect] = {"minio": decode_minio, "minio-listen": decode_minio_listen}

_tuple = tuple.__new__  # makes a NamedTuple in half the time of its own constructor, which counts at every event
_DECODER = msgspec.json.Decoder(Envelope)


def _events(value: bytes | None) -> Sequence[Event]:
    if value is None:
        raise Undecodable("tombstone")
    try:
        return _DECODER.decode(value).records or ()
    except msgspec.ValidationError as fault:
        raise Undecodable("wrong-shape", str(fault)) from fault
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Undecodable("not-json", str(fault)) from fault
    except RecursionError as fault:
        raise Undecodable("not-json", "nested too deeply") from fault


def _unquoted(wire_key: str) -> str:
    """Return the key; in most of them nothing is encoded but the slashes, and those are soon put back."""
    key = wire_key.replace("%2F", "/")
    if "%" not in key and "+" not in key:
        return key
    try:
        return _unquoted_quickly(wire_key) or unquote_plus(wire_key, errors="strict")
    except UnicodeDecodeError as fault:
        raise Undecodable("bad-key", f"not UTF-8 once unquoted: {fault.reason}") from fault


def _unquoted_quickly(wire_key: str) -> str:
    """Return what unquote_plus would, ten times as fast, or nothing where the key is not as MinIO writes it.

    URL encoding is quoted-printable with another sign, and that is decoded in C. The two part where a sign is not
    followed by two hexadecimal digits; there the length tells.
    """
    if "=" in wire_key or not wire_key.isascii() or not wire_key.isprintable():
        return ""
    raw = a2b_qp(wire_key.replace("+", " ").replace("%", "="))
    return raw.decode() if len(raw) == len(wire_key) - 2 * wire_key.count("%") else ""


# Families of events by which no object comes or goes: reads, replication, tiering, alarms, and the bucket itself.
_IGNORED = frozenset(
    {
        "BucketCreated",
        "BucketRemoved",
        "IntelligentTiering",
        "LifecycleTransition",
        "ObjectAccessed",
        "ObjectAcl",
        "ObjectRestore",
        "ObjectTagging",
        "ObjectTransition",
        "Replication",
        "Scanner",
    }
)
_REMOVALS = frozenset({"LifecycleDelMarkerExpiration", "LifecycleExpiration", "ObjectRemoved"})
_UPLOADS = frozenset({"CompleteMultipartUpload", "Copy", "Post", "Put"})


@lru_cache(maxsize=256)
def meaning(event_name: str) -> tuple[Action | None, int | None]:
    """Return the action, and the size meant where none is given: an upload leaves a size of 0 out.

    A change of metadata repeats the object's size and tells no more than an upload would. An unknown name is a
    reason to look, since a hint proves nothing.
    """
    family, _, verb = event_name.removeprefix("s3:").partition(":")
    if family in _IGNORED:
        return None, None
    if family in _REMOVALS:
        return Action.REMOVED, None
    if family == "ObjectCreated":
        return Action.CREATED, 0 if verb in _UPLOADS else None
    return Action.LOOK, None


def _ref(bucket: str, target: Target) -> ObjectRef:
    """Check what would become part of an index, and name it."""
    key, version = target.key, target.version_id
    if not key or "\0" in key or (len(key) > KEY_MOST_BYTES // 4 and len(key.encode()) > KEY_MOST_BYTES):
        raise Undecodable("bad-key", _blame(key))
    if not bucket or "\0" in bucket or len(bucket) > BUCKET_MOST:
        raise Undecodable("bad-bucket", _blame(bucket))
    if version and ("\0" in version or len(version) > BUCKET_MOST):
        raise Undecodable("bad-version", _blame(version))
    if "\0" in target.etag:
        raise Undecodable("bad-etag", _blame(target.etag))
    return _tuple(ObjectRef, (bucket, key, version))


def _blame(text: str) -> str:
    if not text:
        return "empty"
    return "holds a NUL" if "\0" in text else f"too long: {len(text)} characters"
