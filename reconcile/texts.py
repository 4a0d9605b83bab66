"""Arrays of text as PostgreSQL's binary format has them, made once and sent as often as a statement names them.

The driver would encode the same list anew for each placeholder, in Python, at every batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

TEXT_OID, TEXT_ARRAY_OID = 25, 1009


class Texts(bytes):
    """A `text[]` of one dimension, ready to be sent (format: src/backend/utils/adt/arrayfuncs.c, array_recv)."""


class TextsDumper(Dumper):
    """Sends it as it is."""

    format = Format.BINARY
    oid = TEXT_ARRAY_OID

    def dump(self, obj: Texts) -> bytes:
        """Return the bytes."""
        return obj


def texts(values: Iterable[str]) -> Texts:
    """Return the array of these texts; none of them may hold a NUL."""
    encoded = [value.encode() for value in values]
    numbers = (1 if encoded else 0, 0, TEXT_OID, len(encoded), 1)
    header = b"".join(number.to_bytes(4, "big") for number in (numbers if encoded else numbers[:3]))
    return Texts(header + b"".join(chain.from_iterable((len(one).to_bytes(4, "big"), one) for one in encoded)))


psycopg.adapters.register_dumper(Texts, TextsDumper)
