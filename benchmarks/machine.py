"""Names the machine that a figure was measured on, and tells how it was meanwhile: its guests share it, and differ."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

CPUINFO, STAT = Path("/proc/cpuinfo"), Path("/proc/stat")
TURNS = 200_000


@dataclass(frozen=True)
class Moment:
    """How busy a machine was so far and how fast it is; the ticks of CPU and of it other guests' are 0 but on Linux."""

    load: float
    ticks: int
    stolen: int
    turn_ns: float


def machine() -> str:
    """Return cores, processor, memory and Python's version on one line."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {processor()}, {memory_gib:.0f} GiB, Python {platform.python_version()}"


def processor() -> str:
    """Return the processor's name, and its family and model, since a guest may be told half of the name."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    if "model name" not in told:
        return platform.processor()
    return f"{told['model name']} (family {told.get('cpu family', '?')}, model {told.get('model', '?')})"


def moment() -> Moment:
    """Look at the machine; its speed is a loop of additions in Python, the median of seven, in ns a turn."""
    first = STAT.read_text().partition("\n")[0].split() if STAT.exists() else []
    ticks = [int(each) for each in first[1:9]]  # of user, nice, system, idle, iowait, irq, softirq, steal
    return Moment(os.getloadavg()[0], sum(ticks), ticks[-1] if ticks else 0, statistics.median(map(turn_ns, range(7))))


def turn_ns(_: int) -> float:
    """Return how long one turn of the loop takes, in ns."""
    began, total = time.perf_counter(), 0
    for each in range(TURNS):
        total += each
    return (time.perf_counter() - began) / TURNS * 1e9


def meanwhile(began: Moment, ended: Moment) -> str:
    """Return how the machine was between two moments."""
    ticks, stolen = ended.ticks - began.ticks, ended.stolen - began.stolen
    share = f"{stolen / ticks:.1%} of the CPU taken by other guests; " if ticks else ""
    loop = f"a turn of a loop in Python {began.turn_ns:.0f} ns, {ended.turn_ns:.0f} ns at the end"
    return f"load {began.load:.1f} at the beginning; {share}{loop}"


def peak_mb() -> float:
    """Return this process's resident memory at its highest, in MB.

    Where the kernel tells of the program alone, that is taken: the usual figure holds what started it as well, and that
    may be the larger.
    """
    status = Path("/proc/self/status")
    told = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")] if status.exists() else []
    return int(told[0].split()[1]) / 1024 if told else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peak_mb_of(process: int) -> float:
    """Return another process's resident memory at its highest, in MB, as the kernel tells it (Linux)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def cpu_s_of(process: int) -> float:
    """Return the seconds of CPU that a process, its ended children and its living ones have used (Linux).

    One that has just ended is counted with its parent's ended children, and one that is not here as nothing.
    """
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + sum(cpu_s_of(int(child)) for child in children)
