"""Dead letters: what is written into the dead letter topic for a record that never decodes. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from consumer.events import Poison

Header = tuple[str, str | bytes | None]

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
    ours: dict[str, str | int] = {
        "reason": poison.reason,
        "detail": poison.detail[:DETAIL_MOST],
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
    }
    return Letter(record.key, record.value, (*record.headers, *_headers(ours)))


def beginning_of(letter: Letter) -> Letter:
    """Return what is kept of a letter that is too large: its size, hash, origin and beginning."""
    value = letter.value or b""
    ours = tuple(header for header in letter.headers if header[0].startswith("reconciler."))[-6:]
    cut: dict[str, str | int] = {"size": len(value), "sha256": sha256(value).hexdigest()}
    key = letter.key and letter.key[:KEY_MOST_BYTES]
    return Letter(key, value[:BEGINNING_BYTES], (*ours, *_headers(cut)))


def _headers(facts: dict[str, str | int]) -> tuple[Header, ...]:
    return tuple((f"reconciler.{name}", str(fact).encode(errors="replace")) for name, fact in facts.items())
