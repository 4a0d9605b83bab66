"""An application that goes on while others compare: uploads and deletes in the recommended order, until it is stopped.

Nothing that it does is drift: a row is inserted, its object stored, and then committed; a row is deleted, and after the
commit its object. Whatever is reported of its keys is false.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import BytesIO

import psycopg

from benchmarks import sweep

PREFIX = "churn/"
PAUSE_S = 0.01
KEPT = 50  # keys that are there at any time
INSERT = """
INSERT INTO file_versions (file_id, version_number, object_key, size, status)
SELECT id, %(number)s, %(key)s, %(size)s, 'active' FROM storage_files LIMIT 1
"""
DELETE = "DELETE FROM file_versions WHERE object_key = %s"


@contextmanager
def churning(place: sweep.Place) -> Iterator[None]:
    """Let the application go on in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.churn", json.dumps(asdict(place))]
    application = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if application.stdout is None or not application.stdout.readline():
        raise RuntimeError("the application did not start")
    try:
        yield
    finally:
        application.communicate()


def churn(place: sweep.Place) -> None:
    """Upload and delete until stdin ends; leave nothing."""
    store = place.client()
    there: deque[str] = deque()
    number = 500_000_000
    with psycopg.connect(place.database) as connection:
        print("ready", flush=True)
        stopping = False
        while there or not stopping:
            stopping = stopping or bool(select.select([sys.stdin], [], [], PAUSE_S)[0])
            if not stopping:
                number += 1
                there.append(key := f"{PREFIX}{number}")
                connection.execute(INSERT, {"number": number, "key": key, "size": sweep.SIZE})
                content = BytesIO(b"x" * sweep.SIZE)
                store.put_object(bucket_name=sweep.BUCKET, object_name=key, data=content, length=sweep.SIZE)
                connection.commit()
            if stopping or len(there) > KEPT:
                key = there.popleft()
                connection.execute(DELETE, [key])
                connection.commit()
                store.remove_object(bucket_name=sweep.BUCKET, object_name=key)


if __name__ == "__main__":
    churn(sweep.Place(**json.loads(sys.argv[1])))
