"""One application whose three servers know every role, and what its commands act on: a case of the table each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient

from consumer.roles import PREFIX, ROLES, acls
from deploy.local import kafka as kafkas
from deploy.local.kafka import Kafka
from deploy.local.minio import Minio
from tests.support import admitting, consuming
from tests.support.command import Program
from tests.support.orphans import Office
from tests.support.repairing import Repairing
from tests.support.roles import Staff, staff
from tests.support.waiting import until

TOPIC = "events-of-roles"
FINDINGS = f"{TOPIC}.findings"
NOBODY = "nobody"  # has a password everywhere, and no right
USERS = [f"{PREFIX}{name}" for name in (*ROLES, NOBODY)]
CHANGED = {
    "RECONCILER_BRAKE__BUCKET_FLOOR": "1000",
    "RECONCILER_FLAGGING": "true",
    "RECONCILER_MAPPING__VERSION__NUMBER": "version_number",
    "RECONCILER_MAPPING__VERSION__SHA256": "sha256",
    "RECONCILER_POLICY__MISSING_GRACE": "100ms",
    "RECONCILER_POLICY__ORPHAN_GRACE": "0s",
    "RECONCILER_STREAM__PUBLISH_FINDINGS": "true",
}
CONTENTS = """
SELECT t.relname, query_to_xml(
    format('SELECT md5(string_agg(r::text, '','' ORDER BY r::text)) AS md5 FROM %I.%I AS r', t.schemaname, t.relname),
    false, true, '')::text
FROM pg_stat_user_tables AS t ORDER BY t.schemaname, t.relname
"""
BRAKE = "INSERT INTO reconciler.restraint (effect, kind, actor, why) VALUES ('brake', 'missing', 'test', 'too many')"
Made = Mapping[str, object]


def log_in(program: Program, secure: str, name: str) -> Program:
    """Return the command as it logs in to the broker as a role."""
    login = admitting.login(secure, f"{PREFIX}{name}")
    named = {f"RECONCILER_KAFKA__{key.upper().replace('.', '_')}": value for key, value in login.items()}
    return replace(program, environ=program.environ | named)


@dataclass
class Appointed:
    """The application, and its commands as any role on all three servers; nothing runs beside them."""

    site: consuming.Site
    people: Staff
    secure: str
    numbers: Iterator[int] = field(default_factory=count)

    def role(self, name: str) -> Program:
        """Return the command as a role."""
        return log_in(self.people.role(name), self.secure, name)

    def key(self) -> str:
        """Return a key that was not used yet."""
        return f"key-{next(self.numbers)}"

    @property
    def app(self) -> Repairing:
        """Return what keeps versions."""
        return Repairing(self.site.program, self.site.connection, self.site.client, self.site.bucket)

    @property
    def office(self) -> Office:
        """Return what finds orphans."""
        return Office(self.site.program, self.site.connection, self.site.client, self.site.bucket)

    def act(self, *words: str) -> None:
        """Do what a case begins with, as whoever may do all."""
        ended = self.site.program.run(*words, "--apply", "--why", "test")
        assert ended.returncode == 0, ended

    def ago(self) -> object:
        """Return a time before any grace."""
        return self.value("SELECT now() - interval '1 day'")

    def value(self, query: str) -> Any:
        """Return the one value that a query asks for."""
        [(found,)] = self.site.sql(query)
        return found

    def state(self) -> dict[str, object]:
        """Return all that there is: rows, objects with their versions, event rules, topics, their ends, the group's."""
        listed = self.site.client.list_objects(bucket_name=self.site.bucket, recursive=True, include_version=True)
        letters = ck.TopicPartition(f"{TOPIC}.dead-letter", 0)
        return {
            **dict(self.site.sql(CONTENTS)),
            "objects": sorted((one.object_name or "", one.version_id or "", one.is_delete_marker) for one in listed),
            "rules": self.rules(),
            "topics": self.topics(),
            "ends": (self.site.ends(), self.site.asker.get_watermark_offsets(letters, timeout=10)),
            "committed": self.site.committed(),
        }

    def rules(self) -> int:
        """Return how many event rules the bucket has."""
        return len(self.site.client.get_bucket_notification(bucket_name=self.site.bucket).queue_config_list or ())

    def topics(self) -> set[str]:
        """Return the topics that there are."""
        return set(self.site.asker.list_topics(timeout=10).topics)


@contextmanager
def appointed(directory: Path, database: str, minio: Minio, broker: Kafka, secure: str) -> Iterator[Appointed]:
    """Make the application and the roles by what the command prints; the owner makes our schema."""
    kafkas.create_topic(broker.bootstrap, TOPIC, 1)
    with consuming.superuser_site(directory, database, minio, broker.bootstrap, TOPIC) as site:
        site.program.environ.update(CHANGED)
        admitting.allow(broker, acls(site.settings(), list(ROLES.values())))
        site.sql("ALTER TABLE file_versions ADD COLUMN sha256 text")
        site.sql("DROP SCHEMA reconciler CASCADE")  # nobody but its owner may bring it up to date
        with staff(site.program, site.connection, minio) as people:
            made = Appointed(site, people, secure)
            made.office.keep_versions()
            install(made)
            yield made


def install(world: Appointed) -> Made:
    """Have the owner make our schema, the topics and the event rule, unless they are there."""
    done = world.role("owner").run("init", "--apply", "--partitions", "1")
    assert done.returncode == 0, done
    return {}


def without_rule(world: Appointed) -> Made:
    """Take the event rule away, and a topic."""
    world.site.client.delete_bucket_notification(bucket_name=world.site.bucket)
    admin = AdminClient({"bootstrap.servers": world.site.kafka["bootstrap.servers"], "log_level": 0})
    admin.delete_topics([FINDINGS])[FINDINGS].result()
    until(lambda: FINDINGS not in world.topics(), 20, "the topic is deleted")
    return {}


def without_schema(world: Appointed) -> Made:
    """Leave our schema as `roles sql` made it."""
    world.site.sql("DROP SCHEMA IF EXISTS reconciler CASCADE")
    world.site.sql(world.site.program.run("roles", "sql", "--user-prefix", world.people.prefix).stdout)
    return {}


def orphan(world: Appointed) -> Made:
    """Have an orphan found."""
    key = world.key()
    [number] = world.office.find({key: b"AAA"})
    return {"id": number, "key": key}


def ignored(world: Appointed) -> Made:
    """Have one ignored."""
    made = orphan(world)
    world.act("findings", "ignore", str(made["id"]))
    return made


def approved(world: Appointed) -> Made:
    """Have one approved."""
    made = orphan(world)
    world.act("orphans", "approve", str(made["id"]))
    return made


def deleted(world: Appointed) -> Made:
    """Have one deleted, under a marker."""
    made = approved(world)
    world.act("orphans", "delete", str(made["id"]))
    return made


def rule(world: Appointed) -> Made:
    """Have a rule set."""
    world.act("findings", "ignore", "--prefix", world.key(), "--until", "1h")
    return {"id": world.value("SELECT max(id) FROM reconciler.restraint")}


def window(world: Appointed) -> Made:
    """Have a window set, over nothing that is there."""
    world.act("suppress", "add", "--bucket", world.site.bucket, "--prefix", world.key(), "--until", "1h")
    return {"id": world.value("SELECT max(id) FROM reconciler.restraint")}


def brake(world: Appointed) -> Made:
    """Have a brake on."""
    world.site.sql(BRAKE)
    return {}


def bucket(world: Appointed) -> Made:
    """Name the bucket."""
    return {"bucket": world.site.bucket, "key": world.key()}


def gone(world: Appointed) -> Made:
    """Have a version that lost its object, which nobody has seen yet; its event is in the topic."""
    key = world.key()
    version = world.site.row(key, created_at=world.ago())
    world.site.send([world.site.removed(key)])
    return {"version": version, "key": key}


def foreign(world: Appointed) -> Made:
    """Have a version flagged by others, its object gone."""
    world.app.version(world.key())  # so that its status is one that rows have
    return {"version": world.app.version(world.key(), status="corrupted")}


def hidden(world: Appointed) -> Made:
    """Have a version flagged whose object is below a delete marker."""
    key = world.key()
    world.app.put(key)
    world.app.hide(key)
    version, number = world.app.flagged(key)
    return {"version": version, "key": key, "id": number}


def superseded(world: Appointed) -> Made:
    """Have a version flagged long ago, and a good one after it."""
    file, old, new = world.app.file(), world.key(), world.key()
    version, number = world.app.flagged(old, file, 1)
    world.app.put(new)
    world.app.version(new, file, 2)
    return {"version": version, "id": number}


def unread(world: Appointed) -> Made:
    """Have an object that a scrub reads."""
    key = world.key()
    world.app.put(key)
    world.site.row(key, 3, sha256="0" * 64, created_at=world.ago())
    return {"key": key}


def letter(world: Appointed) -> Made:
    """Have a dead letter that decodes by now, of a deletion that nobody has seen."""
    key, offset = world.key(), next(world.numbers)
    version = world.site.row(key, created_at=world.ago())
    world.site.bury([consuming.letter(world.site, world.site.removed(key), offset)])
    return {"id": f"0:{offset}", "version": version, "key": key}
