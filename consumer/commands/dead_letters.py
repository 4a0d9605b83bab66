"""`dead-letters list/show/replay/discard`: records that never decoded, and what becomes of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace as changed
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import NamedTuple

from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from consumer.commands.plan import Act, carry_out
from consumer.kafka.range import RangeReader
from consumer.letters import deadletters
from consumer.letters.deadletters import DISCARDED, REPLAYED, Chosen, Wanted
from consumer.letters.letter import Buried, Origin
from consumer.letters.register import Register
from consumer.runs.replaying import Chosen as Everything
from consumer.runs.replaying import must_keep, replaying, stream_as_configured
from reconcile.acts import Who
from reconcile.config.renewal import Kafka
from reconcile.config.settings import NEEDED, Settings
from reconcile.database import Database
from reconcile.human import Value
from reconcile.model import Misconfigured
from reconcile.repair.triage import batches
from reconcile.reports.forms import Section, Table
from reconcile.sweeps.drift import HELD_BY_BRAKE, HELD_BY_WINDOW

LISTED = ("id", "reason", "detail", "at", "size_bytes", "decision")
REASONS = ("reason", "letters", "decided")
SHOWN_BYTES = 2_000
GONE = "gone from the topic"  # between the plan and the act
NOT_DONE = ("unknown", "not_asked", GONE)
NO_LETTER = "no dead letter has this origin; dead-letters list tells them"


def listing(call: Call) -> Answer:
    """List the latest dead letters, and how many there are by reason."""
    options = call.options
    latest: deque[tuple[Origin, tuple[Value, ...]]] = deque(maxlen=options.limit)
    left, done = Counter[str](), Counter[str]()
    with reading(call) as (_, __, topic):
        for letter in topic.letters(Wanted(options.reason)):
            decision = topic.decision(letter)
            (done if decision else left)[letter.reason] += 1
            if options.all or not decision:
                latest.append((letter.origin, (letter.reason, letter.detail, at(letter), size(letter), decision)))
        rows = [(topic.register.name(origin), *told) for origin, told in reversed(latest)]
    reasons = [(reason, left[reason] + done[reason], done[reason]) for reason in sorted({*left, *done})]
    total = sum(left.values()) + (sum(done.values()) if options.all else 0)
    notes = (f"{len(latest):,} of {total:,}, the latest first",) if total > len(latest) else ()
    table = Table("dead_letters", LISTED, rows, none="there is none", notes=notes)
    by_reason = Table("by_reason", REASONS, reasons, "By reason", none="")
    return Answer(Section("dead_letters", "", {}, (table, by_reason)), drift=bool(left), lines=table)


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
    with reading(call) as (settings, _, topic):
        latest = deque(topic.letters(wanted), maxlen=1)  # of a recreated topic
        if not latest:
            raise Misconfigured(f"{call.options.id!r}: {NO_LETTER}")
        [letter] = latest
        name, decision = topic.register.name(letter.origin), topic.decision(letter)
    value = letter.record.value or b""
    facts: dict[str, Value] = {
        "id": name,
        "topic": letter.origin.topic,
        "at": at(letter),
        "reason": letter.reason,
        "detail": letter.detail,
        "size_bytes": size(letter),
        "sha256": letter.sha256 or None,
        "decision": decision,
        "today": deadletters.in_the_way(letter, stream_as_configured(settings)) or "decodes: replay it",
        "record_key": (letter.record.key or b"").decode(errors="backslashreplace"),
        "value": value[:SHOWN_BYTES].decode(errors="backslashreplace"),
    }
    headers = [(name, str(said)) for name, said in letter.record.headers]
    return Answer(Section("dead_letter", "", facts, (Table("headers", ("header", "value"), headers, none=""),)))


def replay(call: Call) -> Answer:
    """Send through again what decodes by now."""
    options = call.options
    with reading(call) as (settings, opened, topic):
        stream = stream_as_configured(settings)
        still = Counter[str]()

        def decodes(letter: Buried) -> Buried | None:
            why = deadletters.in_the_way(letter, stream)
            still.update([why] if why else [])
            return None if why else without_value(letter)

        ready = left_of(call, topic, decodes)
        who = Who(call.who(), options.why)
        totals = Counter[str]()
        acts = [
            Act(
                "replay",
                f"{len(some):,} dead letters",
                origins(some),
                partial(send, settings, opened, who, some, totals),
            )
            for some in batches(ready)
        ]
        left = Table("not_replayed", ("why", "letters"), still.most_common(), "Left as they are", none="")
        nothing = "no dead letter decodes today" if still else "there is none"
        answer = carry_out("replay", acts, apply=options.apply, nothing=nothing, parts=(left,))
    return changed(answer, held=bool(totals[HELD_BY_BRAKE]), incomplete=any(totals[name] for name in NOT_DONE))


def send(settings: Settings, opened: Database, who: Who, some: list[Buried], totals: Counter[str]) -> str:
    """Send records through the path of the stream, and keep of those that still were there that it was done."""
    topic = settings.stream.dead_letter_topic
    with replaying(settings, Everything()) as found, RangeReader(topic, Kafka(settings)) as reader:
        must_keep(found)
        found.live = changed(found.live, actor=who.actor)
        chosen = Chosen(reader, some)
        outcome = found.apply(chosen, lambda _: None)
    deadletters.decide(opened, who, REPLAYED, chosen.came)
    outcome.totals[GONE] = len(some) - len(chosen.came)
    totals.update(outcome.totals)
    left = {name: outcome.totals[name] for name in (*NOT_DONE, HELD_BY_BRAKE, HELD_BY_WINDOW) if outcome.totals[name]}
    acts = ", ".join(f"{count:,} {act}" for act, count in sorted({**outcome.tally.acts, **left}.items()))
    return acts or "nothing had to be changed"


def discard(call: Call) -> Answer:
    """Take dead letters as seen."""
    with reading(call) as (_, opened, topic):
        who = Who(call.who(), call.options.why)
        acts = [
            Act(
                "discard",
                f"{len(some):,} dead letters",
                origins(some),
                partial(deadletters.decide, opened, who, DISCARDED, some),
            )
            for some in batches(left_of(call, topic, without_value))
        ]
        return carry_out("discard", acts, apply=call.options.apply, nothing="there is none")


def left_of(call: Call, topic: Topic, kept: Callable[[Buried], Buried | None]) -> list[Buried]:
    """Return the letters that are named, or those that are not decided, each as it is `kept`, or not at all.

    What is not kept takes no place of the limit. Raises Misconfigured where a name is of none, or of several.
    """
    names, limit = call.options.ids, call.options.limit
    wanted = topic.letters(Wanted(call.options.reason, frozenset(names)))
    undecided = (letter for letter in wanted if names or topic.decision(letter) is None)
    origins = list[Origin]()

    def each() -> Iterator[Buried]:
        for letter in undecided:
            origins.append(letter.origin)
            if one := kept(letter):
                yield one

    found = list(islice(each(), None if names else limit))
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


class Topic(NamedTuple):
    """The dead letter topic, and what is known of its letters."""

    reader: RangeReader
    register: Register

    def letters(self, wanted: Wanted) -> Iterator[Buried]:
        """Yield the letters that are wanted."""
        return deadletters.letters(self.reader, self.register, wanted)

    def decision(self, letter: Buried) -> str | None:
        """Return what was decided of a letter."""
        return self.register.decision(deadletters.subject(letter.origin))


@contextmanager
def reading(call: Call) -> Iterator[tuple[Settings, Database, Topic]]:
    """Open the dead letter topic and the database."""
    settings = call.settings(*NEEDED, "kafka")
    with (
        database(settings) as opened,
        RangeReader(settings.stream.dead_letter_topic, Kafka(settings)) as reader,
        Register() as register,
    ):
        deadletters.know_decisions(register, opened)
        yield settings, opened, Topic(reader, register)
