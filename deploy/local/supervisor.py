"""Stands between a run and one server, and ends the server when the run ends, however it ends.

A process of its own: the run holds the other end of its stdin, and the kernel closes that even after kill -9.
Knows only the standard library; prints the server's process id.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

STDIN = 0
PATIENCE_SECONDS = 5.0


def main() -> int:
    """Run the server to its end and return its status."""
    options = _options()
    server = _launch(options)
    print(server.pid, flush=True)
    orphaned = threading.Event()
    watcher = threading.Thread(target=_end_with_the_run, args=(server, options.end, orphaned), daemon=True)
    watcher.start()
    status = server.wait()
    _signal_group(server.pid, signal.SIGKILL)
    if orphaned.is_set():
        _remove(options.directory)
    return status & 0xFF


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path, required=True, help="of the server; removed when the run was killed")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--end", type=int, required=True, help="the signal that ends the server in good order")
    parser.add_argument("--user", help="the unprivileged user that the server runs as")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def _launch(options: argparse.Namespace) -> subprocess.Popen[bytes]:
    with options.log.open("ab") as log:
        return subprocess.Popen(
            options.command,
            cwd=options.directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=options.user,
            extra_groups=[] if options.user else None,
        )


def _end_with_the_run(server: subprocess.Popen[bytes], end: int, orphaned: threading.Event) -> None:
    while os.read(STDIN, 1):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    orphaned.set()
    _signal_group(server.pid, end)
    with suppress(subprocess.TimeoutExpired):
        server.wait(PATIENCE_SECONDS)
        return
    _signal_group(server.pid, signal.SIGKILL)


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    with suppress(OSError):
        directory.parent.rmdir()  # the stack's, when this was its last server


if __name__ == "__main__":
    sys.exit(main())
