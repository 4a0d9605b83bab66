"""The local stack as a whole: PostgreSQL, Kafka, and a MinIO that reports to it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.local import kafka, minio, postgres
from deploy.local.kafka import Kafka
from deploy.local.minio import Minio
from deploy.local.place import Way, place
from deploy.local.postgres import Postgres


@dataclass(frozen=True)
class Servers:
    """How to reach each server."""

    minio: Minio
    kafka: Kafka
    postgres: Postgres


@contextmanager
def stack(*, topic: str = "minio-events", partitions: int = 4, durable: bool = False) -> Iterator[Servers]:
    """Find or start the servers, with fresh data where they are started, and end them at the end."""
    with place(chosen_way()) as here:
        broker = kafka.find_or_start(here, topic, partitions)
        yield Servers(minio.find_or_start(here, broker), broker, postgres.find_or_start(here, durable=durable))


def chosen_way() -> Way:
    """Return how the servers that the environment does not name are had."""
    return Way(os.environ.get("RECONCILER_SERVERS") or Way.NATIVE)
