"""Runs a measurement in a process of its own, so that none inherits another's memory; and the command line of both.

A module of measurements has them by name, and asks `ran_one` first whether it is to run one of them alone.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from typing import Any, TypeVar

P = TypeVar("P")
READY = "ready"


def measure(
    module: str,
    name: str,
    place: Any,
    beside: Callable[[int], AbstractContextManager[Mapping[str, float]]] = lambda _: nullcontext({}),
) -> dict[str, float]:
    """Run one measurement of a module at a place; `beside` watches its process, and adds what it saw at its end."""
    command = alone(module, name, place)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, beside(process.pid) as seen:
        told, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    found: dict[str, float] = {**json.loads(told.splitlines()[-1]), **seen}
    print(f"  {name}: " + ", ".join(f"{key} {value:,.1f}" for key, value in found.items()), flush=True)
    return found


@contextmanager
def running(module: str, name: str, place: Any, number: int = 1) -> Iterator[list[int]]:
    """Start a measurement that goes on until SIGTERM, so many times; yields the processes once each said READY."""
    command = alone(module, name, place)
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]
    try:
        for one in started:
            if one.stdout is None or one.stdout.readline() != f"{READY}\n":
                raise RuntimeError(f"{name} of {module} did not become ready")
        yield [one.pid for one in started]
    finally:
        for one in started:
            one.send_signal(signal.SIGTERM)
        for one in started:
            one.communicate(timeout=30)


def alone(module: str, name: str, place: Any) -> list[str]:
    """Return the command that runs one measurement of a module at a place: what `ran_one` understands."""
    return [sys.executable, "-m", module, name, json.dumps(asdict(place))]


def ran_one(
    arguments: list[str], measurements: Mapping[str, Callable[[P], dict[str, float]]], place: Callable[..., P]
) -> bool:
    """Where the command line names one measurement and its place, run that, print what it found, and return True."""
    if not arguments or arguments[0] not in measurements:
        return False
    name, written = arguments
    print(json.dumps(measurements[name](place(**json.loads(written)))))
    return True
