"""The sweep beside the fastest plain lister of the same bucket, and beside the script that people write.

`make bench-sweep`. Five rounds; in each, in turn: `storage-reconciler sweep`, our pager bare, `mc ls --recursive`,
`rclone lsf` if it is here, and the script on a part of the bucket, each a process of its own; the start of Python is
not measured, that of the others is. The comparison alone reads a listing file and a spool of rows. `--objects
2000000` for the large one, which is filled within two minutes where `TMPDIR` names a directory in memory (7 GB);
`--objects 0 --lines 10000000` for a listing that was brought; `--indexed` where an index serves byte order.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import psycopg
from minio import Minio

from benchmarks import comparing, filling, listers, minio_py
from benchmarks.figures import Table, about
from benchmarks.machine import peak_mb
from benchmarks.measuring import measure, ran_one
from consumer.runs.sides import Scope, Wanted
from consumer.runs.sweeping import Sweeping
from deploy.local import minio as minios
from deploy.local.control import Native
from deploy.local.stack import Servers, stack
from reconcile.config.settings import Settings, load
from reconcile.database import Database, migrate
from reconcile.opening import objects
from reconcile.sweeps.drift import SweepReport
from reconcile.sweeps.listing import ahead, listed

BUCKET = "swept"
SIZE = 10
A_DIRECTORY = 1_000
NAMES = 50_000  # of one file; ext4 allows 65 000
OF_SCRIPT = 2_000
ROUNDS = 5
LABELS = {
    "lister.ratio": "ratio to the fastest plain lister of the round (goal 0.9)",
    "script.ratio": "ratio to one HEAD a row and one SELECT an object (goal 25)",
    "sweep": "sweep, objects/s",
    "pager": "the bare pager, objects/s",
    "mc": "`mc ls --recursive` to a file, objects/s",
    "rclone": "`rclone lsf --fast-list` to a file, objects/s",
    "script": "one HEAD a row and one SELECT an object, objects/s",
    "listing": "rows against a listing file, objects/s",
    "rss_mb": "resident memory at its highest, MB (goal 100)",
}
INDEX = 'CREATE INDEX in_order ON file_versions (object_key COLLATE "C")'
INSERT_FROM = """
INSERT INTO file_versions (file_id, version_number, object_key, size, status, created_at)
SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n %% %(files)s), 12, '0'))::uuid, n,
       'users/' || lpad((n / %(each)s)::text, 6, '0') || '/' || lpad((n %% %(each)s)::text, 4, '0'), %(size)s, 'active',
       now() - interval '2 days'
FROM generate_series(%(lower)s::bigint, %(upper)s::bigint - 1) AS n
"""


@dataclass(frozen=True)
class Place:
    """Where a measurement runs; passed to its process as JSON. `before` has the rows as they were before a listing."""

    database: str
    endpoint: str
    user: str
    password: str
    number: int
    listing: str = ""
    before: str = ""
    directory: str = ""
    grace: str = ""

    def settings(self) -> Settings:
        """Return the settings of a sweep."""
        graces = {"missing_grace": self.grace, "orphan_grace": self.grace} if self.grace else {}
        document = {
            "database": {"url": self.database},
            "minio": {"endpoint": self.endpoint, "access_key": self.user, "secret_key": self.password},
            "mapping": filling.mapping(BUCKET),
            "policy": graces,
        }
        return load(document, {}, str)

    def client(self) -> Minio:
        """Return MinIO's own client."""
        return minio_py.client(self.endpoint, self.user, self.password)


def key_of(number: int) -> str:
    """Return the key of a row: what INSERT writes."""
    return f"users/{number // A_DIRECTORY:06}/{number % A_DIRECTORY:04}"


def pager(place: Place) -> dict[str, float]:
    """List the bucket and do nothing else."""
    with objects(place.settings()) as store:
        began = time.perf_counter()
        seen = sum(map(len, ahead(listed(store, BUCKET))))
        return {"rate": seen / (time.perf_counter() - began), "objects": seen}


def mc(place: Place) -> dict[str, float]:
    """Let MinIO's own client list the bucket."""
    return bare(listers.mc(place, BUCKET))


def rclone(place: Place) -> dict[str, float]:
    """Let rclone list the bucket, with the fewest requests."""
    return bare(listers.rclone(place, BUCKET))


def bare(lister: listers.Lister) -> dict[str, float]:
    """Let a program list the bucket into a file, a line an object."""
    with TemporaryFile() as out:
        began = time.perf_counter()
        lister.run(out)
        took = time.perf_counter() - began
        out.seek(0)
        return {"rate": sum(1 for _ in out) / took}


def swept(place: Place) -> SweepReport:
    """Sweep; of a listing file where the place names one."""
    settings = place.settings()
    database = Database(settings.database.url)
    wanted = Wanted(Scope(BUCKET, "", Path(place.listing) if place.listing else None))
    with closing(database), objects(settings) as store:
        return Sweeping(settings, wanted, database, store).run()


def sweep(place: Place) -> dict[str, float]:
    """Sweep, from the connection to the report."""
    began = time.perf_counter()
    report = swept(place)
    rate = report.totals["objects"] / (time.perf_counter() - began)
    return {
        "rate": rate,
        "objects": report.totals["objects"],
        "drifts": report.total_drifts,
        "rss_mb": peak_mb(),
    }


def script(place: Place) -> dict[str, float]:
    """Ask MinIO for each row, and the database for each object, one by one."""
    client = place.client()
    began = time.perf_counter()
    with psycopg.connect(place.database, autocommit=True) as connection:
        rows = connection.execute("SELECT object_key FROM file_versions ORDER BY object_key LIMIT %s", [OF_SCRIPT])
        for (key,) in rows.fetchall():
            client.stat_object(bucket_name=BUCKET, object_name=key)
        listing = client.list_objects(bucket_name=BUCKET, recursive=True)
        for _, one in zip(range(OF_SCRIPT), listing, strict=False):
            connection.execute("SELECT id FROM file_versions WHERE object_key = %s", [one.object_name]).fetchall()
    return {"rate": OF_SCRIPT / (time.perf_counter() - began)}


def comparison(place: Place) -> dict[str, float]:
    """Compare alone, without servers."""
    return comparing.compared(Path(place.listing), SIZE)


MEASUREMENTS = {"pager": pager, "mc": mc, "rclone": rclone, "sweep": sweep, "script": script, "comparison": comparison}


def fill(servers: Servers, place: Place, number: int | None = None) -> None:
    """Fill tables and bucket with the same keys, the bucket with so many; objects are copied where MinIO is native."""
    number = place.number if number is None else number
    with psycopg.connect(place.database, autocommit=True) as connection:
        connection.execute(filling.SEED.read_bytes())
        connection.execute(filling.INSERT_FILES, [filling.FILES])
        parameters = {"files": filling.FILES, "each": A_DIRECTORY, "size": SIZE, "lower": 0, "upper": place.number}
        connection.execute("SET session_replication_role = replica")  # their files are there: nothing looks for each
        connection.execute(INSERT_FROM, parameters)
        connection.execute("VACUUM ANALYZE file_versions")
        migrate(connection)
    client = place.client()
    with suppress(Exception):
        client.make_bucket(bucket_name=BUCKET)
    client.put_object(bucket_name=BUCKET, object_name=key_of(0), data=BytesIO(b"x" * SIZE), length=SIZE)
    control = servers.minio.control
    if isinstance(control, Native):
        copy(control.launch.directory / "data" / BUCKET, number)
        return
    with ThreadPoolExecutor(8) as pool:
        for each in range(1, number):
            pool.submit(client.put_object, BUCKET, key_of(each), BytesIO(b"x" * SIZE), SIZE)


def copy(bucket: Path, number: int) -> None:
    """Make objects of one that is there: its `xl.meta` does not hold its key (docs/facts.md, Objects on disk).

    They are names of a few files: that takes a third of the time, and half the room. The sweep reads, and never writes.
    """
    content = (bucket / key_of(0) / "xl.meta").read_bytes()
    named = bucket
    for each in range(1, number):
        directory = bucket / key_of(each)
        directory.mkdir(parents=True)
        file = directory / "xl.meta"
        if each % NAMES == 1:
            file.write_bytes(content)
            named = file
        else:
            file.hardlink_to(named)


def run(servers: Servers, number: int, rounds: int, lines: int, *, indexed: bool = False) -> None:
    """Fill, measure in turn, and print the table; without objects there are as many rows as lines."""
    minio = servers.minio
    database = servers.postgres.database_url(filling.new_database(servers.postgres.url))
    place = Place(database, minio.url, minio.user, minio.password, number or lines)
    table, alone = tables(
        about(servers, f"{number:,} objects, {place.number:,} rows, {lines:,} lines", "mc", "rclone", "minio-py")
    )
    began = time.perf_counter()
    fill(servers, place, number)
    if indexed:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(INDEX)
    minios.client()  # it may have to be built
    print(f"  filled in {time.perf_counter() - began:,.0f} s", flush=True)
    if number:
        beside_listers(place, rounds, table)
    by_file(place, lines, rounds, table, alone)
    table.show()
    alone.show()


def tables(work: str) -> tuple[Table, Table]:
    """Return the table of the sweep, and that of the comparison alone."""
    return Table("sweep", LABELS, work), Table("compare", comparing.LABELS, work)


def measured(name: str, place: Place) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    return measure("benchmarks.sweep", name, place)


def beside_listers(place: Place, rounds: int, table: Table) -> None:
    """Measure the sweep beside the plain listers and the script, and print after each round what there is."""
    listers_here = ["pager", "mc", *(["rclone"] if shutil.which("rclone") else [])]
    for _ in range(rounds):
        found = {name: measured(name, place) for name in ("sweep", *listers_here, "script")}
        rates = {name: one["rate"] for name, one in found.items()}
        ratios = {
            "lister.ratio": rates["sweep"] / max(rates[name] for name in listers_here),
            "script.ratio": rates["sweep"] / rates["script"],
            "rss_mb": found["sweep"]["rss_mb"],
        }
        table.note_all({**rates, **ratios})
        table.show()


def by_file(place: Place, lines: int, rounds: int, table: Table, alone: Table) -> None:
    """Measure the comparison of a file of keys, and a sweep of it where there is a row for each."""
    with TemporaryDirectory() as directory:
        brought = replace(place, listing=str(listing(Path(directory), lines)))
        for _ in range(rounds):
            alone.note_all(measured("comparison", brought))
            if lines == place.number:
                swept = measured("sweep", brought)
                table.note_all({"listing": swept["rate"], "rss_mb": swept["rss_mb"]})


def listing(directory: Path, lines: int) -> Path:
    """Write a file of so many keys, and return it."""
    written = directory / "keys.txt"
    with written.open("w", encoding="utf-8") as file:
        file.writelines(f"{key_of(each)}\n" for each in range(lines))
    return written


def main() -> None:
    """Run the benchmark, or (with a name and a place) one measurement of it."""
    if ran_one(sys.argv[1:], MEASUREMENTS, Place):
        return
    parser = argparse.ArgumentParser(description="the sweep beside plain listers and a script")
    parser.add_argument("--objects", type=int, default=200_000)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--indexed", action="store_true", help="an index in byte order: rows are read by pages")
    options = parser.parse_args()
    with stack() as servers:
        run(servers, options.objects, options.rounds, options.lines, indexed=options.indexed)


if __name__ == "__main__":
    main()
