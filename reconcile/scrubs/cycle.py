"""Where a scrub is kept: one cycle over a bucket's rows, the key that it has come to, and what it found so far.

A cycle lasts for as many runs as it takes. One run at a time holds the bucket's lease, and is the only one to move the
checkpoint; one that is gone is followed by another, which goes on from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.types.json import Jsonb

from reconcile import ledger
from reconcile.database import Connection, Database, queries, sql_file
from reconcile.sweeps.drift import Drift
from reconcile.sweeps.driftrows import as_json
from reconcile.sweeps.keeping import LEASE_S, Lost, let_go
from reconcile.sweeps.keeping import SQL as OF_SWEEPS

SQL = queries(sql_file("scrub.sql"))


def lease_of(bucket: str) -> str:
    """Return the name of the lease that the run that scrubs a bucket holds."""
    return f"scrub of {bucket}"


def least_lately(database: Database, buckets: Sequence[str]) -> list[str]:
    """Return buckets in the order in which they are to be read on, so that none waits behind an endless one."""
    with database.use() as connection:
        found: dict[str, datetime] = dict(
            connection.execute(SQL["last_at_work"], {"tasks": [lease_of(bucket) for bucket in buckets]}).fetchall()
        )
    at_work = {bucket: found[lease_of(bucket)] for bucket in buckets if lease_of(bucket) in found}
    return [*(one for one in buckets if one not in at_work), *sorted(at_work, key=lambda bucket: at_work[bucket])]


@dataclass
class Cycle:
    """One run's part in a cycle; `totals` are the whole cycle's, up to and with `checkpoint`."""

    database: Database
    bucket: str
    prefix: str
    owner: str
    id: int
    started_at: datetime
    checkpoint: str
    totals: Counter[str] = field(default_factory=Counter)

    @property
    def lease(self) -> str:
        """The name of the range's lease."""
        return f"sweep {self.id}"

    def alive(self) -> None:
        """Keep the leases; raises Lost where another run has them."""
        with self.database.use() as connection:
            self._alive(connection)

    def _alive(self, connection: Connection) -> None:
        ours = ledger.take_lease(connection, lease_of(self.bucket), self.owner, LEASE_S) is not None
        given = {"task": self.lease, "owner": self.owner, "until_s": LEASE_S}
        if not ours or connection.execute(SQL["keep_alive"], given).fetchone() is None:
            raise Lost(f"the scrub of {self.bucket!r} was taken over by another run while this one did not answer")

    def advance(self, checkpoint: str, found: Mapping[str, int], drifts: Sequence[Drift]) -> None:
        """Keep how far it is, what was counted, and what was found, at once; raises Lost."""
        totals = self.totals + Counter(found)
        given = {"task": self.lease, "owner": self.owner, "checkpoint": checkpoint, "tally": Jsonb(dict(totals))}
        with self.database.transaction() as connection:
            self._alive(connection)
            connection.execute(SQL["advance"], given)
            if drifts:
                kept = {"id": self.id, "drifts": as_json(drifts), "seen_again": True}
                connection.execute(OF_SWEEPS["keep_drifts"], kept)
        self.totals, self.checkpoint = totals, checkpoint

    def finish(self) -> datetime:
        """Keep that it came to the end of the rows; the next run begins anew."""
        given = {"id": self.id, "state": "complete", "reason": "", "totals": Jsonb(dict(self.totals))}
        with self.database.transaction() as connection:
            self._alive(connection)
            [(finished_at,)] = connection.execute(OF_SWEEPS["finish"], given).fetchall()
            connection.execute(OF_SWEEPS["drop_ranges"], {"task": self.lease})
        return finished_at  # type: ignore[no-any-return]  # a driver's row

    def let_go(self) -> None:
        """Let another run go on at once."""
        let_go(self.database, self.owner)

    def last_complete(self) -> tuple[datetime, datetime, Mapping[str, int]] | None:
        """Return when the last complete cycle began and ended, and its totals."""
        given = {"bucket": self.bucket, "prefix": self.prefix}
        with self.database.use() as connection:
            row = connection.execute(SQL["last_complete"], given).fetchone()
        return (row[0], row[1], row[2]) if row else None


def taken(database: Database, bucket: str, prefix: str, mode: str, owner: str) -> Cycle | None:
    """Go on with the bucket's cycle, or begin one; None while another run scrubs the bucket."""
    named = {"bucket": bucket, "prefix": prefix, "mode": mode, "actor": owner}
    with database.transaction() as connection:
        if ledger.take_lease(connection, lease_of(bucket), owner, LEASE_S) is None:
            return None
        found = connection.execute(SQL["unfinished"], named).fetchone()
        [number] = found or connection.execute(SQL["begin"], named).fetchall()[0]
        lease = f"sweep {number}"
        connection.execute(OF_SWEEPS["cut"], {"task": lease, "lowers": [""], "uppers": [None]})
        [(started_at,)] = connection.execute(SQL["mode"], {"mode": mode, "id": number}).fetchall()
        range_of = {"task": lease, "owner": owner, "until_s": LEASE_S}
        [(checkpoint, totals)] = connection.execute(SQL["take_over"], range_of).fetchall()
    return Cycle(database, bucket, prefix, owner, number, started_at, checkpoint, Counter(totals))


def given_up(database: Database, bucket: str, prefix: str, owner: str) -> bool:
    """Leave the unfinished cycle of a bucket where it is, so that the next begins anew; False if another run has it."""
    with database.transaction() as connection:
        if ledger.take_lease(connection, lease_of(bucket), owner, LEASE_S) is None:
            return False
        found = connection.execute(SQL["unfinished"], {"bucket": bucket, "prefix": prefix}).fetchone()
        if found:
            connection.execute(SQL["give_up"], {"id": found[0], "reason": "begun anew"})
            connection.execute(OF_SWEEPS["drop_ranges"], {"task": f"sweep {found[0]}"})
    return True
