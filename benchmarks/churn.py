"""An application that goes on while others compare: uploads and deletes in the recommended order, until it is stopped.

Nothing that it does is drift: a row is inserted, or told the new size, the object stored, and then the row committed;
a row is deleted, and after the commit its object. Whatever is reported of its keys is false. Some keys are there but a
moment, and a cut-off of a minute passes them over; others are two days old before they are overwritten or deleted,
where only a second look helps.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from io import BytesIO
from itertools import count
from typing import Any

import psycopg
from minio import Minio

from benchmarks import sweep

PREFIX, OLD_PREFIX = "churn/", "old/"
PAUSE_S = 0.01
KEPT = 50  # young keys that are there at any time
OLD = 5_000  # as many as are deleted within a quarter of an hour
EVERY = 10  # young keys come and go until an old one goes
FIRST = 500_000_000
INSERT = """
INSERT INTO file_versions (file_id, version_number, object_key, size, status)
SELECT id, %(number)s, %(key)s, %(size)s, 'active' FROM storage_files LIMIT 1
RETURNING object_key, size
"""
INSERT_OLD = """
INSERT INTO file_versions (file_id, version_number, object_key, size, status, created_at)
SELECT f.id, 600000000 + ordinality, key, %(size)s, 'active', now() - interval '2 days'
FROM unnest(%(keys)s::text[]) WITH ORDINALITY AS asked (key), (SELECT id FROM storage_files LIMIT 1) AS f
ON CONFLICT DO NOTHING
RETURNING object_key
"""
OVERWRITE = "UPDATE file_versions SET size = size + 1 WHERE object_key = %(key)s RETURNING object_key, size"
DELETE = "DELETE FROM file_versions WHERE object_key = %s"
STILL_THERE = "SELECT object_key FROM file_versions WHERE object_key = ANY (%s)"


def old_keys() -> list[str]:
    """Return the keys that are old before the application goes on."""
    return [f"{OLD_PREFIX}{number}" for number in range(OLD)]


def plant(place: sweep.Place) -> None:
    """Make rows of two days and objects of now of all the old keys that are not there."""
    store, content = place.client(), b"x" * sweep.SIZE
    with psycopg.connect(place.database) as connection, ThreadPoolExecutor(4) as pool:
        made = connection.execute(INSERT_OLD, {"keys": old_keys(), "size": sweep.SIZE}).fetchall()
        for _ in pool.map(lambda row: store.put_object(sweep.BUCKET, row[0], BytesIO(content), sweep.SIZE), made):
            pass


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
    """Upload and delete until stdin ends; leave nothing that is young."""
    store = place.client()
    young: deque[str] = deque()
    with psycopg.connect(place.database) as connection:
        old = deque(key for (key,) in connection.execute(STILL_THERE, [old_keys()]).fetchall())
        connection.commit()
        print("ready", flush=True)
        for number in count(FIRST):
            if select.select([sys.stdin], [], [], PAUSE_S)[0]:
                break
            young.append(f"{PREFIX}{number}")
            upload(connection, store, INSERT, {"number": number, "key": young[-1], "size": sweep.SIZE})
            if len(young) > KEPT:
                remove(connection, store, young.popleft())
            if number % EVERY == 0 and old:
                remove(connection, store, old.popleft())
            if number % EVERY == EVERY // 2 and old:
                upload(connection, store, OVERWRITE, {"key": old[-1]})
                old.rotate()
        for key in young:
            remove(connection, store, key)


def upload(connection: psycopg.Connection[Any], store: Minio, statement: str, parameters: dict[str, Any]) -> None:
    """Write a row, store its object, and commit."""
    [(key, size)] = connection.execute(statement.encode(), parameters).fetchall()
    store.put_object(bucket_name=sweep.BUCKET, object_name=key, data=BytesIO(b"x" * size), length=size)
    connection.commit()


def remove(connection: psycopg.Connection[Any], store: Minio, key: str) -> None:
    """Delete a row, and once that is committed its object."""
    connection.execute(DELETE, [key])
    connection.commit()
    store.remove_object(bucket_name=sweep.BUCKET, object_name=key)


if __name__ == "__main__":
    churn(sweep.Place(**json.loads(sys.argv[1])))
