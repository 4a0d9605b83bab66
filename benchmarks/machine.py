"""Names the machine that a figure was measured on."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path


def machine() -> str:
    """Return cores, processor, memory and Python's version on one line."""
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")] if cpuinfo.exists() else []
    )
    processor = names[0].partition(":")[2].strip() if names else platform.processor()
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {processor}, {memory_gib:.0f} GiB, Python {platform.python_version()}"


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
    """Return the seconds of CPU that a process, its ended children and its living ones have used (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return own + sum(cpu_s_of(int(child)) for child in children)
