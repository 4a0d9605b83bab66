"""Keeps leases alive while their owner is at something long: a copy of all rows, a page that does not come.

Has a thread and a connection of its own. Never takes back a lease that ran out: it is another's then, and whoever
writes under a lease asks in the same transaction whether it still holds.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Self

from reconcile import ledger
from reconcile.database import Database
from reconcile.model import Unavailable


class Heartbeat:
    """Renews every lease of an owner each third of a lease, from entering to leaving."""

    def __init__(self, database: Database, owner: str, lease_s: float) -> None:
        self._database = database.another()
        self._owner = owner
        self._lease_s = lease_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stopping.wait(self._lease_s / 3):
            with suppress(Unavailable), self._database.use() as connection:  # the next beat may reach it
                ledger.renew_leases(connection, self._owner, self._lease_s)
        self._database.close()
