"""`dead-letters list/show/replay/discard`: records that never decoded, and what becomes of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import islice

from consumer import deadletters
from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from consumer.commands.plan import Act, carry_out
from consumer.commands.replay import NO_KAFKA, of_kafka
from consumer.deadletters import DISCARDED, REPLAYED, Chosen, Wanted
from consumer.events import DIALECTS
from consumer.kafka_range import RangeReader
from consumer.letters import Buried, Origin
from consumer.replaying import Chosen as Everything
from consumer.replaying import must_keep, replaying
from reconcile.acts import Who
from reconcile.database import Database
from reconcile.human import Value
from reconcile.model import Misconfigured
from reconcile.report import Section, Table
from reconcile.settings import NEEDED, Settings
from reconcile.triage import batches

LISTED = ("id", "reason", "detail", "at", "size_bytes", "decision")
REASONS = ("reason", "letters", "decided")
SHOWN_BYTES = 2_000
NO_LETTER = "no dead letter has this origin; dead-letters list tells them"


def listing(call: Call) -> Answer:
    """List the latest dead letters, and how many there are by reason."""
    options = call.options
    at_least_one(options.limit)
    latest: deque[tuple[Origin, tuple[Value, ...]]] = deque(maxlen=options.limit)
    left, done, of_place = Counter[str](), Counter[str](), Counter[str]()
    with reading(call) as (_, opened, reader):
        decisions = deadletters.decided(opened)
        for letter in deadletters.letters(reader, Wanted(options.reason)):
            decision = decisions.get(deadletters.subject(letter.origin))
            (done if decision else left)[letter.reason] += 1
            of_place[str(letter.origin)] += 1
            if options.all or not decision:
                latest.append((letter.origin, (letter.reason, letter.detail, at(letter), size(letter), decision)))
    rows = [(named(origin, of_place), *told) for origin, told in reversed(latest)]
    reasons = [(reason, left[reason] + done[reason], done[reason]) for reason in sorted({*left, *done})]
    total = sum(left.values()) + (sum(done.values()) if options.all else 0)
    notes = (f"{len(latest):,} of {total:,}, the latest first",) if total > len(latest) else ()
    table = Table("dead_letters", LISTED, rows, none="there is none", notes=notes)
    by_reason = Table("by_reason", REASONS, reasons, "By reason", none="")
    return Answer(Section("dead_letters", "", {}, (table, by_reason)), drift=bool(left), lines=table)


def named(origin: Origin, of_place: Mapping[str, int]) -> str:
    """Return the short name of a letter, or the exact one where its place has several."""
    return str(origin) if of_place[str(origin)] == 1 else origin.exact


def at_least_one(limit: int) -> None:
    """Refuse a limit under which nothing would be found, as if there was nothing."""
    if limit < 1:
        raise Misconfigured(f"--limit {limit}: must be at least 1")


def at(letter: Buried) -> datetime | None:
    """Return when the record was written."""
    moment = letter.record.timestamp_ms
    return datetime.fromtimestamp(moment / 1000, UTC) if moment > 0 else None


def size(letter: Buried) -> int:
    """Return how large the record's value was."""
    return len(letter.record.value or b"") if letter.whole_bytes is None else letter.whole_bytes


def show(call: Call) -> Answer:
    """Show one dead letter: where it came from, why, what was decided, and its bytes."""
    wanted = Wanted(names=frozenset({call.options.id}))
    of_place, letter = Counter[str](), None
    with reading(call) as (settings, opened, reader):
        decisions = deadletters.decided(opened)
        for letter in deadletters.letters(reader, wanted):  # of a recreated topic the latest
            of_place[str(letter.origin)] += 1
    if letter is None:
        raise Misconfigured(f"{call.options.id!r}: {NO_LETTER}")
    value = letter.record.value or b""
    facts: dict[str, Value] = {
        "id": named(letter.origin, of_place),
        "topic": letter.origin.topic,
        "at": at(letter),
        "reason": letter.reason,
        "detail": letter.detail,
        "size_bytes": size(letter),
        "sha256": letter.sha256 or None,
        "decision": decisions.get(deadletters.subject(letter.origin)),
        "today": deadletters.still_poison(letter, DIALECTS[settings.stream.dialect]) or "decodes: replay it",
        "record_key": (letter.record.key or b"").decode(errors="backslashreplace"),
        "value": value[:SHOWN_BYTES].decode(errors="backslashreplace"),
    }
    headers = [(name, str(said)) for name, said in letter.record.headers]
    return Answer(Section("dead_letter", "", facts, (Table("headers", ("header", "value"), headers, none=""),)))


def replay(call: Call) -> Answer:
    """Send through again what decodes by now."""
    options = call.options
    with reading(call) as (settings, opened, reader):
        dialect = DIALECTS[settings.stream.dialect]
        still = Counter[str]()

        def decodes(letter: Buried) -> Buried | None:
            why = deadletters.still_poison(letter, dialect)
            still.update([why] if why else [])
            return None if why else letter

        ready = left_of(call, opened, reader, decodes)
        who = Who(call.who(), options.why)
        acts = [
            Act("replay", f"{len(some):,} dead letters", origins(some), partial(send, settings, opened, who, some))
            for some in batches(ready)
        ]
        left = Table("not_replayed", ("why", "letters"), still.most_common(), "Left as they are", none="")
        nothing = "no dead letter decodes today" if still else "there is none"
        return carry_out("replay", acts, apply=options.apply, nothing=nothing, parts=(left,))


def send(settings: Settings, opened: Database, who: Who, some: list[Buried]) -> str:
    """Send records through the path of the stream, and keep that it was done."""
    with replaying(settings, Everything()) as found:
        must_keep(found)
        outcome = found.apply(Chosen([letter.record for letter in some]), lambda _: None)
    deadletters.decide(opened, who, REPLAYED, some)
    left = {name: outcome.totals[name] for name in ("skipped", "unknown") if outcome.totals[name]}
    acts = ", ".join(f"{count:,} {act}" for act, count in sorted({**outcome.tally.acts, **left}.items()))
    return acts or "nothing had to be changed"


def discard(call: Call) -> Answer:
    """Take dead letters as seen."""
    with reading(call) as (_, opened, reader):
        who = Who(call.who(), call.options.why)
        acts = [
            Act(
                "discard",
                f"{len(some):,} dead letters",
                origins(some),
                partial(deadletters.decide, opened, who, DISCARDED, some),
            )
            for some in batches(left_of(call, opened, reader, without_value))
        ]
        return carry_out("discard", acts, apply=call.options.apply, nothing="there is none")


def left_of(call: Call, opened: Database, reader: RangeReader, kept: Callable[[Buried], Buried | None]) -> list[Buried]:
    """Return the letters that are named, or those that are not decided, each as it is `kept`, or not at all.

    Raises Misconfigured where a name is of none, or of several.
    """
    names, limit = call.options.ids, call.options.limit
    at_least_one(limit)
    decisions = deadletters.decided(opened)
    wanted = deadletters.letters(reader, Wanted(call.options.reason, frozenset(names)))
    undecided = (letter for letter in wanted if names or deadletters.subject(letter.origin) not in decisions)
    origins, found = list[Origin](), list[Buried]()
    for letter in islice(undecided, None if names else limit):
        origins.append(letter.origin)
        found += [one] if (one := kept(letter)) else []
    faults = [fault for name in dict.fromkeys(names) if (fault := misnamed(name, origins))]
    if faults:
        raise Misconfigured(*faults)
    return found


def misnamed(name: str, origins: Sequence[Origin]) -> str:
    """Say why a name does not mean one letter, `''` if it does."""
    exact = [origin.exact for origin in origins if origin.is_named(name)]
    match len(exact):
        case 0:
            return f"{name!r}: {NO_LETTER}"
        case 1:
            return ""
        case _:
            return f"{name!r}: names several dead letters, so say which: {', '.join(exact)}"


def without_value(letter: Buried) -> Buried:
    """Return what of a letter is needed to decide about it: its value may be a megabyte."""
    return letter._replace(record=letter.record._replace(value=None))


def origins(some: list[Buried]) -> str:
    """Name letters by their origins, the first and the last of many."""
    named = [str(letter.origin) for letter in some]
    return ", ".join(named) if len(named) <= 3 else f"{named[0]} … {named[-1]}"  # noqa: PLR2004 - what fits a line


@contextmanager
def reading(call: Call) -> Iterator[tuple[Settings, Database, RangeReader]]:
    """Open the dead letter topic and the database."""
    settings = call.settings(*NEEDED)
    if not settings.kafka:
        raise Misconfigured(NO_KAFKA)
    with (
        database(settings) as opened,
        RangeReader(settings.stream.dead_letter_topic, of_kafka(settings)) as reader,
    ):
        yield settings, opened, reader
