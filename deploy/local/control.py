"""What a test may do to a server: end it, kill it, freeze it, start it again on the same data and port."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from deploy.local import supervisor
from deploy.local.progress import Trouble, last_lines

READY_SECONDS = 60.0
END_SECONDS = 20.0
LEFT_SECONDS = 5.0  # for what a kill left behind to end by itself
SERVERS_OWN = ("MINIO_", "PG", "KAFKA_")


class Control(Protocol):
    """A running server, whichever way it was found."""

    @property
    def pid(self) -> int:
        """The server's process, as this machine sees it."""
        ...

    def stop(self, number: int | None = None) -> None:
        """End the server (None: in good order) and return when it has ended."""
        ...

    def kill(self) -> None:
        """End the server with SIGKILL."""
        ...

    def start(self) -> None:
        """Start the ended server again on the same data and port, and return when it answers."""
        ...

    def restart(self) -> None:
        """Stop in good order and start."""
        ...

    def freeze(self) -> None:
        """Stop the server's clock (SIGSTOP): connections stay, nothing answers."""
        ...

    def thaw(self) -> None:
        """Let a frozen server go on."""
        ...


class Elsewhere:
    """The server was named by the environment: it is used, never touched."""

    @property
    def pid(self) -> int:
        """Raise Trouble."""
        raise Trouble(
            "this server was named by the environment, and is not ours to stop: use RECONCILER_SERVERS=native"
        )

    def stop(self, number: int | None = None) -> None:  # noqa: ARG002
        """Raise Trouble."""
        _ = self.pid

    kill = start = restart = freeze = thaw = stop


@dataclass(frozen=True)
class Launch:
    """How a server is started as a process here; what lies in `directory` goes with it."""

    name: str
    command: list[str]
    directory: Path
    ready: Callable[[], bool]
    end: signal.Signals = signal.SIGTERM
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None

    @property
    def log(self) -> Path:
        """Where the server's output goes."""
        return self.directory / "server.log"


class Native:
    """A server started here, under its supervisor."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None

    @property
    def pid(self) -> int:
        """The server's process."""
        if self._pid is None:
            raise Trouble(f"{self.launch.name} does not run")
        return self._pid

    def start(self) -> None:
        """Start, and return when the server answers; what a kill left behind may need some tries."""
        last_try = time.monotonic() + LEFT_SECONDS
        while True:
            began = time.monotonic()
            self._launch()
            if wait_until(self._answers_or_ended, READY_SECONDS) and self._runs():
                return
            self.kill()
            if began > last_try:
                break
        log = self.launch.log
        raise Trouble(f"{self.launch.name} does not come up; the end of its log:\n{last_lines(log)}")

    def stop(self, number: int | None = None) -> None:
        """End the server and wait for that."""
        running = self._supervisor
        if running is None:
            return
        self._signal(self.launch.end if number is None else number)
        self.thaw()  # a frozen server would not hear it
        try:
            running.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
        self._let_go()

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        """Stop in good order and start."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _let_go(self) -> None:
        """Let go of the supervisor; the server has ended."""
        running, self._supervisor, self._pid = self._supervisor, None, None
        if running is None:
            return
        for end in (running.stdin, running.stdout):
            if end is not None:
                end.close()
        running.wait()

    def _launch(self) -> None:
        launch = self.launch
        arguments = ["--directory", str(launch.directory), "--log", str(launch.log), "--end", str(int(launch.end))]
        arguments += ["--user", launch.user] if launch.user else []
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", supervisor.__file__, *arguments, *launch.command],
            env=_clean_environment() | dict(launch.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._pid = self._read_pid(self._supervisor)

    def _read_pid(self, running: subprocess.Popen[bytes]) -> int:
        line = running.stdout.readline() if running.stdout else b""
        if not line:
            self._let_go()
            raise Trouble(f"{self.launch.name} cannot be started with {self.launch.command[0]}")
        return int(line)

    def _signal(self, number: int) -> None:
        if self._runs():
            with suppress(ProcessLookupError):  # it has ended, and its supervisor has not seen it yet
                os.killpg(self.pid, number)

    def _runs(self) -> bool:
        return self._supervisor is not None and self._supervisor.poll() is None

    def _answers_or_ended(self) -> bool:
        return not self._runs() or self.launch.ready()


def _clean_environment() -> dict[str, str]:
    """Return ours, without what would configure a server behind our back."""
    return {name: value for name, value in os.environ.items() if not name.startswith(SERVERS_OWN)}


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask until it is so, or the time is up; return which."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.03)
    return True
