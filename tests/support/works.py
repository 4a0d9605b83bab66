"""An application on secured servers, and the users of its roles, whose passwords lie in files."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import confluent_kafka as ck
import psycopg

from consumer.roles import ROLES, Acl, acls
from tests.support import admitting, command, consuming, databases, secured, storage
from tests.support.command import Program
from tests.support.roles import Staff, administrator, staff
from tests.support.secured import Secured

NAMED = ("DATABASE__URL", "MINIO__ACCESS_KEY", "MINIO__SECRET_KEY", "KAFKA__SASL_USERNAME", "KAFKA__SASL_PASSWORD")


@dataclass(frozen=True)
class Works:
    """The application, its users, its servers; `directory` is where files lie."""

    site: consuming.Site
    staff: Staff
    servers: Secured
    directory: Path

    def role(self, name: str) -> Program:
        """Return the command as a role on all three servers, each of its secrets in a file of its own."""
        program = self.staff.role(name)
        login = self.servers.broker.login(f"{self.staff.prefix}{name}", self.staff.word)
        environ = program.environ | {f"RECONCILER_{variable(key)}": value for key, value in login.items()}
        names = [f"RECONCILER_{one}" for one in NAMED]
        file = self.directory / f"{name}.toml"
        file.write_text(program.file.read_text("utf-8"), "utf-8")
        return replace(program, file=file, environ=secured.as_files(self.directory / name, environ, *names))

    def change(self, name: str, word: str) -> None:
        """Give a role another password on all three servers; its files keep the old one."""
        user = f"{self.staff.prefix}{name}"
        self.site.sql(f"ALTER ROLE {user} PASSWORD '{word}'")
        administrator(self.servers.minio).user_add(user, word)
        self.servers.broker.give(user, word)

    def hand_out(self, name: str, word: str) -> None:
        """Write a role's new password into its files."""
        changed = replace(self, staff=replace(self.staff, word=word))
        changed.role(name)


def variable(key: str) -> str:
    """Return how the environment names one of librdkafka's keys, after our own prefix."""
    return f"KAFKA__{key.upper().replace('.', '_')}"


@contextmanager
def site(directory: Path, servers: Secured, url: str) -> Iterator[consuming.Site]:
    """Prepare a database and a bucket; nothing of ours is there yet."""
    bucket, group = f"test-{secrets.token_hex(6)}", f"test-{secrets.token_hex(6)}"
    client = storage.client(servers.minio)
    client.make_bucket(bucket_name=bucket)
    kafka = {"bootstrap.servers": servers.broker.secure, "group.id": group}
    program = command.program(directory, url, servers.minio, bucket, kafka)
    program.environ["RECONCILER_MINIO__CA_FILE"] = str(servers.authority.ca)
    program.environ["RECONCILER_STREAM__PUBLISH_FINDINGS"] = "true"
    master = servers.broker.master()
    with closing(ck.Consumer({**master, "group.id": group})) as asker:
        producer = ck.Producer(master)
        yield consuming.Site(program, url, [], client, bucket, secured.TOPIC, master, producer, asker)


@contextmanager
def works(directory: Path, servers: Secured) -> Iterator[Works]:
    """Make users, rights, schema, topics and rules, by what the commands print and do."""
    with databases.new_database(servers.postgres) as url, psycopg.connect(url, autocommit=True) as connection:
        databases.fill(connection)
        with (
            site(directory, servers, url) as made,
            staff(made.program, connection, servers.minio) as people,
        ):
            for name in ROLES:
                servers.broker.give(f"{people.prefix}{name}", people.word)
            rights = [*acls(made.settings(), list(ROLES.values()), people.prefix)]
            sending = Acl(secured.MINIO, ("Describe", "Write"), "topic", secured.TOPIC)
            admitting.bind(servers.broker.admin(), [*rights, sending])
            all_of_it = Works(made, people, servers, directory)
            done = all_of_it.role("owner").run("init", "--apply", "--partitions", "1")
            assert done.returncode == 0, done.stderr
            yield all_of_it
            for opened in made.opened:
                opened.close()
