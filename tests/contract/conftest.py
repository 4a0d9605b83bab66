"""Both stages, set anew for each test."""

import secrets
from contextlib import ExitStack

import pytest

from reconcile.store.server import Server
from tests.contract.live import LiveStage, as_application, prepare
from tests.contract.stages import MemoryStage
from tests.support import databases, storage


@pytest.fixture(scope="session")
def ground(postgres, template_database):
    """Prepare the database on which the live stage is set, and cleared, for each test."""
    with databases.new_database(postgres, template_database) as url:
        prepare(url)
        yield url


@pytest.fixture(params=["memory", "live"])
def stage(request):
    """Set a stage: two buckets, the application's table, nothing kept."""
    if request.param == "memory":
        yield MemoryStage()
        return
    with ExitStack() as opened:
        ready = live_stage(request.getfixturevalue("ground"), request.getfixturevalue("minio"), opened)
        ready.clear()
        yield ready


@pytest.fixture
def live(database, minio):
    """Set the live stage alone, on a database whose tables may be spoilt."""
    prepare(database)
    with ExitStack() as opened:
        yield live_stage(database, minio, opened)


def live_stage(url, minio, opened) -> LiveStage:
    """Set the stage on the servers of the run."""
    connection = opened.enter_context(as_application(url))
    server = Server(minio.url, minio.user, minio.password, minio.region)
    client, name = storage.client(minio), f"contract-{secrets.token_hex(6)}"
    for bucket in (name, f"{name}-other"):
        client.make_bucket(bucket_name=bucket)
    return LiveStage(url, name, f"{name}-other", f"{name}-missing", server, client, connection, opened)
