"""What is built once per user and kept: server binaries, jars, wheels. Two runs at once wait for each other."""

import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from socket import SO_REUSEADDR, SOL_SOCKET, socket

from filelock import FileLock, Timeout

from deploy.local.progress import Trouble, say

PORTS = range(20_000, 32_000)  # below the ports that Linux and macOS hand to outgoing connections
PORT_TRIES = 200


def directory() -> Path:
    """Return this user's cache, made if need be."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(base) / "storage-reconciler"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def kept(name: str, build: Callable[[Path], None]) -> Path:
    """Return the cached directory `name`; where absent, `build` fills it, once, and it appears whole or not at all."""
    place = directory() / name
    if place.exists():
        return place
    with _alone(name):
        if not place.exists():
            _build(place, build)
    return place


def _alone(name: str) -> FileLock:
    lock = FileLock(directory() / f"{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        say(f"  another run is preparing {name}; waiting for it")
    else:
        lock.release()
    return lock


def _build(place: Path, build: Callable[[Path], None]) -> None:
    scratch = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    scratch.mkdir()
    try:
        build(scratch)
        scratch.rename(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def claim_port(exits: ExitStack) -> int:
    """Return a free port on the loopback that no other stack of this user takes until `exits` is closed.

    It lies outside the range of outgoing connections, so it is still free when a server is restarted on it.
    """
    locks = directory() / "ports"
    locks.mkdir(exist_ok=True)
    for port in secrets.SystemRandom().sample(PORTS, PORT_TRIES):
        lock = FileLock(locks / str(port))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        exits.callback(lock.release)
        if _is_free(port):
            return port
    raise Trouble(f"no free port between {PORTS.start} and {PORTS.stop}: end some of what listens there")


def _is_free(port: int) -> bool:
    with socket() as probe:
        probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
