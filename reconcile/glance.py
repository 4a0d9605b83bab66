"""The glance: what the database knows of a batch of references, in one round trip and without a lock.

Most hints are plainly healthy: every row of the key is live and agrees with the event, and there is no finding. That is
told where the rows are, so that none of them travels; whatever is not plain is read in full, and verdict.settled()
decides. A contract test holds the two together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import sql

from reconcile import ledger, rows
from reconcile.arrays import bigints, same_texts, texts
from reconcile.batch import Unsettled, apart, columns_of
from reconcile.database import SQL, Connection
from reconcile.model import NOTHING_KNOWN, Hint, Known, ObjectRef, Row
from reconcile.tables.mapping import Mapping

Kept = tuple[str, str, str, str, str, str]  # 'finding' or 'look', bucket, key, S3 version, row id, JSON


class Sent(NamedTuple):
    """A question that was sent and is not yet answered: which hints are not plain, and which keys have findings."""

    hints: Sequence[Hint]
    keys: Sequence[str]
    not_plain: psycopg.Cursor[tuple[int, bool]]
    drifting: psycopg.Cursor[tuple[str]]


@dataclass
class Glance:
    """The mapping's statements with our own beside them, composed once."""

    mapping: Mapping

    def __post_init__(self) -> None:
        self._lookup = self.mapping.lookup.as_bytes()
        self._not_plain = sql.SQL(SQL["not_plain"]).format(rows=self.mapping.lookup).as_bytes()

    def read(self, connection: Connection, refs: Sequence[ObjectRef]) -> dict[ObjectRef, Known]:
        """Read rows, findings and asks of each reference."""
        keys = list(dict.fromkeys([ref.key for ref in refs]))
        with connection.pipeline():
            asked = self._asked(keys)
            found = connection.cursor(binary=True, row_factory=rows.as_rows).execute(self._lookup, asked)
            kept: psycopg.Cursor[Kept] = connection.cursor(binary=True).execute(SQL["kept"], asked)
            return group(refs, found.fetchall(), kept.fetchall())

    def unsettled(
        self, connection: Connection, batches: Iterable[Sequence[Hint]], doubtful: Container[ObjectRef]
    ) -> Iterator[Unsettled]:
        """Yield, batch after batch, the hints that are not plainly healthy and what is known of each.

        It asks one ahead: the database reads while the next batch is being made. A `doubtful` reference is never plain.
        """
        with connection.pipeline():
            asked = None
            for hints in batches:
                sent = self._send(connection, hints, doubtful)
                if asked is not None:
                    yield self._answer(connection, asked)
                asked = sent
            if asked is not None:
                yield self._answer(connection, asked)

    def _asked(self, keys: list[str]) -> dict[str, object]:
        """Return the lookup's parameters and our own `keys`, each list encoded once."""
        ours = texts(keys)
        asked = self.mapping.parameters(keys)
        encoded: dict[str, object] = {name: ours if it == keys else texts(it) for name, it in asked.items()}
        return encoded | {"keys": ours}

    def _send(self, connection: Connection, hints: Sequence[Hint], doubtful: Container[ObjectRef]) -> Sent:
        columns = columns_of(hints, doubtful, etags=self.mapping.has_etag)
        asked = self._asked(columns.keys)
        asked |= {
            "buckets": same_texts(columns.buckets),
            "sizes": bigints(columns.sizes),
            "etags": texts(columns.etags),
        }
        not_plain = connection.cursor(binary=True).execute(self._not_plain, asked)
        drifting = connection.cursor(binary=True).execute(SQL["drifting"], {"keys": asked["keys"]})
        connection.pgconn.send_flush_request()  # else the answer would wait for whatever is asked after it
        connection.pgconn.flush()
        return Sent(hints, columns.keys, not_plain, drifting)

    def _answer(self, connection: Connection, sent: Sent) -> Unsettled:
        """Read in full what has rows or findings; what has neither needs no second question."""
        named: dict[int, bool] = dict(sent.not_plain.fetchall())
        drifting = {key for (key,) in sent.drifting.fetchall()}
        if drifting:
            named |= {number: True for number, key in enumerate(sent.keys) if key in drifting}
        unknown, rest = apart(sent.hints, sorted(number for number, has_rows in named.items() if not has_rows))
        numbers = sorted([*rest, *(number for number, has_rows in named.items() if has_rows)])
        hints = [sent.hints[number] for number in numbers]
        to_read = list({hint.ref for number, hint in zip(numbers, hints, strict=True) if named[number]})
        known = self.read(connection, to_read) if to_read else {}
        return Unsettled([(hint, known.get(hint.ref, NOTHING_KNOWN)) for hint in hints], unknown)


def group(refs: Sequence[ObjectRef], found: Iterable[Row], kept: Sequence[Kept]) -> dict[ObjectRef, Known]:
    """Sort what was read to the references: rows by bucket and key, the rest by version, too."""
    named: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in found:
        named[row.bucket, row.key].append(row)
    ours: dict[ObjectRef, list[Kept]] = defaultdict(list)
    for one in kept:
        ours[ObjectRef(*one[1:4])].append(one)
    return {ref: _known(ref, named.get(ref[:2], []), ours.get(ref, [])) for ref in refs}


def _known(ref: ObjectRef, named: list[Row], ours: list[Kept]) -> Known:
    if not named and not ours:
        return NOTHING_KNOWN
    mine = [row for row in named if row.s3_version in {"", ref.s3_version}] if ref.s3_version else named
    return Known(tuple(sorted(mine, key=attrgetter("row_id"))), **_kept(ref, ours))


def _kept(ref: ObjectRef, ours: list[Kept]) -> dict[str, Any]:
    findings = [ledger.finding_of(ref, one[4], msgspec.json.decode(one[5])) for one in ours if one[0] == "finding"]
    looks: list[dict[str, int]] = [msgspec.json.decode(one[5]) for one in ours if one[0] == "look"]
    return {"findings": tuple(sorted(findings, key=attrgetter("row_id"))), **(looks[0] if looks else {})}
