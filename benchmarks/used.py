"""What a measurement takes of the machine at its highest: memory of program and database, and temporary disk (Linux).

It is looked at ten times a second: the resident memory of the process and all that it started, what PostgreSQL's
processes hold for themselves (its shared buffers are everybody's), and the files that either keeps for a while.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.local.control import Native
from deploy.local.stack import Servers

EVERY_S = 0.1
MB = 2**20


@contextmanager
def watched(servers: Servers, directory: Path, process: int) -> Iterator[dict[str, float]]:
    """Yield what holds, at the end, the highest of each that could be seen of a process and of the database."""
    looks: dict[str, Callable[[], float]] = {
        "client_mb": lambda: sum(memory_mb(one, "VmRSS") for one in descent(process)),
        "client_disk_mb": lambda: (
            (of_files(directory) + sum(nameless(one, directory) for one in descent(process))) / MB
        ),
    }
    control = servers.postgres.control
    if isinstance(control, Native):
        postmaster, kept = control.pid, control.launch.directory / "data" / "base"
        looks["database_mb"] = lambda: sum(memory_mb(one, "RssAnon") for one in descent(postmaster)[1:])
        looks["database_disk_mb"] = lambda: temporary(kept) / MB
    seen = dict.fromkeys(looks, 0.0)
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(EVERY_S):
            for name, one in looks.items():
                seen[name] = max(seen[name], one())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        ended.set()
        looking.join()


def descent(process: int) -> list[int]:
    """Return a process and all that come from it."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return [process, *(one for child in children for one in descent(int(child)))]


def memory_mb(process: int, what: str) -> float:
    """Return a line of a process's status in MB, nothing where it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) / 1024
    return 0.0


def of_files(directory: Path, pattern: str = "**/*") -> int:
    """Return the bytes of all files below a directory, though some vanish meanwhile."""
    total = 0
    with suppress(OSError):
        for file in directory.glob(pattern):
            with suppress(OSError):
                total += file.stat().st_size if file.is_file() else 0
    return total


def nameless(process: int, directory: Path) -> int:
    """Return the bytes of what a process keeps open in a directory, and that has no name any more."""
    total = 0
    with suppress(OSError):
        for file in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                target = str(file.readlink())
                gone = target.startswith(str(directory)) and target.endswith(" (deleted)")
                total += file.stat().st_size if gone else 0
    return total


def temporary(base: Path) -> int:
    """Return the bytes of PostgreSQL's temporary files and tables: pgsql_tmp, and what is named t<backend>_<number>."""
    return of_files(base, "pgsql_tmp/**/*") + of_files(base, "*/t[0-9]*_*")
