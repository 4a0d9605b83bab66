"""The whole of it over TLS, under the roles' own users, whose passwords lie in files: from an event to a report."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import confluent_kafka as ck
import psycopg
import pytest

from consumer.kafka_letters import Letterbox
from consumer.kafka_positions import Asker
from consumer.roles import ROLES, Acl, acls
from reconcile import opening
from reconcile.model import ObjectRef, Unavailable, Unknown
from reconcile.renewal import Kafka
from reconcile.storing import Storing
from tests.support import admitting, command, consuming, databases, secured, storage
from tests.support.command import Program
from tests.support.roles import Staff, administrator, staff
from tests.support.secured import Secured
from tests.support.waiting import until

OLD = datetime(2025, 9, 7, tzinfo=UTC)  # of a row that is no longer young, so that only an event can name it
NAMED = ("DATABASE__URL", "MINIO__ACCESS_KEY", "MINIO__SECRET_KEY", "KAFKA__SASL_USERNAME", "KAFKA__SASL_PASSWORD")
QUICK = {"RECONCILER_FLAGGING": "true", "RECONCILER_BRAKE__BUCKET_FLOOR": "1000"}


@dataclass(frozen=True)
class Works:
    """An application on secured servers, and the users of its roles."""

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


@pytest.fixture(scope="module")
def servers(stack_place, shown) -> Iterator[Secured]:
    """Start servers of this module's own; whoever asks them in this process trusts their CA."""
    with shown():
        opened = secured.servers(stack_place)
        started = opened.__enter__()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(started.authority.ca))
        yield started
    opened.__exit__(None, None, None)


@contextmanager
def site(directory: Path, servers: Secured, url: str) -> Iterator[consuming.Site]:
    """Prepare a database and a bucket; nothing of ours is there yet."""
    bucket, group = f"test-{secrets.token_hex(6)}", f"test-{secrets.token_hex(6)}"
    client = storage.client(servers.minio)
    client.make_bucket(bucket_name=bucket)
    kafka = {"bootstrap.servers": servers.broker.secure, "group.id": group}
    program = command.program(directory, url, servers.minio, bucket, kafka)
    program.environ["RECONCILER_MINIO__CA_FILE"] = str(servers.authority.ca)
    master = servers.broker.master()
    with closing(ck.Consumer({**master, "group.id": group})) as asker:
        producer = ck.Producer(master)
        yield consuming.Site(program, url, [], client, bucket, secured.TOPIC, master, producer, asker)


@pytest.fixture
def works(servers, tmp_path) -> Iterator[Works]:
    """Make users, rights, schema, topics and rules, by what the commands print and do."""
    with databases.new_database(servers.postgres) as url, psycopg.connect(url, autocommit=True) as connection:
        databases.fill(connection)
        with (
            site(tmp_path, servers, url) as made,
            staff(made.program, connection, servers.minio) as people,
        ):
            for name in ROLES:
                servers.broker.give(f"{people.prefix}{name}", people.word)
            rights = [*acls(made.settings(), list(ROLES.values()), people.prefix)]
            sending = Acl(secured.MINIO, ("Describe", "Write"), "topic", secured.TOPIC)
            admitting.bind(servers.broker.admin(), [*rights, sending])
            all_of_it = Works(made, people, servers, tmp_path)
            done = all_of_it.role("owner").run("init", "--apply", "--partitions", "1")
            assert done.returncode == 0, done.stderr
            yield all_of_it
            for opened in made.opened:
                opened.close()


def said(program: Program, event: str) -> list[dict[str, str]]:
    """Return the log's lines of one event."""
    lines = [json.loads(line) for line in program.log().splitlines() if line.startswith('{"') and line[-1] == "}"]
    return [line for line in lines if line["event"] == event]


def answered(ask: Callable[[], object]) -> bool:
    """Tell whether Kafka lets us in."""
    try:
        ask()
    except Unavailable:
        return False
    return True


def test_an_event_becomes_a_flag_and_every_command_answers(works):
    """MinIO, broker, database and the commands speak TLS alone, and nobody is more than its role."""
    site, consumer, reader = works.site, works.role("consumer"), works.role("reader")
    site.put("kept")
    site.put("gone")
    site.row("kept")
    row = site.row("gone", created_at=OLD)
    with consumer.running("consume", "--log-format", "json", **QUICK) as process:
        until(lambda: "express.listening" in consumer.log(), 20, consumer.log)
        site.remove("gone")
        site.put("orphan")  # which the express lane does not tell of
        site.send([b"no JSON"])
        until(lambda: site.status(row) == "corrupted", 20, "the version is flagged")
        until(lambda: ("orphan", "orphan", "open") in site.open(), 20, "the orphan is found by its event")
        until(site.caught_up, 20, "all is committed")
        assert len(site.letters()) == 1
        insecure = "SELECT count(*) FROM pg_stat_activity AS a JOIN pg_stat_ssl AS s USING (pid) WHERE NOT s.ssl"
        assert site.sql(f"{insecure} AND client_addr IS NOT NULL") == [(0,)]
        checks = {one["check"]: one for one in json.loads(reader.run("doctor", "-o", "json").stdout)}
        assert {checks[name]["mark"] for name in ("database", "minio", "minio.rules", "kafka", "kafka.topics")} == {"✓"}
        process.terminate()
        assert process.wait(20) == 0, consumer.log()
    read = [(words, reader) for words in (["sweep"], ["status"], ["report"], ["explain", "gone"])]
    done = [(words, consumer) for words in (["replay", "--from", "earliest"], ["sweep", "--fix"])]
    for words, program in (*read, *done):
        ended = program.run(*words)
        assert ended.returncode == 0, (words, ended)


def test_changed_passwords_need_no_restart(works):
    """All three change while it runs and its connections break; once the files say so, it goes on where it was."""
    site, consumer, servers = works.site, works.role("consumer"), works.servers
    site.put("gone")
    row = site.row("gone", created_at=OLD)
    settings, letter = consuming.settings_of(consumer.environ), consuming.letter(site, b"no JSON", 0)
    kafka, store = Kafka(settings), opening.server(settings)
    user = f"{works.staff.prefix}consumer"
    quick = {"RECONCILER_KAFKA__RECONNECT_BACKOFF_MAX_MS": "300", "RECONCILER_KAFKA__SESSION_TIMEOUT_MS": "6000"}
    with ExitStack() as exits:
        process = exits.enter_context(consumer.running("consume", "--log-format", "json", **QUICK, **quick))
        asker = exits.enter_context(Asker(site.topic, kafka))
        letterbox = Letterbox(settings.stream.dead_letter_topic, kafka)
        storing = exits.enter_context(Storing(store))
        assert letterbox.deliver([letter]) == []
        until(lambda: "express.listening" in consumer.log(), 20, consumer.log)
        until(lambda: asker.positions()[0].metadata, 20, "it has joined, and committed")
        works.change("consumer", "another-word")
        site.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", user)
        servers.broker.control.restart()
        site.remove("gone")
        until(lambda: [told for told in said(consumer, "outage.begun") if told["server"] == "kafka"], 20, consumer.log)
        assert site.sql("SELECT FROM pg_stat_activity WHERE usename = %s", user) == []
        assert process.poll() is None, consumer.log()
        works.hand_out("consumer", "another-word")
        until(lambda: site.status(row) == "corrupted", 30, consumer.log)
        until(site.caught_up, 30, "what waited meanwhile is committed")
        until(lambda: answered(asker.positions), 20, "whoever asks of the group is let in")
        until(lambda: answered(lambda: letterbox.deliver([letter])), 30, "dead letters are taken")
        until(lambda: not isinstance(storing.read(ObjectRef(site.bucket, "gone")), Unknown), 5)
        process.terminate()
        assert process.wait(20) == 0, consumer.log()
    assert {told["key"] for told in said(consumer, "file.reread")} == {
        "database.url",
        "minio.secret_key",
        "kafka.sasl.password",
    }
