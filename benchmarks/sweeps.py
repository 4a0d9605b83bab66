"""The sweep beside what one would use instead, while an application goes on: time, room, and what is told falsely.

`make bench-rivals`. Three rounds; in each, of the same bucket and tables: `storage-reconciler sweep`; one HEAD a row
and one SELECT an object, of a part; `mc ls` copied into a table as it comes, and an anti-join; `rclone lsf` and the
rows joined line by line, if rclone is installed; rucio-consistency on dumped lists, the rows dumped before and after;
and the bare lister, which compares nothing. A hundred rows without an object and a hundred objects without a row are to
be found; meanwhile another process uploads, overwrites and deletes, in the recommended order, so that nothing of its is
drift. `--lines 10000000` compares as many rows with a listing file instead.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import psycopg

from benchmarks import churn, comparers, filling, sweep
from benchmarks.figures import Table, about
from benchmarks.measuring import measure, ran_one
from benchmarks.used import watched
from benchmarks.waiting import until
from deploy.local import minio as minios
from deploy.local.stack import Servers, stack

PLANTED = 100
GONE, LOST = "gone/", "lost/"
PLANT = """
INSERT INTO file_versions (file_id, version_number, object_key, size, status, created_at)
SELECT id, 400000000 + n, %(prefix)s || n, %(size)s, 'active', now() - interval '2 days'
FROM generate_series(1, %(rows)s) AS n, (SELECT id FROM storage_files LIMIT 1) AS f
"""
LABELS = {
    "ratio": "ours to it, objects/s",
    "false_old": "told falsely, of keys that were old",
    "false_young": f"told falsely, of keys younger than {comparers.MARGIN_S} s",
    "found": f"found, of {2 * PLANTED}",
    "rate": "objects/s",
    "took_s": "from start to end, s",
    "client_mb": "memory of the program and what it starts, MB",
    "database_mb": "memory of the database beside its buffers, MB",
    "client_disk_mb": "temporary files of the program, MB",
    "database_disk_mb": "temporary files and tables of the database, MB",
}


WAYS = {"one by one": f"one by one, {sweep.OF_SCRIPT} of each"}
GRACE = "1s"  # the second look is a second after the first


def ours(place: sweep.Place, _: Path) -> set[str]:
    """Sweep, and return what is reported."""
    return {drift.key for drift in sweep.swept(place).drifts}


COMPARERS = {"ours": ours, **comparers.RIVALS}


def compared(name: str, place: sweep.Place) -> dict[str, float]:
    """Let one compare, and return how long it took, and what it told; a part of all has no time of its own."""
    tempfile.tempdir = place.directory
    began = time.perf_counter()
    told = COMPARERS[name](place, Path(place.directory))
    took = time.perf_counter() - began
    kinds = Counter(map(kind_of, told))
    figures = {"found": kinds["found"], "false_old": kinds["false_old"], "false_young": kinds["false_young"]}
    if name == "one by one":
        return {"rate": sweep.OF_SCRIPT / took, **figures}
    return {"rate": (place.number + churn.OLD + PLANTED) / took, "took_s": took, **figures}


def kind_of(key: str) -> str:
    """Return what it means that a key was told."""
    if key.startswith((GONE, LOST)):
        return "found"
    return "false_young" if key.startswith(churn.PREFIX) else "false_old"


MEASUREMENTS = {name: partial(compared, name) for name in COMPARERS} | {"bare lister": sweep.pager}


def one(servers: Servers, name: str, place: sweep.Place) -> dict[str, float]:
    """Run one measurement in a process and a directory of its own, beside an application that goes on."""
    if place.listing:
        churn.plant(place)  # so that the world is again as it was listed
    with tempfile.TemporaryDirectory() as directory, churn.churning(place):
        there = replace(place, directory=directory)
        return measure("benchmarks.sweeps", name, there, partial(watched, servers, Path(directory)))


def run(servers: Servers, number: int, lines: int, rounds: int) -> None:
    """Fill, measure in turn, and print after each round the table of what there is."""
    minio = servers.minio
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    place = sweep.Place(database, minio.url, minio.user, minio.password, lines or number, grace=GRACE)
    work = f"{lines:,} rows and a listing file" if lines else f"{number:,} objects and rows"
    name = "rivals.listing" if lines else "rivals.sweep"
    table = Table(name, LABELS, about(servers, f"{work}, {2 * PLANTED} of them in drift", "mc", "rclone", "minio-py"))
    sweep.fill(servers, place, 1 if lines else number)
    plant(place)
    minios.client()  # it may have to be built
    with tempfile.TemporaryDirectory() as directory:
        if lines:
            place = brought(Path(directory), place)
        grown_old()
        names = ["ours", *comparers.at_hand(place), *([] if lines else ["bare lister"])]
        for nth in range(rounds):
            print(f"round {nth + 1}", flush=True)
            found = {name: one(servers, name, place) for name in names}
            for name, figures in found.items():
                ratio = {} if name == "ours" else {"ratio": found["ours"]["rate"] / figures["rate"]}
                table.note_all(figures | ratio, WAYS.get(name, name))
            table.show()


def plant(place: sweep.Place) -> None:
    """Write rows whose object never was, objects that no row names, and what the application goes on with."""
    with psycopg.connect(place.database, autocommit=True) as connection:
        connection.execute(PLANT, {"prefix": GONE, "size": sweep.SIZE, "rows": PLANTED})
    churn.plant(place)
    store = place.client()
    for number in range(PLANTED):
        content = BytesIO(b"x" * sweep.SIZE)
        store.put_object(bucket_name=sweep.BUCKET, object_name=f"{LOST}{number}", data=content, length=sweep.SIZE)


def grown_old() -> None:
    """Wait until what was planted is old enough to be believed."""
    ripe = time.monotonic() + comparers.MARGIN_S + 1
    until(lambda: time.monotonic() > ripe, "a minute", 2 * comparers.MARGIN_S)


def brought(directory: Path, place: sweep.Place) -> sweep.Place:
    """Return the place with a listing of all in the order of their bytes, and the rows as they were before it."""
    with comparers.connected(place) as connection:
        before = comparers.dump(connection, comparers.KEYS, directory / "before.txt")
    written = sweep.listing(directory, place.number)
    whole = directory / "listing.txt"
    planted = sorted([*(f"{LOST}{number}" for number in range(PLANTED)), *churn.old_keys()])
    with whole.open("w", encoding="utf-8") as file, written.open(encoding="utf-8") as others:
        file.writelines(f"{key}\n" for key in planted)
        shutil.copyfileobj(others, file)
    written.unlink()
    return replace(place, listing=str(whole), before=str(before))


def main() -> None:
    """Run the benchmark, or (with a name and a place) one measurement of it."""
    if ran_one(sys.argv[1:], MEASUREMENTS, sweep.Place):
        return
    parser = argparse.ArgumentParser(description="the sweep beside what one would use instead")
    parser.add_argument("--objects", type=int, default=200_000)
    parser.add_argument("--lines", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with stack() as servers:
        run(servers, options.objects, options.lines, options.rounds)


if __name__ == "__main__":
    main()
