"""What the terminal sees of the stack: each step, how long it takes, and what went wrong. Knows no server."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TICK_SECONDS = 5.0
LAST_LINES = 15


class Trouble(Exception):
    """The stack cannot be had; the text says what failed and what to do about it."""


def say(text: str) -> None:
    """Print one line to stderr; stdout belongs to results."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a step, say every few seconds that it still runs, and how long it took."""
    began = time.monotonic()
    done = threading.Event()
    ticker = threading.Thread(target=_tick, args=(text, began, done), daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
    say(f"  {text}: {time.monotonic() - began:.1f} s")


def _tick(text: str, began: float, done: threading.Event) -> None:
    while not done.wait(TICK_SECONDS):
        say(f"  {text} … {time.monotonic() - began:.0f} s so far")


def run(
    command: Sequence[str], way_out: str, environment: Mapping[str, str] | None = None, user: str | None = None
) -> str:
    """Return the output of a command that has to succeed; Trouble carries its last lines and the way out."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            user=user,
            extra_groups=[] if user else None,
            cwd="/" if user else None,
            check=False,
        )
    except OSError as refused:
        raise Trouble(f"{command[0]} does not start: {refused}. {way_out}") from refused
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command)} failed with status {done.returncode}. {way_out}\n{_last(done.stdout)}")
    return done.stdout


def last_lines(log: Path) -> str:
    """Return the end of a log, for an error's text."""
    return _last(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else "    (no log)"


def _last(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines()[-LAST_LINES:])
