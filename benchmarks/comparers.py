"""What one would use instead of the sweep: each lists the bucket, reads the rows, and tells what does not agree.

Each takes its listing from the bucket, or from a file of keys where one was brought. All that they write for a while
goes to the directory that they are given.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import psycopg
from minio.error import S3Error

from benchmarks import sweep
from deploy.local import minio as minios
from deploy.local import tools

ROWS = "COPY (SELECT object_key FROM file_versions WHERE status = 'active') TO STDOUT"
MISSING = "SELECT object_key FROM file_versions LEFT JOIN listed ON key = object_key WHERE key IS NULL"
ORPHANS = "SELECT key FROM listed LEFT JOIN file_versions ON object_key = key WHERE object_key IS NULL"
FIRST_ROWS = "SELECT object_key FROM file_versions ORDER BY object_key LIMIT %s"
ROW = "SELECT EXISTS (SELECT FROM file_versions WHERE object_key = %s)"
PARTS = 10  # of rucio-consistency: more take less memory
PARTITION = "from rucio_consistency.scripts.partition import main; main()"
COMPARE = """
import sys
from rucio_consistency import PartitionedList, cmp3_generator
for _, key in cmp3_generator(*map(PartitionedList.open, sys.argv[1:])):
    print(key)
"""  # its own command of 1.7.5 writes all that it finds into one line
BLOCK = 1 << 20


def by_sql(place: sweep.Place, directory: Path) -> set[str]:
    """List with MinIO's own client, copy the keys into a table, and join."""
    keys = listed(place, directory)
    with psycopg.connect(place.database, autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE listed (key text)")
        with connection.cursor().copy("COPY listed FROM STDIN") as copy, keys.open("rb") as lines:
            while block := lines.read(BLOCK):
                copy.write(block)
        connection.execute("ANALYZE listed")
        return {key for query in (MISSING, ORPHANS) for (key,) in connection.execute(query).fetchall()}


def by_comm(place: sweep.Place, directory: Path) -> set[str]:
    """List with rclone, dump the rows, sort both, and compare line by line."""
    keys, rows = directory / "listed", directory / "rows"
    if place.listing:
        keys = Path(place.listing)
    else:
        command = ["rclone", "lsf", "--recursive", "--files-only", "--fast-list", f"here:{sweep.BUCKET}"]
        _to_file(command, keys, sweep.for_rclone(place))
    dump(place, rows)
    for unsorted in (keys, rows):
        _by_bytes("sort", "-T", directory, "-o", directory / f"{unsorted.name}.sorted", unsorted)
    told = _by_bytes("comm", "-3", directory / f"{keys.name}.sorted", directory / "rows.sorted")
    return {line.strip() for line in told.splitlines()}


def by_rucio(place: sweep.Place, directory: Path) -> set[str]:
    """Dump the rows, list, dump the rows again, and let rucio-consistency compare the three lists."""
    dump(place, directory / "before")
    keys = listed(place, directory)
    dump(place, directory / "after")
    lists = {"before": directory / "before", "listed": keys, "after": directory / "after"}
    for name, file in lists.items():
        _rucio(PARTITION, "-q", "-n", str(PARTS), "-o", directory / f"{name}.part", file)
    told = _rucio(COMPARE, *(directory / f"{name}.part" for name in ("after", "listed", "before")))
    return set(told.splitlines())


def one_by_one(place: sweep.Place, _: Path) -> set[str]:
    """Ask MinIO for each row, and the database for each object: the first ones by key, among which all drift lies."""
    client = place.client()
    told: set[str] = set()
    with psycopg.connect(place.database, autocommit=True) as connection:
        for (key,) in connection.execute(FIRST_ROWS, [sweep.OF_SCRIPT]).fetchall():
            try:
                client.stat_object(bucket_name=sweep.BUCKET, object_name=key)
            except S3Error as error:
                if error.code != "NoSuchKey":
                    raise
                told.add(key)
        for one in islice(client.list_objects(bucket_name=sweep.BUCKET, recursive=True), sweep.OF_SCRIPT):
            if connection.execute(ROW, [one.object_name]).fetchall() == [(False,)]:
                told.add(str(one.object_name))
    return told


RIVALS: dict[str, Callable[[sweep.Place, Path], set[str]]] = {
    "one by one": one_by_one,
    "by sql": by_sql,
    "by comm": by_comm,
    "by rucio": by_rucio,
}


def at_hand(place: sweep.Place) -> list[str]:
    """Return which of them can be run: rclone has to be installed, and one by one nothing is asked of a file."""
    without = {"one by one"} if place.listing else set() if shutil.which("rclone") else {"by comm"}
    return [name for name in RIVALS if name not in without]


def listed(place: sweep.Place, directory: Path) -> Path:
    """Return a file of the bucket's keys: the one that was brought, or what MinIO's own client lists."""
    if place.listing:
        return Path(place.listing)
    listing, keys = directory / "listed.json", directory / "listed"
    command = [str(minios.client()), "ls", "--recursive", "--json", f"here/{sweep.BUCKET}"]
    address = place.endpoint.replace("://", f"://{place.user}:{place.password}@")
    _to_file(command, listing, {**os.environ, "MC_HOST_here": address})
    with listing.open(encoding="utf-8") as lines, keys.open("w", encoding="utf-8") as written:
        written.writelines(f"{json.loads(line)['key']}\n" for line in lines)
    return keys


def dump(place: sweep.Place, file: Path) -> None:
    """Write the keys of all live rows."""
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


def _rucio(program: str, *arguments: str | Path) -> str:
    """Run a program over rucio-consistency, and return what it says."""
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(tools.rucio())}
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
