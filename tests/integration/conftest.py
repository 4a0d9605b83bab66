"""What the integration tests of the objects' side and of the guards share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconcile.guards import Storage
from reconcile.store.objects import Objects
from reconcile.store.server import Server
from tests.support import guarding
from tests.support.proxy import Proxy


@pytest.fixture
def proxy(minio) -> Iterator[Proxy]:
    """Stand before MinIO."""
    host, _, port = minio.endpoint.partition(":")
    with Proxy(host, int(port)) as standing:
        yield standing


@pytest.fixture
def behind(proxy) -> Proxy:
    """Say the same of whoever is behind it."""
    return proxy


@pytest.fixture
def eyes(minio) -> Iterator[Objects]:
    """Open the objects' side."""
    with Objects(Server(minio.url, minio.user, minio.password, minio.region)) as opened:
        yield opened


@pytest.fixture
def far_eyes(minio, proxy) -> Iterator[Objects]:
    """Open the objects' side behind the proxy."""
    server = Server(proxy.url, minio.user, minio.password, minio.region, timeout_s=1.0, connect_s=0.5)
    with Objects(server) as opened:
        yield opened


@pytest.fixture
def app(tmp_path, database, minio, bucket) -> Iterator[guarding.Application]:
    """Make an application whose uploads and reads are guarded."""
    with guarding.application(tmp_path, database, minio, bucket) as made:
        yield made


@pytest.fixture
def storage(app) -> Storage:
    """Give what it stores by."""
    return app.storage()
