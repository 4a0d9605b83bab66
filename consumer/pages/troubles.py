"""What is wrong, the worst first, each with what to do about it.

It decides nothing and asks nobody: it says in words what the tables and this process tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from shlex import quote

from consumer.commands.brake import EVERYWHERE, OF_KIND
from consumer.commands.status import NEVER
from consumer.duties import counted, rulewatch
from consumer.duties.canary import Canary
from consumer.duties.losswatch import LossWindow
from reconcile.human import duration
from reconcile.inquiry import Record

LATE_S, FAR_BEHIND_S = 10.0, 300.0  # the objective of latency, and the alert's
SWEEP_TOO_OLD = timedelta(days=2)
UNPUBLISHED_TOO_LONG = timedelta(minutes=5)
TRIES = 2
LISTENING = "express.listening"


class Level(StrEnum):
    """How soon somebody is wanted."""

    ACT = "act"
    SOON = "soon"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is not as it should be; `do` are commands without the program, `see` a page, `book` a section."""

    level: Level
    said: str
    why: str = ""
    since: datetime | None = None
    do: tuple[str, ...] = ()
    see: str = ""
    book: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """What the process that is asked knows of itself."""

    still: str
    waits_for: str
    assigned: int | None


@dataclass(frozen=True, slots=True)
class Sight:
    """All that the overview is made of; `lanes` are the buckets that ought to be listened to."""

    now: datetime
    process: Process
    counted: counted.Counted | None
    restraints: Sequence[Record]
    leases: Sequence[Record]
    sweeps: Sequence[Record]
    wanted: Sequence[LossWindow]
    outbox: Record
    canaries: Mapping[str, Canary]
    lanes: Sequence[str]


def troubles(sight: Sight) -> list[Trouble]:
    """Return what is wrong, what wants somebody now before what can wait."""
    found = [
        *of_process(sight.process),
        *_restraints(sight.restraints),
        *_behind(sight),
        *_rules(sight.leases),
        *_canaries(sight.canaries),
        *_drift(sight.counted),
        *_lanes(sight),
        *_sweeps(sight),
        *_outbox(sight),
    ]
    return sorted(found, key=lambda one: one.level != Level.ACT)


def of_process(process: Process) -> Iterator[Trouble]:
    """Yield what keeps this very process from its work; it is known also while no server answers."""
    if process.still:
        said = "This process does not work any more"
        yield Trouble(Level.ACT, said, f"{process.still}; end it, nothing is lost", book="ReconcilerLag")
    if process.waits_for:
        said = f"{process.waits_for} is away: events wait, and none is lost"
        yield Trouble(Level.ACT, said, do=("doctor",), book="ReconcilerLag")
    elif process.assigned is None:
        yield Trouble(Level.SOON, "The group has not given this process its part yet", do=("doctor",))


def _restraints(restraints: Sequence[Record]) -> Iterator[Trouble]:
    for _, effect, bucket, kind, since, _, _, why, _ in restraints:
        match effect:
            case "brake":
                said = f"The brake holds {OF_KIND.get(kind, kind)} in {bucket or EVERYWHERE}"
                release = f'brake release --kind {kind} --why "..."'
                yield Trouble(
                    Level.ACT, said, why, since, ("brake status", release), "/findings?held=1", "ReconcilerBrakeOn"
                )
            case "unreadable":
                said = f"Bucket {bucket} cannot be read: nothing in it is decided"
                yield Trouble(Level.ACT, said, why, since, ("doctor",))
            case _:
                pass  # a person's own wish


def _behind(sight: Sight) -> Iterator[Trouble]:
    told = sight.counted
    if told is None:
        said = "Nobody counts findings and lag now"
        why = f"no process holds the lease `{counted.TASK}`; one that has just started takes it within seconds"
        yield Trouble(Level.SOON, said, why, do=("status",), book="ReconcilerNoFigures")
    elif told.lag_records is None:
        if sight.process.waits_for != "kafka":
            said = "How far the group is behind is not known: the broker does not say"
            yield Trouble(Level.SOON, said, do=("doctor",), book="ReconcilerLag")
    elif told.lag_records and (told.lag_s or 0) > LATE_S:
        level = Level.ACT if (told.lag_s or 0) > FAR_BEHIND_S else Level.SOON
        said = f"The group is behind: {told.lag_records:,} records, the oldest {duration(round(told.lag_s or 0))}"
        yield Trouble(level, said, "findings come late; nothing is lost", do=("status",), book="ReconcilerLag")
    if told is not None and told.undecided:
        said = (
            f"{_many(told.undecided, 'record', 'records')} never decoded, and nobody has decided what becomes of them"
        )
        yield Trouble(Level.SOON, said, do=("dead-letters list",), book="ReconcilerDeadLetters")


def _rules(leases: Sequence[Record]) -> Iterator[Trouble]:
    kept = [checkpoint for task, _, checkpoint, _ in leases if task == f"duty {rulewatch.NAME}"]
    for bucket, one in rulewatch.read(kept[0] if kept else None).items():
        if one.state == rulewatch.REFUSED:
            said = f"MinIO refuses to show the event rules of bucket {bucket}"
            yield Trouble(Level.SOON, said, one.why, do=("doctor",))
        elif one.lacking:
            said = f"MinIO does not send every event of bucket {bucket}"
            why = f"no rule for {', '.join(one.lacking)}; what happens meanwhile only a sweep finds"
            do = ("init --only bucket", "sweep")
            since = datetime.fromtimestamp(one.changed_at, UTC) if one.changed_at else None
            yield Trouble(Level.ACT, said, why, since, do, book="ReconcilerRulesLacking")


def _canaries(canaries: Mapping[str, Canary]) -> Iterator[Trouble]:
    for bucket, one in canaries.items():
        for lane, (cause, why) in sorted(one.judged.silent.items()):
            said = f"The {lane} lane of bucket {bucket} is silent: {cause}"
            yield Trouble(Level.ACT, said, why, do=("doctor",), book="ReconcilerCanarySilent")
        if one.judged.refused:
            said = f"The canary of bucket {bucket} could not be sent"
            yield Trouble(Level.SOON, said, one.judged.refused, do=("doctor",), book="ReconcilerCanaryNotSent")


def _drift(told: counted.Counted | None) -> Iterator[Trouble]:
    for kind, of in (told.kinds if told else {}).items():
        since = datetime.fromtimestamp(of.oldest_at, UTC) if of.oldest_at else None
        see = f"/findings?kind={kind}"
        if of.refused:
            said = f"{of.refused:,} flags were refused by the database"
            yield Trouble(Level.ACT, said, do=("config check", f"findings list --kind {kind}"), see=see)
        if of.open or of.suspected:
            yield _of_kind(kind, of, since, see)


def _of_kind(kind: str, of: counted.OfKind, since: datetime | None, see: str) -> Trouble:
    parts = [f"{of.open:,} open"] if of.open else []
    parts += [f"{of.suspected:,} suspected: a grace decides"] if of.suspected else []
    parts += [f"{of.flagged:,} marked"] if of.flagged else []
    why, count = ", ".join(parts), of.open + of.suspected
    groups = (f"findings list --kind {kind} --group-by cause",)
    match kind:
        case "missing":
            level = Level.ACT if of.open else Level.SOON
            said = f"{_many(count, 'version has', 'versions have')} no object"
            return Trouble(level, said, why, since, groups, see, "ReconcilerCorruptedVersions")
        case "mismatch":
            said = f"{_many(count, 'object is', 'objects are')} not what the row says"
            return Trouble(Level.ACT if of.open else Level.SOON, said, why, since, groups, see)
        case "orphan":
            said = f"{_many(count, 'object has', 'objects have')} no row"
            return Trouble(Level.SOON, said, why, since, ("orphans list --group-by prefix",), see)
        case _:
            said = f"{_many(count, 'object', 'objects')} should be gone by the row"
            return Trouble(Level.SOON, said, why, since, ("orphans list --group-by prefix",), see)


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _lanes(sight: Sight) -> Iterator[Trouble]:
    states = {task: checkpoint for task, _, checkpoint, _ in sight.leases}
    for bucket in sight.lanes:
        state = states.get(f"express {bucket}", "no process holds it")
        if state != LISTENING:
            said = f"The express lane of bucket {bucket} does not listen"
            why = f"{state or 'it begins'}; the topic tells the same, seconds later"
            yield Trouble(Level.SOON, said, why, do=("doctor",))


def _sweeps(sight: Sight) -> Iterator[Trouble]:
    for bucket, prefix, last_at, _, state, since, tries, why in sight.sweeps:
        named = f"sweep --bucket {quote(bucket)}" + (f" --prefix {quote(prefix)}" if prefix else "")
        where = f"bucket {bucket}" + (f" below {prefix}" if prefix else "")
        if state == NEVER:
            yield Trouble(Level.SOON, f"No sweep has ever compared {where}", do=(named,), book="ReconcilerSweepTooOld")
        elif tries and tries >= TRIES:
            said = f"The last {tries:,} sweeps of {where} did not come to their end"
            do = f"{named} --resume" if state == "running" else named  # of one that came to an end nothing is left
            yield Trouble(Level.SOON, said, why or "", since, (do,), "/sweeps", "ReconcilerSweepFails")
        elif not prefix and (last_at is None or sight.now - last_at > SWEEP_TOO_OLD):
            said = f"No sweep of {where} came to its end for two days"
            yield Trouble(Level.SOON, said, why or "", last_at, (named,), "/sweeps", "ReconcilerSweepTooOld")
    for one in sight.wanted:
        said = f"The stream may have missed events of bucket {one.bucket or EVERYWHERE}: {one.reason}"
        do = f"sweep --bucket {quote(one.bucket)}" if one.bucket else "sweep"
        yield Trouble(Level.SOON, said, one.detail, one.since, (do,), "/sweeps", "ReconcilerSweepWanted")


def _outbox(sight: Sight) -> Iterator[Trouble]:
    is_on, waiting, oldest = sight.outbox
    if waiting and is_on and sight.now - oldest > UNPUBLISHED_TOO_LONG:
        said = f"{waiting:,} changes of findings are not published yet"
        yield Trouble(Level.SOON, said, since=oldest, do=("doctor",))
