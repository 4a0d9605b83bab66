"""Fills real servers for a benchmark: rows by the million, and events of MinIO's shape."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import psycopg
from confluent_kafka import Producer
from psycopg import sql

from benchmarks.committing import EACH, PARTITIONS

SEED = Path(__file__).parents[1] / "deploy" / "local" / "seed.sql"
FILES = 1_000
Record = tuple[int, str, bytes]  # partition, key and value
INSERT_FILES = """
INSERT INTO storage_files (id, bucket_type, name)
SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'user', 'file ' || n
FROM generate_series(0, %s - 1) AS n
"""
INSERT_VERSIONS = """
INSERT INTO file_versions (file_id, version_number, object_key, size, status)
SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n %% %(files)s), 12, '0'))::uuid,
       abs(hashtext(%(prefix)s)) %% 2000 * 1000000 + n, %(prefix)s || n, 1000 + n %% 1000, 'active'
FROM generate_series(%(lower)s::bigint, %(upper)s::bigint - 1) AS n
"""
INDEXES = """
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), c.conname, pg_get_constraintdef(c.oid)
FROM pg_index AS i LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid
WHERE i.indrelid = %s::regclass
  AND NOT EXISTS (SELECT FROM pg_constraint AS r WHERE r.conindid = i.indexrelid AND r.contype = 'f')
"""


def mapping(bucket: str) -> dict[str, Any]:
    """Return `[mapping]` for the seed's tables and one bucket."""
    return {
        "group": "file.bucket_type",
        "version": {
            "table": "file_versions",
            "id": "id",
            "file_id": "file_id",
            "key": "object_key",
            "size": "size",
            "status": "status",
            "created_at": "created_at",
        },
        "file": {"table": "storage_files", "id": "id", "deleted": "deleted_at"},
        "status": {"flag": "corrupted", "expects_absence": ["deleted", "pending"]},
        "bucket": {"name": bucket},
    }


def key_of(prefix: str, number: int) -> str:
    """Return the key of a row: what INSERT_VERSIONS writes."""
    return f"{prefix}{number}"


def size_of(number: int) -> int:
    """Return the size of a row's object in bytes."""
    return 1000 + number % 1000


def new_database(url: str) -> str:
    """Create a database with the seed's tables, and return its name."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return name


@contextmanager
def without_indexes(connection: psycopg.Connection[Any], table: str) -> Iterator[None]:
    """Take a table's indexes away while it is filled by the million, and build them at once: much the quicker way.

    A key that another table refers to stays.
    """
    found = connection.execute(INDEXES, [table]).fetchall()
    for index, _, constraint, _ in found:
        drop = f'ALTER TABLE {table} DROP CONSTRAINT "{constraint}"' if constraint else f"DROP INDEX {index}"
        connection.execute(drop.encode())
    yield
    connection.execute("SET maintenance_work_mem = '512MB'")
    for _, definition, constraint, kind in found:
        make = f'ALTER TABLE {table} ADD CONSTRAINT "{constraint}" {kind}' if constraint else definition
        connection.execute(make.encode())


def fill(connection: psycopg.Connection[Any], prefix: str, rows: int) -> None:
    """Write the seed's tables with `rows` live versions of a thousand files."""
    connection.execute(SEED.read_bytes())
    connection.execute(INSERT_FILES, [FILES])
    connection.execute("SET session_replication_role = replica")  # their files are there: nothing looks for each
    with without_indexes(connection, "file_versions"):
        connection.execute(INSERT_VERSIONS, {"files": FILES, "prefix": prefix, "lower": 0, "upper": rows})
    connection.execute("RESET session_replication_role")
    connection.execute("VACUUM ANALYZE storage_files")
    connection.execute("VACUUM ANALYZE file_versions")


def prepare_rows(connection: psycopg.Connection[Any], prefix: str, batches: int, each: int) -> None:
    """Insert rows and prepare their transactions, `each` at a time: they are there, and nobody sees them."""
    for batch in range(batches):
        connection.execute("BEGIN")
        bounds = {"lower": batch * each, "upper": (batch + 1) * each}
        connection.execute(INSERT_VERSIONS, {"files": FILES, "prefix": prefix, **bounds})
        connection.execute(sql.SQL("PREPARE TRANSACTION {}").format(f"{prefix}{batch}"))


def event(bucket: str, key: str, size: int | None, name: str = "s3:ObjectCreated:Put") -> bytes:
    """Return a record's value as MinIO's Kafka target writes it (docs/facts.md, Kafka message)."""
    now = datetime.now(UTC)  # noqa: TID251 - the event's own time, as the server would stamp it
    request = "182178E8B36AC9DF"
    target: dict[str, object] = {"key": quote_plus(key)}
    if size is not None:
        target |= {
            "size": size,
            "eTag": "eb52f8e46f60a27a8a1a704e25757f30",
            "contentType": "application/octet-stream",
            "userMetadata": {"content-type": "application/octet-stream"},
        }
    told = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "awsRegion": "",
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z",
        "eventName": name,
        "userIdentity": {"principalId": "application"},
        "requestParameters": {"principalId": "application", "region": "", "sourceIPAddress": "192.168.1.10"},
        "responseElements": {
            "x-amz-id-2": "dd9025bab4ad464b049177c95eb6ebf374d3b3fd1af9251148b658df7ac2e3e8",
            "x-amz-request-id": request,
            "x-minio-deployment-id": "2369dcb4-348b-4d30-8fc9-61ab089ba4bc",
            "x-minio-origin-endpoint": "https://minio.test.svc.cluster.local",
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "Config",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "application"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": {**target, "sequencer": "182178E8B3728CAC"},
        },
        "source": {"host": "192.168.1.10", "port": "", "userAgent": "MinIO (linux; amd64) minio-go/v7.0.83"},
    }
    return json.dumps({"EventName": name, "Key": f"{bucket}/{key}", "Records": [told]}, separators=(",", ":")).encode()


def template(bucket: str, prefix: str) -> Callable[[int], bytes]:
    """Return what makes the event of an upload by its row's number, in a tenth of the time that event() takes."""
    key, size = b"NUMBER", 987_654_321
    written = event(bucket, f"{prefix}NUMBER", size).replace(b"%", b"%%")
    marked = written.replace(key, b"%(number)d").replace(b"%d" % size, b"%(size)d")
    return lambda number: marked % {b"number": number, b"size": size_of(number)}


def uploads(bucket: str, prefix: str, rows: Iterable[int], partitions: int = PARTITIONS) -> Iterator[Record]:
    """Yield the upload of each row, EACH in a row to one partition, as the prepared transactions lie."""
    uploaded = template(bucket, prefix)
    for number, row in enumerate(rows):
        yield number // EACH % partitions, f"{bucket}/{prefix}{row}", uploaded(row)


def produce(bootstrap: str, topic: str, records: Iterable[Record]) -> None:
    """Append (partition, key, value) records, and return when each is delivered."""
    failed: list[str] = []
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    for partition, key, value in records:
        producer.produce(
            topic,
            value,
            key.encode(),
            partition,
            on_delivery=lambda error, _: failed.append(str(error)) if error else None,
        )
        producer.poll(0)
    producer.flush(120)
    if failed:
        raise RuntimeError(f"{len(failed)} records were not delivered: {failed[0]}")
