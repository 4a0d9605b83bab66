"""`findings ignore --until`, `findings rules list` and `lift`: what is quiet until a time, found already or later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import cast

from consumer.commands import triage
from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from consumer.commands.plan import Act, carry_out
from consumer.commands.suppress import end, require_bucket
from consumer.commands.triage import Told, carried, named, opened_world
from reconcile import ignoring, inquiry
from reconcile.acts import Who
from reconcile.config.filters import BadPattern, below, expression, matching
from reconcile.human import Value
from reconcile.ignoring import Rule
from reconcile.inquiry import Filter, Record
from reconcile.life import Input
from reconcile.model import Kind, Misconfigured, State
from reconcile.repair.triage import Deed, Named, as_it_is, unasked
from reconcile.reports.forms import Section, Table
from reconcile.restraint import RULE
from reconcile.world import LiveWorld

COLUMNS = ("id", "bucket", "kind", "keys", "since_at", "until_at", "set_by", "why", "held", "state")
EVERYTHING = "all"
NOT_OF_A_RULE = ("ids", "group", "owner", "cause", "principal", "since", "held", "all")


def ignore(call: Call) -> Answer:
    """Leave findings alone; with --until, also what will be found below a prefix, or matches a pattern, until then."""
    options = call.options
    if options.until is None:
        if options.pattern:
            raise Misconfigured("--pattern: is for a rule; say until when with --until, or name findings by --prefix")
        return triage.ignore(call)
    with opened_world(call) as (settings, live):
        if options.bucket:
            require_bucket(settings, options.bucket)
        rule = rule_of(call, live)
        who = Who(call.who(), options.why)
        number = ignoring.add(live.database, who, rule) if options.apply else None
        by = f"{RULE}{number}" if number else None
        deed = Deed(Input.IGNORE, options.why, as_it_is, through=unasked, held_by=by)
        answer = carried(call, live, deed, covered(live, rule), Told())
    told = cast("Section", answer.shown)
    facts: dict[str, Value] = {"rule": number or "planned", "keys": rule.pattern, "until_at": rule.until}
    return replace(answer, shown=replace(told, facts={**facts, **told.facts}))


def rule_of(call: Call, live: LiveWorld) -> Rule:
    """Return the rule that the options describe; raises Misconfigured with all that it cannot be."""
    options = call.options
    faults = [
        f"--{name.replace('_', '-')}: a rule does not go by it"
        for name in NOT_OF_A_RULE
        if getattr(options, name) or isinstance(getattr(options, name), timedelta)
    ]
    if not options.why:
        faults.append("--why is missing: whoever misses a finding must be able to read the reason")
    if len(options.kind or ()) > 1:
        faults.append("--kind: a rule is for one, or without it for all; set one rule for each")
    if bool(options.prefix) == bool(options.pattern):
        faults.append("--prefix, --pattern: a rule needs one of the two; --pattern '**' is for every key")
    try:
        pattern = options.pattern or below(options.prefix or "")
        expression(pattern)
    except BadPattern as rule:
        faults.append(f"--pattern {options.pattern!r}: {rule}")
    if faults:
        raise Misconfigured(*faults)
    with inquiry.reading(live.database) as connection:
        until = end(options.until, inquiry.now(connection))
    return Rule(options.bucket or "", Kind(options.kind[0]) if options.kind else None, pattern, until)


def covered(live: LiveWorld, rule: Rule) -> Iterator[Named]:
    """Yield the findings that a rule covers and that are not ignored yet."""
    kinds = [str(rule.kind)] if rule.kind else None
    wanted = Filter(states=[State.SUSPECTED, State.OPEN], kinds=kinds, bucket=rule.bucket or None)
    is_below = matching(rule.pattern)
    yield from (named(one) for one in inquiry.chosen(live.database, wanted, None) if is_below(one[2]))


def listing(call: Call) -> Answer:
    """List the rules that are in force, or all that are kept."""
    with database(call.settings("database.url")) as opened, inquiry.reading(opened) as connection:
        found = ignoring.every(connection, closed=call.options.all)
        return Answer(Table("rules", COLUMNS, list(rows(found)), none="no rule is in force"), inquiry.now(connection))


def rows(found: Sequence[Record]) -> Iterator[Sequence[Value]]:
    """Yield rules as they are listed."""
    for number, bucket, kind, pattern, since, until, actor, why, is_over, lifted_at, lifted_by, held in found:
        state = f"ended by {lifted_by}" if lifted_at else "over, and being reopened" if is_over else "in force"
        yield number, bucket or EVERYTHING, kind or EVERYTHING, pattern, since, until, actor, why, held, state


def lift(call: Call) -> Answer:
    """End rules before their time; what they held is reopened, and looked at anew."""
    options = call.options
    with opened_world(call) as (_, live):
        with inquiry.reading(live.database) as connection:
            on = {one[0]: one for one in ignoring.every(connection, closed=False) if not one[8]}
        if absent := sorted(set(options.ids) - on.keys()):
            listed = ", ".join(map(str, absent))
            raise Misconfigured(f"rule {listed}: is not in force; findings rules list names those that are")
        who = Who(call.who(), options.why)
        acts = [
            Act("lift", f"{RULE}{number}", detail(on[number]), partial(lift_one, live, who, number))
            for number in dict.fromkeys(options.ids)
        ]
        return carry_out("lift", acts, apply=options.apply, nothing="")


def detail(rule: Record) -> str:
    """Say what a rule covers, and how much it holds."""
    return f"{rule[1] or 'all buckets'}: {rule[3]}; {rule[11]:,} findings are reopened"


def lift_one(live: LiveWorld, who: Who, number: int) -> str:
    """Lift one, and tell what comes of it."""
    reopened = ignoring.lift(live, who, number)
    return "it is over already" if reopened is None else f"{reopened:,} findings are reopened, and looked at anew"
