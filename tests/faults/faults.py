"""What is done to a plant. A fault is felt while its block lasts; the stream goes on all the while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic

import psycopg
from psycopg import sql

from tests.faults.plant import Plant
from tests.faults.victim import POINTS
from tests.support.proxy import Cut, Fault, Pass, Proxy, Slow, Stall
from tests.support.waiting import until

FELT_S = 8.0  # the longest that a fault is waited for, to be felt by those who work
SHORT_S = 1.5
MOMENT_S = 0.5
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


def a_while(plant: Plant, seconds: float) -> None:
    """Let so much of the stream pass by."""
    begun, most = monotonic(), plant.sent + int(plant.chance.uniform(100, 500))
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
        place, nth = plant.chance.randrange(plant.crew.size), plant.chance.randint(1, 4)
        plant.crew.kill(place)
        plant.crew.running[place].wait()
        victim = plant.crew.start(place, point, str(nth))
        until(lambda: victim.poll() is not None, 30, f"it dies: {POINTS[point]}")
        assert victim.returncode in {-9, 6}, plant.crew.log(place).read_text()[-4000:]
        yield

    return killed


@contextmanager
def killed_in_a_rebalance(plant: Plant) -> Iterator[None]:
    """Have a consumer die while its partitions are taken from it, since another has joined."""
    place = plant.chance.randrange(plant.crew.size)
    plant.crew.kill(place)
    plant.crew.running[place].wait()
    victim = plant.crew.start(place, "revoked", "1")
    reached = dict(plant.committed)
    until(lambda: plant.committed != reached, 30, "it works")
    plant.crew.start(plant.crew.size, RECONCILER_KAFKA__GROUP_INSTANCE_ID="another")
    until(lambda: victim.poll() is not None or plant.crew.running[1 - place].poll() is not None, 30, "it dies")
    yield
    plant.crew.kill(plant.crew.size)
    plant.crew.running.pop(plant.crew.size).wait()


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


def between(server: str, fault: Fault) -> Callable[[Plant], Injected]:
    """Have a server's connections behave badly for a while."""

    @contextmanager
    def badly(plant: Plant) -> Iterator[None]:
        proxy: Proxy = getattr(plant, server)
        proxy.set(fault)
        try:
            a_while(plant, SHORT_S)
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


KILLS: dict[str, Callable[[Plant], Injected]] = {
    "consumer killed at a random moment": killed_at_a_random_moment,
    **{f"consumer killed {words}": killed_at(point) for point, words in POINTS.items() if point != "revoked"},
    f"consumer killed {POINTS['revoked']}": killed_in_a_rebalance,
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
    "PostgreSQL's connections cut": between("postgres_proxy", Cut()),
    "PostgreSQL's connections stalled": between("postgres_proxy", Stall()),
    "PostgreSQL's connections slowed": between("postgres_proxy", Slow(0.1)),
    "MinIO's connections cut": between("minio_proxy", Cut()),
    "MinIO's connections stalled": between("minio_proxy", Stall()),
    "MinIO's connections slowed": between("minio_proxy", Slow(0.3)),
    "PostgreSQL refuses connections": changed("ALLOW_CONNECTIONS false", "ALLOW_CONNECTIONS true"),
    "PostgreSQL reads only": changed("SET default_transaction_read_only = on", "RESET default_transaction_read_only"),
    "serialisation failures": raising("40001"),
    "deadlocks": raising("40P01"),
}
EVERY_FAULT = KILLS | SERVERS_KILLED | RESTARTS | OTHERS_THAN_KILLS
