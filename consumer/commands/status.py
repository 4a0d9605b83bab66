"""`status`: the state of everything on one screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from consumer.commands.answer import Answer
from consumer.commands.brake import OF_KIND
from consumer.commands.call import Call, database
from consumer.commands.latency import clock_facts, clock_of, paths_of
from consumer.commands.streaming import canary_of, rules_of
from consumer.duties import canary
from consumer.duties.losswatch import LossWindow, wanted
from consumer.kafka.positions import GroupOffset, group_offsets
from consumer.letters import deadletters
from reconcile import inquiry
from reconcile.config.settings import Settings
from reconcile.database import Connection
from reconcile.human import Value
from reconcile.inquiry import Record
from reconcile.model import Misconfigured, Unavailable
from reconcile.opening import named_buckets
from reconcile.reports.forms import Section, Table

DRIFT = ("kind", "suspected", "open", "flagged", "held", "refused", "set_aside", "size_bytes", "oldest_at")
GROUPS = ("group", "missing", "mismatch", "findings")
LANES = ("task", "state", "held_by")
SWEEPS = ("bucket", "prefix", "last_complete_at", "drifts", "since_then", "first_at", "tries", "why")
SCRUBS = (
    "bucket", "prefix", "last_complete_at", "objects", "mismatch", "missing", "cycle_began_at", "read_so_far",
    "mismatch_so_far", "stopped_after",
)  # fmt: skip
METER = ("bucket", "swept_at", "lost_or_silent", "never_an_event", "unmeasured")
NEVER = "never swept"
WANTED = ("id", "bucket", "reason", "from_at", "to_at", "times", "detail")
SWEEP = (
    "a complete sweep that begins after it covers it; of a bucket that is gone: sweep --dismiss ID --why TEXT --apply"
)
ACTS = ("act", "count", "last_at")
RESTRAINTS = ("restraint", "bucket", "since_at", "until_at", "set_by", "why")
WORTH_TELLING = (
    "suspected", "opened", "flagged", "flagged after release", "given back", "resolved", "held", "released", "refused",
    "flagged by others",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kept:
    """What our schema tells, all read in one moment."""

    now: datetime
    drift: Sequence[Record]
    groups: Sequence[Record]
    looks: Record
    restraints: Sequence[Record]
    leases: Sequence[Record]
    live_rows: Sequence[Record]
    sightings: Sequence[Record]
    acts: Sequence[Record]
    sweeps: Sequence[Record]
    meter: Sequence[Record]
    scrubs: Sequence[Record]
    outbox: Record
    letters_decided: int
    wanted: Sequence[LossWindow]
    canaries: Mapping[str, canary.Canary]


@dataclass(frozen=True, slots=True)
class Reading:
    """How far the group is with a topic, or why that is not known."""

    offsets: Sequence[GroupOffset] = ()
    trouble: str = ""


def status(call: Call) -> Answer:
    """Show lag, drift, brakes, lanes, looks and latency at once."""
    settings = call.settings("database.url")
    with database(settings) as opened, inquiry.reading(opened) as connection:
        kept = read(connection)
    events, letters = (
        read_topic(settings, name) for name in (settings.stream.topic, settings.stream.dead_letter_topic)
    )
    section = shown(settings, kept, reading_facts(settings, events, letters, kept.letters_decided))
    drift = any(suspected or opened for _, suspected, opened, *_ in kept.drift)
    return Answer(section, kept.now, drift=drift, incomplete=bool(events.trouble or letters.trouble))


def read(connection: Connection) -> Kept:
    """Read everything that is kept."""
    [looks] = inquiry.records(connection, "looks")
    [outbox] = inquiry.records(connection, "outbox")
    return Kept(
        now=inquiry.now(connection),
        drift=inquiry.records(connection, "drift"),
        groups=inquiry.records(connection, "drift_by_group"),
        looks=looks,
        restraints=inquiry.records(connection, "restraints", effects=["brake", "unreadable", "suppress", "ignore"]),
        leases=inquiry.records(connection, "leases"),
        live_rows=inquiry.records(connection, "live_rows"),
        sightings=inquiry.records(connection, "sightings"),
        acts=inquiry.records(connection, "acts", acts=list(WORTH_TELLING)),
        sweeps=inquiry.records(connection, "sweeps"),
        meter=inquiry.records(connection, "meter"),
        scrubs=inquiry.records(connection, "scrubs"),
        outbox=outbox,
        letters_decided=deadletters.decided(connection),
        wanted=wanted(connection),
        canaries=canary.kept(connection),
    )


def read_topic(settings: Settings, name: str) -> Reading:
    """Ask how far the group is with a topic; a broker that is away does not hide the rest."""
    if not settings.kafka:
        return Reading()
    try:
        return Reading(group_offsets(name, settings.kafka))
    except (Unavailable, Misconfigured) as error:
        return Reading(trouble=str(error))


def shown(settings: Settings, kept: Kept, reading: Mapping[str, Value]) -> Section:
    """Return the screen."""
    clock = clock_of(kept.leases)
    facts = {**mode_facts(settings, kept), **reading, **look_facts(kept), **outbox_facts(kept), **clock_facts(clock)}
    parts = [
        Table("drift", DRIFT, drift_rows(kept.drift), "Drift", none="no drift"),
        Table("groups", GROUPS, kept.groups, "Files in drift, by group"),
        Table("restraints", RESTRAINTS, list(restraint_rows(kept.restraints)), "Restraints"),
        Table("lanes", LANES, list(lane_rows(kept.leases)), "Lanes and duties", none="no consumer holds a lease"),
        Table(
            "sweeps",
            SWEEPS,
            list(sweep_rows(kept.sweeps, kept.live_rows, named_buckets(settings))),
            "Last complete sweeps",
        ),
        Table("meter", METER, kept.meter, "Loss meter: should an event have told of what the last sweep found?"),
        Table("scrubs", SCRUBS, kept.scrubs, "Last complete scrubs, and those that go on"),
        rules_of(kept.leases),
        Table("wanted", WANTED, kept.wanted, "Sweeps wanted: the stream may have missed something", notes=(SWEEP,)),
        canary_of(kept.canaries if settings.canary.interval else {}),
        paths_of(kept.sightings, clock),
        Table("acts", ACTS, kept.acts, "What happened, last 24 h", none="nothing"),
    ]
    always = {"drift", "lanes"}
    told = tuple(part for part in parts if part.rows or part.name in always)
    title = "storage-reconciler" + ("" if settings.flagging else ", observing only: no row is touched")
    return Section("status", title, facts, told)


def mode_facts(settings: Settings, kept: Kept) -> dict[str, Value]:
    """Return whether rows are flagged or only observed, and how many would be flagged."""
    brakes = [record for record in kept.restraints if record[1] == "brake"]
    flagged = sum(record[3] for record in kept.drift)
    would = sum(record[7] for record in kept.drift)
    mode: dict[str, Value] = {"flagging": settings.flagging, "flagged_rows": flagged}
    if not settings.flagging:
        mode["would_have_flagged"] = would
    held = sum(record[4] for record in kept.drift)
    return mode | {"brake": "on" if brakes else "off", "held": held} | live_facts(kept, flagged)


def live_facts(kept: Kept, ours: int) -> dict[str, Value]:
    """Return how many rows are live, how many carry a flag that is not ours, and as of when, once they were counted."""
    if not kept.live_rows:
        return {}
    counted_at = min(record[2] for record in kept.live_rows)
    others = max(sum(record[3] for record in kept.live_rows) - ours, 0)
    live = sum(record[1] for record in kept.live_rows)
    return {"flagged_by_others": others, "live_rows": live, "rows_counted_at": counted_at}


def reading_facts(settings: Settings, events: Reading, letters: Reading, decided: int) -> dict[str, Value]:
    """Return topic, lag and dead letters, or what keeps them from being known; `decided` of these are dealt with."""
    if not settings.kafka:
        return {"topic": "no [kafka] is configured"}
    facts: dict[str, Value] = {"topic": settings.stream.topic}
    if events.trouble:
        facts["topic_trouble"] = events.trouble
    else:
        facts["lag"] = sum(place.lag for place in events.offsets)
        facts["partitions"] = len(events.offsets)
        facts["partitions_never_committed"] = sum(place.committed is None for place in events.offsets)
    if letters.trouble:
        facts["dead_letters_trouble"] = letters.trouble
    else:
        ever = sum(place.high_watermark for place in letters.offsets)
        facts["dead_letters"] = kept = ever - sum(place.low_watermark for place in letters.offsets)
        facts["dead_letters_undecided"] = deadletters.undecided(kept, ever, decided)
    return facts


def look_facts(kept: Kept) -> dict[str, Value]:
    """Return how many looks are planned and due."""
    planned, due, oldest = kept.looks
    return {"looks_planned": planned, "looks_due": due, "next_look_at": oldest}


def outbox_facts(kept: Kept) -> dict[str, Value]:
    """Return how many changes of findings wait to be published, where they are or were."""
    is_on, waiting, oldest = kept.outbox
    return {"unpublished_changes": waiting, "unpublished_since_at": oldest} if is_on or waiting else {}


def drift_rows(drift: Sequence[Record]) -> list[Record]:
    """Return the cells by kind, without what only the facts tell."""
    return [(*record[:7], *record[8:]) for record in drift]


def restraint_rows(restraints: Sequence[Record]) -> Iterator[tuple[Value, ...]]:
    """Yield what holds changes back: brakes, unreadable buckets, suppression, ignore rules."""
    for number, effect, bucket, kind, since, until, actor, why, pattern in restraints:
        where = f"{bucket or 'all buckets'}{f': {pattern}' if pattern else ''}"
        yield restraint_name(number, effect, kind), where, since, None if effect == "unreadable" else until, actor, why


def restraint_name(number: int, effect: str, kind: str | None) -> str:
    """Name a restraint as the command that lifts it does."""
    match effect:
        case "brake":
            return f"brake on {OF_KIND.get(kind or '', kind)}"
        case "suppress":
            return f"suppress {number}"
        case "ignore":
            return f"rule {number}"
        case _:
            return effect


def lane_rows(leases: Sequence[Record]) -> Iterator[tuple[str, str, str]]:
    """Yield who holds which lease; a duty's checkpoint is its own business."""
    for task, owner, checkpoint, _ in leases:
        is_lane = task.startswith("express")
        yield task, (checkpoint or "held").removeprefix("express.") if is_lane else "held", owner


def sweep_rows(sweeps: Sequence[Record], live: Sequence[Record], named: Sequence[str]) -> Iterator[Record]:
    """Yield when each bucket was last swept to its end; also of a bucket that never was, so that nobody misses it."""
    yield from sweeps
    whole = {record[0] for record in sweeps if record[1] is None}
    counted = (record[0] for record in live if record[0])
    for bucket in sorted({*named, *counted} - whole):
        yield bucket, None, None, None, NEVER, None, None, None
