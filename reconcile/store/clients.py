"""The driver's client of MinIO and its connections, which sign with the keys as they are at each request."""

from __future__ import annotations

import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.credentials.providers import Provider

from reconcile.store.server import Server


def client(server: Server, connections: urllib3.PoolManager) -> Minio:
    """Return the driver over a pool."""
    return Minio(
        endpoint=server.host,
        credentials=Signing(server),
        secure=server.secure,
        region=server.region,
        http_client=connections,
    )


class Signing(Provider):
    """The keys as they are now, of which the driver asks for each request."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def retrieve(self) -> Credentials:
        """Return them."""
        return Credentials(*self._server.keys())


def pool(server: Server, timeout_s: float, kept: int = 4) -> urllib3.PoolManager:
    """Return a pool that never stalls: MinIO's 503 says Retry-After 60, and it is not for the driver to obey.

    Of the connections to a server, `kept` stay open for the next request.
    """
    return urllib3.PoolManager(
        maxsize=kept,
        timeout=urllib3.Timeout(connect=server.connect_s, read=timeout_s),
        retries=urllib3.Retry(total=1, read=0, redirect=0, status=0, other=0, respect_retry_after_header=False),
        ssl_context=server.tls(),
    )
