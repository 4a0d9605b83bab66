"""Builds a plant on servers of its own, which are killed: three servers, a proxy before each, an application."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from deploy.local.place import Way, chosen_way
from deploy.local.stack import Servers, stack
from tests.faults.crew import Crew
from tests.faults.plant import ENVIRON, Objects, Plant
from tests.support import consuming, databases
from tests.support.detour import Detour, detour
from tests.support.proxy import Proxy


@dataclass(frozen=True)
class Ground:
    """Servers that nobody else uses; `aside` is where Kafka's clients are sent to a proxy, if they can be."""

    servers: Servers
    aside: Detour | None


@contextmanager
def ground() -> Iterator[Ground]:
    """Start the servers, whose data outlive a kill."""
    with ExitStack() as exits:
        aside = exits.enter_context(detour()) if chosen_way() is Way.NATIVE else None
        yield Ground(exits.enter_context(stack(durable=True)), aside)


@contextmanager
def built(directory: Path, ground: Ground, seed: int, limit: int, chunk: int) -> Iterator[Plant]:
    """Build a plant, whose consumers reach all servers through proxies."""
    servers = ground.servers
    with databases.new_database(servers.postgres) as url, ExitStack() as exits:
        with psycopg.connect(url) as connection:
            databases.fill(connection)
        address = url.rsplit("@", 1)[1].split("/")[0]
        topic = f"faults-{secrets.token_hex(4)}"
        consuming.kafkas.create_topic(servers.kafka.bootstrap, topic, 4)
        proxies = {
            "postgres": exits.enter_context(Proxy(*_split(address))),
            "minio": exits.enter_context(Proxy(*_split(servers.minio.endpoint))),
        }
        site = exits.enter_context(
            consuming.superuser_site(directory, url, servers.minio, servers.kafka.bootstrap, topic)
        )
        there = {
            "RECONCILER_DATABASE__URL": url.replace(address, f"127.0.0.1:{proxies['postgres'].port}"),
            "RECONCILER_MINIO__ENDPOINT": proxies["minio"].url,
        }
        if ground.aside is not None:
            proxy = Proxy("127.0.0.1", ground.aside.broker, ground.aside.proxy)
            proxies["kafka"] = exits.enter_context(proxy)
            there["RECONCILER_KAFKA__BOOTSTRAP_SERVERS"] = f"127.0.0.1:{proxy.port}"
        site.program.environ.update(ENVIRON | there)
        crew, chance = Crew(site.program, directory), random.Random(seed)  # noqa: S311
        plant = Plant(servers, site, Objects.of(site, servers), crew, proxies, chance, limit, chunk)
        plant.prepare()
        yield plant


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.partition(":")
    return host, int(port)
