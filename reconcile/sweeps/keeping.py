"""Where a sweep is kept: ranges, checkpoints and drifts in our schema, shared by whoever takes part.

Ranges are leases: whoever is gone loses its range to another, which goes on from the checkpoint. What is asked of the
database is asked again for some seconds if the connection breaks; it may have been done by then, and is done once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from psycopg.types.json import Jsonb

from reconcile import ledger
from reconcile.asking import asked, paged
from reconcile.database import Busy, Connection, Database, queries, sql_file
from reconcile.model import ObjectRef, Unavailable
from reconcile.patience import patiently
from reconcile.sweeps.compare import Facts
from reconcile.sweeps.confirm import Confirmed
from reconcile.sweeps.drift import Drift, Past
from reconcile.sweeps.driftrows import as_json, drift_of
from reconcile.sweeps.looker import once
from reconcile.sweeps.sweep import Range

T = TypeVar("T")
SQL = queries(sql_file("sweep.sql"))
LEASE_S = 60.0
AGAIN = (Busy, Unavailable)  # after which a write that may be done twice is tried again
FIRST = ("", "")  # the least key and version that there can be
PAGE = 1000  # the LIMIT of `drifts`; `open_findings` asks for one more, to see a key that is cut in two


class Lost(Exception):
    """Another run leads this sweep now, or has brought it to its end."""


@dataclass(frozen=True, slots=True)
class Run:
    """One sweep as it is kept; `facts` are those that its lines compare, `brought` is a listing that a person had."""

    id: int
    bucket: str
    prefix: str
    mode: str
    state: str
    reason: str
    facts: Facts
    totals: Mapping[str, int]
    started_at: datetime
    finished_at: datetime | None
    brought: bool = False


def lease_of(bucket: str) -> str:
    """Return the name of the lease that whoever began or resumed a sweep of the bucket holds."""
    return f"sweep of {bucket}"


def past(connection: Connection, bucket: str, prefix: str) -> list[Past]:
    """Return the sweeps of one place that came to an end, the latest first."""
    return [Past(*row) for row in connection.execute(SQL["past"], {"bucket": bucket, "prefix": prefix})]


def begin(connection: Connection, bucket: str, prefix: str, mode: str, actor: str, facts: Mapping[str, bool]) -> int:
    """Begin a sweep, and return its id; `facts` are those of its lines, and `listing` where a person brought it."""
    given = {"bucket": bucket, "prefix": prefix, "mode": mode, "actor": actor, "facts": Jsonb(facts)}
    [(number, _)] = connection.execute(SQL["begin"], given).fetchall()
    return int(number)


def cut(connection: Connection, number: int, boundaries: Sequence[str]) -> None:
    """Cut the bucket into ranges at the boundaries, once."""
    lowers, uppers = ["", *boundaries], [*boundaries, None]
    connection.execute(SQL["cut"], {"task": f"sweep {number}", "lowers": lowers, "uppers": uppers})


def run_of(connection: Connection, number: int) -> Run | None:
    """Return one sweep by its id."""
    row = connection.execute(SQL["one"], {"id": number}).fetchone()
    if row is None:
        return None
    facts = Facts(**{name: row[6][name] for name in Facts._fields if name in row[6]})
    return Run(row[0], row[1], row[2], row[3], row[4], row[5], facts, row[7], row[8], row[9], "listing" in row[6])


def unfinished(connection: Connection, bucket: str) -> int | None:
    """Return the latest sweep of a bucket that never came to its end."""
    row = connection.execute(SQL["unfinished"], {"bucket": bucket}).fetchone()
    return row[0] if row else None


def believe(connection: Connection, number: int, words: str) -> None:
    """Keep in whose words a sweep is believed, whatever its guards say."""
    connection.execute(SQL["believe"], {"id": number, "reason": words})


def doubt(connection: Connection, number: int) -> None:
    """Forget what was seen again: whoever goes on with a sweep later looks at all of it once more."""
    connection.execute(SQL["doubt"], {"id": number})


@dataclass
class Kept:
    """One process's part in a kept sweep; `leads` is whoever holds the bucket's lease and keeps it alive."""

    database: Database
    run: Run
    owner: str
    leads: bool = False
    _at: tuple[str, str] = FIRST

    @property
    def lease(self) -> str:
        """The name of the ranges' leases."""
        return f"sweep {self.run.id}"

    def take(self) -> Range | None:
        """Take a range that nobody works at."""
        found = asked(self.database, SQL["take"], {"task": self.lease, "owner": self.owner, "until_s": LEASE_S})
        return Range(*found[0]) if found else None

    def advance(self, part: Range, checkpoint: str, totals: Mapping[str, int], found: Confirmed, *, done: bool) -> bool:
        """Keep drifts and checkpoint in one transaction if the range is still ours; raises Lost if the sweep is not."""
        tally = {**totals, "done": 1} if done else dict(totals)
        given = {**self._ours, "lower": part.lower, "checkpoint": checkpoint, "tally": Jsonb(tally)}
        seen = once([*found.healed, *found.drifts])  # what healed between two looks may be a drift by the second

        def write(connection: Connection) -> bool:
            [(advanced, leading)] = connection.execute(SQL["advance"], given).fetchall()
            if not leading:
                raise self._lost()
            if advanced:
                self._keep(connection, seen, seen_again=False)
            return bool(advanced)

        alone = self.database.transaction if seen else self.database.statement
        return self._written(write, AGAIN, alone)

    @property
    def _ours(self) -> dict[str, Any]:
        """What the statements take that write only what is ours."""
        leases = {"task": self.lease, "bucket_task": lease_of(self.run.bucket), "until_s": LEASE_S}
        return {**leases, "id": self.run.id, "owner": self.owner, "leads": self.leads}

    def _written(
        self,
        write: Callable[[Connection], T],
        over: tuple[type[Exception], ...] = (Busy,),
        within: Callable[[], AbstractContextManager[Connection]] | None = None,
    ) -> T:
        """Write in one transaction, again while another holds what it needs; raises Unavailable if that lasts."""

        def attempt() -> T:
            with (within or self.database.transaction)() as connection:
                return write(connection)

        try:
            return patiently(attempt, over=over)
        except Busy as error:
            raise Unavailable("postgresql", f"what is kept of sweep {self.run.id} is locked: {error}") from error

    def _written_leading(self, write: Callable[[Connection], T]) -> T:
        """Write what only whoever leads may; raises Lost, having written nothing, if that is another by now."""

        def leading(connection: Connection) -> T:
            self._lead(connection)
            return write(connection)

        return self._written(leading)

    def _keep(self, connection: Connection, drifts: Sequence[Drift], *, seen_again: bool) -> None:
        if drifts:
            given = {"id": self.run.id, "drifts": as_json(drifts), "seen_again": seen_again}
            connection.execute(SQL["keep_drifts"], given)

    def _lead(self, connection: Connection) -> None:
        """Keep the bucket's lease; raises Lost if it ran out."""
        if self.leads and not connection.execute(SQL["lead"], self._ours).fetchall():
            raise self._lost()

    def _lost(self) -> Lost:
        return Lost(
            f"sweep {self.run.id}: its lease ran out while this run did not answer, and another may have taken it over;"
            " --resume goes on with it"
        )

    def open_findings(self, lower: str, upper: str | None) -> Sequence[ObjectRef]:
        """Return references with findings, in key order, none of their keys in part: of one that fills a page, all."""
        given = {"bucket": self.run.bucket, "prefix": self.run.prefix, "lower": lower, "upper": upper}
        refs = [ObjectRef(*row) for row in paged(self.database, SQL["open_findings"], given)]
        whole = [ref for ref in refs if ref.key != refs[-1].key] if len(refs) > PAGE else refs
        if whole or not refs:
            return whole
        one = {**given, "key": refs[-1].key}
        return [ObjectRef(*row) for row in paged(self.database, SQL["open_findings_of_key"], one)]

    def to_see_again(self, margin: timedelta) -> tuple[list[ObjectRef], bool]:
        """Return references that were sighted but once, those that are ripe before the others."""
        ripe = self._sighted(margin, self._at) or self._sighted(margin, FIRST)
        self.lead()
        self._at = ripe[-1][1:] if ripe else FIRST
        return ripe or self._sighted(timedelta(), FIRST), bool(ripe)

    def _sighted(self, margin: timedelta, least: tuple[str, str]) -> list[ObjectRef]:
        given = {"id": self.run.id, "margin_s": margin.total_seconds(), "key": least[0], "s3_version": least[1]}
        return [ObjectRef(*row) for row in paged(self.database, SQL["to_see_again"], given)]

    def seen_again(self, refs: Sequence[ObjectRef], found: Confirmed) -> None:
        """Keep what was seen again, or healed; the rest is forgotten, and what is another drift now is new."""
        given = {"refs": Jsonb([ref._asdict() for ref in refs]), "drifts": as_json(found.drifts)}

        def write(connection: Connection) -> None:
            connection.execute(SQL["forget"], {"id": self.run.id, **given})
            self._keep(connection, once([*found.healed, *found.drifts]), seen_again=True)

        self._written_leading(write)

    def pair(self) -> None:
        """Make an orphan whose key is another form of a row's the lookalike that it is."""
        self._written_leading(lambda connection: connection.execute(SQL["pair"], {"id": self.run.id}))

    def lead(self) -> None:
        """Keep the bucket's lease; raises Lost if it ran out."""
        self._written(self._lead, AGAIN)

    def progress(self) -> tuple[int, int, Counter[str]]:
        """Return how many ranges there are, how many are done, and the totals of all."""
        [(ranges, done, tallies)] = asked(self.database, SQL["ranges"], {"task": self.lease})
        totals: Counter[str] = Counter()
        for tally in tallies:
            totals.update(tally)
        del totals["done"]
        return ranges, done, totals

    def unread(self) -> list[tuple[str, str | None]]:
        """Return the ranges that are not compared to their end."""
        return [(lower, upper) for lower, upper in asked(self.database, SQL["unread"], {"task": self.lease})]

    def last(self) -> tuple[int, datetime, Mapping[str, int]] | None:
        """Return the last complete sweep before this: its id, its begin, its totals."""
        given = {"bucket": self.run.bucket, "prefix": self.run.prefix, "id": self.run.id}
        found = asked(self.database, SQL["last_complete"], given)
        return (found[0][0], found[0][1], found[0][2]) if found else None

    def past(self) -> list[Past]:
        """Return the sweeps that came to an end, the latest first."""
        with self.database.use() as connection:
            return past(connection, self.run.bucket, self.run.prefix)

    def drifts(self, last: int | None, *, healed: bool = False) -> Iterator[Drift]:
        """Yield all drifts in key order, each with whether it is new since the sweep `last`."""
        at = ("", "", "")
        while True:
            given = {"id": self.run.id, "last": last, "healed": healed} | dict(
                zip(("key", "s3_version", "row_id"), at, strict=True)
            )
            page = paged(self.database, SQL["drifts"], given)
            yield from map(drift_of, page)
            if len(page) < PAGE:
                return
            at = page[-1][2:5]

    def metered(self, drifts: Iterable[Drift]) -> None:
        """Keep what the loss meter says of each."""
        told = [{name: getattr(one, name) for name in ("key", "s3_version", "row_id", "meter")} for one in drifts]
        given = {"id": self.run.id, "meters": Jsonb(told)}
        self._written_leading(lambda connection: connection.execute(SQL["meter"], given))

    def healed(self, last: int | None) -> int:
        """Return how many drifts of the sweep `last` are none any more."""
        [(count,)] = asked(self.database, SQL["healed"], {"id": self.run.id, "last": last})
        return int(count)

    def finish(self, state: str, reason: str, totals: Mapping[str, int]) -> datetime:
        """Keep how it ended, and forget the ranges."""
        given: dict[str, Any] = {"id": self.run.id, "state": state, "reason": reason, "totals": Jsonb(dict(totals))}

        def write(connection: Connection) -> datetime:
            [(finished_at,)] = connection.execute(SQL["finish"], given).fetchall()
            connection.execute(SQL["drop_ranges"], {"task": self.lease})
            return finished_at  # type: ignore[no-any-return]  # a driver's row

        return self._written_leading(write)


def led(database: Database, bucket: str, owner: str) -> bool:
    """Take the bucket's lease; False while another run holds it."""
    with database.use() as connection:
        return ledger.take_lease(connection, lease_of(bucket), owner, LEASE_S) is not None


def let_go(database: Database, owner: str) -> None:
    """Let others have what an owner holds."""
    with database.use() as connection:
        connection.execute(SQL["let_go"], {"owner": owner})
