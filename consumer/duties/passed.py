"""Whether the stream of events has passed a moment: MinIO's queues are through, and the group has read what came of it.

The order is what proves it: an event that was due before the moment is in a queue, or in the topic below an end offset
that is taken after the queues are through. MinIO's figures are those of `/minio/v2/metrics/cluster`, which each node
keeps for ten seconds (docs/sweeping.md), so a figure counts only once it must be younger than the moment. Must not know
drifts. What cannot be proven is told in words, and nothing here waits beyond its time for a group that stands still.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import NamedTuple

from consumer.kafka.positions import GroupOffset, group_offsets
from consumer.kafka.settings import Settings
from reconcile.model import Misconfigured, Unavailable
from reconcile.store.objects import Objects

PATIENCE_S = 25.0  # two of MinIO's figures, each kept for ten seconds, and what the group needs
KEPT_S = 10.5  # the age that MinIO's figures may have, and a margin
POLL_S = 0.3
TOKEN_LIFE = timedelta(hours=1)
FIGURES = "/minio/v2/metrics/cluster"
FRESH = "/minio/metrics/v3/notification"  # one node, not kept, and without the length of the queues
_OF_TARGET = {
    "minio_notify_target_total_events": "came",
    "minio_notify_target_failed_events": "failed",
    "minio_notify_target_current_send_in_progress": "sending",
    "minio_notify_target_queue_length": "length",
}
_OF_NODES = ("minio_cluster_nodes_online_total", "minio_cluster_nodes_offline_total")
_CAME = ("minio_notify_events_sent_total",)
_CAME_OR_COMING = ("minio_notification_events_sent_total", "minio_notification_current_send_in_progress")
_SAMPLE = re.compile(r"^(\w+)\{(.*)\} ([-+.\w]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_STILL_OLD = "MinIO's figures may still be older than the moment: each node keeps them for ten seconds"


@dataclass(frozen=True, slots=True)
class Passed:
    """Whether it is proven; and why, or why not, in plain words."""

    proven: bool
    why: str


class Queue(NamedTuple):
    """The events of one target on one node since it started: how many came, failed, are being sent, and wait."""

    server: str
    target: str
    came: float = 0
    failed: float = 0
    sending: float = 0
    length: float = 0

    @property
    def sent(self) -> float:
        """How many are at the broker; those left by an earlier process count with, so only compare."""
        return self.came - self.failed - self.sending - self.length


class Figures(NamedTuple):
    """What MinIO tells of its Kafka targets: their queues, how many nodes there are, how many events came in all."""

    queues: tuple[Queue, ...]
    nodes: int
    came: float


def passed(
    store: Objects, topic: str, kafka: Settings, since: float | None = None, patience_s: float = PATIENCE_S
) -> Passed:
    """Tell whether every event that was due at a moment (`since`, monotonic; None: now) has reached the group.

    Returns as soon as that is proven, at the latest about when the patience ends: the question under way is awaited.
    With one node that is at once if no event came since, else after ten seconds, or twenty while events keep coming.
    """
    queues = Queues(store, monotonic() if since is None else since)
    group = Group(topic, kafka)
    ends = monotonic() + patience_s
    try:
        why = _until(queues.behind, ends) or _until(group.behind, ends)
    except Misconfigured as error:
        why = str(error)
    return Passed(not why, why or f"MinIO's queues were through, and the group has read {topic!r} to its ends")


class Queues:
    """Asks whether all that had entered MinIO's queues at a moment has left them for the broker."""

    def __init__(self, store: Objects, since: float) -> None:
        self._store = store
        self._since = since
        self._came: float | None = None
        self._then: Sequence[Queue] = ()

    def behind(self) -> str:
        """Return what is not through yet, `''` if nothing; raises Unavailable, or Misconfigured where refused."""
        if self._came is None:
            self._came = self._came_by_now()
        asked = monotonic()
        figures = figures_of(self._ask(FIGURES))
        if told := incomplete(figures):
            return told
        if asked - self._since < KEPT_S and not (figures.nodes == 1 and figures.came >= self._came):
            return _STILL_OLD
        self._then = self._then or figures.queues
        return "; ".join(held(queue) for queue in figures.queues if not through(queue, self._then))

    def _came_by_now(self) -> float:
        """Return how many events had come to the one node that answers, infinity where it cannot say."""
        with suppress(Misconfigured):
            return _sum(self._ask(FRESH), _CAME_OR_COMING)
        return float("inf")

    def _ask(self, path: str) -> str:
        return _metrics(self._store, path)


def figures_of_store(store: Objects) -> Figures:
    """Ask MinIO for its targets' figures, which may be ten seconds old; raises Unavailable or Misconfigured."""
    return figures_of(_metrics(store, FIGURES))


def _metrics(store: Objects, path: str) -> str:
    server = store.server
    now = datetime.now(UTC)  # noqa: TID251 - the shell is where the time comes in
    return store.metrics(path, bearer(*server.keys(), now + TOKEN_LIFE)).decode()


class Group:
    """Asks whether a group has read a topic to the ends it had at the first question."""

    def __init__(self, topic: str, kafka: Settings) -> None:
        self._topic = topic
        self._kafka = kafka
        self._ends: dict[int, int] = {}

    def behind(self) -> str:
        """Return how far the group is behind, `''` if it is not; raises Unavailable or Misconfigured."""
        found = group_offsets(self._topic, self._kafka)
        if told := beyond(found):
            return told
        self._ends = self._ends or {one.partition: one.high_watermark for one in found}
        lags = {one.partition: self._ends[one.partition] - one.next_offset for one in found if self._owes(one)}
        if not lags:
            return ""
        where = ", ".join(str(partition) for partition in lags)
        never = all(one.committed is None for one in found)
        why = "it has never committed: is the consumer running, and is group.id its own?" if never else "it lags"
        return f"the group has not read {sum(lags.values())} records of {self._topic!r} (partitions {where}): {why}"

    def _owes(self, one: GroupOffset) -> bool:
        return one.next_offset < self._ends.get(one.partition, 0)


def beyond(found: Iterable[GroupOffset]) -> str:
    """Say where a group has committed more than there is, `''` if nowhere: such a topic must not count as read."""
    places = [f"partition {one.partition}" for one in found if one.committed is not None and one.is_beyond]
    return f"the group is beyond the end of {', '.join(places)}: the topic was emptied or recreated" if places else ""


def through(now: Queue, then: Iterable[Queue]) -> bool:
    """Tell whether a queue is empty, or has sent all that had come before; a target sends in the order of coming."""
    if not (now.length or now.sending):
        return True
    return any(now.sent >= one.came - one.failed for one in then if one[:2] == now[:2])


def incomplete(figures: Figures) -> str:
    """Return what the figures leave out, `''` if they are of every node."""
    if not figures.queues:
        return "MinIO has no Kafka target: nothing is sent to the topic"
    told = len({queue.server for queue in figures.queues})
    return f"only {told} of MinIO's {figures.nodes} nodes tell of their queues" if told < figures.nodes else ""


def held(queue: Queue) -> str:
    """Say what a queue still holds."""
    waits = f"{queue.length:g} events wait in the queue of target {queue.target} on {queue.server}"
    return f"{waits}, {queue.sending:g} are being sent" if queue.sending else waits


def bearer(access_key: str, secret_key: str, expires: datetime) -> str:
    """Return a token for MinIO's metrics, as `mc admin prometheus generate` makes it."""
    claims: dict[str, object] = {"exp": int(expires.timestamp()), "sub": access_key, "iss": "prometheus"}
    text = f"{_part({'alg': 'HS512', 'typ': 'JWT'})}.{_part(claims)}"
    return f"{text}.{_base64(hmac.digest(secret_key.encode(), text.encode(), 'sha512'))}"


def figures_of(text: str) -> Figures:
    """Read what MinIO's metrics tell of its Kafka targets."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for name, labels, value in samples(text, _OF_TARGET):
        if labels.get("target_name") == "kafka":
            found.setdefault((labels.get("server", ""), labels["target_id"]), {})[_OF_TARGET[name]] = value
    fields = _OF_TARGET.values()
    queues = (
        Queue(*place, *map(told.__getitem__, fields)) for place, told in found.items() if told.keys() >= {*fields}
    )
    return Figures(tuple(queues), int(_sum(text, _OF_NODES)), _sum(text, _CAME))


def _sum(text: str, names: Container[str]) -> float:
    return sum(value for _, _, value in samples(text, names))


def samples(text: str, names: Container[str]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield each sample of these names in Prometheus' text: name, labels, value."""
    for name, labels, value in _SAMPLE.findall(text):
        if name in names:
            yield name, dict(_LABEL.findall(labels)), float(value)


def _until(behind: Callable[[], str], ends: float) -> str:
    """Ask until nothing is behind (`''`) or the time is up; return the last answer. An outage is waited for, too."""
    while True:
        try:
            why = behind()
        except Unavailable as error:
            why = str(error)
        left = ends - monotonic()
        if not why or left <= 0:
            return why
        sleep(min(POLL_S, left))


def _part(content: dict[str, object]) -> str:
    return _base64(json.dumps(content, separators=(",", ":")).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
