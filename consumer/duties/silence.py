"""Why a lane is silent, likely: asked of MinIO, the broker and the leases, in the order of the event's way.

Guesses nothing: what none of the questions shows is `unknown`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from consumer.duties import canary, rulewatch
from consumer.duties.duty import Duty
from consumer.duties.passed import Figures, figures_of_store, held
from consumer.kafka.positions import group_offsets
from consumer.kafka.settings import Settings as Kafka
from reconcile import inquiry, opening
from reconcile.config import renewal
from reconcile.config.settings import Settings
from reconcile.database import Database
from reconcile.model import Misconfigured, Unavailable
from reconcile.store import bucketrules
from reconcile.store.eventrules import EVENTS, lacking
from reconcile.store.objects import Objects
from reconcile.store.storing import Storing
from reconcile.world import LiveWorld

PATIENCE_S = 5.0
REMOVED = EVENTS[1]


@dataclass(frozen=True, slots=True)
class Causes:
    """Asks; one thread owns it."""

    objects: Objects
    database: Database
    topic: str
    kafka: Kafka
    arn: str = ""

    def of(self, bucket: str, lane: str) -> canary.Cause:
        """Return the cause of a lane's silence, with why; raises Unavailable if MinIO or the database is away."""
        if lane == canary.EXPRESS:
            return self._express(bucket)
        for ask in (self._target, self._rule, self._queue, self._group):
            if found := ask(bucket):
                return found
        return "unknown", "rules, MinIO's target and its queue are well, and the group has read the topic to its end"

    def _target(self, _: str) -> canary.Cause | None:
        figures = self._figures()
        if figures is None or figures.queues:
            return None
        return (
            "target_gone",
            "MinIO has no Kafka target: see its MINIO_NOTIFY_KAFKA_* or mc admin config get notify_kafka",
        )

    def _rule(self, bucket: str) -> canary.Cause | None:
        try:
            rules = bucketrules.event_rules(self.objects, bucket)
        except Misconfigured:
            return None
        with self.database.use() as connection:
            arn = self.arn or rulewatch.known(connection, bucket)
        if not lacking(rules, (REMOVED,), arn):
            return None
        target = arn or "Kafka"
        return (
            "rule_removed",
            f"no rule sends {REMOVED} of {bucket!r} to {target}: storage-reconciler init --only bucket",
        )

    def _queue(self, _: str) -> canary.Cause | None:
        figures = self._figures()
        waiting = [queue for queue in figures.queues if queue.length] if figures else []
        if not waiting:
            return None
        return "broker_unreachable", "; ".join(map(held, waiting)) + ": MinIO does not reach the broker, or is behind"

    def _group(self, _: str) -> canary.Cause | None:
        try:
            lag = sum(one.lag for one in group_offsets(self.topic, self.kafka))
        except (Unavailable, Misconfigured) as outage:
            return "broker_unreachable", str(outage)
        return ("not_consumed", f"{lag} records of {self.topic!r} are not committed") if lag else None

    def _figures(self) -> Figures | None:
        """Return what MinIO tells of its targets; None where it does not let us ask."""
        try:
            return figures_of_store(self.objects)
        except Misconfigured:
            return None

    def _express(self, bucket: str) -> canary.Cause:
        with self.database.use() as connection:
            states = {task: state for task, _, state, _ in inquiry.records(connection, "leases")}
        state = states.get(f"express {bucket}")
        return STATES.get(state or "", STATES[""])


def duties(settings: Settings, buckets: Sequence[str], world: LiveWorld, exits: ExitStack) -> list[Duty]:
    """Return the duty that sends canaries, if it is wanted."""
    lanes = canary.lanes(settings)
    if not lanes:
        return []
    storing = exits.enter_context(Storing(opening.server(settings, 2), PATIENCE_S, 2))
    stream = settings.stream
    causes = Causes(world.objects, world.database, stream.topic, renewal.Kafka(settings), stream.arn)
    return [canary.Keeper(storing, settings.canary, buckets, lanes, causes.of).duty()]


STATES: dict[str, canary.Cause] = {
    "": ("no_lane", "no process holds the lane: is a consumer running, and stream.express on?"),
    "express.waiting": ("no_lane", "the lane's holder has not begun to listen"),
    "express.silent": (
        "stream_buffered",
        "MinIO's listen stream sends nothing, not even its ping: a buffer holds it back",
    ),
    "express.down": ("stream_broken", "MinIO's listen stream is refused or breaks off: see the log of its holder"),
    "express.listening": ("unknown", "the lane listens and is told nothing"),
}
