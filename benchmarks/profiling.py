"""Where the time goes on each hot path: a sampling profiler over the benchmarks' own measurements.

`make bench-profile`. py-spy looks a hundred times a second at the main thread of a process that does nothing but the
path: healthy events, removals of live keys, a sweep, a replay; and of the service that flags a mass of deletions once
the brake is released. A table each: the share of all samples, waiting
included, that each of our functions was in by itself or by what it calls of others (then named after it), and in all.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from benchmarks import filling, mass, rivals, scaling, sweep
from benchmarks.figures import about
from benchmarks.machine import meanwhile, moment
from benchmarks.measuring import alone
from benchmarks.stream import Place
from deploy.local import tools
from deploy.local.stack import Servers, stack

SAMPLES_A_SECOND = 100
SHOWN = 14
Stack = tuple[list[str], int]  # frames from the outermost, and how often they were seen
OURS = ("reconcile.", "consumer.", "benchmarks.")
FRAME = re.compile(r"(?P<function>.+) \((?P<file>.+?)(:\d+)?\)")


@dataclass(frozen=True)
class HotPath:
    """A hot path: the module and the name of its measurement, and where that runs."""

    module: str
    measurement: str
    place: Place | sweep.Place


def profiled(path: HotPath) -> list[Stack]:
    """Profile the measurement in a process of its own, and return its stacks."""
    with TemporaryDirectory() as directory:
        written = Path(directory) / "stacks"
        command = profiler(written, "--", *alone(path.module, path.measurement, path.place))
        done = subprocess.run(command, check=True, capture_output=True)
        told = [json.loads(line) for line in done.stdout.decode().splitlines() if line.startswith("{")]
        if not told:  # the profiler ends well where what it runs does not
            raise RuntimeError(done.stderr.decode())
        print(f"  {told[0]['rate']:,.0f}/s under the profiler", flush=True)
        return list(stacks(written))


@contextmanager
def watched(found: list[Stack], process: int) -> Iterator[None]:
    """Profile a process that runs for as long as this is open."""
    with TemporaryDirectory() as directory:
        written = Path(directory) / "stacks"
        with subprocess.Popen(
            profiler(written, "--pid", str(process)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as watching:
            try:
                yield
            finally:
                watching.send_signal(signal.SIGINT)
        found += stacks(written)


def profiler(written: Path, *what: str) -> list[str]:
    """Return the command that writes the stacks of a command or a process."""
    options = ["--rate", str(SAMPLES_A_SECOND), "--format", "raw", "--idle", "--threads", "--nonblocking"]
    return [str(tools.py_spy()), "record", *options, "--output", str(written), *what]


def stacks(written: Path) -> Iterator[Stack]:
    """Yield each stack of the main thread, and its samples."""
    for line in written.read_text(encoding="utf-8").splitlines():
        stack_, _, samples = line.rpartition(" ")
        thread, *frames = stack_.split(";")
        if "MainThread" in thread:
            yield frames, int(samples)


def named(frame: str) -> str:
    """Return a frame as module and function."""
    found = FRAME.fullmatch(frame)
    if found is None:
        return frame
    return f"{found['file'].removesuffix('.py').replace('/', '.').rpartition('site-packages.')[2]}.{found['function']}"


def table(found: Sequence[Stack], within: str) -> list[tuple[tuple[str, str], float, float]]:
    """Return our function and the other's it waits in, their share and the first's in all, within a function."""
    by_itself: Counter[tuple[str, str]] = Counter()
    in_all: Counter[str] = Counter()
    total = 0
    for frames, samples in found:
        names = [named(frame) for frame in frames]
        starts = [number for number, name in enumerate(names) if name.endswith(within)]
        if not starts:
            continue
        total += samples
        inner = names[starts[0] :]
        last = next(name for name in reversed(inner) if name.startswith(OURS))
        by_itself[(last, "" if last == inner[-1] else inner[-1])] += samples
        in_all.update(dict.fromkeys(inner, samples))
    return [(one, samples / total, in_all[one[0]] / total) for one, samples in by_itself.most_common(SHOWN)]


def show(name: str, found: Sequence[Stack], within: str) -> None:
    """Print the table of a path."""
    print(f"\n| {name} | by itself | in all |\n|---|---|---|")
    for (function, other), by_itself, in_all in table(found, within):
        waiting = f" waiting in `{other}`" if other else ""
        print(f"| `{function}`{waiting} | {by_itself:.1%} | {in_all:.1%} |", flush=True)


def run(servers: Servers, chosen: list[str], events: int, number: int) -> None:
    """Fill what each chosen path needs, and profile it."""
    if {"healthy", "replay"} & set(chosen):
        place = scaling.filled(servers, events, scaling.ROWS)
        if "healthy" in chosen:
            show("stream, healthy", profiled(HotPath("benchmarks.stream", "healthy", place)), ".turn")
        if "replay" in chosen:
            show("replay", profiled(HotPath("benchmarks.replay", "replay", place)), ".plan")
    if {"drift", "sweep"} & set(chosen):
        swept = swept_place(servers, number)
        if "sweep" in chosen:
            show("sweep", profiled(HotPath("benchmarks.sweep", "sweep", swept)), ".run")
        if "drift" in chosen:
            path = HotPath("benchmarks.rivals", "ours, observing", drifting(servers, swept))
            show("stream, drift", profiled(path), ".turn")
    if "mass" in chosen:
        found: list[Stack] = []
        mass.one(servers, number // 5, partial(watched, found))
        show("a mass, released", found, ".turn")


def swept_place(servers: Servers, number: int) -> sweep.Place:
    """Fill a bucket and its rows."""
    minio = servers.minio
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    place = sweep.Place(database, minio.url, minio.user, minio.password, number)
    sweep.fill(servers, place)
    return place


def drifting(servers: Servers, swept: sweep.Place) -> Place:
    """Add rows whose objects are gone, and the events of their removal."""
    number = swept.number // 4
    with psycopg.connect(swept.database, autocommit=True) as connection:
        rows = {"lower": swept.number, "upper": swept.number + number}
        connection.execute(sweep.INSERT_FROM, {**rivals.ROWS, **rows})
    place = replace(scaling.placed(servers, number), database=swept.database, bucket=sweep.BUCKET, prefix="")
    removed = "s3:ObjectRemoved:Delete"
    keys = (sweep.key_of(swept.number + each) for each in range(number))
    filling.produce(
        place.bootstrap,
        place.topic,
        ((n % scaling.PARTITIONS, key, filling.event(sweep.BUCKET, key, None, removed)) for n, key in enumerate(keys)),
    )
    return place


def main() -> None:
    """Run the profiler over each path that is named, or all."""
    paths = ["healthy", "drift", "sweep", "replay", "mass"]
    parser = argparse.ArgumentParser(description="where the time goes on each hot path")
    parser.add_argument("path", nargs="*", default=paths, metavar="|".join(paths))
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--objects", type=int, default=100_000)
    options = parser.parse_args()
    with stack() as servers:
        about(servers, f"{options.events:,} events, {options.objects:,} objects", "confluent-kafka", "minio-py")
        began = moment()
        run(servers, options.path, options.events, options.objects)
        print(f"\n{meanwhile(began, moment())}")


if __name__ == "__main__":
    main()
