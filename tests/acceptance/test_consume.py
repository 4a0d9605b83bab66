"""`consume` as a process: how it starts, what it outlives, and how it ends. The servers it loses are its own."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import psycopg
import pytest

from deploy.local.stack import Servers, stack
from tests.support import consuming, databases, proxy, storage
from tests.support.waiting import until

START_S = 1.0  # until it polls, on a machine that takes LIBRARIES_S for importing what we stand on
LIBRARIES_S = 0.7
LIBRARIES = "import confluent_kafka, minio, msgspec, prometheus_client, psycopg, pycurl, structlog, tenacity, waitress"
END_S = 5.0
NOBODY = "127.0.0.1:1"
SECRETS = ("reconciler-local", "hidden-word")
QUICK = {
    "RECONCILER_POLICY__MISSING_GRACE": "300ms",
    "RECONCILER_POLICY__ORPHAN_GRACE": "300ms",
    "RECONCILER_FLAGGING": "true",
    "RECONCILER_BRAKE__BUCKET_FLOOR": "1000",  # here it is no surprise that half of a bucket goes
}
JSON = ("consume", "--log-format", "json")
OLD = datetime(2025, 9, 7, tzinfo=UTC)  # of a row that is no longer young, so that only an event can name it
FLAGGED = "SELECT count(*) FROM file_versions WHERE status = 'corrupted'"


@pytest.fixture
def site(site):
    """Give the application, and look for its secrets in all that it said."""
    yield site
    tells_no_secret(site)


@pytest.fixture(scope="module")
def own(shown) -> Iterator[Servers]:
    """Start servers that this module alone uses, and may kill."""
    with shown():
        opened = stack()
        servers = opened.__enter__()
    yield servers
    opened.__exit__(None, None, None)


@pytest.fixture
def fragile(tmp_path, own):
    """Make an application on servers that may be lost, whose bucket reports to their topic."""
    with databases.new_database(own.postgres) as url:
        with psycopg.connect(url) as connection:
            databases.fill(connection)
        bucket = storage.new_bucket(own.minio)
        with consuming.site(tmp_path, url, own.minio, own.kafka.bootstrap, own.kafka.topic, bucket) as made:
            yield made
            tells_no_secret(made)


def tells_no_secret(site) -> None:
    """Whatever happened, no password came into the log."""
    log = site.program.file.with_suffix(".log")
    kept = log.read_text() if log.exists() else ""
    for secret in (*SECRETS, site.program.environ["RECONCILER_MINIO__SECRET_KEY"]):
        assert secret not in kept


def said(site, event: str, **facts: str) -> list[dict]:
    """Return the log's lines of one event."""
    lines = [json.loads(line) for line in site.program.log().splitlines() if line.startswith('{"') and line[-1] == "}"]
    return [line for line in lines if line["event"] == event and facts.items() <= line.items()]


@contextmanager
def consume(site, **changed: str) -> Iterator[subprocess.Popen]:
    """Start `consume`, and wait until it reads and, unless that is changed, listens."""
    ready = "consumer.started" if "RECONCILER_STREAM__EXPRESS" in changed else "express.listening"
    with site.program.running(*JSON, **QUICK, **changed) as process:
        until(lambda: said(site, ready) or process.poll() is not None, 20, ready)
        until(site.members, 20, "it joins the group")
        yield process


def end(process: subprocess.Popen, number: signal.Signals = signal.SIGTERM) -> float:
    """Tell a process to end, and return the seconds that it took."""
    begun = monotonic()
    process.send_signal(number)
    process.communicate(timeout=END_S + 10)
    return monotonic() - begun


@contextmanager
def lost(server, *, in_order: bool = False) -> Iterator[None]:
    """Have a server killed, or ended in good order, and back again after the block."""
    (server.control.stop if in_order else server.control.kill)()
    try:
        yield
    finally:
        server.control.start()


@contextmanager
def frozen(server) -> Iterator[None]:
    """Have a server stand still: its connections stay, and nothing is answered."""
    server.control.freeze()
    try:
        yield
    finally:
        server.control.thaw()


def spent_s(process: subprocess.Popen) -> float:
    """Return the processor time that a process has taken so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def imported_s() -> float:
    """Return the processor time that importing the libraries takes, and nothing of ours."""
    before = os.times()
    subprocess.run([sys.executable, "-c", LIBRARIES], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


@pytest.mark.invariant(2)
def test_a_loop_that_stands_still_ends_its_process_and_says_where(site):
    """Whoever started it starts it again; a call of a driver may never return, and hears no signal."""
    site.send([b"poison"])
    standing = replace(site.program, words=(sys.executable, "-m", "tests.support.standing"))
    with standing.running(*JSON) as process:
        assert process.wait(30) == 5
    [told] = said(site, "consumer.cut_off")
    assert "the loop stands still" in told["why"]
    assert "in never" in site.program.log()


def test_it_polls_within_a_second_of_its_start(site):
    """From the start of the process until it reads: a second of its own time, by the speed of the machine."""
    before = imported_s()
    site.send([b"poison"])
    begun = monotonic()
    with site.program.running(*JSON) as process:
        until(lambda: said(site, "consumer.started"), 20, "it starts")
        own_s, took_s = spent_s(process), monotonic() - begun
        until(site.caught_up, 20, "the first record is worked off")
        end(process)
    slowness = max(before / LIBRARIES_S, imported_s() / LIBRARIES_S, 1.0)  # what runs beside comes and goes
    assert own_s < START_S * slowness, f"of its own time; {took_s:.1f} s by the clock; {slowness:.2f} times as slow"
    assert took_s < START_S * slowness + 4, "by the clock, on a busy machine"
    assert process.returncode == 0


@pytest.mark.invariant(2)
def test_it_ends_in_good_order_while_records_are_held(site):
    """SIGTERM while uploads wait for their commit: exit 0 within five seconds; their offsets stay where they are."""
    keys = [f"held {number}" for number in range(20)]
    for key in keys:
        site.put(key)
    site.put("here")
    site.row("here")
    with consume(site) as process, site.uncommitted(*keys):
        site.send([site.created(key) for key in keys])
        site.send([site.created("here")], partition=1)
        until(lambda: site.committed() == {1: 1}, 10, "all is settled but what is held")
        assert end(process) < END_S
    assert process.returncode == 0, site.program.log()
    assert site.committed() == {1: 1}
    assert site.open() == set()
    assert said(site, "consumer.stopped")


AWAY = {
    "postgresql refuses": ("postgres", proxy.Proxy.stop, "outage.begun"),
    "minio refuses": ("minio", proxy.Proxy.stop, "outage.begun"),
    "minio is silent": ("minio", lambda between: between.set(proxy.Stall()), "outage.begun"),
    "minio falls silent": ("minio", lambda between: between.set(proxy.Stall()), "consumer.started"),
}


@pytest.mark.parametrize("away", AWAY)
def test_it_ends_in_good_order_while_a_server_is_away(site, postgres, minio, away):
    """SIGTERM during an outage: exit 0 within five seconds, and what was not worked off is not committed."""
    server, lose, word = AWAY[away]
    address = postgres.url.rsplit("@", 1)[1].split("/")[0] if server == "postgres" else minio.endpoint
    host, port = address.split(":")
    site.put("file")
    row = site.row("file")
    with proxy.Proxy(host, int(port)) as between:
        there = f"127.0.0.1:{between.port}"
        changed = {"RECONCILER_MINIO__ENDPOINT": f"http://{there}"}
        if server == "postgres":
            changed = {"RECONCILER_DATABASE__URL": site.database.replace(address, there)}
        with consume(site, **changed) as process:
            lose(between)
            site.send([site.removed("file")])
            until(lambda: said(site, word), 20, word)
            assert end(process) < END_S
    assert process.returncode == 0, site.program.log()
    assert site.committed() == {}
    assert site.status(row) == "active"


@pytest.mark.invariant(2)
def test_a_defect_ends_it_with_a_traceback_before_the_commit(site):
    """Its schema is dropped while it runs: no silent loop, but an end with status 1; nothing is committed."""
    with consume(site) as process:
        site.sql("DROP SCHEMA reconciler CASCADE")
        site.send([site.removed("file")])
        process.communicate(timeout=20)
    assert process.returncode == 1, site.program.log()
    assert "Traceback" in site.program.log()
    assert re.search(r'relation "reconciler\.\w+" does not exist', site.program.log())
    assert site.committed() == {}


@pytest.mark.invariant(2)
def test_killed_while_it_works_it_goes_on_where_it_was(site):
    """Kill -9 of the whole process, twice; the third has found everything, once each."""
    rows = {f"gone {number}": site.row(f"gone {number}", created_at=OLD) for number in range(90)}
    changed = {"RECONCILER_KAFKA__GROUP_INSTANCE_ID": "one", "RECONCILER_STREAM__BATCH": "10"}
    changed |= {"RECONCILER_STREAM__EXPRESS": "false"}
    keys = list(rows)
    for part in range(2):
        with consume(site, **changed) as process:
            site.spread([site.removed(key) for key in keys[part * 30 : part * 30 + 30]])
            until(lambda part=part: len(site.open()) > part * 30, 10, "it works")
            process.kill()
            process.wait()
        site.hurry()  # what a dead one had claimed would be due again within a minute
    with consume(site, **changed) as process:
        site.spread([site.removed(key) for key in keys[60:]])
        until(lambda: site.sql(FLAGGED) == [(90,)] and site.caught_up(), 30, "all are flagged")
        end(process)
    assert process.returncode == 0, site.program.log()
    assert site.open() == {(key, "missing", "open") for key in rows}
    acts = "SELECT act, count(*), count(DISTINCT subject) FROM reconciler.history GROUP BY 1 ORDER BY 1"
    assert site.sql(acts) == [("flagged", 90, 90), ("suspected", 90, 90)]


def test_without_kafka_it_says_what_is_needed(site):
    """Without [kafka] nothing can be consumed: exit 2, and the key is named."""
    without = {name: "" for name in site.program.environ if name.startswith("RECONCILER_KAFKA")}
    process = site.program.process("consume", **without)
    assert process.returncode == 2
    assert '"bootstrap.servers" is needed' in process.stderr
    assert "Traceback" not in process.stderr


def test_without_its_topics_it_says_how_to_make_them(site):
    """A topic that is not there is told at the start, not waited for: exit 2, and the way out."""
    process = site.program.process("consume", RECONCILER_STREAM__TOPIC="no-such-topic")
    assert process.returncode == 2, process.stderr
    assert "'no-such-topic'" in process.stderr
    assert "init --only kafka --apply" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("why", ["nobody listens", "the password is wrong"])
def test_without_its_database_it_does_not_start(site, why):
    """A database that does not let it in at the start: exit 6 within seconds, its name told and no secret."""
    url = f"postgresql://me:hidden-word@{NOBODY}/x"
    if why == "the password is wrong":
        url = re.sub(r":[^:@]*@", ":hidden-word@", site.database)
    process = site.program.process("consume", RECONCILER_DATABASE__URL=url)
    assert process.returncode == 6, process.stderr
    assert "postgresql is unavailable" in process.stderr
    assert "Traceback" not in process.stderr
    for secret in SECRETS:
        assert secret not in process.stderr + process.stdout


@pytest.mark.invariant(2)
def test_it_outlives_a_killed_database(fragile, own):
    """PostgreSQL is killed in mid-stream and comes back: all is found, and the member has never left its group."""
    keys = [f"file {number}" for number in range(60)]
    for key in keys:
        fragile.put(key)
        fragile.row(key, created_at=OLD)
    with consume(fragile) as process:
        before = fragile.members()
        for key in keys[:20]:
            fragile.remove(key)
        until(fragile.open, 10, "some are found")
        with lost(own.postgres):
            for key in keys[20:40]:
                fragile.remove(key)
            until(lambda: len(said(fragile, "outage.waited", server="postgresql")) > 2, 20, "it tries again and again")
        for key in keys[40:]:
            fragile.remove(key)
        until(lambda: fragile.sql(FLAGGED) == [(60,)] and fragile.caught_up(), 40, "all are found")
        assert fragile.members() == before
        assert end(process) < END_S
    assert process.returncode == 0
    assert fragile.open() == {(key, "missing", "open") for key in keys}
    for what in ("begun", "ended"):
        assert len(said(fragile, f"outage.{what}", server="postgresql")) == 1, "however often it was tried"


@pytest.mark.invariant(1)
@pytest.mark.invariant(2)
def test_it_outlives_a_frozen_and_a_killed_object_store(fragile, own):
    """MinIO does not answer, then is killed: nothing is said to be gone; it comes back, and what is gone is found."""
    there = {f"there {number}": fragile.row(f"there {number}") for number in range(20)}
    gone = {f"gone {number}": fragile.row(f"gone {number}", created_at=OLD) for number in range(40)}
    gone_first, gone_then = list(gone)[:20], list(gone)[20:]
    for key in there:
        fragile.put(key)
    with consume(fragile) as process:
        before = fragile.members()
        until(fragile.caught_up, 20, "what was put is behind it")
        for lose, part in ((frozen, gone_first), (lost, gone_then)):
            already, reached, outages = fragile.open(), fragile.committed(), len(said(fragile, "outage.begun"))
            with lose(own.minio):
                fragile.spread([fragile.removed(key) for key in (*there, *part)])
                until(lambda seen=outages: len(said(fragile, "outage.begun")) > seen, 30, "it notices")
                assert fragile.committed() == reached
                assert fragile.open() == already
            truth = already | {(key, "missing", "open") for key in part}
            until(lambda truth=truth: fragile.open() == truth and fragile.caught_up(), 40, "the truth")
        assert fragile.members() == before
        assert end(process) < END_S
    assert process.returncode == 0
    assert {fragile.status(row) for row in there.values()} == {"active"}
    assert {fragile.status(row) for row in gone.values()} == {"corrupted"}


@pytest.mark.invariant(2)
def test_it_outlives_a_restart_of_the_broker(fragile, own):
    """Kafka goes and comes back; meanwhile the express lane hears, and then every event is read."""
    keys = [f"file {number}" for number in range(40)]
    for key in keys:
        fragile.put(key)
        fragile.row(key, created_at=OLD)
    with consume(fragile) as process:
        with lost(own.kafka, in_order=True):
            until(lambda: said(fragile, "outage.begun", server="kafka"), 30, "it notices")
            for key in keys:
                fragile.remove(key)
            until(lambda: len(fragile.open()) == 40, 10, "the express lane has named all of them")
        until(lambda: fragile.sql(FLAGGED) == [(40,)] and fragile.caught_up(), 60, "all is found and committed")
        by_both = "SELECT count(*) FROM reconciler.finding WHERE named_by @> ARRAY['express', 'event']"
        until(lambda: fragile.sql(by_both) == [(40,)], 30, "the events came after all")
        assert end(process) < END_S
    assert process.returncode == 0
    assert any("Connection refused" in line["what"] for line in said(fragile, "driver.told", driver="kafka"))
    assert [line for line in fragile.program.log().splitlines() if not line.startswith("{")] == []


def test_without_a_broker_the_express_lane_goes_on_to_its_end(fragile, own):
    """Either lane may fail without the other noticing: what express suspects is looked at again and flagged."""
    fragile.put("file")
    row = fragile.row("file", created_at=OLD)
    with consume(fragile), lost(own.kafka, in_order=True):
        until(lambda: said(fragile, "outage.begun", server="kafka"), 30, "it notices")
        fragile.remove("file")
        until(lambda: ("file", "missing", "suspected") in fragile.open(), 10, "it is suspected")
        until(lambda: fragile.status(row) == "corrupted", 20, "it is flagged")


@pytest.mark.invariant(2)
def test_it_ends_in_good_order_while_the_broker_is_away(fragile, own):
    """SIGTERM while no broker answers: exit 0 within five seconds."""
    with consume(fragile) as process, lost(own.kafka, in_order=True):
        until(lambda: said(fragile, "outage.begun", server="kafka"), 30, "it notices")
        assert end(process) < END_S
    assert process.returncode == 0, fragile.program.log()
