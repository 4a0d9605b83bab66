"""What one would use instead of the sweep: each lists the bucket, reads the rows, and tells what does not agree.

Each takes its listing from the bucket, or from a file of keys where one was brought. All that they write for a while
goes to the directory that they are given. What is younger than a minute, or than a minute before the listing that was
brought, they pass over; rucio-consistency has its own way, two lists of rows.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from minio.error import S3Error

from benchmarks import listers, sweep
from deploy.local import tools

MARGIN_S = 60
CUT_OFF = """
SELECT to_char(COALESCE(to_timestamp(%s), now()) - %s * interval '1 second', 'YYYY-MM-DD HH24:MI:SS')
"""
SETTINGS = "-c jit=off -c work_mem=256MB -c TimeZone=UTC"
KEYS: LiteralString = "COPY (SELECT object_key FROM file_versions WHERE status = 'active') TO STDOUT"
KEYS_AND_DATES: LiteralString = """
COPY (SELECT object_key, to_char(created_at, 'YYYY-MM-DD HH24:MI:SS') FROM file_versions WHERE status = 'active'
      ORDER BY object_key COLLATE "C") TO STDOUT
"""
MISSING = """
SELECT object_key FROM file_versions
WHERE status = 'active' AND created_at < %s::timestamptz AND NOT EXISTS (SELECT FROM listed WHERE key = object_key)
"""
ORPHANS = """
SELECT key FROM listed
WHERE COALESCE(modified, '-infinity') < %s::timestamptz
  AND NOT EXISTS (SELECT FROM file_versions WHERE object_key = key)
"""
FIRST_ROWS = """
SELECT object_key FROM file_versions
WHERE status = 'active' AND created_at < %s::timestamptz ORDER BY object_key LIMIT %s
"""
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


def by_sql(place: sweep.Place, _: Path) -> set[str]:
    """Copy into a table what MinIO's own client lists, as it comes, and join."""
    with connected(place) as connection:
        before = cut_off(place, connection)
        connection.execute("CREATE TEMP TABLE listed (key text, modified timestamptz)")
        if place.listing:
            copy_keys(connection, Path(place.listing))
        else:
            copy_listing(connection, listers.mc(place, sweep.BUCKET, "--json"))
        connection.execute("ANALYZE listed")
        return {key for query in (MISSING, ORPHANS) for (key,) in connection.execute(query, [before]).fetchall()}


def copy_keys(connection: psycopg.Connection[Any], keys: Path) -> None:
    """Copy a file of keys."""
    with connection.cursor().copy("COPY listed (key) FROM STDIN") as copy, keys.open("rb") as lines:
        while block := lines.read(BLOCK):
            copy.write(block)


def copy_listing(connection: psycopg.Connection[Any], lister: listers.Lister) -> None:
    """Copy each key and its date once it is listed."""
    with (
        subprocess.Popen(lister.command, env=lister.environment, stdout=subprocess.PIPE) as listing,
        connection.cursor().copy("COPY listed FROM STDIN") as copy,
    ):
        for told in map(json.loads, listing.stdout or ()):
            copy.write_row((told["key"], told["lastModified"]))
    if listing.returncode:
        raise subprocess.CalledProcessError(listing.returncode, lister.command)


def by_join(place: sweep.Place, directory: Path) -> set[str]:
    """List with rclone and dump the rows at once, either in the order of bytes, and compare line by line.

    `join -v` is `comm` by the first field of a line, so that the date beside the key goes along.
    """
    keys, rows = Path(place.listing or directory / "listed"), directory / "rows"
    with ThreadPoolExecutor(1) as pool, connected(place) as connection:
        before = cut_off(place, connection)
        dated = listers.rclone(place, sweep.BUCKET, "--format=pt", "--separator=\t", "--use-server-modtime")
        listing = None if place.listing else pool.submit(dated.to, keys)
        dump(connection, KEYS_AND_DATES, rows)
        if listing:
            listing.result()
    command = ["/usr/bin/env", "LC_ALL=C", "join", "--check-order", "-t", "\t", "-v1", "-v2", str(keys), str(rows)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {key for key, _, date in (line.partition("\t") for line in told.splitlines()) if date < before}


def by_rucio(place: sweep.Place, directory: Path) -> set[str]:
    """Dump the rows, list, dump the rows again, and let rucio-consistency compare the three lists.

    Where a listing was brought, the first of them was made before it.
    """
    lists = {"before": Path(place.before or directory / "before"), "listed": directory / "listed"}
    with connected(place) as connection:
        if place.listing:
            lists["listed"] = Path(place.listing)
        else:
            dump(connection, KEYS, lists["before"])
            keys_listed(place, lists["listed"])
        lists["after"] = dump(connection, KEYS, directory / "after")
    for name, file in lists.items():
        rucio(PARTITION, "-q", "-n", str(PARTS), "-o", directory / f"{name}.part", file)
    return set(rucio(COMPARE, *(directory / f"{name}.part" for name in ("after", "listed", "before"))).splitlines())


def one_by_one(place: sweep.Place, _: Path) -> set[str]:
    """Ask MinIO for each row, and the database for each object: the first ones by key, among which all drift lies."""
    client = place.client()
    told: set[str] = set()
    with connected(place) as connection:
        before = cut_off(place, connection)
        for (key,) in connection.execute(FIRST_ROWS, [before, sweep.OF_SCRIPT]).fetchall():
            try:
                client.stat_object(bucket_name=sweep.BUCKET, object_name=key)
            except S3Error as error:
                if error.code != "NoSuchKey":
                    raise
                told.add(key)
        for one in islice(client.list_objects(bucket_name=sweep.BUCKET, recursive=True), sweep.OF_SCRIPT):
            young = one.last_modified is None or f"{one.last_modified:%Y-%m-%d %H:%M:%S}" >= before
            if not young and connection.execute(ROW, [one.object_name]).fetchall() == [(False,)]:
                told.add(str(one.object_name))
    return told


RIVALS: dict[str, Callable[[sweep.Place, Path], set[str]]] = {
    "one by one": one_by_one,
    "by sql": by_sql,
    "by join": by_join,
    "by rucio": by_rucio,
}


def at_hand(place: sweep.Place) -> list[str]:
    """Return which of them can be run: rclone has to be installed, and one by one nothing is asked of a file."""
    without = {"one by one"} if place.listing else set() if shutil.which("rclone") else {"by join"}
    return [name for name in RIVALS if name not in without]


def connected(place: sweep.Place) -> psycopg.Connection[Any]:
    """Connect as one would who joins and sorts much."""
    return psycopg.connect(place.database, autocommit=True, options=SETTINGS)


def cut_off(place: sweep.Place, connection: psycopg.Connection[Any]) -> str:
    """Return up to when what differs is old enough to be believed, as a text of UTC."""
    listed_at = Path(place.listing).stat().st_mtime if place.listing else None
    [(before,)] = connection.execute(CUT_OFF, [listed_at, MARGIN_S]).fetchall()
    return str(before)


def keys_listed(place: sweep.Place, file: Path) -> None:
    """Write the bucket's keys to a file, with the quickest lister at hand."""
    if shutil.which("rclone"):
        listers.rclone(place, sweep.BUCKET).to(file)
        return
    listing = listers.mc(place, sweep.BUCKET, "--json").to(file.with_suffix(".json"))
    with listing.open(encoding="utf-8") as lines, file.open("w", encoding="utf-8") as written:
        written.writelines(f"{json.loads(line)['key']}\n" for line in lines)


def dump(connection: psycopg.Connection[Any], query: LiteralString, file: Path) -> Path:
    """Write what a query copies out to a file, and return that."""
    with connection.cursor().copy(query) as copy, file.open("wb") as rows:
        rows.writelines(copy)
    return file


def rucio(program: str, *arguments: str | Path) -> str:
    """Run a program over rucio-consistency, and return what it says."""
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(tools.rucio())}
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
