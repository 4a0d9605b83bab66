"""The whole of it over TLS, under the roles' own users, whose passwords lie in files: from an event to a report."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest

from consumer.doctor.check import Mark
from consumer.kafka.letterbox import Letterbox
from consumer.kafka.positions import Asker
from reconcile import opening
from reconcile.config.renewal import Kafka
from reconcile.model import ObjectRef, Unavailable, Unknown
from reconcile.store.storing import Storing
from tests.support import consuming, examining, scraping, secured
from tests.support import works as building
from tests.support.command import Program
from tests.support.foreign import certificate
from tests.support.overheard import Overheard
from tests.support.secured import Secured
from tests.support.waiting import until
from tests.support.works import Works

OLD = datetime(2025, 9, 7, tzinfo=UTC)  # of a row that is no longer young, so that only an event can name it
ODD = "s/p@ce %25+"  # what URLs, shells and drivers read in ways of their own
PAGES = ("/", "/findings", "/findings/1", "/sweeps", "/metrics", "/livez", "/readyz", "/nowhere")
TOLD = (  # of a reader, whether it is let in or not
    "config show",
    "config show -o json",
    "config check",
    "config generate",
    "doctor",
    "doctor -o json",
    "init",
    "status",
    "report -o html",
    "sweep -o html",
    "explain gone",
    "findings list -o csv",
    "findings show 1",
    "orphans list",
    "dead-letters list",
    "roles sql",
    "roles acls",
    "version",
)
DONE = (
    "replay --from earliest",
    "sweep --fix",
    "dead-letters replay --apply",
    "scrub",
    "restore --all",
    "purge --older-than 1d",
)
QUICK = {"RECONCILER_FLAGGING": "true", "RECONCILER_BRAKE__BUCKET_FLOOR": "1000"}


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


@pytest.fixture(scope="module")
def common(servers, tmp_path_factory) -> Iterator[Works]:
    """Make an application on them, whose passwords stay as they are."""
    with building.works(tmp_path_factory.mktemp("common"), servers) as made:
        yield made


@pytest.fixture
def works(servers, tmp_path) -> Iterator[Works]:
    """Make an application of the test's own."""
    with building.works(tmp_path, servers) as made:
        yield made


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


def test_an_event_becomes_a_flag_and_every_command_answers(common):
    """MinIO, broker, database and the commands speak TLS alone, and nobody is more than its role."""
    site, consumer, reader = common.site, common.role("consumer"), common.role("reader")
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


@pytest.mark.timeout(240)
def test_changed_passwords_need_no_restart(works):
    """All three change while it runs and its connections break; once the files say so, it goes on where it was."""
    site, consumer, servers = works.site, works.role("consumer"), works.servers
    site.put("gone")
    row = site.row("gone", created_at=OLD)
    settings, letter = consuming.settings_of(consumer.environ), consuming.letter(site, b"no JSON", 0)
    kafka, store = Kafka(settings), opening.server(settings)
    user, word = f"{works.staff.prefix}consumer", ODD + secrets.token_hex(4)
    quick = {"RECONCILER_KAFKA__RECONNECT_BACKOFF_MAX_MS": "300", "RECONCILER_KAFKA__SESSION_TIMEOUT_MS": "6000"}
    with ExitStack() as exits:
        process = exits.enter_context(consumer.running("consume", "--log-format", "json", **QUICK, **quick))
        asker = exits.enter_context(Asker(site.topic, kafka))
        letterbox = Letterbox(settings.stream.dead_letter_topic, kafka)
        storing = exits.enter_context(Storing(store))
        assert letterbox.deliver([letter]) == []
        until(lambda: "express.listening" in consumer.log(), 20, consumer.log)
        until(lambda: asker.offsets()[0].metadata, 20, "it has joined, and committed")
        works.change("consumer", word)
        cut(works, "consumer")
        servers.broker.control.restart()
        site.remove("gone")
        until(lambda: [told for told in said(consumer, "outage.begun") if told["server"] == "kafka"], 20, consumer.log)
        assert site.sql("SELECT FROM pg_stat_activity WHERE usename = %s", user) == []
        assert process.poll() is None, consumer.log()
        works.hand_out("consumer", word)
        until(lambda: site.status(row) == "corrupted", 30, consumer.log)
        until(site.caught_up, 30, "what waited meanwhile is committed")
        until(lambda: answered(asker.offsets), 20, "whoever asks of the group is let in")
        until(lambda: answered(lambda: letterbox.deliver([letter])), 30, "dead letters are taken")
        until(lambda: "gone" in told_of(site), 30, "its finding is published")
        until(lambda: not isinstance(storing.read(ObjectRef(site.bucket, "gone")), Unknown), 5)
        process.terminate()
        assert process.wait(20) == 0, consumer.log()
    assert {told["key"] for told in said(consumer, "file.reread")} == {
        "database.url",
        "minio.secret_key",
        "kafka.sasl.password",
    }


@pytest.mark.timeout(240)
def test_no_secret_is_in_anything_that_a_run_writes(works):
    """Under right passwords and wrong ones, at every level, to its traceback: no log, page, table, topic or title."""
    site, overheard, word = works.site, Overheard(), ODD + secrets.token_hex(8)
    known = [works.staff.word, works.servers.minio.password, word, word.partition("@")[2]]
    site.put("gone")
    row = site.row("gone", created_at=OLD)
    consumer, reader = works.role("consumer"), works.role("reader")
    loud = {"RECONCILER_KAFKA__DEBUG": "security,broker,conf,feature"}
    with consumer.running("consume", "--log-level", "debug", "--log-format", "json", **QUICK, **loud) as process:
        until(lambda: said(consumer, "express.listening"), 30, "it listens")
        site.remove("gone")
        site.send([b"no JSON"])
        until(lambda: site.status(row) == "corrupted", 30, "the version is flagged")
        until(site.caught_up, 30, "all is committed")
        for words in TOLD:
            overheard.ran("reader", reader, [*words.split(), "--log-level", "debug"])
        for words in DONE:
            overheard.ran("consumer", consumer, [*words.split(), "--log-level", "debug", "--log-format", "json"])
        wrong_ones(works, overheard, known)
        page = scraping.Page(int(said(consumer, "web.listening")[0]["port"]))
        for path in PAGES:
            overheard.add(path, page.ask(path))
        overheard.process(process)
        overheard.topic(site, f"{site.topic}.dead-letter")
        overheard.topic(site, f"{site.topic}.findings")
        overheard.tables(site)
        works.change("consumer", word)
        cut(works, "consumer")
        until(lambda: "password authentication failed" in consumer.log(), 20, "it is not let in")
        works.hand_out("consumer", word)
        until(lambda: len(said(consumer, "file.reread")) == 3, 30, "it has read its files again")
        site.sql("DROP SCHEMA reconciler CASCADE")
        process.communicate(timeout=30)
    overheard.add("log", consumer.log())
    overheard.helps()
    assert process.returncode == 1
    assert all(one in consumer.log() for one in ("Traceback", "driver.told", "relation"))
    assert overheard.found(known) == []


def wrong_ones(works: Works, overheard: Overheard, known: list[str]) -> None:
    """Have commands meet each server with a wrong password, and with one that is no part of a URL."""
    consumer, reader = works.role("consumer"), works.role("reader")
    for server, name in (
        ("postgresql", "DATABASE__URL"),
        ("minio", "MINIO__SECRET_KEY"),
        ("kafka", "KAFKA__SASL_PASSWORD"),
    ):
        word = f"wrong{secrets.token_hex(8)}"
        known.append(word)
        changed = {f"RECONCILER_{name}_FILE": "", f"RECONCILER_{name}": word}
        if server == "postgresql":
            changed[f"RECONCILER_{name}"] = reader_url(works, word)
        for program, words in ((reader, "doctor"), (reader, "sweep"), (consumer, "replay --from earliest")):
            overheard.ran(f"wrong at {server}", program, [*words.split(), "--log-level", "debug"], **changed)
    for url in (
        f"postgresql://u:{ODD}{known[0]}@h/d",
        f"host=h password={known[0]} {ODD}",
        f"postgresql://u:{known[0]}%zz@h/d",
    ):
        for words in ("config show", "config generate", "doctor", "consume"):
            ended = overheard.ran(
                "no URL", reader, words.split(), RECONCILER_DATABASE__URL_FILE="", RECONCILER_DATABASE__URL=url
            )
            assert ended == 2, words


def reader_url(works: Works, word: str) -> str:
    """Return the reader's URL with another password."""
    return replace(works.staff, word=word).rows("reader")["RECONCILER_DATABASE__URL"]


def told_of(site: consuming.Site) -> set[str]:
    """Return the keys of the findings whose changes were published."""
    changes = [json.loads(one.value()) for one in site.letters(wanted=0, topic=f"{site.topic}.findings")]
    return {change["key"] for change in changes if change["bucket"] == site.bucket}


def cut(works: Works, name: str) -> None:
    """Break a role's connections to the database."""
    works.site.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", f"{works.staff.prefix}{name}"
    )


WAYS_IN = {  # what is wrong with the way to a server, and what the fix must name
    "database speaks no TLS": ("database", {"sslmode": "disable"}, "speaks TLS"),
    "database under another CA": ("database", {"sslrootcert": "{other}"}, "name the CA"),
    "database under no CA": ("database", {"sslrootcert": "/nowhere"}, "name the CA"),
    "http to https": ("minio", {"MINIO__ENDPOINT": "http://{minio}"}, "https://"),
    "minio under another CA": ("minio", {"MINIO__CA_FILE": "{other}"}, "minio.ca_file"),
    "kafka in plaintext": ("kafka", {"KAFKA__SECURITY_PROTOCOL": "PLAINTEXT"}, "one side speaks TLS"),
    "kafka without SASL": ("kafka", {"KAFKA__SECURITY_PROTOCOL": "SSL"}, "security.protocol"),
    "kafka by another mechanism": ("kafka", {"KAFKA__SASL_MECHANISM": "PLAIN"}, "sasl.mechanism"),
    "kafka under another CA": ("kafka", {"KAFKA__SSL_CA_LOCATION": "{other}"}, "ssl.ca.location"),
}


def test_doctor_says_what_is_wrong_with_the_way_in(common, tmp_path):
    """Each misfit of TLS and SASL is told as what it is, by the setting that mends it."""
    (tmp_path / "elsewhere").mkdir()
    other, _ = certificate(tmp_path / "elsewhere", "localhost")
    reader, url = common.role("reader"), urlsplit(common.staff.rows("reader")["RECONCILER_DATABASE__URL"])
    known = dict(parse_qsl(url.query))
    wrong = []
    for name, (check, changed, fix) in WAYS_IN.items():
        given = {key: value.format(other=other, minio=common.servers.minio.endpoint) for key, value in changed.items()}
        environ = {f"RECONCILER_{key}": value for key, value in given.items()}
        if check == "database":
            moved = urlunsplit(url._replace(query=urlencode(known | given)))
            environ = {"RECONCILER_DATABASE__URL_FILE": "", "RECONCILER_DATABASE__URL": moved}
        found = examining.one(consuming.settings_of(reader.environment(environ)), check)
        wrong += [] if found.mark is Mark.BAD and fix in found.fix else [(name, found)]
    assert wrong == []
