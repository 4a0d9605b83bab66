"""What is exported of the servers' state: read by a duty, from our schema and of the topic, by one process of many.

A broker that is away hides the lag alone; the figures of the database are shown all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from time import monotonic

import structlog

from consumer.counting import Figure, Leased
from consumer.duties import canary, counted, rulewatch
from consumer.duties.canary import Arrival, Canary
from consumer.duties.counted import Found, Groups
from consumer.duties.duty import Duty, Turn
from consumer.duties.losswatch import wanted
from consumer.duties.rulewatch import Watched
from consumer.kafka.positions import Asker, Lag
from consumer.kafka.settings import Settings as Kafka
from consumer.letters import deadletters
from consumer.metrics import AGES, CAUSES, METERS
from reconcile import inquiry
from reconcile.database import Connection, Database, queries, sql_file
from reconcile.inquiry import Record
from reconcile.model import Misconfigured, State, Unavailable
from reconcile.sweeps.drift import DRIFTS
from reconcile.sweeps.sums import TODAY, WEEK

log = structlog.get_logger("figures")
SQL = queries(sql_file("figures.sql"))
INTERVAL_S = 10.0
OF_BRAKE = {"missing": "missing", "mismatch": "missing", "orphan": "orphan", "leftover": "orphan"}
ACTIVE = (State.SUSPECTED, State.OPEN)


@dataclass(frozen=True, slots=True)
class Topics:
    """The topic of events, that of its dead letters, and how the broker is reached."""

    events: str
    dead_letters: str
    kafka: Kafka


@dataclass
class Reader:
    """Reads figures each time that its duty is done; one thread owns it."""

    leased: Leased
    topics: Topics
    buckets: Sequence[str]
    lanes: Sequence[str]
    exits: ExitStack
    canary_lanes: Sequence[str] = ()
    canary_interval_s: float = 0.0
    groups: dict[tuple[str, str], Groups] = field(default_factory=dict)
    _asker: Asker | None = None

    def duty(self) -> Duty:
        """Return the duty."""
        return Duty("figures", INTERVAL_S, self.read)

    def read(self, turn: Turn) -> None:
        """Read everything, and show it for as long as the lease surely lasts."""
        taken = monotonic()  # the lease was taken just before, by the database's clock: the margin is more than that
        figures, found = self.of_database(turn.world.database)
        with turn.world.database.use() as connection:
            dealt_with = deadletters.decided(connection)
        figures += self.of_topics(dealt_with)
        self.leased.show(figures, taken + 2 * INTERVAL_S - 1.0)
        turn.keep(counted.kept(figures, found))

    def of_database(self, database: Database) -> tuple[list[Figure], list[Found]]:
        """Read our schema, in one moment; also return the findings as they were counted."""
        with database.use() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            connection.execute("SET LOCAL enable_seqscan = on")
            found = [Found(*row) for row in connection.execute(SQL["findings"]).fetchall()]
            return [*self._of_findings(found), *_of_work(connection), *self._of_sweeps(connection)], found

    def of_topics(self, decided: int = 0) -> list[Figure]:
        """Ask the broker; nothing where it is away, and each topic shows what it can.

        `decided` is how many dead letters a person has dealt with.
        """
        try:
            if self._asker is None:
                self._asker = self.exits.enter_context(Asker(self.topics.events, self.topics.kafka))
            figures = list(lag_figures(self._asker.lags(), wall_ms()))
        except (Unavailable, Misconfigured) as outage:
            log.info("figures.without_lag", why=str(outage))
            return []
        return figures + self._of_dead_letters(self._asker, decided)

    def _of_dead_letters(self, asker: Asker, decided: int) -> list[Figure]:
        try:
            held = asker.held(self.topics.dead_letters)
            return [
                Figure("reconciler_dead_letters_kept", held.now),
                Figure("reconciler_dead_letters_undecided", deadletters.undecided(held.now, held.ever, decided)),
            ]
        except (Unavailable, Misconfigured) as outage:
            log.info("figures.without_dead_letters", why=str(outage))
            return []

    def _of_findings(self, found: Sequence[Found]) -> Iterator[Figure]:
        yield from summed("reconciler_findings", ((one.count, one.kind, one.state) for one in found))
        flagged = Counter[str]()
        for one in found:
            flagged[one.group] += one.count * one.flagged
        yield from self._grouped("reconciler_corrupted_versions", "", flagged)
        for kind in ("orphan", "leftover"):
            active = [one for one in found if one.kind == kind and one.state in ACTIVE]
            counts = Counter[str]()
            for one in active:
                counts[one.group] += one.count
            yield from self._grouped("reconciler_orphans", kind, counts)
            yield Figure("reconciler_orphans_bytes", sum(one.size_bytes for one in active), (kind,))
        yield from summed("reconciler_held_findings", ((one.count * one.held, OF_BRAKE[one.kind]) for one in found))

    def _grouped(self, name: str, kind: str, counts: Mapping[str, int]) -> Iterator[Figure]:
        labels = (kind,) if kind else ()
        for group, count in self.groups.setdefault((name, kind), Groups()).shown(counts):
            yield Figure(name, count, (*labels, group))

    def _of_sweeps(self, connection: Connection) -> Iterator[Figure]:
        whole = [record for record in inquiry.records(connection, "sweeps") if record[1] is None]
        known = self._known(connection) or {record[0] for record in whole}
        for bucket in sorted(known):
            record = next((one for one in whole if one[0] == bucket), None)
            yield from _sweep_figures(bucket, record)
        swept = connection.execute(SQL["swept"], {"today": TODAY, "week": WEEK}).fetchall()
        for bucket, kind, age, meter, count in swept:
            if bucket in known:
                labels = (bucket, kind, age.replace(" ", "_"), meter.replace(" ", "_"))
                yield Figure("reconciler_swept_drifts", count, labels)
        yield from summed("reconciler_sweep_wanted", ((1, one.reason) for one in wanted(connection)))
        states = {task: state for task, _, state, _ in inquiry.records(connection, "leases")}
        if self.canary_lanes:
            yield Figure("reconciler_canary_interval_seconds", self.canary_interval_s)
            kept = canary.kept(connection)
            yield from canary_figures(
                {bucket: kept.get(bucket, Canary()) for bucket in self.buckets}, self.canary_lanes
            )
        yield from rule_figures(rulewatch.read(states.get(f"duty {rulewatch.NAME}")))
        for bucket in self.lanes:
            yield Figure("reconciler_express_lanes", states.get(f"express {bucket}") == "express.listening", (bucket,))

    def _known(self, connection: Connection) -> set[str]:
        """Return the buckets that the configuration names, or live rows: one that is given up makes nobody wait."""
        counted = {bucket for bucket, live, *_ in inquiry.records(connection, "live_rows") if bucket and live}
        return {*self.buckets, *counted}


def summed(name: str, counted: Iterable[tuple[object, ...]]) -> Iterator[Figure]:
    """Yield the sums of counts by their labels, each (count, label, ...)."""
    sums = Counter[tuple[str, ...]]()
    for count, *labels in counted:
        sums[tuple(map(str, labels))] += int(str(count))
    for told, total in sums.items():
        yield Figure(name, total, told)


def _of_work(connection: Connection) -> Iterator[Figure]:
    yield Figure("reconciler_figures_timestamp_seconds", inquiry.now(connection).timestamp())
    restraints = connection.execute(SQL["restraints"]).fetchall()
    yield from summed("reconciler_restraints", ((count, effect) for effect, _, count in restraints))
    brakes = ((count, OF_BRAKE.get(kind, kind)) for effect, kind, count in restraints if effect == "brake")
    yield from summed("reconciler_brakes", brakes)
    [(planned, due, _)] = inquiry.records(connection, "looks")
    yield Figure("reconciler_looks_planned", planned)
    yield Figure("reconciler_looks_due", due)
    for (age_s,) in connection.execute(SQL["young"]).fetchall():
        yield Figure("reconciler_young_age_seconds", age_s)
    for bucket, live, *_ in inquiry.records(connection, "live_rows"):
        yield Figure("reconciler_live_rows", live, (bucket or "",))


def _sweep_figures(bucket: str, record: Record | None) -> Iterator[Figure]:
    """Yield what the last complete sweep and those since tell of one bucket; 0 where there was none."""
    began: datetime | None = record[2] if record else None
    yield Figure("reconciler_last_complete_sweep_timestamp_seconds", began.timestamp() if began else 0.0, (bucket,))
    yield Figure("reconciler_sweeps_unfinished", (record[6] or 0) if record else 0, (bucket,))
    for labels in product(DRIFTS, AGES, METERS):
        yield Figure("reconciler_swept_drifts", 0, (bucket, *labels))


def rule_figures(watched: Mapping[str, Watched]) -> Iterator[Figure]:
    """Yield what is known of each bucket's event rules."""
    for bucket, one in watched.items():
        if one.state != rulewatch.REFUSED:  # then nobody knows what it lacks
            for event, lacks in rulewatch.missing(one).items():
                yield Figure("reconciler_rules_lacking", lacks, (bucket, event))
        yield Figure("reconciler_rules_changed_timestamp_seconds", one.changed_at, (bucket,))
        yield Figure("reconciler_rules_refused", one.state == rulewatch.REFUSED, (bucket,))


def canary_figures(kept: Mapping[str, Canary], lanes: Sequence[str]) -> Iterator[Figure]:
    """Yield what each bucket's canary tells, of the lanes that are listened to."""
    for bucket, one in kept.items():
        yield Figure("reconciler_canary_sent_timestamp_seconds", one.sent_at, (bucket,))
        yield Figure("reconciler_canary_refused", bool(one.judged.refused), (bucket,))
        for lane in lanes:
            arrival, (cause, _) = one.lanes.get(lane, Arrival()), one.judged.silent.get(lane, ("", ""))
            yield Figure("reconciler_canary_arrived_timestamp_seconds", arrival.at or 0.0, (bucket, lane))
            if arrival.took_s is not None:
                yield Figure("reconciler_canary_latency_seconds", arrival.took_s, (bucket, lane))
            for word in CAUSES:
                yield Figure("reconciler_canary_silent", word == cause, (bucket, lane, word))


def lag_figures(lags: Iterable[Lag], now_ms: float) -> Iterator[Figure]:
    """Yield how far each partition is behind; one whose oldest record could not be had tells no age."""
    for one in lags:
        label = (str(one.partition),)
        yield Figure("reconciler_lag_records", one.records, label)
        if not one.records:
            yield Figure("reconciler_lag_seconds", 0.0, label)
        elif one.oldest_ms is not None:
            yield Figure("reconciler_lag_seconds", max(now_ms - one.oldest_ms, 0) / 1000, label)


def wall_ms() -> float:
    """Return the time in milliseconds since 1970, as records tell theirs."""
    return datetime.now(UTC).timestamp() * 1000  # noqa: TID251 - the shell is where the time comes in
