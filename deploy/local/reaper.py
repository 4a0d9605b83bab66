"""Removes a stack's containers, their network and the stack's directory when the run ends, however it ends.

A process of its own, as the supervisor is for native servers: its stdin is at its end when the run is. So no privileged
container with the engine's socket inside has to do it, and no image has to be pulled for it.
"""

import os
import shutil
import sys
from contextlib import suppress
from typing import Any

from docker.errors import APIError, NotFound  # type: ignore[import-untyped]
from testcontainers.core.docker_client import DockerClient

STDIN = 0


def main() -> None:
    """Wait for the end of stdin, then remove the network of that name, what is in it, and the directory."""
    engine = DockerClient().client
    print("ready", flush=True)
    while os.read(STDIN, 1):
        pass
    network, directory = sys.argv[1:]
    remove(engine, network)
    shutil.rmtree(directory, ignore_errors=True)


def remove(engine: Any, network: str) -> None:
    """Remove a network and its containers, with their data."""
    for container in engine.containers.list(all=True, filters={"network": network}):
        with suppress(APIError):  # it is being removed already
            container.remove(force=True, v=True)
    with suppress(NotFound):
        engine.networks.get(network).remove()


if __name__ == "__main__":
    main()
