"""`uninstall`: takes away what `init` made, and says what only others can."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from consumer.commands.plan import Act, carry_out
from consumer.commands.setup import DATABASE, arn_of, counted
from reconcile import acts, inquiry
from reconcile.config.settings import Settings
from reconcile.database import Database, migrations, pending
from reconcile.model import Misconfigured, Unavailable
from reconcile.opening import named_buckets, objects
from reconcile.reports.forms import Section
from reconcile.store import bucketrules
from reconcile.store.objects import Objects


def uninstall(call: Call) -> Answer:
    """Plan, and with --apply do, the removal of our event rules and of our schema."""
    settings = call.settings(*DATABASE)
    names, arn = call.options.bucket or named_buckets(settings), arn_of(call, settings)
    with ExitStack() as stack:
        opened = stack.enter_context(database(settings, patient=True))
        planned: list[Act] = []
        left = list(names)
        if settings.minio.access_key and settings.minio.secret_key:
            store = stack.enter_context(objects(settings))
            planned, left = rules(store, names, arn)
        planned += schema(opened)
        return carry_out(
            "uninstall", planned, apply=call.options.apply, nothing="nothing of ours is there",
            parts=(left_behind(settings, left, arn),),
        )  # fmt: skip


def rules(store: Objects, names: Sequence[str], arn: str) -> tuple[list[Act], list[str]]:
    """Return the removal of our rule from each bucket, and the buckets where MinIO does not let us see it."""
    planned: list[Act] = []
    left: list[str] = []
    for name in names:
        try:
            events = sorted({event for rule in bucketrules.ours(store, name, arn) for event in rule.events})
        except (Misconfigured, Unavailable):
            left.append(name)
            continue
        if events:
            detail = f"{', '.join(events)} to {arn}"
            planned.append(Act("remove event rule", name, detail, partial(remove_rule, store, name, arn)))
    return planned, left


def remove_rule(store: Objects, name: str, arn: str) -> str:
    """Take our rule away, and tell the document as it was."""
    return f"before: {bucketrules.remove(store, name, arn)}"


def schema(opened: Database) -> list[Act]:
    """Return the one act that drops our schema, if it is there."""
    with opened.use() as connection, inquiry.explaining():
        if pending(connection) == migrations():
            return []
        held = acts.holdings(connection)
    return [Act("drop schema", "reconciler", _lost(*held), partial(acts.drop, opened))]


def _lost(findings: int, flagged: int) -> str:
    lost = f"{counted(findings, 'open finding')} and all history are lost"
    return f"{lost}; {counted(flagged, 'row')} keep our flag, and nobody gives the status back" if flagged else lost


def left_behind(settings: Settings, names: Sequence[str], arn: str) -> Section:
    """Return what stays: rules that MinIO's operator removes, topics that hold records."""
    notes = (
        *(f"mc event remove ALIAS/{name} {arn}" for name in names),
        f"topics: {', '.join(topics(settings))}",
        "MinIO's environment: the lines that init printed",
    )
    return Section("left", "What stays, and is yours to take away", notes=notes)


def topics(settings: Settings) -> list[str]:
    """Return the topics that we read or write."""
    stream = settings.stream
    findings = [stream.findings_topic] if stream.publish_findings else []
    return [stream.topic, stream.dead_letter_topic, *findings]
