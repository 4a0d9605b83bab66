"""What the acceptance tests of sweeps share: the command over a bucket, a large bucket, a listing that breaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconcile.database import migrate
from tests.support import command, sweeping
from tests.support.sweeping import Lists


@pytest.fixture(scope="session")
def large(minio) -> str:
    """Make one bucket of many objects for all tests that change nothing."""
    return sweeping.large_bucket(minio)


@pytest.fixture
def many(tmp_path, database, connection, minio, large) -> command.Program:
    """Give the command over the large bucket and its rows, with the drifts among them."""
    sweeping.large_rows(connection)
    migrate(connection)
    return command.program(tmp_path, database, minio, large, {})


@pytest.fixture
def program(tmp_path, database, minio, bucket) -> command.Program:
    """Give the command over an empty bucket, without a schema."""
    return command.program(tmp_path, database, minio, bucket, {})


@pytest.fixture
def installed(program, connection) -> command.Program:
    """Give the command over an empty bucket with its schema made."""
    migrate(connection)
    return program


@pytest.fixture
def lists(minio) -> Iterator[Lists]:
    """Stand before MinIO, to break its listing."""
    with Lists(minio) as proxy:
        yield proxy
