"""Servers in Docker, by testcontainers: is there an engine, do the images come, and a container as a Control."""

import gc
import queue
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker.errors import DockerException, ImageNotFound  # type: ignore[import-untyped]
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network

from deploy.local import reaper
from deploy.local.control import END_SECONDS, READY_SECONDS, wait_until
from deploy.local.progress import Trouble, step

NO_PROGRESS_SECONDS = 20.0
LAST_LINES = 15
LOOPBACK = "127.0.0.1"
IDLE = ("Retrying", "Waiting")  # what an engine says of a pull that does not come on

testcontainers_config.ryuk_disabled = True  # deploy.local.reaper does it, without a privileged container


def missing(images: Iterable[str]) -> str | None:
    """Pull what is not there yet; return why Docker cannot be used, or None."""
    found = engine()
    if found is None:
        return "no Docker engine answers"
    with closing(found):
        return next((why for image in images if (why := _pull(found, image))), None)


def network(exits: ExitStack, directory: Path) -> Network:
    """Return a network for one stack; it, what is in it, and the directory go when `exits` closes, or we are killed."""
    made = Network().create()
    watcher = subprocess.Popen(
        [sys.executable, reaper.__file__, made.name, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    exits.enter_context(watcher)  # closes its stdin, and waits for it
    if not watcher.stdout or not watcher.stdout.readline():
        made.remove()
        raise Trouble("the containers' reaper does not start")
    return made


@dataclass(frozen=True)
class Wanted:
    """A server as a container: `port` inside appears as `host_port` on the loopback."""

    name: str
    image: str
    port: int
    host_port: int
    command: list[str]
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)


class Contained:
    """A server in a container."""

    def __init__(self, wanted: Wanted, network: Network) -> None:
        self.wanted = wanted
        container = DockerContainer(wanted.image, env=dict(wanted.environment), network=network)
        container.with_command(wanted.command).with_network_aliases(wanted.name.lower())
        container.ports[str(wanted.port)] = (LOOPBACK, wanted.host_port)  # type: ignore[assignment] # else on every address
        with step(f"{wanted.name}: starting {wanted.image}"):
            container.start()
            self._container: Any = container.get_wrapped_container()
            self._wait_until_ready()

    @property
    def pid(self) -> int:
        """The server's process, as the engine's machine sees it."""
        return int(self._state()["Pid"])

    def stop(self, number: int | None = None) -> None:
        """End the server: None is the image's own stop signal."""
        if number is None:
            self._container.stop(timeout=int(END_SECONDS))
            return
        self._container.kill(signal=number)
        wait_until(lambda: not self._runs(), END_SECONDS)

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self.stop(signal.SIGKILL)

    def start(self) -> None:
        """Start the same container again."""
        self._container.start()
        self._wait_until_ready()

    def restart(self) -> None:
        """Stop in good order and start."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Pause the container."""
        self._container.pause()

    def thaw(self) -> None:
        """Let the container go on."""
        self._container.unpause()

    def _wait_until_ready(self) -> None:
        if wait_until(lambda: not self._runs() or self.wanted.ready(), READY_SECONDS) and self._runs():
            return
        log = self._container.logs(tail=LAST_LINES).decode(errors="replace")
        raise Trouble(f"{self.wanted.name} does not come up in Docker; the end of its log:\n{log}")

    def _state(self) -> Mapping[str, Any]:
        self._container.reload()
        state: Mapping[str, Any] = self._container.attrs["State"]
        return state

    def _runs(self) -> bool:
        return bool(self._state()["Running"])


def engine() -> Any:
    """Return a client of the engine, or None where none answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the client forgets to close a socket that nobody answers
        try:
            found = DockerClient().client
            found.ping()
        except DockerException:
            found = None
        gc.collect()
    return found


def _pull(engine: Any, image: str) -> str | None:
    """Return why an image cannot be had, or None."""
    try:
        engine.images.get(image)
    except ImageNotFound:
        with step(f"Docker: pulling {image}"):
            return _pull_watched(engine, image)
    return None


def _pull_watched(engine: Any, image: str) -> str | None:
    events: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
    threading.Thread(target=_read_pull, args=(engine, image, events), daemon=True).start()
    while True:
        try:
            event = events.get(timeout=NO_PROGRESS_SECONDS)
        except queue.Empty:
            return f"the pull of {image} makes no progress"
        if event is None:
            return None
        if "error" in event:
            return f"the pull of {image} failed: {event['error']}"


def _read_pull(engine: Any, image: str, events: queue.Queue[Mapping[str, Any] | None]) -> None:
    """Hand over each event that tells of progress, then None."""
    before: dict[str, object] = {}
    try:
        for event in engine.api.pull(image, stream=True, decode=True):
            layer, told = event.get("id", ""), (event.get("status"), event.get("progress"))
            if "error" in event or (before.get(layer) != told and not str(told[0]).startswith(IDLE)):
                before[layer] = told
                events.put(event)
        events.put(None)
    except DockerException as refused:
        events.put({"error": str(refused)})
