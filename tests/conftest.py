"""The servers of a test run, each started when the first test asks for it, and what every test gets fresh from them."""

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import minio as minio_py
import psycopg
import pytest
from hypothesis import settings

from deploy.local import kafka as kafkas
from deploy.local import minio as minios
from deploy.local import postgres as postgreses
from deploy.local.kafka import Kafka
from deploy.local.minio import Minio
from deploy.local.place import NAMES, Place, chosen_way, place
from deploy.local.postgres import Postgres
from deploy.local.stack import Servers
from tests.support import consuming, databases, storage
from tests.support.watchdog import Watchdog

START_TIMEOUT_SECONDS = 900  # the first run on a machine builds MinIO

settings.register_profile("any machine", deadline=None)  # beside servers and other runs an example takes what it takes
settings.load_profile("any machine")

# A run in the background inherits an ignored Ctrl-C, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes share the tests: two, each with servers of its own; one where servers are named."""
    return 1 if any(os.environ.get(variable) for variable in NAMES) else 2


def pytest_configure(config: pytest.Config) -> None:
    """Watch over tests that no time-out ends."""
    config.pluginmanager.register(Watchdog(config))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave time for building the servers to the first tests that need them."""
    for server in ("postgres", "kafka", "minio"):
        first = next((item for item in items if server in getattr(item, "fixturenames", ())), None)
        if first is not None:
            first.add_marker(pytest.mark.timeout(START_TIMEOUT_SECONDS), append=False)


@pytest.fixture(scope="session")
def stack_place(shown) -> Iterator[Place]:
    """Choose where this run's servers live, and how they are had."""
    with shown():
        way = chosen_way()
    with place(way) as here:
        yield here


@pytest.fixture(scope="session")
def shown(request: pytest.FixtureRequest) -> Callable[[], object]:
    """Return what lets the steps of starting a server onto the screen."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    @contextmanager
    def on_the_screen() -> Iterator[None]:
        with capture.global_and_fixture_disabled():
            yield

    return on_the_screen


@pytest.fixture(scope="session")
def postgres(stack_place, shown) -> Postgres:
    """Start a PostgreSQL server; we are its superuser."""
    with shown():
        return postgreses.find_or_start(stack_place)


@pytest.fixture(scope="session")
def kafka(stack_place, shown) -> Kafka:
    """Start a broker with the topic that MinIO reports to."""
    with shown():
        return kafkas.find_or_start(stack_place)


@pytest.fixture(scope="session")
def minio(stack_place, kafka, shown) -> Minio:
    """Start a MinIO that reports to the broker."""
    with shown():
        return minios.find_or_start(stack_place, kafka)


@pytest.fixture(scope="session")
def servers(minio, kafka, postgres) -> Servers:
    """Start all three."""
    return Servers(minio, kafka, postgres)


@pytest.fixture(scope="session")
def template_database(postgres) -> Iterator[str]:
    """Name the database that each test's own is a copy of."""
    with databases.new_database(postgres) as url:
        with psycopg.connect(url) as connection:
            databases.fill(connection)
        yield url.rsplit("/", 1)[1]


@pytest.fixture
def database(postgres, template_database) -> Iterator[str]:
    """Give the URL of a fresh database with the seed's tables."""
    with databases.new_database(postgres, template_database) as url:
        yield url


@pytest.fixture
def connection(database) -> Iterator[psycopg.Connection]:
    """Give an autocommitting connection to the fresh database."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def objects(minio) -> minio_py.Minio:
    """Give MinIO's own client, as root."""
    return storage.client(minio)


@pytest.fixture
def bucket(minio) -> str:
    """Make a fresh bucket whose events go to the stack's topic."""
    return storage.new_bucket(minio)


@pytest.fixture
def new_topic(kafka) -> Callable[[int], str]:
    """Return what creates a fresh topic with so many partitions, and names it."""

    def create(partitions: int = 4) -> str:
        name = f"test-{secrets.token_hex(6)}"
        kafkas.create_topic(kafka.bootstrap, name, partitions)
        return name

    return create


@pytest.fixture
def topic(new_topic) -> str:
    """Make a fresh topic with four partitions, to which nobody but the test writes."""
    return new_topic()


@pytest.fixture
def site(tmp_path, database, minio, kafka, topic) -> Iterator[consuming.Site]:
    """Make an application, run as the shipped consumer: the test alone writes to its topic, and its bucket to none."""
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, topic) as made:
        yield made
