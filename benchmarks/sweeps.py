"""The sweep beside what one would use instead, while an application goes on: time, memory, and what is told falsely.

`make bench-rivals`. Three rounds; in each, of the same bucket and tables: `storage-reconciler sweep`; `mc ls` with COPY
and an anti-join in SQL; `rclone lsf` with sort and comm, if rclone is installed; rucio-consistency on dumped lists, the
rows dumped before and after. A hundred rows without an object and a hundred objects without a row are to be found;
meanwhile another process uploads and deletes, in the recommended order, so that nothing of its is drift.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from benchmarks import churn, filling, sweep
from benchmarks.machine import machine, peak_mb
from consumer.sides import Scope, Wanted
from consumer.sweeping import Sweeping
from deploy.local import minio as minios
from deploy.local import tools
from deploy.local.stack import Servers, stack
from reconcile.database import Database
from reconcile.opening import objects
from reconcile.settings import Settings, load

PLANTED = 100
GONE, LOST = "gone/", "lost/"
ROWS = "COPY (SELECT object_key FROM file_versions WHERE status = 'active') TO STDOUT"
MISSING = "SELECT object_key FROM file_versions LEFT JOIN listed ON key = object_key WHERE key IS NULL"
ORPHANS = "SELECT key FROM listed LEFT JOIN file_versions ON object_key = key WHERE object_key IS NULL"
PLANT = """
INSERT INTO file_versions (file_id, version_number, object_key, size, status, created_at)
SELECT id, 400000000 + n, %(prefix)s || n, %(size)s, 'active', now() - interval '2 days'
FROM generate_series(1, %(rows)s) AS n, (SELECT id FROM storage_files LIMIT 1) AS f
"""
PARTS = 10  # of rucio-consistency: more take less memory


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


def ours(place: Place, _: Path) -> set[str]:
    """Sweep, and return what is reported."""
    settings = place.settings()
    database = Database(settings.database.url)
    with objects(settings) as store:
        report = Sweeping(settings, Wanted(Scope(sweep.BUCKET, "", None)), database, store).run()
    database.close()
    return {drift.key for drift in report.drifts}


def by_sql(place: Place, directory: Path) -> set[str]:
    """List with MinIO's own client, copy the keys into a table, and join."""
    listing = directory / "listed.json"
    _listed(place, listing)
    with psycopg.connect(place.database, autocommit=True) as connection, listing.open(encoding="utf-8") as lines:
        connection.execute("CREATE TEMP TABLE listed (key text)")
        with connection.cursor().copy("COPY listed FROM STDIN") as copy:
            for line in lines:
                copy.write_row([json.loads(line)["key"]])
        connection.execute("ANALYZE listed")
        return {key for query in (MISSING, ORPHANS) for (key,) in connection.execute(query).fetchall()}


def by_comm(place: Place, directory: Path) -> set[str]:
    """List with rclone, dump the rows, sort both, and compare line by line."""
    listed, rows = directory / "listed", directory / "rows"
    command = ["rclone", "lsf", "--recursive", "--files-only", "--fast-list", f"here:{sweep.BUCKET}"]
    _to_file(command, listed, _for_rclone(place))
    _dump(place, rows)
    for unsorted in (listed, rows):
        _by_bytes("sort", "-o", unsorted, unsorted)
    told = _by_bytes("comm", "-3", listed, rows)
    return {line.strip() for line in told.splitlines()}


def by_rucio(place: Place, directory: Path) -> set[str]:
    """Dump the rows, list, dump the rows again, and let rucio-consistency compare the three lists."""
    _dump(place, directory / "before")
    _listed(place, directory / "listed.json")
    with (directory / "listed.json").open(encoding="utf-8") as lines, (directory / "listed").open("w") as keys:
        keys.writelines(f"{json.loads(line)['key']}\n" for line in lines)
    _dump(place, directory / "after")
    for name in ("before", "listed", "after"):
        _rucio("partition", ["-q", "-n", str(PARTS), "-o", directory / f"{name}.part", directory / name])
    lists = [directory / f"{name}.part" for name in ("before", "listed", "after")]
    _rucio("cmp3", [*lists, directory / "dark", directory / "missing"])
    return {line for name in ("dark", "missing") for line in (directory / name).read_text("utf-8").splitlines()}


MEASUREMENTS: dict[str, Callable[[Place, Path], set[str]]] = {
    "ours": ours,
    "by sql": by_sql,
    "by comm": by_comm,
    "by rucio": by_rucio,
}


def measured(name: str, place: Place) -> dict[str, float]:
    """Measure one, with what it used and what it told."""
    with TemporaryDirectory() as directory:
        began = time.perf_counter()
        told = MEASUREMENTS[name](place, Path(directory))
        took = time.perf_counter() - began
        on_disk = sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())
    of_children_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # at least what this one took then
    planted = sum(key.startswith((GONE, LOST)) for key in told)
    return {
        "took_s": took,
        "rss_mb": max(peak_mb(), of_children_mb),
        "disk_mb": on_disk / 2**20,
        "found": planted,
        "false": len(told) - planted,
    }


def measure(name: str, place: Place) -> dict[str, float]:
    """Run one measurement in a process of its own, beside an application that goes on."""
    command = [sys.executable, "-m", "benchmarks.sweeps", name, json.dumps(asdict(place))]
    with churn.churning(place):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"  {name}: " + ", ".join(f"{key} {value:,.1f}" for key, value in found.items()), flush=True)
    return found


def run(servers: Servers, number: int, rounds: int) -> None:
    """Fill, measure in turn, and print the ratios."""
    minio = servers.minio
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    place = Place(database, minio.url, minio.user, minio.password, number)
    print(f"{machine()}; {number:,} objects and rows, {2 * PLANTED} of them in drift", flush=True)
    sweep.fill(servers, place)
    plant(place)
    names = [name for name in MEASUREMENTS if name != "by comm" or shutil.which("rclone")]
    found = []
    for nth in range(rounds):
        print(f"round {nth + 1}")
        found.append({name: measure(name, place) for name in names})
    for name in names[1:]:
        word = name.replace(" ", "_")
        filling.result(f"rivals.sweep.{word}.ratio", [one[name]["took_s"] / one["ours"]["took_s"] for one in found])
        filling.result(f"rivals.sweep.{word}.false", [one[name]["false"] for one in found])
    filling.result("rivals.sweep.ours.false", [one["ours"]["false"] for one in found])


def plant(place: Place) -> None:
    """Write rows whose object never was, and objects that no row names."""
    with psycopg.connect(place.database, autocommit=True) as connection:
        connection.execute(PLANT, {"prefix": GONE, "size": sweep.SIZE, "rows": PLANTED})
    store = place.client()
    for number in range(PLANTED):
        content = BytesIO(b"x" * sweep.SIZE)
        store.put_object(bucket_name=sweep.BUCKET, object_name=f"{LOST}{number}", data=content, length=sweep.SIZE)


def _dump(place: Place, file: Path) -> None:
    with psycopg.connect(place.database) as connection, connection.cursor().copy(ROWS) as copy, file.open("wb") as rows:
        for block in copy:
            rows.write(block)


def _to_file(command: Sequence[str], file: Path, environment: Mapping[str, str]) -> None:
    with file.open("wb") as out:
        subprocess.run(command, env=environment, check=True, stdout=out)


def _by_bytes(*command: str | Path) -> str:
    """Run one of the machine's programs where texts sort as their bytes do, and return what it says."""
    done = subprocess.run(["/usr/bin/env", "LC_ALL=C", *command], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def _rucio(script: str, arguments: Iterable[str | Path]) -> None:
    packages = tools.rucio()
    command = [sys.executable, "-W", "ignore", "-c", f"from rucio_consistency.scripts.{script} import main; main()"]
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    subprocess.run([*command, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)


def _listed(place: Place, file: Path) -> None:
    command = [str(minios.client()), "ls", "--recursive", "--json", f"here/{sweep.BUCKET}"]
    address = place.endpoint.replace("://", f"://{place.user}:{place.password}@")
    _to_file(command, file, {**os.environ, "MC_HOST_here": address})


def _for_rclone(place: Place) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "RCLONE_CONFIG_HERE_TYPE": "s3",
        "RCLONE_CONFIG_HERE_PROVIDER": "Minio",
        "RCLONE_CONFIG_HERE_ENDPOINT": place.endpoint,
        "RCLONE_CONFIG_HERE_ACCESS_KEY_ID": place.user,
        "RCLONE_CONFIG_HERE_SECRET_ACCESS_KEY": place.password,
    }


def main() -> None:
    """Run the benchmark, or (with a name and a place) one measurement of it."""
    parser = argparse.ArgumentParser(description="the sweep beside what one would use instead")
    parser.add_argument("measurement", nargs="?", choices=MEASUREMENTS)
    parser.add_argument("place", nargs="?")
    parser.add_argument("--objects", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.measurement:
        print(json.dumps(measured(options.measurement, Place(**json.loads(options.place)))))
        return
    with stack() as servers:
        run(servers, options.objects, options.rounds)


if __name__ == "__main__":
    main()
