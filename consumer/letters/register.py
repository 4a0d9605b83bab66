"""What is known of dead letters while their topic is read: which were met, what was decided; in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

from consumer.letters.letter import Buried, Origin
from consumer.runs.seen import scratch

MEET = "INSERT INTO met VALUES (?, ?) ON CONFLICT DO NOTHING"
DECIDE = """
INSERT INTO decided VALUES (?, ?, ?)
ON CONFLICT (subject) DO UPDATE SET act = excluded.act, number = excluded.number WHERE excluded.number > number
"""


class Register:
    """Lies in a temporary file of SQLite's, which ends with it."""

    def __init__(self) -> None:
        self._connection = scratch()
        self._connection.execute("CREATE TABLE met (place TEXT, name TEXT, PRIMARY KEY (place, name)) WITHOUT ROWID")
        self._connection.execute(
            "CREATE TABLE decided (subject TEXT PRIMARY KEY, act TEXT, number INTEGER) WITHOUT ROWID"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def first(self, letters: Iterable[Buried]) -> list[Buried]:
        """Return the letters whose origin was never met before, and meet them."""
        return [one for one in letters if self._meet(str(one.origin), one.origin.exact)]

    def _meet(self, place: str, name: str) -> bool:
        return self._connection.execute(MEET, [place, name]).rowcount == 1

    def name(self, origin: Origin) -> str:
        """Return the short name of a letter, or the exact one where several of its place were met."""
        asked = "SELECT count(*) FROM (SELECT 1 FROM met WHERE place = ? LIMIT 2)"
        [(count,)] = self._connection.execute(asked, [str(origin)]).fetchall()
        return str(origin) if count <= 1 else origin.exact

    def decide(self, decisions: Sequence[tuple[str, str, int]]) -> None:
        """Take down decisions as (subject, act, number); of one subject that of the highest number counts."""
        self._connection.executemany(DECIDE, decisions)

    def decision(self, subject: str) -> str | None:
        """Return what was decided last."""
        row = self._connection.execute("SELECT act FROM decided WHERE subject = ?", [subject]).fetchone()
        return str(row[0]) if row else None
