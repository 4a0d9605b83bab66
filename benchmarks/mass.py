"""A mass deletion of live objects: how soon the brake holds, after how many flags, and how fast a release is done.

`make bench-mass`. The whole service runs as its users run it, with flagging on; one round, since it takes minutes.
100 000 objects are deleted through S3, a thousand a request; their events take MinIO's own way. When all of them are
held, the brake is released as a person would, and each is looked at anew and flagged: that rate is set beside bare
HEADs of the same objects by the same transport, and by minio-py with eight threads, in the same run. The times of the
brake, of its release and of the last flag's commit are the database's.
"""

from __future__ import annotations

import argparse
import subprocess
import time
import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from minio.deleteobjects import DeleteObject

from benchmarks import bare_heads, minio_py, sweep
from benchmarks.figures import Table, about
from benchmarks.filling import FILES, INSERT_FILES
from benchmarks.waiting import until
from deploy.local.control import Native
from deploy.local.demo import prepare
from deploy.local.progress import Trouble
from deploy.local.stack import Servers, stack
from deploy.local.story import PROGRAM, Demo
from reconcile.config.settings import load

ASKED = 5_000
PATIENCE_S, PAUSE_S = 900.0, 1.0
BRAKE = """
SELECT extract(epoch FROM since)::float8 AS since, extract(epoch FROM lifted_at)::float8 AS released
FROM reconciler.restraint WHERE effect = 'brake' ORDER BY id
"""
LAST = """
SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)))::float8 AS at
FROM reconciler.history WHERE act = 'flagged after release'
"""
FLAGGED = "SELECT count(*)::int AS number FROM file_versions WHERE status = 'corrupted'"
LABELS = {
    "drain.ratio": "released: ratio to bare HEADs by our own transport (goal 0.8)",
    "drain.ratio_to_minio_py": "released: ratio to bare HEADs of minio-py, 8 threads",
    "brake_s": "the brake holds, s after the first deletion",
    "flags_before": "flags until then",
    "known_s": "all are flagged or held, s after the first deletion",
    "drain.rate": "released, flagged a second",
    "bare.rate": "bare HEADs by our own transport, a second",
    "minio_py.rate": "bare HEADs by minio-py, 8 threads, a second",
}
HELD = "SELECT count(*)::int AS number FROM reconciler.finding WHERE held_by = 'brake' AND closed_at IS NULL"


def fill(place: Demo, number: int) -> None:
    """Write rows, and copy their objects beside each other on MinIO's disk."""
    control = place.servers.minio.control
    if not isinstance(control, Native):
        raise Trouble("the objects are copied on MinIO's own disk: RECONCILER_SERVERS=native")
    connection = place.application.connection
    connection.execute(INSERT_FILES, [FILES])
    rows = {"files": FILES, "each": sweep.A_DIRECTORY, "size": sweep.SIZE, "lower": 0, "upper": number}
    connection.execute(sweep.INSERT_FROM, rows)
    connection.execute("VACUUM ANALYZE file_versions")
    first = BytesIO(b"x" * sweep.SIZE)
    client = place.application.client
    client.put_object(bucket_name=place.bucket, object_name=sweep.key_of(0), data=first, length=sweep.SIZE)
    sweep.copy(control.launch.directory / "data" / place.bucket, number)


def delete(place: Demo, number: int) -> float:
    """Delete all of them, and return when the first was asked for, in seconds since 1970."""
    began = time.time()  # noqa: TID251 - compared with the database's clock on this machine
    keys = (DeleteObject(sweep.key_of(each)) for each in range(number))
    for error in place.application.client.remove_objects(bucket_name=place.bucket, delete_object_list=keys):
        raise Trouble(f"{error.name}: {error.message}")
    return began


def bare(place: Demo, number: int) -> dict[str, float]:
    """Return how many of the objects that are gone our transport, and minio-py's, ask for a second."""
    keys = [sweep.key_of(each) for each in range(min(number, ASKED))]
    document = tomllib.loads((place.directory / "reconciler.toml").read_text("utf-8"))
    minio = place.servers.minio
    client = minio_py.client(minio.url, minio.user, minio.password)
    return {
        "bare.rate": bare_heads.heads_a_second(load(document, {}, str), place.bucket, keys),
        "minio_py.rate": minio_py.heads_a_second(client, place.bucket, keys),
    }


def count(place: Demo, query: str) -> int:
    """Return what a query counts."""
    row = place.onlooker.execute(query.encode()).fetchone()
    return int(row["number"]) if row else 0


def one(
    servers: Servers, number: int, beside: Callable[[int], AbstractContextManager[None]] = lambda _: nullcontext()
) -> dict[str, float]:
    """Delete, wait until all is held, release, and wait until all is flagged; `beside` watches the service then."""
    with TemporaryDirectory() as directory:
        place = prepare(servers, Path(directory))
        fill(place, number)
        place.start()
        try:
            place.ready()
            asked = time.perf_counter()
            began = delete(place, number)
            until(lambda: count(place, FLAGGED) + count(place, HELD) == number, "all are held", PATIENCE_S, PAUSE_S)
            known_s = time.perf_counter() - asked
            flagged = count(place, FLAGGED)
            found = bare(place, number)
            with beside(place.consumer.pid if place.consumer else 0):
                drained = released(place, number)
        finally:
            place.stop()
    [brake] = place.onlooker.execute(BRAKE).fetchall()
    rate = (number - flagged) / (drained - brake["released"])
    return found | {
        "brake_s": brake["since"] - began,
        "flags_before": flagged,
        "known_s": known_s,
        "drain.rate": rate,
        "drain.ratio": rate / found["bare.rate"],
        "drain.ratio_to_minio_py": rate / found["minio_py.rate"],
    }


def released(place: Demo, number: int) -> float:
    """Release the brake, wait until all is flagged, and return when the last was, in seconds since 1970."""
    command = [PROGRAM, "--config", str(place.directory / "reconciler.toml"), "brake", "release", "--apply"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    until(lambda: count(place, FLAGGED) == number, "all are flagged", PATIENCE_S, PAUSE_S)
    [last] = place.onlooker.execute(LAST).fetchall()
    return float(last["at"])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="a mass deletion, the brake, and its release")
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with stack() as servers:
        table = Table("mass", LABELS, about(servers, f"{options.objects:,} live objects deleted", "minio-py"))
        for _ in range(options.rounds):
            table.note_all(one(servers, options.objects))
            table.show()


if __name__ == "__main__":
    main()
