"""A stream of events on servers that are killed, restarted, cut off and slowed, by consumers that are killed.

`make faults` is the long form: a million events, each fault many times. The seed is printed; RECONCILER_TEST_SEED
repeats its choices, though not the moment of each process.
"""

import os
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

import psycopg
import pytest

from deploy.local.stack import Servers, stack
from tests.faults import outside
from tests.faults.faults import EVERY_FAULT, KILLS, OTHERS_THAN_KILLS, SERVERS_KILLED
from tests.faults.outside import Outside
from tests.faults.plant import ENVIRON, Crew, Objects, Plant, key, what
from tests.support import consuming, databases
from tests.support.proxy import Proxy
from tests.support.waiting import until

LONG = bool(os.environ.get("RECONCILER_TEST_LONG"))
EVENTS = 1_000_000 if LONG else 50_000
ROUNDS = 8
CONSUMERS_KILLED = 5  # in the short form; with the three servers these are its eight kills
REST = 2_000  # events that the short form writes after its last fault
RECOVERY_S = 90.0
END_S = 600.0 if LONG else 90.0


@pytest.fixture(scope="module")
def own(shown) -> Iterator[Servers]:
    """Start servers that this module alone uses, and may kill."""
    with shown():
        opened = stack(durable=True)
        servers = opened.__enter__()
    yield servers
    opened.__exit__(None, None, None)


@pytest.fixture
def seed(shown) -> int:
    """Choose and print the seed."""
    chosen = int(os.environ.get("RECONCILER_TEST_SEED", "0")) or secrets.randbelow(1 << 31)
    with shown():
        print(f"\n  faults: RECONCILER_TEST_SEED={chosen}")  # noqa: T201 - it repeats the run
    return chosen


@pytest.fixture
def plant(tmp_path, own, seed) -> Iterator[Plant]:
    """Build a plant, whose consumers reach PostgreSQL and MinIO through proxies."""
    with databases.new_database(own.postgres) as url:
        with psycopg.connect(url) as connection:
            databases.fill(connection)
        address = url.rsplit("@", 1)[1].split("/")[0]
        topic = f"faults-{secrets.token_hex(4)}"
        consuming.kafkas.create_topic(own.kafka.bootstrap, topic, 4)
        with (
            Proxy(*_split(address)) as postgres,
            Proxy(*_split(own.minio.endpoint)) as minio,
            consuming.site(tmp_path, url, own.minio, own.kafka.bootstrap, topic) as site,
        ):
            there = {
                "RECONCILER_DATABASE__URL": url.replace(address, f"127.0.0.1:{postgres.port}"),
                "RECONCILER_MINIO__ENDPOINT": minio.url,
            }
            site.program.environ.update(ENVIRON | there)
            crew = Crew(site.program, tmp_path)
            made = Plant(own, site, Objects.of(site, own), crew, postgres, minio, random.Random(seed), EVENTS)  # noqa: S311
            made.prepare()
            yield made


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.partition(":")
    return host, int(port)


@dataclass
class Line:
    """What became of one kind of fault."""

    fault: str
    times: int = 0
    in_flight: int = 0
    recovery_s: float = 0.0


def chosen(plant: Plant) -> list[str]:
    """Return the faults of a run, in their order."""
    if LONG:
        rounds = [plant.chance.sample([*EVERY_FAULT], len(EVERY_FAULT)) for _ in range(ROUNDS)]
        return [one for each in rounds for one in each]
    names = [*plant.chance.sample([*KILLS], CONSUMERS_KILLED), *SERVERS_KILLED, *OTHERS_THAN_KILLS]
    return plant.chance.sample(names, len(names))


def suffer(plant: Plant, name: str, line: Line) -> None:
    """Have one fault, and wait until what was written by its end is worked off."""
    line.times += 1
    in_flight = plant.in_flight
    with EVERY_FAULT[name](plant):
        line.in_flight += max(in_flight, plant.in_flight)
    begun, ends = monotonic(), plant.ends()

    def recovered() -> bool:
        plant.crew.keep()
        return plant.reached(ends)

    until(recovered, RECOVERY_S, f"all is worked off after: {name}")
    line.recovery_s = max(line.recovery_s, monotonic() - begun)


def is_told(plant: Plant, one: str) -> bool:
    """Tell whether an event was written of a key."""
    kind, _, number = one.partition("/")
    return kind == "healthy" or int(number) < plant.limit


def table(lines: list[Line], lost: int, false: int) -> str:
    """Return what is printed."""
    head = f"  {'fault':45} {'times':>5} {'in flight':>9} {'recovered within':>16}"
    rows = [f"  {one.fault:45} {one.times:5} {one.in_flight:9,} {one.recovery_s:14.1f} s" for one in lines]
    return "\n".join(["", head, *rows, f"  lost: {lost}, false: {false}"])


@pytest.mark.invariant(2)
@pytest.mark.timeout(6 * 3600 if LONG else 420)
def test_whatever_is_killed_or_cut_off_nothing_is_lost_and_nothing_is_false(plant, shown):
    """Findings equal the truth, each poison has its dead letter, and no offset went before its outcome."""
    watcher = Outside(plant)
    lines = {name: Line(name) for name in EVERY_FAULT}
    with plant.working(watcher.watch):
        until(lambda: sum(plant.committed.values()) > 500, 60, "the stream is worked off")
        for name in chosen(plant):
            suffer(plant, name, lines[name])
        if not LONG:
            plant.limit = plant.sent + REST
        plant.hurrying.set()
        until(lambda: (plant.crew.keep(), plant.sent == plant.limit)[1], END_S, "the stream is at its end")
        until(lambda: (plant.crew.keep(), len(plant.placed) == plant.limit)[1], END_S, "all is written")
        until(lambda: (plant.crew.keep(), plant.reached(plant.ends()))[1], END_S, "all is committed")
        until(lambda: sum(watcher.reached.values()) == plant.limit, END_S, "all is asked for from the outside")
        truth = {(one, kind) for one, kind in outside.truth(plant) if is_told(plant, one)}
        plant.site.hurry()  # what a dead one had claimed would be due again within a minute

        def agree() -> bool:
            plant.crew.keep()
            return outside.kept(plant) == truth and outside.flags(plant) == {
                one for one, kind in truth if kind == "missing"
            }

        try:
            until(agree, END_S, "the findings are the truth")
        finally:
            found = outside.kept(plant)
            lost, false = truth - found, found - truth
            with shown():
                print(table([one for one in lines.values() if one.times], len(lost), len(false)))  # noqa: T201
    assert watcher.early == [], "offsets were committed before their outcome"
    assert watcher.poison() == watcher.buried
    drifting = {key(number) for number in range(plant.limit) if what(number) in ("missing", "returned")}
    assert outside.ever_flagged(plant) <= drifting
    assert len(truth) > plant.limit // 100
