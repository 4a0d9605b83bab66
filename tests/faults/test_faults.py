"""A stream of events on servers that are killed, restarted, cut off and slowed, by consumers that are killed.

`make faults` is the long form: a million events, each fault many times, and each mutant. The seed is printed;
RECONCILER_TEST_SEED repeats its choices, though not the moment of each process.
"""

import os
import secrets
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic

import pytest

from tests.faults import outside
from tests.faults.building import Ground, built, ground
from tests.faults.faults import (
    EVERY_FAULT,
    KAFKAS,
    MANY,
    OF_CONSUMERS,
    OTHERS_THAN_KILLS,
    RESTARTS,
    SERVERS_KILLED,
    a_while,
)
from tests.faults.mutants import MUTANTS
from tests.faults.outside import Outside
from tests.faults.plant import BACKLOG, Plant
from tests.support.waiting import until

LONG = bool(os.environ.get("RECONCILER_TEST_LONG"))
EVENTS, ROOM = (1_000_000, 1_200_000) if LONG else (0, 50_000)  # at least; and at most while the faults last
FEW = 10  # events at once, twenty times a second at most
CHUNK = 100 if LONG else FEW
ROUNDS = 3
CONSUMERS_KILLED = 5  # in the short form; with the three servers these are its eight kills
REST = 2_000  # events at least after the last fault
RECOVERY_S, END_S = (180.0, 1200.0) if LONG else (90.0, 90.0)
CATCHING_UP = "consumers killed while they catch up"
SHOWN = [*MUTANTS] if LONG else ["goes on in an outage"]
SOME = 5_000  # events of a mutant, at most
LAST = 100  # of them after its fault
PATIENCE_S = 4.0
BETWEEN_S = 5.0  # from one kill to the next, while a backlog is worked off


@dataclass
class Line:
    """What became of one kind of fault."""

    fault: str
    times: int = 0
    in_flight: int = 0
    recovery_s: float = 0.0


@pytest.fixture(scope="module")
def own(shown) -> Iterator[Ground]:
    """Start servers that this module alone uses, and may kill."""
    with shown():
        opened = ground()
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


def chosen(plant: Plant) -> tuple[list[str], list[str]]:
    """Return the faults of consumers and of servers in their order; of Kafka's connections only where a proxy is."""
    kafkas = [*KAFKAS] if "kafka" in plant.proxies else []
    chance, servers = plant.chance, [*SERVERS_KILLED, *OTHERS_THAN_KILLS]
    if not LONG:
        servers += chance.sample(kafkas, min(len(kafkas), 1))
        return chance.sample([*OF_CONSUMERS], CONSUMERS_KILLED), chance.sample(servers, len(servers))
    consumers, servers = [*OF_CONSUMERS], [*servers, *RESTARTS, *kafkas]
    return (
        [one for _ in range(ROUNDS) for one in chance.sample(consumers, len(consumers))],
        [one for _ in range(ROUNDS) for one in chance.sample(servers, len(servers))],
    )


def suffer(plant: Plant, name: str, line: Line) -> None:
    """Have one fault, and wait until what was written by its end is worked off."""
    line.times += 1
    in_flight = plant.in_flight
    with EVERY_FAULT[name](plant):
        line.in_flight += max(in_flight, plant.in_flight)
    begun, ends = monotonic(), dict(plant.ends)

    def recovered() -> bool:
        plant.crew.keep()
        return plant.reached(ends)

    until(recovered, RECOVERY_S, f"all is worked off after: {name}")
    line.recovery_s = max(line.recovery_s, took := monotonic() - begun)
    if LONG:
        print(f"  {plant.sent:>9,} events  {name}, worked off {took:.1f} s after it", flush=True)  # noqa: T201


def suffer_all(plant: Plant, lines: dict[str, Line]) -> None:
    """Have the faults of consumers, and beside them those of servers."""
    failed = threading.Event()

    def one_by_one(names: list[str]) -> None:
        for name in names:
            if failed.is_set():
                return
            try:
                suffer(plant, name, lines[name])
            except BaseException:
                failed.set()
                raise

    with ThreadPoolExecutor() as beside:
        deque(beside.map(one_by_one, chosen(plant)), maxlen=0)


def catch_up(plant: Plant, line: Line) -> None:
    """Kill one consumer after another while a backlog is worked off: all that is left of the stream."""
    line.in_flight, begun = plant.limit - sum(plant.committed.values()), monotonic()
    while plant.sent < plant.limit or plant.in_flight > BACKLOG:
        line.times += 1
        with EVERY_FAULT["consumer killed at a random moment"](plant):
            plant.crew.keep()
        a_while(plant, BETWEEN_S, MANY)
    line.recovery_s = monotonic() - begun


def work_off(watcher: Outside) -> None:
    """Wait until the stream is at its end, all of it is committed, and was asked for from the outside."""
    plant = watcher.plant
    until(lambda: (plant.crew.keep(), plant.sent == plant.limit)[1], END_S, "the stream is at its end")
    until(lambda: (plant.crew.keep(), len(plant.placed) == plant.limit)[1], END_S, "all is written")
    until(lambda: (plant.crew.keep(), plant.reached(plant.ends))[1], END_S, "all is committed")
    until(lambda: sum(watcher.reached.values()) == plant.limit, END_S, "all is asked for from the outside")
    plant.site.hurry()  # what a dead one had claimed would be due again within a minute


def table(lines: list[Line]) -> str:
    """Return what is printed of the faults."""
    head = f"  {'fault':55} {'times':>5} {'in flight':>9} {'recovered within':>16}"
    rows = [f"  {one.fault:55} {one.times:5} {one.in_flight:9,} {one.recovery_s:14.1f} s" for one in lines if one.times]
    return "\n".join(["", head, *rows])


def wrong(watcher: Outside, so: set[tuple[str, str]]) -> dict[str, set[object]]:
    """Return all that must not be, once the consumers run that should; `so` is the truth."""
    watcher.plant.crew.keep()
    return outside.at_any_time(watcher) | outside.at_the_end(watcher, so)


@pytest.mark.invariant(2)
@pytest.mark.timeout(6 * 3600 if LONG else 420)
def test_whatever_is_killed_or_cut_off_nothing_is_lost_and_nothing_is_false(tmp_path, own, seed, shown):
    """Findings equal the truth, each poison has its dead letter, and no offset went before its outcome."""
    lines = {name: Line(name) for name in [*EVERY_FAULT, CATCHING_UP]}
    with built(tmp_path, own, seed, ROOM, CHUNK) as plant, plant.working((watcher := Outside(plant)).watch):
        until(lambda: sum(plant.committed.values()) > 500, 60, "the stream is worked off")
        try:
            with shown():
                suffer_all(plant, lines)
            plant.end_at(max(EVENTS, plant.sent + REST))
            if LONG:
                catch_up(plant, lines[CATCHING_UP])
            work_off(watcher)
        finally:
            with shown():
                print(table([*lines.values()]), f"  events: {plant.sent:,}", sep="\n")  # noqa: T201
                print(f"  of those asked for so far {outside.EARLY}: {len(watcher.early)}")  # noqa: T201
        so = outside.truth(plant)
        try:
            until(lambda: not any(wrong(watcher, so).values()), END_S, "all is as it should be")
        finally:
            with shown():
                print(*(f"  {what}: {len(those)}" for what, those in wrong(watcher, so).items()), sep="\n")  # noqa: T201
        assert len(so) > plant.limit // 100


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.timeout(120)
def test_a_consumer_that_is_broken_is_noticed_from_the_outside(tmp_path, own, seed, name):
    """With one thing broken in the code, its fault leaves what must not be, for good."""
    mutant = MUTANTS[name]
    with built(tmp_path, own, seed, SOME, FEW) as plant:
        plant.crew.mutant = name
        with plant.working((watcher := Outside(plant)).watch):
            until(lambda: sum(plant.committed.values()) > 100, 60, "the stream is worked off")
            suffer(plant, mutant.fault, Line(mutant.fault))
            plant.end_at(plant.sent + LAST)
            work_off(watcher)
            so = outside.truth(plant)
            with pytest.raises(AssertionError, match="all is as it should be"):
                until(lambda: not any(wrong(watcher, so).values()), PATIENCE_S, "all is as it should be")
            assert wrong(watcher, so)[mutant.noticed]
