"""A second listener of a broker that is started here, which sends its clients to where a proxy listens.

A client of Kafka goes where the broker tells it, so that a proxy before the usual listener would be left at once.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from deploy.local import kafka as kafkas
from deploy.local.cache import claim_port


@dataclass(frozen=True)
class Detour:
    """The ports of the loopback where the broker listens, and where its clients are sent."""

    broker: int
    proxy: int


@contextmanager
def detour() -> Iterator[Detour]:
    """Have a broker that is started by its jars listen so; both ports stay ours until the block ends."""
    usual = kafkas._properties  # noqa: SLF001 - what it is told besides
    with ExitStack() as exits, pytest.MonkeyPatch.context() as patch:
        ports = Detour(claim_port(exits), claim_port(exits))

        def besides(*words):
            given = dict(line.split("=", 1) for line in usual(*words).splitlines())
            given["listeners"] += f",DETOUR://127.0.0.1:{ports.broker}"
            given["advertised.listeners"] += f",DETOUR://127.0.0.1:{ports.proxy}"
            given |= {
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DETOUR:PLAINTEXT",
                "inter.broker.listener.name": "PLAINTEXT",
            }
            return "".join(f"{name}={value}\n" for name, value in given.items())

        patch.setattr(kafkas, "_properties", besides)
        yield ports
