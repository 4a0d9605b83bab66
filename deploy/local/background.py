"""The stack that `make up` leaves running: one process holds it, a file in the cache says how to reach it."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from os import kill
from pathlib import Path

from filelock import FileLock, Timeout

from deploy.local import cache
from deploy.local.control import wait_until
from deploy.local.progress import Trouble, last_lines, say

UP_SECONDS = 1800.0  # the first time builds MinIO
DOWN_SECONDS = 60.0

State = Mapping[str, str]


def up() -> State:
    """Start the stack in the background, unless it runs, and return its state."""
    with FileLock(cache.directory() / "starting.lock"):
        state = running()
        if state is not None:
            say("the stack is up already")
            return state
        return _start()


def _start() -> State:
    log = cache.directory() / "up.log"
    with log.open("wb") as output:
        holder = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.stack", "hold"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _follow(holder, log)
    except BaseException:
        holder.terminate()
        raise
    return running() or {}


def down() -> bool:
    """End the stack and return when it has ended; tell whether there was one."""
    state = running()
    if state is None:
        return False
    with suppress(ProcessLookupError):
        kill(int(state["pid"]), signal.SIGTERM)
    if not wait_until(lambda: running() is None, DOWN_SECONDS):
        raise Trouble(f"process {state['pid']} still holds the stack: kill it, and the servers end with it")
    return True


def running() -> State | None:
    """Return the state of the stack that runs, if one does: its holder has the lock as long as it lives."""
    lock = _lock()
    try:
        with lock.acquire(blocking=False):
            return None
    except Timeout:
        path = _state_file()
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def hold(state: State) -> None:
    """Keep the stack until SIGTERM or Ctrl-C; the caller started it and ends it."""
    path = _state_file()
    with _lock().acquire(timeout=DOWN_SECONDS):
        scratch = path.with_suffix(".new")
        scratch.touch(mode=0o600)
        scratch.write_text(json.dumps(state), encoding="utf-8")
        scratch.replace(path)
        try:
            threading.Event().wait()
        finally:
            path.unlink()


def _follow(holder: subprocess.Popen[bytes], log: Path) -> None:
    """Show the holder's log until the stack is up."""
    with log.open(encoding="utf-8") as lines:

        def up_or_ended() -> bool:
            for line in lines:
                say(line.rstrip("\n"))
            return holder.poll() is not None or running() is not None

        wait_until(up_or_ended, UP_SECONDS)
    if holder.poll() is not None:
        raise Trouble(f"the stack did not come up; the end of {log}:\n{last_lines(log)}")


def _lock() -> FileLock:
    return FileLock(cache.directory() / "up.lock")


def _state_file() -> Path:
    return cache.directory() / "up.json"
