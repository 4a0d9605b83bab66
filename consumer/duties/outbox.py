"""The outbox: each change of a finding, written to the history with it, is delivered to the findings topic.

The process that holds the duty's lease delivers them in the order of the history, and marks what the broker confirmed.
If it is killed before the mark, the next process delivers the same again. A process that stood still after its lease
ran out may deliver late what another has delivered: readers tell repetitions by the id that each record has. Until
`stream.publish_findings` is on, changes are written as delivered, and nothing waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import structlog

from consumer.duties.duty import Duty, Turn
from consumer.kafka.faults import missing
from consumer.kafka.letterbox import Letterbox
from consumer.kafka.settings import Settings
from consumer.kafka.topics import WantedTopic, missing_topics
from consumer.letters.letter import Letter
from reconcile.database import queries, sql_file
from reconcile.model import Unavailable
from reconcile.world import LiveWorld

log = structlog.get_logger("outbox")
SQL = queries(sql_file("outbox.sql"))
SCHEMA = "finding-change/1"
NAME = "outbox"
ON, OFF = "on", "off"
SENT_TOGETHER = 500
MOST_BYTES = 500_000  # of a change with its evidence; most topics take a megabyte
LEASE_S = 40.0  # longer than any delivery may take: whoever takes over comes after all of them
NOT_YET = 5  # times that a topic may be unknown to the broker, since it may just have been created


class Change(msgspec.Struct, kw_only=True):
    """One change of one finding, as it is written into the findings topic (docs/findings-topic.md)."""

    schema: str = SCHEMA
    id: int
    finding: int
    revision: int | None
    at: datetime
    act: str
    from_state: str | None
    to_state: str | None
    kind: str
    cause: str
    bucket: str
    key: str
    s3_version: str | None
    version_id: str | None
    file_id: str | None
    group: str | None
    owner: str | None
    size_bytes: int | None
    etag: str | None
    actor: str
    why: str
    evidence: Mapping[str, Any]


FIELDS = Change.__struct_fields__[1:]  # in the order of the statement's columns


def letter_of(row: Sequence[Any]) -> Letter:
    """Return a change as it is delivered, keyed by its object, so that what happens to one stays in order."""
    change = Change(**dict(zip(FIELDS, row, strict=True)))
    letter = Letter(f"{change.bucket}/{change.key}".encode(), msgspec.json.encode(change), ())
    return letter if len(letter.value or b"") <= MOST_BYTES else without_evidence(letter)


def without_evidence(letter: Letter) -> Letter:
    """Return what is left of a change that is too large for the topic."""
    change = msgspec.json.decode(letter.value or b"", type=Change)
    change.evidence = {"left_out": "it was too large for the topic; findings show tells it"}
    return letter._replace(value=msgspec.json.encode(change))


@dataclass
class Outbox:
    """Delivers to one topic; owned by one thread."""

    topic: str
    kafka: Settings
    _letterbox: Letterbox = field(init=False)
    _found: bool = False
    _misses: int = 0

    def __post_init__(self) -> None:
        self._open()

    def _open(self) -> None:
        self._letterbox = Letterbox(self.topic, {**self.kafka, "enable.idempotence": True})  # else a retry may overtake

    def duty(self) -> Duty:
        """Return what is done every half second."""
        return Duty(NAME, 0.5, self.publish, LEASE_S)

    def publish(self, turn: Turn) -> None:
        """Deliver all that waits, some at a time.

        The lease is asked for as late as can be: what was read by who stood still since, others have delivered.
        """
        self._require_topic()
        while True:
            with turn.world.database.use() as connection:
                rows = connection.execute(SQL["waiting"], {"limit": SENT_TOGETHER}).fetchall()
            letters = [letter_of(row) for row in rows]
            if not turn.keep(ON) or not rows:
                return
            self.deliver(letters)
            self.mark(turn, [row[0] for row in rows])

    def mark(self, turn: Turn, ids: Sequence[int]) -> None:
        """Note what was delivered."""
        with turn.world.database.use() as connection:
            connection.execute(SQL["published"], {"ids": list(ids)})

    def deliver(self, letters: Sequence[Letter]) -> None:
        """Send letters and have each confirmed; raises Unavailable."""
        try:
            large = self._letterbox.deliver(letters)
            still_large = self._letterbox.deliver(list(map(without_evidence, large)))
        except Unavailable:
            self._open()
            raise
        if still_large:
            raise Unavailable("kafka", f"{self.topic} takes not even a few kilobytes: see its max.message.bytes")

    def _require_topic(self) -> None:
        if self._found:
            return
        if missing_topics(self.kafka, [WantedTopic(self.topic)]):
            self._misses += 1
            if self._misses > NOT_YET:
                raise missing(self.topic)
            raise Unavailable("kafka", f"topic {self.topic!r} is not there yet")
        self._found = True


def turn_on(world: LiveWorld) -> None:
    """Have changes wait from now on, before the first of them is made, whoever is the first to publish."""
    with world.database.use() as connection:
        connection.execute(SQL["turn_on"], {"owner": world.actor})


def turned_off() -> Duty:
    """Return the duty of a process that publishes nothing: once nobody else does, nothing waits any more."""
    return Duty(NAME, 30.0, _turn_off, LEASE_S)


def _turn_off(turn: Turn) -> None:
    if turn.checkpoint == ON:
        turn.keep(OFF)
        log.warning("outbox.off", why="stream.publish_findings is false here, and nobody else publishes")
