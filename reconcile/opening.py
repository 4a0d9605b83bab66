"""Opens what the settings name: the object store, and the world of both sides."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from reconcile import rows
from reconcile.config import renewal
from reconcile.config.settings import Settings
from reconcile.database import Connection, Database
from reconcile.inquiry import explaining
from reconcile.model import Misconfigured
from reconcile.store.objects import Objects
from reconcile.store.server import Keys, Server
from reconcile.store.storing import Storing
from reconcile.tables.catalog import compiled
from reconcile.tables.mapping import Mapping
from reconcile.world import LiveWorld


def ourselves() -> str:
    """Return a name for this process that no other has: containers often share their host's name and the number 1."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"


@contextmanager
def objects(settings: Settings, connections: int | None = None) -> Iterator[Objects]:
    """Open the object store, with as many connections as are configured or wanted."""
    with Objects(server(settings, connections)) as opened:
        yield opened


def server(settings: Settings, connections: int | None = None) -> Server:
    """Return where MinIO is, and how it is talked to."""
    minio = settings.minio
    access, secret = renewal.current(settings, "minio.access_key"), renewal.current(settings, "minio.secret_key")
    return Server(
        minio.endpoint,
        minio.access_key,
        minio.secret_key,
        region=minio.region,
        connections=connections or int(minio.head_threads),
        timeout_s=minio.head_timeout.total_seconds(),
        ca_file=minio.ca_file or "",
        renewed=lambda: Keys(access(), secret()),
    )


def storing(settings: Settings) -> Storing:
    """Return what changes objects, to be closed by its owner."""
    return Storing(server(settings))


def mapping(settings: Settings, database: Database) -> Mapping:
    """Compile the mapping against the tables as they are; raises Misconfigured."""
    with database.use() as connection, explaining():
        return compiled(connection, settings.mapping)


def world(settings: Settings, database: Database, store: Objects, actor: str, rows_of: Mapping) -> LiveWorld:
    """Return both sides."""
    deadline_s = settings.minio.look_deadline.total_seconds()
    return LiveWorld(database, rows_of, store, settings.policy, settings.brake, actor, look_deadline_s=deadline_s)


def named_buckets(settings: Settings) -> list[str]:
    """Return the buckets that the configuration names; a column may name more."""
    bucket = settings.mapping.bucket
    return list(dict.fromkeys(name for name in (bucket.name, *bucket.map.values()) if name))


def all_buckets(settings: Settings, connection: Connection, live: LiveWorld) -> list[str]:
    """Return the buckets that are configured, or else those that the rows name; reads the whole table then."""
    named = named_buckets(settings)
    if named:
        return named
    found = [name for name in rows.live_counts(connection, live.mapping) if name]
    if not found:
        column = settings.mapping.bucket.column
        raise Misconfigured(f"mapping.bucket.column = {column!r}: no live row names a bucket; name it with --bucket")
    return sorted(found)
