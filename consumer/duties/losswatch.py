"""Watches for what the stream may have missed: each such window is kept as a sweep that is wanted, until one covers it.

What topic, group and MinIO look like is compared with what they looked like before (losses.py): by a duty, and once
before a consumer joins its group. A heartbeat of each consumer in the database, whose number its commits of offsets
carry, tells when the database was set back to an earlier time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import NamedTuple

import msgspec
import structlog

from consumer.duties import losses
from consumer.duties.duty import Duty, Turn
from consumer.duties.losses import DATABASE_WENT_BACK, Loss, Place, Sight
from consumer.duties.passed import FIGURES, TOKEN_LIFE, bearer, samples
from consumer.kafka.positions import Asker, GroupOffset
from consumer.kafka.settings import Settings as Kafka
from reconcile import inquiry
from reconcile.acts import Who, note
from reconcile.database import Connection, Database, queries, sql_file
from reconcile.model import Misconfigured, Unavailable
from reconcile.store.objects import Objects

log = structlog.get_logger("losses")
SQL = queries(sql_file("losses.sql"))
NAME = "losses"
INTERVAL_S = 15.0  # MinIO keeps its figures for ten seconds
BEAT_S = 10.0
KEPT_S = 86_400.0  # a heartbeat that no commit names any more
START = "minio_node_process_starttime_seconds"
COUNTS = ("minio_notify_events_skipped_total", "minio_notify_events_errors_total", "minio_notify_target_failed_events")


@dataclass
class Heartbeat:
    """Counts in the database, after what was written there and before the offsets of it are committed."""

    database: Database
    owner: str
    buckets: Sequence[str]
    _beat: int = 0
    _told: str = ""  # when, by the database's clock
    _at: float = field(default_factory=lambda: monotonic() - BEAT_S)

    def __call__(self, wrote: bool) -> str:  # noqa: FBT001 - the one thing that it asks
        """Return what the commit carries: a new number where something was written, or now and then."""
        if wrote or monotonic() - self._at >= BEAT_S:
            with self.database.use() as connection:
                self._count(connection)
            self._at = monotonic()
        else:
            self.database.is_still_primary()
        return stamp(self._beat, self.owner)

    def _count(self, connection: Connection) -> None:
        [(beat, at)] = connection.execute(SQL["beat"], {"owner": self.owner}).fetchall()
        if beat <= self._beat and monotonic() - self._at < KEPT_S / 2:  # after that it may have been forgotten
            told = f"the heartbeat of {self.owner} is {beat - 1}, and was {self._beat} when it last wrote"
            beat = self._beat + 1
            connection.execute(SQL["go_on_from"], {"owner": self.owner, "beat": beat})
            window = Sight(self._told), Sight(at.isoformat())
            want(connection, [Loss(DATABASE_WENT_BACK, told)], window, self.buckets, self.owner)
        self._beat, self._told = beat, at.isoformat()


def stamp(beat: int, by: str) -> str:
    """Return a heartbeat as a commit carries it."""
    return f"beat={beat} by={by}"


def beat_of(metadata: str) -> tuple[int | None, str]:
    """Return the heartbeat that a commit carried, and whose; None where it was not ours."""
    number, _, by = metadata.removeprefix("beat=").partition(" by=")
    return (int(number), by) if metadata.startswith("beat=") and number.isdecimal() else (None, "")


@dataclass
class Watch:
    """What is watched; `buckets` are those whose sweep is wanted where the configuration names them."""

    topic: str
    kafka: Kafka
    store: Objects
    buckets: Sequence[str]
    exits: ExitStack
    _asker: Asker | None = None

    def duty(self) -> Duty:
        """Return the duty."""
        return Duty(NAME, INTERVAL_S, self.look)

    def look(self, turn: Turn) -> None:
        """Look once, keep what is wanted, and what was seen."""
        with turn.world.database.use() as connection:
            now = self.sight(connection)
            before = msgspec.json.decode(turn.checkpoint, type=Sight) if turn.checkpoint else now
            self._compare(connection, before, now, turn.world.actor)
            if now.places:
                named = [place.by for place in now.places.values()]
                connection.execute(SQL["forget_heartbeats"], {"named": named, "kept_s": KEPT_S})
        turn.keep(msgspec.json.encode(losses.known(before, now)).decode())

    def before_joining(self, database: Database, actor: str) -> None:
        """Compare once before anything is read: what the group finds then it never tells.

        Raises Unavailable where the broker does not say: then nothing is read either.
        """
        with database.use() as connection:
            kept = connection.execute(SQL["seen"]).fetchone()
            if kept is None or not kept[0]:
                return
            try:
                with Asker(self.topic, self.kafka) as asker:
                    now = seen_by(asker, inquiry.now(connection).isoformat())
            except Misconfigured as refusal:
                log.warning("losses.without_topic", why=str(refusal))
                return
            before = msgspec.json.decode(kept[0], type=Sight)
            self._compare(connection, losses.caught_up(before, now), now, actor)

    def _compare(self, connection: Connection, before: Sight, now: Sight, actor: str) -> None:
        kept = connection.execute(SQL["heartbeats"]).fetchall()
        beats = {owner: beat for owner, beat, _ in kept}
        found = losses.losses(before, now, beats)
        if ahead := losses.ahead_of(now, beats):
            for owner, beat in ahead.items():
                connection.execute(SQL["go_on_from"], {"owner": owner, "beat": beat})
            lasted = max((at.isoformat() for *_, at in kept), default=before.at)
            before = msgspec.structs.replace(before, at=lasted)
        want(connection, found, (before, now), self.buckets, actor)

    def sight(self, connection: Connection) -> Sight:
        """Return what is seen now; a server that does not answer is left out."""
        seen = self.of_topic(inquiry.now(connection).isoformat())
        try:
            server = self.store.server
            expires = datetime.now(UTC) + TOKEN_LIFE  # noqa: TID251 - the shell is where the time comes in
            text = self.store.metrics(FIGURES, bearer(*server.keys(), expires)).decode()
        except (Unavailable, Misconfigured) as error:
            log.info("losses.without_minio", why=str(error))
            return seen
        starts = {told["server"]: value for _, told, value in samples(text, {START})}
        counts = {_count_name(name, told): value for name, told, value in samples(text, COUNTS)}
        return msgspec.structs.replace(seen, starts=starts, counts=counts)

    def of_topic(self, at: str) -> Sight:
        """Return what is seen of topic and group."""
        try:
            if self._asker is None:
                self._asker = self.exits.enter_context(Asker(self.topic, self.kafka))
            return seen_by(self._asker, at)
        except (Unavailable, Misconfigured) as error:
            log.info("losses.without_topic", why=str(error))
            return Sight(at)


def seen_by(asker: Asker, at: str) -> Sight:
    """Return what an asker sees of its topic and group; raises Unavailable or Misconfigured."""
    found = asker.offsets()
    return Sight(at, asker.topic_id(), {one.partition: _place(one) for one in found})


def _place(one: GroupOffset) -> Place:
    beat, by = beat_of(one.metadata)
    return Place(one.committed, beat, one.low_watermark, one.high_watermark, by)


def _count_name(name: str, told: dict[str, str]) -> str:
    target = f" of {told['target_id']}" if "target_id" in told else ""
    return f"{name}{target} on {told.get('server', '')}"


def want(
    connection: Connection, found: Iterable[Loss], window: tuple[Sight, Sight], buckets: Sequence[str], actor: str
) -> None:
    """Keep a wanted sweep of each bucket for each loss, or have the one that is wanted already last longer."""
    for loss in found:
        named = buckets or [bucket for (bucket,) in connection.execute(SQL["buckets"])] or [""]
        for bucket in named:
            given = {"bucket": bucket, "reason": loss.reason, "detail": loss.detail, "actor": actor}
            given |= {"from": window[0].at, "to": window[1].at}
            if connection.execute(SQL["extend"], given).fetchone():
                continue
            with connection.transaction():
                connection.execute(SQL["want"], given)
                note(connection, Who(actor, loss.detail), "sweep wanted", f"sweep of {bucket}", {"for": loss.reason})
            log.error("sweep.wanted", bucket=bucket, reason=loss.reason, detail=loss.detail, since=given["from"])


class LossWindow(NamedTuple):
    """A window in which the stream may have missed something, kept as the sweep that is wanted for it."""

    id: int
    bucket: str
    reason: str
    since: datetime
    until: datetime
    times: int
    detail: str


def wanted(connection: Connection) -> list[LossWindow]:
    """Return every loss window that no sweep has covered and nobody has dismissed."""
    return [LossWindow(*record) for record in connection.execute(SQL["wanted"]).fetchall()]


def dismiss(database: Database, who: Who, number: int) -> bool:
    """Want a sweep no more, such as that of a bucket that is gone; returns whether it still was wanted."""
    with database.use() as connection, inquiry.explaining(), connection.transaction():
        found = connection.execute(SQL["dismiss"], {"id": number}).fetchone()
        if found is not None:
            bucket, reason, facts = found
            note(connection, who, "sweep dismissed", f"sweep of {bucket}", {"sweep": number, "for": reason, **facts})
    return found is not None
