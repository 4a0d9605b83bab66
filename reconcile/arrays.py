"""Arrays in PostgreSQL's binary format, made once and sent as often as a statement names them.

The driver would encode the same list anew for each placeholder, value by value, at every batch. Format: one dimension,
as array_recv in src/backend/utils/adt/arrayfuncs.c reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

NULL = (-1).to_bytes(4, "big", signed=True)
EIGHT = (8).to_bytes(4, "big")


class Texts(bytes):
    """A `text[]`, ready to be sent."""


class Bigints(bytes):
    """An `int8[]`, ready to be sent."""


class TextsDumper(Dumper):
    """Sends it as it is."""

    format = Format.BINARY
    oid = 1009

    def dump(self, obj: Texts) -> bytes:
        """Return the bytes."""
        return obj


class BigintsDumper(Dumper):
    """Sends it as it is."""

    format = Format.BINARY
    oid = 1016

    def dump(self, obj: Bigints) -> bytes:
        """Return the bytes."""
        return obj


def texts(values: Iterable[str]) -> Texts:
    """Return the array of these texts; none of them may hold a NUL."""
    encoded = [value.encode() for value in values]
    elements = chain.from_iterable((len(one).to_bytes(4, "big"), one) for one in encoded)
    return Texts(_header(25, len(encoded)) + b"".join(elements))


def same_texts(values: Sequence[str]) -> Texts:
    """Return the array of texts that are mostly one and the same, such as a batch's buckets."""
    first = values[0] if values else ""
    if values.count(first) < len(values):
        return texts(values)
    encoded = first.encode()
    return Texts(_header(25, len(values)) + (len(encoded).to_bytes(4, "big") + encoded) * len(values))


def bigints(values: Sequence[int | None]) -> Bigints:
    """Return the array of these integers, or NULLs."""
    elements = [NULL if value is None else EIGHT + value.to_bytes(8, "big", signed=True) for value in values]
    return Bigints(_header(20, len(values)) + b"".join(elements))


def _header(element_oid: int, length: int) -> bytes:
    numbers = (1, 1, element_oid, length, 1) if length else (0, 0, element_oid)  # dimensions, may hold NULLs, …, lower
    return b"".join(number.to_bytes(4, "big") for number in numbers)


psycopg.adapters.register_dumper(Texts, TextsDumper)
psycopg.adapters.register_dumper(Bigints, BigintsDumper)
