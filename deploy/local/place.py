"""Where a stack lives, and which of the three ways its servers are found: environment, Docker, native."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from deploy.local.control import Launch, Native
from deploy.local.progress import Trouble, step


class Way(StrEnum):
    """How a server is found; the values are what RECONCILER_SERVERS takes."""

    ENVIRONMENT = "env"
    DOCKER = "docker"
    NATIVE = "native"


class Network(Protocol):
    """What containers of one stack share; its only user is deploy.local.containers."""

    name: str


@dataclass(frozen=True)
class Place:
    """A stack's directory and the way its servers take; what is opened in it is closed by `exits`."""

    directory: Path
    exits: ExitStack
    way: Way

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


@contextmanager
def place(way: Way) -> Iterator[Place]:
    """Give a fresh directory to a stack, and at the end close what was opened in it, newest first, and remove it."""
    directory = Path(tempfile.mkdtemp(prefix="reconciler-stack-"))
    directory.chmod(0o711)  # PostgreSQL's unprivileged user passes through
    try:
        with ExitStack() as exits:
            yield Place(directory, exits, way)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def named(variable: str, way: Way) -> str | None:
    """Return the value of the variable that names a server, when the way allows for it; `env` insists on it."""
    chosen = os.environ.get("RECONCILER_SERVERS")
    value = os.environ.get(variable) if chosen in (None, "", Way.ENVIRONMENT) else None
    if value is None and way is Way.ENVIRONMENT:
        raise Trouble(f"RECONCILER_SERVERS=env, but {variable} names no server")
    return value
