"""The catalogue of metrics: each one's name, kind, unit, labels and meaning. What is exported, is named here. Pure.

A label whose values are known is there from 0 with each of them; one whose values the world brings (`...`) appears
with the first. What is `leased` is read from the servers by one process of many, so that replicas do not count double.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from types import MappingProxyType
from typing import NamedTuple

from consumer.duties import losses
from reconcile.life import LIFE, Input
from reconcile.model import FINAL, Action, Kind, State
from reconcile.store.eventrules import EVENTS
from reconcile.sweeps import meter
from reconcile.sweeps.drift import DRIFTS, Meter

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
OPEN = None  # a label's values that nobody can list
Labels = Mapping[str, tuple[str, ...] | None]

SERVERS = ("kafka", "minio", "postgresql")
PATHS = ("stream", "express", "young")
ANSWERS = ("present", "absent", "unknown", "not_asked")
REASONS = ("bad-bucket", "bad-etag", "bad-key", "bad-version", "no-records", "not-json", "tombstone", "wrong-shape")
OF_LOOKS = (Input.DRIFT, Input.RIPE, Input.OTHER, Input.HEALTHY, Input.FOREIGN)
ACTS = tuple(
    sorted(
        {act.replace(" ", "_") for (_, said), (_, act) in LIFE.items() if said in OF_LOOKS}
        | {"flagged", "flagged_after_release", "given_back", "held", "refused"}
    )
)
KINDS = tuple(Kind)
STATES = tuple(state for state in State if state not in FINAL)
BRAKES = ("missing", "orphan", "purge")
EFFECTS = ("brake", "suppress", "ignore", "unreadable")
OF_OBJECTS = ("orphan", "leftover")
METERS = tuple(meter.replace(" ", "_") for meter in Meter)
AGES = tuple(age.replace(" ", "_") for age in meter.AGES)
STAGES = ("read", "committed")
ACTIONS = tuple(Action)
LATENCIES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0)
LANES = ("durable", "express")
CAUSES = (
    "rule_removed",
    "target_gone",
    "broker_unreachable",
    "not_consumed",
    "stream_buffered",
    "stream_broken",
    "no_lane",
    "unknown",
)
RECORDS = (1.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)


class Metric(NamedTuple):
    """One family of the catalogue; `labels` name the values of each label, or OPEN."""

    name: str
    kind: str
    unit: str
    meaning: str
    labels: Labels = MappingProxyType({})
    leased: bool = False
    buckets: tuple[float, ...] = ()

    def known(self) -> Iterator[tuple[str, ...]]:
        """Yield the values of all labels that are there from 0; nothing where one of them is open."""
        values = [told for told in self.labels.values() if told is not None]
        if len(values) == len(self.labels):
            yield from product(*values)


def counter(name: str, unit: str, meaning: str, **labels: tuple[str, ...] | None) -> Metric:
    """Return a counter of one process."""
    return Metric(name, COUNTER, unit, meaning, labels)


def gauge(name: str, unit: str, meaning: str, **labels: tuple[str, ...] | None) -> Metric:
    """Return a gauge of one process."""
    return Metric(name, GAUGE, unit, meaning, labels)


def leased(name: str, unit: str, meaning: str, **labels: tuple[str, ...] | None) -> Metric:
    """Return a gauge that the holder of the lease exports alone."""
    return Metric(name, GAUGE, unit, meaning, labels, leased=True)


OF_PROCESS = (
    gauge("reconciler_build_info", "", "Always 1; the label tells the version.", version=OPEN),
    counter("reconciler_turns_total", "turns", "Turns of the loop."),
    counter("reconciler_records_total", "records", "Records read from the topic of events."),
    Metric(
        "reconciler_batch_records",
        HISTOGRAM,
        "records",
        "Records of one turn, of those that read any.",
        buckets=RECORDS,
    ),
    counter("reconciler_skipped_events_total", "events", "Events of keys that are not watched, or of no interest."),
    counter("reconciler_dead_letters_total", "records", "Records that never decode, buried.", reason=REASONS),
    counter("reconciler_settled_total", "events", "Events that a glance at the rows settled."),
    gauge("reconciler_held_records", "records", "Records that wait for their row to be committed."),
    counter("reconciler_looks_total", "looks", "References looked at on both sides, by who named them.", path=PATHS),
    counter("reconciler_answers_total", "answers", "What MinIO's answers about objects proved.", answer=ANSWERS),
    counter("reconciler_busy_total", "looks", "Looks put off because somebody else was at the same rows.", path=PATHS),
    counter("reconciler_changes_total", "changes", "Changes of findings, by what happened.", act=ACTS),
    gauge("reconciler_assigned_partitions", "partitions", "Partitions that this process reads."),
    gauge("reconciler_outage", "", "1 while the loop waits for this server.", server=SERVERS),
    counter(
        "reconciler_unmeasured_events_total", "events", "Events without a latency: no time, or no clock to hold it to."
    ),
    counter("reconciler_early_events_total", "events", "Events read before their own time: MinIO's clocks differ."),
    gauge("reconciler_clock_ahead_seconds", "seconds", "How far MinIO's clock is ahead of this machine's."),
    gauge("reconciler_clock_uncertainty_seconds", "seconds", "How much more or less that may be; -1: not known."),
    counter("reconciler_outages_total", "outages", "How often the loop had to wait for this server.", server=SERVERS),
)
SAMPLED = (
    Metric(
        "reconciler_event_latency_seconds",
        HISTOGRAM,
        "seconds",
        "From an event's time, by MinIO's clock, until it was read, and until its offset was committed.",
        {"stage": STAGES, "kind": ACTIONS},
        buckets=LATENCIES,
    ),
)
LEASED = (
    leased("reconciler_figures_timestamp_seconds", "seconds", "When the figures of the lease's holder were read."),
    leased("reconciler_findings", "findings", "Findings that are not closed.", kind=KINDS, state=STATES),
    leased("reconciler_corrupted_versions", "versions", "Versions that carry our flag, by group.", group=OPEN),
    leased("reconciler_orphans", "objects", "Objects without a row, suspected or open.", kind=OF_OBJECTS, group=OPEN),
    leased("reconciler_orphans_bytes", "bytes", "What those objects hold.", kind=OF_OBJECTS),
    leased("reconciler_held_findings", "findings", "Findings that a brake holds.", kind=BRAKES),
    leased("reconciler_brakes", "brakes", "Brakes that are on, by what they hold.", kind=BRAKES),
    leased("reconciler_restraints", "restraints", "Restraints in force, by their effect.", effect=EFFECTS),
    leased("reconciler_looks_planned", "looks", "Looks that are planned."),
    leased("reconciler_looks_due", "looks", "Looks that are due and not done."),
    leased("reconciler_young_age_seconds", "seconds", "Age of the rows that were looked at last for lack of an event."),
    leased("reconciler_live_rows", "rows", "Live rows as they were counted last.", bucket=OPEN),
    leased(
        "reconciler_last_complete_sweep_timestamp_seconds",
        "seconds",
        "When the last complete sweep of a bucket began; 0 if there was none.",
        bucket=OPEN,
    ),
    leased("reconciler_sweeps_unfinished", "sweeps", "Sweeps since the last complete one.", bucket=OPEN),
    leased(
        "reconciler_swept_drifts",
        "drifts",
        "Drifts of the last complete sweep, by whether the stream should have told of them: the loss meter.",
        bucket=OPEN,
        kind=DRIFTS,
        age=AGES,
        meter=METERS,
    ),
    leased("reconciler_sweep_wanted", "sweeps", "Loss windows that no sweep has covered yet.", reason=losses.REASONS),
    leased("reconciler_lag_records", "records", "Records that the group has not committed.", partition=OPEN),
    leased("reconciler_lag_seconds", "seconds", "The age of the oldest of those records.", partition=OPEN),
    leased("reconciler_dead_letters_kept", "records", "Records in the topic of dead letters."),
    leased(
        "reconciler_dead_letters_undecided", "records", "Those of them that nobody has replayed or discarded, at most."
    ),
    leased(
        "reconciler_rules_lacking",
        "rules",
        "1 for each event that no rule sends to the topic for every key of a bucket.",
        bucket=OPEN,
        event=EVENTS,
    ),
    leased(
        "reconciler_rules_changed_timestamp_seconds",
        "seconds",
        "When a bucket's event rules were seen to have changed; 0: they did not.",
        bucket=OPEN,
    ),
    leased("reconciler_rules_refused", "", "1 if MinIO does not let us read a bucket's event rules.", bucket=OPEN),
    leased("reconciler_canary_interval_seconds", "seconds", "How often a canary is to be sent."),
    leased(
        "reconciler_canary_sent_timestamp_seconds",
        "seconds",
        "When the latest canary was sent; 0: none yet.",
        bucket=OPEN,
    ),
    leased("reconciler_canary_refused", "", "1 if MinIO does not let the canary be put or deleted.", bucket=OPEN),
    leased(
        "reconciler_canary_arrived_timestamp_seconds",
        "seconds",
        "When a lane told of a canary last; 0: never yet.",
        bucket=OPEN,
        lane=LANES,
    ),
    leased(
        "reconciler_canary_latency_seconds",
        "seconds",
        "How long a lane took to tell of the latest canary that it told of.",
        bucket=OPEN,
        lane=LANES,
    ),
    leased(
        "reconciler_canary_silent",
        "",
        "1 for the likely cause that a lane told of none of the latest canaries.",
        bucket=OPEN,
        lane=LANES,
        cause=CAUSES,
    ),
    leased("reconciler_express_lanes", "lanes", "1 if the bucket's express lane listens.", bucket=OPEN),
)
CATALOGUE = (*OF_PROCESS, *SAMPLED, *LEASED)
