"""The sweep beside what one would use instead, while an application goes on: time, room, and what is told falsely.

`make bench-rivals`. Three rounds; in each, of the same bucket and tables: `storage-reconciler sweep`; one HEAD a row
and one SELECT an object, of a part; `mc ls` with COPY and an anti-join in SQL; `rclone lsf` with sort and comm, if
rclone is installed; rucio-consistency on dumped lists, the rows dumped before and after; and the bare lister, which
compares nothing. A hundred rows without an object and a hundred objects without a row are to be found; meanwhile
another process uploads and deletes, in the recommended order, so that nothing of its is drift. `--lines 10000000`
compares as many rows with a listing file instead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path

import psycopg

from benchmarks import churn, comparers, filling, sweep
from benchmarks.figures import Table, about
from benchmarks.measuring import measure, ran_one
from benchmarks.used import watched
from consumer.runs.sides import Scope, Wanted
from consumer.runs.sweeping import Sweeping
from deploy.local import minio as minios
from deploy.local.stack import Servers, stack
from reconcile.config.settings import Settings, load
from reconcile.database import Database
from reconcile.opening import objects

PLANTED = 100
GONE, LOST = "gone/", "lost/"
PLANT = """
INSERT INTO file_versions (file_id, version_number, object_key, size, status, created_at)
SELECT id, 400000000 + n, %(prefix)s || n, %(size)s, 'active', now() - interval '2 days'
FROM generate_series(1, %(rows)s) AS n, (SELECT id FROM storage_files LIMIT 1) AS f
"""
LABELS = {
    "ratio": "ours to it, objects/s",
    "false": "told falsely",
    "found": f"found, of {2 * PLANTED}",
    "rate": "objects/s",
    "took_s": "from start to end, s",
    "client_mb": "memory of the program and what it starts, MB",
    "database_mb": "memory of the database beside its buffers, MB",
    "client_disk_mb": "temporary files of the program, MB",
    "database_disk_mb": "temporary files and tables of the database, MB",
}


@dataclass(frozen=True)
class Place(sweep.Place):
    """The same, with graces of a second, since all objects are young here."""

    def settings(self) -> Settings:
        """Return the settings of a sweep."""
        document = {
            "database": {"url": self.database},
            "minio": {"endpoint": self.endpoint, "access_key": self.user, "secret_key": self.password},
            "mapping": filling.mapping(sweep.BUCKET),
            "policy": {"missing_grace": "1s", "orphan_grace": "1s"},
        }
        return load(document, {}, str)


def ours(place: sweep.Place, _: Path) -> set[str]:
    """Sweep, and return what is reported."""
    settings = place.settings()
    database = Database(settings.database.url)
    scope = Scope(sweep.BUCKET, "", Path(place.listing) if place.listing else None)
    with objects(settings) as store:
        report = Sweeping(settings, Wanted(scope), database, store).run()
    database.close()
    return {drift.key for drift in report.drifts}


COMPARERS = {"ours": ours, **comparers.RIVALS}


def compared(name: str, place: Place) -> dict[str, float]:
    """Let one compare, and return how long it took, and what it told."""
    tempfile.tempdir = place.directory
    began = time.perf_counter()
    told = COMPARERS[name](place, Path(place.directory))
    took = time.perf_counter() - began
    planted = sum(key.startswith((GONE, LOST)) for key in told)
    number = sweep.OF_SCRIPT if name == "one by one" else place.number
    return {"rate": number / took, "took_s": took, "found": planted, "false": len(told) - planted}


MEASUREMENTS = {name: partial(compared, name) for name in COMPARERS} | {"bare lister": sweep.pager}


def one(servers: Servers, name: str, place: Place) -> dict[str, float]:
    """Run one measurement in a process and a directory of its own, beside an application that goes on."""
    with tempfile.TemporaryDirectory() as directory, churn.churning(place):
        there = replace(place, directory=directory)
        return measure("benchmarks.sweeps", name, there, partial(watched, servers, Path(directory)))


def run(servers: Servers, number: int, lines: int, rounds: int) -> None:
    """Fill, measure in turn, and print the table."""
    minio = servers.minio
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    place = Place(database, minio.url, minio.user, minio.password, lines or number)
    work = f"{lines:,} rows and a listing file" if lines else f"{number:,} objects and rows"
    name = "rivals.listing" if lines else "rivals.sweep"
    table = Table(name, LABELS, about(servers, f"{work}, {2 * PLANTED} of them in drift", "mc", "rclone", "minio-py"))
    sweep.fill(servers, place, 1 if lines else number)
    plant(place)
    minios.client()  # it may have to be built
    with tempfile.TemporaryDirectory() as directory:
        if lines:
            place = replace(place, listing=str(brought(Path(directory), lines)))
        names = ["ours", *comparers.at_hand(place), *([] if lines else ["bare lister"])]
        for nth in range(rounds):
            print(f"round {nth + 1}")
            found = {name: one(servers, name, place) for name in names}
            for name, figures in found.items():
                ratio = {} if name == "ours" else {"ratio": found["ours"]["rate"] / figures["rate"]}
                table.note_all(figures | ratio, name)
    table.show()


def plant(place: Place) -> None:
    """Write rows whose object never was, and objects that no row names."""
    with psycopg.connect(place.database, autocommit=True) as connection:
        connection.execute(PLANT, {"prefix": GONE, "size": sweep.SIZE, "rows": PLANTED})
    store = place.client()
    for number in range(PLANTED):
        content = BytesIO(b"x" * sweep.SIZE)
        store.put_object(bucket_name=sweep.BUCKET, object_name=f"{LOST}{number}", data=content, length=sweep.SIZE)


def brought(directory: Path, lines: int) -> Path:
    """Write a listing of all, the planted objects among them, in the order of their bytes."""
    written = sweep.listing(directory, lines)
    whole = directory / "listing.txt"
    with whole.open("w", encoding="utf-8") as file, written.open(encoding="utf-8") as others:
        file.writelines(f"{key}\n" for key in sorted(f"{LOST}{number}" for number in range(PLANTED)))
        file.writelines(others)
    written.unlink()
    return whole


def main() -> None:
    """Run the benchmark, or (with a name and a place) one measurement of it."""
    if ran_one(sys.argv[1:], MEASUREMENTS, Place):
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
