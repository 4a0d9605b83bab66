"""`roles`: who needs what on the three servers, as a table and as what each of them takes; asks none of them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence

from consumer.commands.answer import Answer
from consumer.commands.call import Call
from consumer.roles import (
    BRING,
    CONSUME,
    CREATE,
    HEAR,
    NOTHING,
    REMOVE,
    ROLES,
    RULE,
    WATCH,
    Acl,
    Role,
    acls,
    policy,
    script,
)
from reconcile.config.settings import Settings
from reconcile.opening import named_buckets
from reconcile.reports.forms import Table
from reconcile.tables.grants import Level

COLUMNS = ("role", "for", "commands", "postgresql", "minio", "kafka")
DATABASE = {
    Level.OWN: "owns the schema reconciler",
    Level.READ: "reads the mapped columns and the schema",
    Level.KEEP: "also writes the schema and the status column",
    Level.PURGE: "also deletes version rows, or sets their status where that is mapped",
}
OBJECTS = {
    NOTHING: "reads",
    HEAR: "reads, listens",
    REMOVE: "reads, deletes",
    BRING: "reads, puts, takes markers away",
    RULE: "sets event rules",
}
TOPICS = {
    NOTHING: "nothing",
    WATCH: "describes, reads dead letters",
    CONSUME: "reads, writes dead letters",
    CREATE: "creates topics",
}
NOTES = ("roles sql, roles policy ROLE and roles acls print what PostgreSQL, MinIO and Kafka take",)


def listing(_: Call) -> Answer:
    """List the roles, each with its commands and its part on each server."""
    rows = [
        (one.name, one.meaning, one.commands, DATABASE[one.database], OBJECTS[one.objects], TOPICS[one.kafka])
        for one in ROLES.values()
    ]
    return Answer(Table("roles", COLUMNS, rows, notes=NOTES))


def sql(call: Call) -> Answer:
    """Return the SQL that makes the roles in PostgreSQL."""
    return Answer(script(call.settings("mapping.version.table", "mapping.version.key"), call.options.user_prefix))


def minio(call: Call) -> Answer:
    """Return a role's policy for MinIO as JSON."""
    settings = call.settings()
    buckets = call.options.bucket or named_buckets(settings) or ["*"]
    return Answer(json.dumps(policy(settings, buckets, ROLES[call.options.role]), indent=2) + "\n")


def kafka(call: Call) -> Answer:
    """Return the lines for Kafka's own tool that let the roles, or one of them, and MinIO at the topics."""
    settings = call.settings()
    chosen = [ROLES[call.options.role]] if call.options.role else list(ROLES.values())
    return Answer("".join(f"{line}\n" for line in lines(settings, chosen, call.options.user_prefix)))


def lines(settings: Settings, chosen: Sequence[Role], prefix: str) -> Iterator[str]:
    """Yield one command line for each topic or group of each role."""
    server = str(settings.kafka.get("bootstrap.servers", "BROKER:9092"))
    sending = Acl("minio", ("Describe", "Write"), "topic", settings.stream.topic)
    for one in (*acls(settings, chosen, prefix), *([sending] if len(chosen) > 1 else [])):
        words = ["kafka-acls.sh", "--bootstrap-server", server, "--add", "--allow-principal", f"User:{one.user}"]
        words += [word for operation in one.operations for word in ("--operation", operation)]
        yield shlex.join([*words, f"--{one.kind}", one.name])
