"""Dead letters: what is written into the dead letter topic for a record that never decodes. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from consumer.stream.events import Poison, Record

Header = tuple[str, str | bytes | None]

PREFIX = "reconciler."  # of our headers
ORIGIN = ("reason", "detail", "topic", "partition", "offset", "timestamp")  # every letter ends with these
CUT = ("size", "sha256")  # and where only the beginning is kept, with these behind them
BEGINNING_BYTES = 4096  # of a value that is too large to be buried whole
KEY_MOST_BYTES = 1024  # of its key, likewise
DETAIL_MOST = 500  # characters


class Letter(NamedTuple):
    """A record as the dead letter topic gets it: key, value and headers as they were, and ours beside them."""

    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]


def letter_of(poison: Poison) -> Letter:
    """Return the record as it was, with the reason and where it came from."""
    record = poison.record
    ours = (  # written out, since a storm of poison makes one for every second record
        ("reconciler.reason", poison.reason.encode(errors="replace")),
        ("reconciler.detail", poison.detail[:DETAIL_MOST].encode(errors="replace")),
        ("reconciler.topic", record.topic.encode(errors="replace")),
        ("reconciler.partition", b"%d" % record.partition),
        ("reconciler.offset", b"%d" % record.offset),
        ("reconciler.timestamp", b"%d" % record.timestamp_ms),
    )
    return Letter(record.key, record.value, (*record.headers, *ours))


def beginning_of(letter: Letter) -> Letter:
    """Return what is kept of a letter that is too large: its size, hash, origin and beginning."""
    value = letter.value or b""
    ours = tuple(header for header in letter.headers if header[0].startswith(PREFIX))[-len(ORIGIN) :]
    cut: dict[str, str | int] = {"size": len(value), "sha256": sha256(value).hexdigest()}
    key = letter.key and letter.key[:KEY_MOST_BYTES]
    return Letter(key, value[:BEGINNING_BYTES], (*ours, *_headers(cut)))


class Origin(NamedTuple):
    """Where a dead letter's record came from last; its name for a person is PARTITION:OFFSET.

    A topic that was recreated counts its offsets anew, so topic and time of the record tell two of one name apart.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @property
    def exact(self) -> str:
        """Return the name that no other letter has: TOPIC/PARTITION:OFFSET@TIMESTAMP."""
        return f"{self.topic}/{self}@{self.timestamp_ms}"

    def is_named(self, name: str) -> bool:
        """Tell whether a person may mean this one."""
        return name in {str(self), self.exact}


class Buried(NamedTuple):
    """A dead letter as it is read: the record as it was, with what is said of it.

    `whole_bytes` and `sha256` are of a value of which only the beginning is kept, else None and `''`. `lies_at` is its
    own partition and offset.
    """

    origin: Origin
    record: Record
    reason: str
    detail: str
    whole_bytes: int | None = None
    sha256: str = ""
    lies_at: tuple[int, int] = (-1, -1)


def buried(record: Record) -> Buried | None:
    """Read a record of the dead letter topic; None for what is none of our letters.

    What the record itself brought under our names is not believed: ours are the last.
    """
    told = _ours(record.headers)
    try:
        origin = Origin(told["topic"], int(told["partition"]), int(told["offset"]), int(told["timestamp"]))
        whole = int(told["size"]) if "size" in told else None
    except (KeyError, ValueError):
        return None
    theirs = tuple(header for header in record.headers if not header[0].startswith(PREFIX))
    original = Record(*origin[:3], record.value, record.key, theirs, origin.timestamp_ms)
    lies_at = record.partition, record.offset
    return Buried(origin, original, told["reason"], told["detail"], whole, told.get("sha256", ""), lies_at)


def _ours(headers: tuple[Header, ...]) -> dict[str, str]:
    """Return what the last headers say, as many as we append; nothing where those are not ours."""
    is_cut = bool(headers) and headers[-1][0] == f"{PREFIX}{CUT[-1]}"
    names = (*ORIGIN, *CUT) if is_cut else ORIGIN
    last = headers[-len(names) :]
    ours = [name for name, _ in last] == [f"{PREFIX}{name}" for name in names]
    return {name.removeprefix(PREFIX): _text(value) for name, value in last} if ours else {}


def _text(value: str | bytes | None) -> str:
    """Return a header's text as the database can keep it, whoever wrote it."""
    return (value.decode(errors="replace") if isinstance(value, bytes) else value or "").replace("\0", "\ufffd")


def _headers(facts: dict[str, str | int]) -> tuple[Header, ...]:
    return tuple((f"{PREFIX}{name}", str(fact).encode(errors="replace")) for name, fact in facts.items())
