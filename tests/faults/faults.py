"""What is done to a plant: to its consumers, and beside them to its servers.

Who enters a block has the fault done; the stream goes on all the while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from time import monotonic

import confluent_kafka as ck
import psycopg
from psycopg import sql

from tests.faults.plant import Plant
from tests.faults.victim import POINTS
from tests.support.proxy import Cut, Fault, Pass, Slow, Stall
from tests.support.waiting import until

SHORT_S, LONG_S = 1.5, 6.0
COMINGS = 3
DEATH_S = 120.0
KILLED, NOT_LET_IN = -9, 6  # the second at its start, while a server is away
MANY = 1_000_000  # events; more than ever pass by
OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()
"""
RAISING = """
CREATE OR REPLACE FUNCTION provoked() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF random() < 0.5 THEN RAISE EXCEPTION 'provoked' USING ERRCODE = '{code}'; END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER provoked BEFORE UPDATE OF status ON file_versions FOR EACH ROW EXECUTE FUNCTION provoked();
"""
Injected = AbstractContextManager[None]


def a_while(plant: Plant, seconds: float, events: int = 500) -> None:
    """Let so much of the stream pass by, or so many events of it at the most."""
    begun, most = monotonic(), plant.sent + int(plant.chance.uniform(events / 5, events))
    until(lambda: monotonic() > begun + seconds or plant.sent >= most, seconds + 5)


@contextmanager
def killed_at_a_random_moment(plant: Plant) -> Iterator[None]:
    """Kill a consumer whatever it does."""
    a_while(plant, plant.chance.uniform(0, SHORT_S))
    plant.crew.kill(plant.chance.randrange(plant.crew.size))
    yield


def killed_at(point: str) -> Callable[[Plant], Injected]:
    """Have a consumer die at a point of its work."""

    @contextmanager
    def killed(plant: Plant) -> Iterator[None]:
        victim = None
        while victim is None or victim.returncode == NOT_LET_IN:
            place, nth = plant.chance.randrange(plant.crew.size), plant.chance.randint(1, 4)
            victim = plant.crew.put(place, point, str(nth))
            until(lambda one=victim: one.poll() is not None, DEATH_S, f"it dies: {POINTS[point]}")
        assert victim.returncode == KILLED, plant.crew.log(place).read_text()[-4000:]
        yield

    return killed


@contextmanager
def killed_in_a_rebalance(plant: Plant) -> Iterator[None]:
    """Have a consumer die while its partitions are taken from it, since another has joined."""
    victim = None
    while victim is None or victim.returncode == NOT_LET_IN:
        place = plant.chance.randrange(plant.crew.size)
        victim = plant.crew.put(place, "revoked", "1")
        reached = dict(plant.committed)
        until(lambda one=victim, was=reached: one.poll() is not None or plant.committed != was, DEATH_S, "it works")
        with plant.crew.guest():
            until(lambda one=victim: (plant.crew.keep(), one.poll() is not None)[1], DEATH_S, "it dies")
    yield


@contextmanager
def others_come_and_go(plant: Plant) -> Iterator[None]:
    """Have partitions taken from those who work, and given back, again and again."""
    for _ in range(COMINGS):
        with plant.crew.guest():
            until(lambda: (plant.crew.keep(), has_joined(plant))[1], DEATH_S, "it joins")
            a_while(plant, SHORT_S)
    yield


def has_joined(plant: Plant) -> bool:
    """Tell whether the group has as many members as there are; not while the broker cannot say."""
    with suppress(ck.KafkaException):
        return len(plant.site.members()) >= plant.crew.size
    return False


def ended(server: str, *, in_order: bool) -> Callable[[Plant], Injected]:
    """Have a server ended, or killed, and started again."""

    @contextmanager
    def away(plant: Plant) -> Iterator[None]:
        control = getattr(plant.servers, server).control
        (control.stop if in_order else control.kill)()
        try:
            a_while(plant, SHORT_S)
        finally:
            control.start()
        yield

    return away


def between(server: str, fault: Fault, seconds: float = SHORT_S, events: int = 500) -> Callable[[Plant], Injected]:
    """Have a server's connections behave badly for a while."""

    @contextmanager
    def badly(plant: Plant) -> Iterator[None]:
        proxy = plant.proxies[server]
        proxy.set(fault)
        try:
            a_while(plant, seconds, events)
        finally:
            proxy.set(Pass())
        yield

    return badly


def changed(how: str, back: str) -> Callable[[Plant], Injected]:
    """Have the database changed for its new connections, all old ones ended, and back after a while."""

    @contextmanager
    def otherwise(plant: Plant) -> Iterator[None]:
        name = plant.site.database.rsplit("/", 1)[1]
        with psycopg.connect(plant.servers.postgres.url, autocommit=True) as connection:

            def say(words: str) -> None:
                connection.execute(sql.SQL("ALTER DATABASE {} " + words).format(sql.Identifier(name)))  # type: ignore[arg-type]
                connection.execute(OTHERS, [name])

            say(how)
            try:
                a_while(plant, SHORT_S)
            finally:
                say(back)
        yield

    return otherwise


def raising(code: str) -> Callable[[Plant], Injected]:
    """Have every second flag meet an error of PostgreSQL's for a while."""

    @contextmanager
    def provoked(plant: Plant) -> Iterator[None]:
        plant.site.sql(RAISING.format(code=code))
        try:
            a_while(plant, SHORT_S)
        finally:
            plant.site.sql("DROP TRIGGER provoked ON file_versions")
        yield

    return provoked


OF_CONSUMERS: dict[str, Callable[[Plant], Injected]] = {
    "consumer killed at a random moment": killed_at_a_random_moment,
    **{f"consumer killed {words}": killed_at(point) for point, words in POINTS.items() if point != "revoked"},
    f"consumer killed {POINTS['revoked']}": killed_in_a_rebalance,
    "consumers come and go": others_come_and_go,
}
SERVERS_KILLED: dict[str, Callable[[Plant], Injected]] = {
    "PostgreSQL killed": ended("postgres", in_order=False),
    "Kafka killed": ended("kafka", in_order=False),
    "MinIO killed": ended("minio", in_order=False),
}
RESTARTS: dict[str, Callable[[Plant], Injected]] = {
    "PostgreSQL restarted": ended("postgres", in_order=True),
    "Kafka restarted": ended("kafka", in_order=True),
    "MinIO restarted": ended("minio", in_order=True),
}
OTHERS_THAN_KILLS: dict[str, Callable[[Plant], Injected]] = {
    "PostgreSQL's connections cut": between("postgres", Cut()),
    "PostgreSQL's connections stalled": between("postgres", Stall()),
    "PostgreSQL's connections slowed": between("postgres", Slow(0.1)),
    "MinIO's connections cut": between("minio", Cut()),
    "MinIO's connections stalled": between("minio", Stall()),
    "MinIO's connections slowed": between("minio", Slow(0.3)),
    "MinIO is silent for long": between("minio", Stall(), LONG_S, MANY),
    "PostgreSQL refuses connections": changed("ALLOW_CONNECTIONS false", "ALLOW_CONNECTIONS true"),
    "PostgreSQL reads only": changed("SET default_transaction_read_only = on", "RESET default_transaction_read_only"),
    "serialisation failures": raising("40001"),
    "deadlocks": raising("40P01"),
}
KAFKAS: dict[str, Callable[[Plant], Injected]] = {  # where its clients can be sent to a proxy
    "Kafka's connections cut": between("kafka", Cut()),
    "Kafka's connections stalled": between("kafka", Stall()),
    "Kafka's connections slowed": between("kafka", Slow(0.3)),
}
OF_SERVERS = SERVERS_KILLED | RESTARTS | OTHERS_THAN_KILLS | KAFKAS
EVERY_FAULT = OF_CONSUMERS | OF_SERVERS
