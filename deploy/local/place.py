"""Where a stack lives, and which of the three ways its servers are found: environment, Docker, native."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from testcontainers.core.network import Network

from deploy.local import containers, images
from deploy.local.containers import Contained, Wanted
from deploy.local.control import Launch, Native
from deploy.local.progress import Trouble, say, step

NAMES = ("RECONCILER_TEST_POSTGRES_URL", "RECONCILER_TEST_KAFKA_BOOTSTRAP", "RECONCILER_TEST_MINIO_URL")


class Way(StrEnum):
    """How a server is found; the values are what RECONCILER_SERVERS takes."""

    ENVIRONMENT = "env"
    DOCKER = "docker"
    NATIVE = "native"


@dataclass(frozen=True)
class Place:
    """A stack's directory and the way its servers take; what is opened in it is closed by `exits`."""

    directory: Path
    exits: ExitStack
    way: Way
    network: Network | None = None

    def directory_of(self, server: str) -> Path:
        """Make and return a server's own directory."""
        path = self.directory / server
        path.mkdir()
        return path

    def start(self, launch: Launch) -> Native:
        """Start a process that ends with this place."""
        server = Native(launch)
        self.exits.callback(server.stop)
        with step(f"{launch.name}: starting"):
            server.start()
        return server

    def start_container(self, wanted: Wanted) -> Contained:
        """Start a container that ends with this place."""
        if self.network is None:
            raise Trouble("this stack has no containers")
        return Contained(wanted, self.network)


@contextmanager
def place(way: Way) -> Iterator[Place]:
    """Give a fresh directory to a stack, and at the end close what was opened in it, newest first, and remove it."""
    directory = Path(tempfile.mkdtemp(prefix="reconciler-stack-"))
    directory.chmod(0o711)  # PostgreSQL's unprivileged user passes through
    try:
        with ExitStack() as exits:
            yield Place(directory, exits, way, containers.network(exits, directory) if way is Way.DOCKER else None)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def chosen_way() -> Way:
    """Return how servers that have no name are had: as RECONCILER_SERVERS says, else in Docker, else native."""
    chosen = os.environ.get("RECONCILER_SERVERS") or None
    if chosen not in (None, *Way):
        raise Trouble(f"RECONCILER_SERVERS={chosen}: must be one of {', '.join(Way)}")
    if chosen is None and all(os.environ.get(variable) for variable in NAMES):
        return Way.ENVIRONMENT
    if chosen in (Way.ENVIRONMENT, Way.NATIVE):
        return Way(chosen)
    why_not = containers.missing(images.ALL)
    if why_not is None:
        return Way.DOCKER
    if chosen == Way.DOCKER:
        raise Trouble(f"RECONCILER_SERVERS=docker, but {why_not}")
    say(f"Docker is not used: {why_not}; the servers are started as processes of this machine")
    return Way.NATIVE


def named(variable: str, way: Way) -> str | None:
    """Return the value of the variable that names a server, when the way allows for it; `env` insists on it."""
    chosen = os.environ.get("RECONCILER_SERVERS")
    value = os.environ.get(variable) if chosen in (None, "", Way.ENVIRONMENT) else None
    if value is None and way is Way.ENVIRONMENT:
        raise Trouble(f"RECONCILER_SERVERS=env, but {variable} names no server")
    return value
