"""Who needs what: for each role its commands, its database privileges, its policy in MinIO, its access to Kafka. Pure.

The one source: what deploy/roles/ holds is printed from here for the example's configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg.conninfo import conninfo_to_dict

from consumer.kafka.settings import CONSUMER_DEFAULTS, NO_GROUP
from reconcile.config.filters import OURS
from reconcile.config.settings import Settings
from reconcile.tables.grants import Level, grants, owning, role

CANARY = f"{OURS}canary/"
READ = (
    "s3:GetBucketNotification",
    "s3:GetBucketVersioning",
    "s3:GetLifecycleConfiguration",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
)
RULES = ("s3:GetBucketNotification", "s3:ListBucket", "s3:PutBucketNotification")
LISTEN = ("s3:ListenBucketNotification",)
FIGURES = ("admin:Prometheus",)  # MinIO's own figures, by which lost events are noticed; of the whole server
SEND = ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObject")
ERASE = (*SEND, "s3:GetObjectTagging", "s3:PutObjectTagging")
RETURN = ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObject")  # a delete marker is removed as a version is
WATCH, CONSUME, CREATE, NOTHING = "describe", "consume", "create", ""
HEAR, REMOVE, BRING, RULE = "listen", "erase", "return", "rules"
PREFIX = "reconciler_"
Statement = Mapping[str, object]


class Role(NamedTuple):
    """A role: what it is for, which commands it serves, and its part on each of the three servers."""

    name: str
    meaning: str
    commands: str
    database: Level
    objects: str = NOTHING  # beside reading: listen, erase, return; or rules
    kafka: str = NOTHING

    def user(self, prefix: str) -> str:
        """Return the name it has on every server."""
        return f"{prefix}{self.name}"


OWNER = Role("owner", "makes and brings up to date", "init, migrate, uninstall", Level.OWN, RULE, CREATE)
READER = Role(
    "reader", "sees, and changes nothing",
    "sweep (nothing is kept), explain, status, report, doctor, config check and generate, every list and show",
    Level.READ, NOTHING, WATCH,
)  # fmt: skip
CONSUMER = Role(
    "consumer", "keeps findings and marks versions, and can delete nothing",
    "consume, sweep (kept; --baseline, --fix), scrub, replay, dead-letters, findings, orphans approve, suppress, brake",
    Level.KEEP, HEAR, CONSUME,
)  # fmt: skip
PURGER = Role("purger", "gives up versions that stayed flagged", "purge", Level.PURGE)
DELETER = Role("deleter", "deletes what was approved", "orphans delete, orphans undo", Level.KEEP, REMOVE)
RESTORER = Role("restorer", "brings objects back", "restore", Level.KEEP, BRING)
ROLES = {one.name: one for one in (OWNER, READER, CONSUMER, PURGER, DELETER, RESTORER)}


@dataclass(frozen=True, slots=True)
class Acl:
    """What one principal may do with one topic or group."""

    user: str
    operations: tuple[str, ...]
    kind: str  # topic | group
    name: str


def script(settings: Settings, prefix: str = PREFIX) -> str:
    """Return the SQL that makes every role, for whoever owns the database to run before `init`."""
    owner, database = OWNER.user(prefix), _database(settings)
    parts = [f"-- {one.name}: {one.meaning} ({one.commands})\n{role(one.user(prefix))}" for one in ROLES.values()]
    parts.append(f"-- before the grants: our schema, which the owner's init fills\n{owning(owner, database)}")
    parts += [grants(settings.mapping, one.user(prefix), one.database, owner) for one in ROLES.values()]
    return "\n\n".join(parts) + "\n"


def policy(settings: Settings, buckets: Sequence[str], one: Role) -> dict[str, object]:
    """Return a role's policy for MinIO, over these buckets."""
    return {"Version": "2012-10-17", "Statement": list(_statements(settings, buckets, one))}


def acls(settings: Settings, wanted: Sequence[Role], prefix: str = PREFIX) -> Iterator[Acl]:
    """Yield what the roles may do with the topics and the group."""
    stream = settings.stream
    group = str(settings.kafka.get("group.id", CONSUMER_DEFAULTS["group.id"]))
    letters, findings = stream.dead_letter_topic, [stream.findings_topic] if stream.publish_findings else []
    for one in wanted:
        topics, user = [stream.topic, letters, *findings], one.user(prefix)
        if one.kafka == CREATE:
            yield from (Acl(user, ("Create", "Describe", "DescribeConfigs"), "topic", topic) for topic in topics)
        if one.kafka in {WATCH, CONSUME}:
            yield from (Acl(user, ("Describe", "DescribeConfigs"), "topic", topic) for topic in topics)
            yield from (Acl(user, ("Describe",), "group", name) for name in (group, NO_GROUP))
        if one.kafka == WATCH:
            yield Acl(user, ("Read",), "topic", letters)  # whoever may see findings may see what became none
        if one.kafka == CONSUME:
            yield Acl(user, ("Read",), "topic", stream.topic)
            yield Acl(user, ("Read", "Write"), "topic", letters)
            yield from (Acl(user, ("Write",), "topic", topic) for topic in findings)
            yield Acl(user, ("Read",), "group", group)


def _statements(settings: Settings, buckets: Sequence[str], one: Role) -> Iterator[Statement]:
    if one.objects == RULE:
        yield _allow(RULES, buckets)
        return
    yield _allow(READ, buckets, "", "*")
    if one.objects == HEAR:
        yield _allow(LISTEN, buckets)
        yield {"Effect": "Allow", "Action": list(FIGURES)}
        if settings.canary.interval:
            yield _allow(SEND, buckets, f"{CANARY}*")
    if one.objects == REMOVE:
        yield _allow(ERASE, buckets, "*")
        if settings.trash.bucket:
            yield _allow((*ERASE, "s3:GetObject"), [settings.trash.bucket], f"{settings.trash.prefix}*")
            yield _allow(("s3:ListBucket",), [settings.trash.bucket])
    if one.objects == BRING:
        yield _allow(RETURN, buckets, "*")
        if settings.backup.bucket:
            yield _allow(("s3:GetObject",), [settings.backup.bucket], f"{settings.backup.prefix}*")
            yield _allow(("s3:ListBucket",), [settings.backup.bucket])


def _allow(actions: Sequence[str], buckets: Sequence[str], *keys: str) -> Statement:
    """Return what allows actions on the buckets themselves (`''`, or no keys), and on the keys in them."""
    named = [f"arn:aws:s3:::{bucket}{f'/{key}' if key else ''}" for bucket in buckets for key in keys or ("",)]
    return {"Effect": "Allow", "Action": list(actions), "Resource": named}


def _database(settings: Settings) -> str:
    """Return the database's name, as libpq would have it."""
    given = conninfo_to_dict(settings.database.url) if settings.database.url else {}
    return str(given.get("dbname") or given.get("user") or "postgres")
