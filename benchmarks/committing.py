"""Commits prepared transactions a moment after the first event of each was read, in a process of its own."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

PARTITIONS = 4
EACH = 1_000  # rows of a transaction, and records in a row of one partition
AFTER_S = (0.05, 0.5)


@contextmanager
def committing(database: str, prefix: str) -> Iterator[Callable[[int, int], None]]:
    """Start the process; yields what is told a partition and the offset read next, to commit all up to there."""
    committer = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.committing", database, prefix],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    if committer.stdout is None or not committer.stdout.readline():
        raise RuntimeError("the committer did not start")
    noted: set[int] = set()

    def note(partition: int, next_offset: int) -> None:
        """Tell which were met: number n lies in partition n % PARTITIONS, EACH records in a row."""
        met = {nth * PARTITIONS + partition for nth in range((next_offset - 1) // EACH + 1)} - noted
        if met:
            noted.update(met)
            print(*met, file=committer.stdin)

    yield note
    committer.communicate()


def commit(database: str, prefix: str) -> None:
    """Commit each transaction that is named on stdin."""
    due: deque[tuple[float, str]] = deque()
    chance = random.Random(7)
    named = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            due.extend((time.monotonic() + chance.uniform(*AFTER_S), number) for number in line.split())
        named.set()

    threading.Thread(target=listen, daemon=True).start()
    with psycopg.connect(database, autocommit=True) as connection:
        print("ready", flush=True)
        while not named.is_set() or due:
            time.sleep(0.005)
            for _ in range(len(due)):
                at, number = due.popleft()
                if at > time.monotonic():
                    due.append((at, number))
                else:
                    connection.execute(sql.SQL("COMMIT PREPARED {}").format(sql.Literal(f"{prefix}{number}")))


if __name__ == "__main__":
    commit(sys.argv[1], sys.argv[2])
