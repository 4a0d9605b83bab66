"""The consumers of a plant, as processes: kept running, killed, replaced, and for a while joined by a guest."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.victim import BROKEN
from tests.support import command

MEMBERS = 2
VICTIM = (sys.executable, "-m", "tests.faults.victim")
CONSUME = ("consume", "--log-format", "json")
EXPECTED_ENDS = {-9, 6}  # killed; not let in at its start, as while a server is away


@dataclass
class Crew:
    """The consumers, each in its place; one that has ended is started again. Those beyond the first two are guests."""

    program: command.Program
    directory: Path
    size: int = MEMBERS
    mutant: str = ""  # how each is broken
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _moving: threading.RLock = field(default_factory=threading.RLock)

    def start(self, place: int, *victim: str) -> subprocess.Popen[bytes]:
        """Start a consumer in a place; `victim` is the point at which it kills itself, and at which time."""
        is_other = bool(victim or self.mutant)
        words = [*VICTIM, *(victim or ("", "0"))] if is_other else self.program.words
        name = f"place-{place}" if place < MEMBERS else ""  # who has none leaves its group when it is told to end
        environ = {"RECONCILER_KAFKA__GROUP_INSTANCE_ID": name, BROKEN: self.mutant}
        with self.log(place).open("ab") as log:
            started = subprocess.Popen(
                [*words, *CONSUME],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=self.program.environment(environ),
                cwd=command.ROOT,
            )
        self.running[place] = started
        return started

    def log(self, place: int) -> Path:
        """Where the consumers of a place tell what they do."""
        return self.directory / f"consumer-{place}.log"

    def kill(self, place: int) -> None:
        """Kill a consumer, if it still runs."""
        self.running[place].kill()

    def put(self, place: int, *victim: str) -> subprocess.Popen[bytes]:
        """Have a victim in a place, instead of who is there."""
        with self._moving:
            self.kill(place)
            self.running[place].wait()
            return self.start(place, *victim)

    def keep(self) -> None:
        """Start again what has ended; raises where one ended as none may."""
        with self._moving:
            for place in range(self.size):
                one = self.running.get(place)
                if one is not None and one.poll() is None:
                    continue
                assert one is None or one.returncode in EXPECTED_ENDS, self.log(place).read_text()[-4000:]
                self.start(place)

    @contextmanager
    def guest(self) -> Iterator[subprocess.Popen[bytes]]:
        """Have one more, who is told to end when the block does."""
        with self._moving:
            place, self.size = self.size, self.size + 1
            self.keep()
        try:
            yield self.running[place]
        finally:
            with self._moving:
                self.size = place
                one = self.running.pop(place)
                one.terminate()
            one.wait()

    def end(self) -> None:
        """Kill all."""
        for one in self.running.values():
            one.kill()
            one.wait()
