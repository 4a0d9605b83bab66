"""`init` and `migrate`: what has to be there before anything runs. Printed before it is done; idempotent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from psycopg.conninfo import conninfo_to_dict

from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from consumer.commands.plan import Act, carry_out
from consumer.duties.rulewatch import RULE_ADDED
from consumer.kafka.topics import WantedTopic, create_topics, missing_topics
from reconcile import acts, inquiry
from reconcile.acts import Who
from reconcile.config.settings import Settings
from reconcile.database import Database, Migration, migrations, pending
from reconcile.model import Misconfigured
from reconcile.opening import all_buckets, mapping, named_buckets, objects, world
from reconcile.reports.forms import Section
from reconcile.store import bucketrules
from reconcile.store.eventrules import RulePlan
from reconcile.store.objects import Objects
from reconcile.tables.grants import grants

ARN = "arn:minio:sqs::RECON:kafka"
QUEUE_DIR = "/var/lib/minio-events"
DATABASE = ("database.url",)
MINIO = ("minio.endpoint", "minio.access_key", "minio.secret_key")
MAPPING = ("mapping.version.table", "mapping.version.key")
NOT_COMPACTED = {"cleanup.policy": "delete"}  # whatever the broker's default is: most letters have no key
NOTHING = "everything is there already"


def init(call: Call) -> Answer:
    """Plan, and with --apply make, our schema, the topics and the buckets' event rules."""
    options, only = call.options, call.options.only
    if options.sql:
        return sql_only(call)
    settings = call.settings(*needed(only, options.bucket))
    stream = only == "kafka" or bool(settings.kafka)
    with ExitStack() as stack:
        opened = stack.enter_context(database(settings, patient=True)) if settings.database.url else None
        maker = Maker(settings, opened, Who(call.who(), options.why), arn_of(call, settings))
        planned: list[Act] = []
        if only in {None, "database"}:
            planned += maker.schema()
        if only in {None, "kafka"} and stream:
            planned += maker.topics(options.partitions, options.replication)
        if only == "bucket" or (only is None and stream):
            store = stack.enter_context(objects(settings))
            planned += maker.rules(store, options.bucket or buckets(settings, opened, store))
        parts = ending(settings, only, maker.arn, stream=stream)
        return carry_out("init", planned, apply=options.apply, nothing=NOTHING, parts=parts)


def arn_of(call: Call, settings: Settings) -> str:
    """Return MinIO's target that is meant."""
    return str(call.options.arn or settings.stream.arn or ARN)


def ending(settings: Settings, only: str | None, arn: str, *, stream: bool) -> tuple[Section, ...]:
    """Return what is said below the plan: MinIO's lines, or what was left out."""
    if only in {"database", "kafka"}:
        return ()
    if not stream and only is None:
        left_out = "no [kafka] is configured: topics and event rules are left out, and sweeps alone find drift"
        return (Section("left_out", "", notes=(left_out,)),)
    return (minio_lines(settings, arn),)


def sql_only(call: Call) -> Answer:
    """Return what is lacking in the database as SQL; all of it where no database is named."""
    settings = call.settings()
    if not settings.database.url:
        return Answer(schema_sql(settings, None))
    with database(settings) as opened:
        return Answer(schema_sql(settings, opened))


def needed(only: str | None, named: Sequence[str] | None) -> tuple[str, ...]:
    """Return the keys that must have a value for what is to be prepared."""
    if only == "kafka":
        return ("kafka",)
    if only == "database":
        return DATABASE
    if only == "bucket" and named:
        return MINIO
    return (*DATABASE, *MINIO, *MAPPING)


def migrate(call: Call) -> Answer:
    """Plan, and with --apply bring, our schema up to date."""
    settings = call.settings(*DATABASE)
    with database(settings, patient=True) as opened:
        planned = Maker(settings, opened, Who(call.who(), call.options.why), ARN).schema()
        return carry_out("migrate", planned, apply=call.options.apply, nothing="the schema is up to date")


@dataclass(frozen=True, slots=True)
class Maker:
    """Plans what is lacking, each act ready to be done and to be kept in the history."""

    settings: Settings
    opened: Database | None
    who: Who
    arn: str

    def schema(self) -> list[Act]:
        """Return the one act that brings our schema up to date, unless it is."""
        missing = lacking(self.opened) if self.opened else []
        if not missing:
            return []
        numbers = ", ".join(f"{migration.number:04d}" for migration in missing)
        act = "create schema" if len(missing) == len(migrations()) else "migrate schema"
        return [Act(act, "reconciler", f"migrations {numbers}", self.install)]

    def install(self) -> str:
        """Apply what is lacking by now."""
        applied = acts.install(self.opened, self.who) if self.opened else []
        numbers = ", ".join(f"{number:04d}" for number in applied)
        return f"migrations {numbers}" if numbers else "somebody else was quicker"

    def topics(self, partitions: int, replication: int) -> list[Act]:
        """Return the creation of each topic that is lacking."""
        kafka, stream = self.settings.kafka, self.settings.stream
        wanted = [
            WantedTopic(stream.topic, partitions, replication, NOT_COMPACTED),
            WantedTopic(stream.dead_letter_topic, 1, replication, NOT_COMPACTED),
        ]
        if stream.publish_findings:
            wanted.append(WantedTopic(stream.findings_topic, partitions, replication, NOT_COMPACTED))
        return [
            Act("create topic", topic.name, counted(topic.partitions, "partition"), partial(self.create, topic))
            for topic in missing_topics(kafka, wanted)
        ]

    def create(self, topic: WantedTopic) -> None:
        """Create a topic."""
        create_topics(self.settings.kafka, [topic])
        acts.tell(self.opened, self.who, "topic created", topic.name, {"partitions": topic.partitions})

    def rules(self, store: Objects, names: Sequence[str]) -> Iterator[Act]:
        """Yield the merge of our event rule into each bucket's that lacks it."""
        for name in names:
            if not store.bucket_exists(name):
                raise Misconfigured(
                    f"bucket {name!r}: MinIO has none of this name; create it, or correct mapping.bucket"
                )
            plan = bucketrules.plan(store, name, self.arn)
            if plan.lacking:
                detail = f"{', '.join(plan.lacking)} to {self.arn}"
                yield Act("add event rule", name, detail, partial(self.add_rule, store, plan))

    def add_rule(self, store: Objects, plan: RulePlan) -> str:
        """Merge our rule into the bucket's, and keep the old document."""
        done = bucketrules.apply(store, plan)
        kept = {"arn": plan.arn, "before": done.before, "after": done.after}
        acts.tell(self.opened, self.who, RULE_ADDED, plan.bucket, kept)
        before = f"before: {done.before}" if "</" in done.before else "there were none"  # empty XML closes itself
        return f"{', '.join(done.lacking)}; {before}"


def lacking(opened: Database) -> list[Migration]:
    """Return the migrations that the database lacks."""
    with opened.use() as connection, inquiry.explaining():
        return pending(connection)


def buckets(settings: Settings, opened: Database | None, store: Objects) -> list[str]:
    """Return the buckets that are configured, or that the rows name."""
    named = named_buckets(settings)
    if named or opened is None:
        return named
    live = world(settings, opened, store, "init", mapping(settings, opened))
    with opened.use() as connection:
        return all_buckets(settings, connection, live)


def minio_lines(settings: Settings, arn: str) -> Section:
    """Return the lines for MinIO's own configuration, which only its operator can set."""
    target = arn.split(":")[4] if arn.count(":") == 5 else "RECON"  # noqa: PLR2004  # arn:minio:sqs:REGION:ID:kafka
    lines = {
        f"MINIO_NOTIFY_KAFKA_ENABLE_{target}": "on",
        f"MINIO_NOTIFY_KAFKA_BROKERS_{target}": settings.kafka.get("bootstrap.servers", "BROKER:9092"),
        f"MINIO_NOTIFY_KAFKA_TOPIC_{target}": settings.stream.topic,
        f"MINIO_NOTIFY_KAFKA_QUEUE_DIR_{target}": QUEUE_DIR,
        "MINIO_API_SYNC_EVENTS": "on",
        "MINIO_SYNC_BOOT": "on",
    }
    notes = (
        *(f"{name}={value}" for name, value in lines.items()),
        f"# {QUEUE_DIR} is a durable directory of each node's own; without it events are lost while the broker is down",
    )
    return Section("minio", "For MinIO's own environment, on every node", notes=notes)


def schema_sql(settings: Settings, opened: Database | None) -> str:
    """Return the SQL that `init` would run, for whoever owns the database to run, and the grants."""
    missing = lacking(opened) if opened else migrations()
    if not missing:
        return f"-- {NOTHING}\n"
    parts = ["BEGIN;", "CREATE SCHEMA IF NOT EXISTS reconciler;", acts.SQL["migration_table"]]
    parts += [_migration_sql(migration) for migration in missing]
    user = conninfo_to_dict(settings.database.url).get("user") if settings.database.url else None
    comment = "-- If the service connects as another user than the owner of these tables (here: as this one):"
    return "\n\n".join([*parts, "COMMIT;", comment, grants(settings.mapping, str(user or "reconciler"))]) + "\n"


def _migration_sql(migration: Migration) -> str:
    kept = acts.applied(migration).as_string()
    return f"-- {migration.number:04d}\n{migration.text.strip()}\n{kept}"


def counted(count: int, noun: str) -> str:
    """Return so many of something."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
