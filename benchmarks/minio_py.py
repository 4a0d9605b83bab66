"""MinIO's own client for Python, as a script would use it, and how fast it asks for objects that are gone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from minio import Minio
from minio.error import S3Error
from urllib3 import PoolManager

THREADS = 8


def client(url: str, user: str, password: str) -> Minio:
    """Return a client whose threads need not wait for a connection."""
    return Minio(
        endpoint=url.removeprefix("http://"),
        access_key=user,
        secret_key=password,
        secure=False,
        region="us-east-1",
        http_client=PoolManager(maxsize=THREADS),
    )


def heads_a_second(store: Minio, bucket: str, keys: Sequence[str]) -> float:
    """Return how many of these objects threads ask for a second."""

    def ask(key: str) -> None:
        try:
            store.stat_object(bucket_name=bucket, object_name=key)
        except S3Error:
            return

    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, keys))
    return len(keys) / (time.perf_counter() - began)
