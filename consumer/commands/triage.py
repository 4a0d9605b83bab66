"""`findings note`, `ignore` and `reopen`: a person's acts on findings, some at a time, told briefly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from consumer.commands.answer import Answer, Failure
from consumer.commands.call import Call, database
from consumer.commands.choosing import wanted_by
from consumer.commands.plan import Act, acts_table, carry_out, ended_by
from reconcile import acts, inquiry
from reconcile.config.settings import NEEDED, Settings
from reconcile.database import Database
from reconcile.inquiry import Filter, Record
from reconcile.life import Input, Subject
from reconcile.model import FINAL, Hint, Misconfigured, ObjectRef, ObjectSide, State
from reconcile.opening import mapping, objects, world
from reconcile.reconciler import reconcile
from reconcile.repair.triage import HELD, Deed, Named, Outcome, batches, carried_out, unasked
from reconcile.reports.forms import Section, Table
from reconcile.restraint import RULE
from reconcile.trial import Trial
from reconcile.world import LiveWorld

FIRST = 20
OTHERS = "(all others)"
COUNTED = ("below", "outcome", "findings")
FILTERS = ("kind", "bucket", "prefix", "group", "owner", "cause", "principal", "since", "held", "state", "keys")


def note(call: Call) -> Answer:
    """Write a note into the history of findings; it changes no state."""
    options = call.options
    if not options.why:
        raise Misconfigured("--why is missing: it is what is noted")
    with database(call.settings("database.url"), patient=True) as opened:
        found = by_id(opened, options.ids)
        who = acts.Who(call.who(), options.why)

        def written() -> str:
            return f"noted in {acts.note_findings(opened, who, options.ids)}"

        act = Act("note", ", ".join(f"{one[0]} {one[2]}" for one in found[:FIRST]), options.why, written)
        return carry_out("note", (act,), apply=options.apply, nothing="")


def ignore(call: Call) -> Answer:
    """Leave findings alone until they are something else: kept, and silent everywhere."""
    return on_findings(call, Input.IGNORE, ["suspected", "open"])


def reopen(call: Call) -> Answer:
    """Take back that findings were ignored, or approved; both sides are looked at again at once."""
    return on_findings(call, Input.REOPEN, ["ignored", "approved"])


def on_findings(call: Call, act: Input, states: list[str]) -> Answer:
    """Do an act that needs no proof on the findings that are chosen; of a filter those in the states it is for."""
    options = call.options
    after = timedelta(0) if act is Input.REOPEN else None
    deed = Deed(act, options.why, not_by_rule, through=unasked, after=after)
    with opened_world(call) as (_, live):
        told = Told()
        found = (one for one in chosen(call, live.database, states) if is_current(one, told))
        return carried(call, live, deed, map(named, found), told)


def not_by_rule(subject: Subject, _: ObjectSide, __: datetime) -> str:
    """Say by which rule a finding is ignored: that would ignore it again as soon as it opens."""
    by = subject.finding.held_by if subject.finding else None
    if by is None or not by.startswith(RULE):
        return ""
    return f"{by} ignores it; findings rules lift {by.removeprefix(RULE)} ends that"


def require_choice(call: Call, filters: Sequence[str] = FILTERS) -> None:
    """Refuse an act on everything, unless that was said."""
    options = call.options
    if not (options.ids or options.all or any(getattr(options, name, None) for name in filters)):
        raise Misconfigured("which? name them by id, by a filter such as --prefix, or say --all")


def chosen(call: Call, opened: Database, states: list[str]) -> Iterable[Record]:
    """Return the findings that a command is about, by id or by filter."""
    require_choice(call)
    if call.options.ids:
        return by_id(opened, call.options.ids)
    with inquiry.reading(opened) as connection:
        wanted = wanted_by(call.options, inquiry.now(connection))
    if wanted.states is None:
        wanted = replace(wanted, states=states)
    return inquiry.chosen(opened, wanted, None)


def by_id(opened: Database, ids: Sequence[int]) -> list[Record]:
    """Return findings by id; raises Misconfigured naming those that there are not."""
    found = list(inquiry.chosen(opened, Filter(), ids))
    if absent := sorted(set(ids) - {one[0] for one in found}):
        listed = ", ".join(map(str, absent[:FIRST]))
        raise Misconfigured(f"finding {listed}: there is none, or its retention is over; findings list names them")
    return found


def named(found: Record) -> Named:
    """Name a finding as a deed wants it."""
    number, bucket, key, s3_version, row_id, *_ = found
    return Named(number, ObjectRef(bucket, key, s3_version), row_id)


@contextmanager
def opened_world(call: Call) -> Iterator[tuple[Settings, LiveWorld]]:
    """Open both sides, in the name of whoever acts."""
    settings = call.settings(*NEEDED)
    with database(settings, patient=True) as opened, objects(settings) as store:
        yield settings, world(settings, opened, store, call.who(), mapping(settings, opened))


def is_current(found: Record, told: Told) -> bool:
    """Tell whether a finding is not closed; of one that is, that is told."""
    state = State(found[-1])
    if state in FINAL:
        told.add(Outcome(named(found), done=False, told=f"it is {state}"))
    return state not in FINAL


def carried(
    call: Call, live: LiveWorld, deed: Deed, found: Iterable[Named], told: Told, *, look: bool = False
) -> Answer:
    """Do the deed if --apply, else show it as it would be; counts by prefix and the first ones, whatever their number.

    With `look`, what it was done to is looked at again at once.
    """
    apply = call.options.apply

    def outcomes() -> Iterator[Outcome]:
        trial = Trial(live, has_kept=True)
        for batch in batches(found):
            done: list[Outcome] = []
            for one in carried_out(live if apply else trial, deed, batch):
                done.append(one)
                yield one
            trial.looked.clear()
            trial.left.clear()
            if apply and look:
                reconcile(live, [Hint(ref) for ref in dict.fromkeys(one.named.ref for one in done if one.done)])

    return told.of(outcomes(), deed.act.name.lower(), apply=apply)


def until(
    limit: int, chosen: Iterator[Named], together: int, act: Callable[[list[Named]], Iterable[Outcome]]
) -> Iterator[Outcome]:
    """Act on some at a time until `limit` are done: what is left alone keeps no other from its turn."""
    left = limit
    while left > 0 and (batch := list(islice(chosen, min(left, together)))):
        for one in act(batch):
            left -= one.done
            yield one


class Told:
    """What is told of many outcomes, in little memory."""

    def __init__(self, retold: Callable[[Outcome], Outcome] = lambda one: one) -> None:
        self.retold = retold
        self.counts: Counter[tuple[str, str]] = Counter()
        self.first: dict[bool, list[Outcome]] = {True: [], False: []}
        self.done = self.left = self.again = 0

    def add(self, one: Outcome) -> bool:
        """Count an outcome, as it is to be told; tells whether it was done."""
        one = self.retold(one)
        self.done += one.done
        self.left += not one.done
        self.again += not one.done and one.again
        below = one.named.ref.key.rpartition("/")[0].partition("/")[0]
        self.counts[f"{one.named.ref.bucket}/{below}", one.told] += 1
        if len(self.first[one.done]) < FIRST:
            self.first[one.done].append(one)
        return one.done

    def of(self, outcomes: Iterable[Outcome], name: str, *, apply: bool) -> Answer:
        """Take down outcomes to their end, and return what there is to show."""
        return self.answer(name, apply=apply, failure=ended_by(outcomes, self.add))

    def answer(self, name: str, *, apply: bool, failure: Failure | None, notes: tuple[str, ...] = ()) -> Answer:
        """Return what there is to show."""
        listed = [
            (name, f"{one.named.finding or one.named.row_id} {one.named.ref.key}", in_full(one), status)
            for is_done, status in ((True, "done" if apply else "planned"), (False, "left alone"))
            for one in self.first[is_done]
        ]
        if len(listed) < self.done + self.left:
            notes = (f"the first {FIRST} of each; all are counted above", *notes)
        counted = [(*pair, count) for pair, count in self.counts.most_common(FIRST)]
        if others := self.counts.total() - sum(count for *_, count in counted):
            counted.append((OTHERS, f"{len(self.counts) - FIRST} more", others))
        facts = {"done" if apply else "planned": self.done, "left_alone": self.left}
        acts = acts_table(listed, has_more=self.done > 0 and not apply, nothing="nothing to do", notes=notes)
        parts = (Table("counts", COUNTED, counted), acts)
        held = apply and any(words.startswith(HELD) for _, words in self.counts)
        return Answer(Section(name, "", facts, parts), failure=failure, incomplete=apply and self.again > 0, held=held)


def in_full(one: Outcome) -> str:
    """Return what is told of one, with what a person should know of it besides."""
    return f"{one.told}; {one.beside}" if one.beside else one.told
