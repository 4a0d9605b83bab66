"""What an application is given: a file to read, and a place to store one."""

import io
import subprocess
import sys
import tomllib

import psycopg
import pytest
import structlog

from reconcile.database import migrate
from reconcile.guards import FileMissing, Storage
from reconcile.settings import load
from tests.support.guarding import MAPPING, Application

BLOCKED = """
import sys
for name in ("confluent_kafka", "prometheus_client", "sqlalchemy", "flask", "django"):
    sys.modules[name] = None
import reconcile.guards
sys.exit(any(name.split(".")[0] == "consumer" for name in sys.modules))
"""


def test_it_needs_neither_kafka_nor_a_framework():
    ended = subprocess.run([sys.executable, "-c", BLOCKED], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture
def app(database, connection, minio, objects, bucket):
    migrate(connection)
    text = tomllib.loads(MAPPING.format(bucket=bucket))
    text |= {
        "database": {"url": database},
        "minio": {"endpoint": minio.url, "access_key": minio.user, "secret_key": minio.password},
    }
    settings = load(text, {}, lambda _: "")
    yield Application(database, objects, bucket, settings, connection)
    structlog.reset_defaults()


@pytest.fixture
def storage(app):
    with Storage(app.settings) as storage:
        yield storage


def test_it_reads(app, storage):
    version = app.row("a b/ü.txt")
    app.put("a b/ü.txt")
    with storage.open_version(version) as file:
        assert (file.read(2), file.read(), file.read(), file.size) == (b"AA", b"A", b"", 3)
    with storage.open_version(version, app.connection) as file:
        assert list(file) == [b"AAA"]


def test_it_marks(app, storage):
    version = app.row("gone")
    with pytest.raises(FileMissing) as raised:
        storage.open_version(version)
    assert raised.value.code == 404
    assert app.status(version) == "corrupted"
    assert app.findings() == [("missing", "open", "gone", "active", None)]
    app.put("gone")
    with storage.open_version(version) as file:
        assert file.read() == b"AAA"
    assert app.status(version) == "active"
    assert app.findings() == []


def test_it_stores(app, storage):
    with psycopg.connect(app.database) as theirs:
        stored = storage.store_version(theirs, lambda: app.row("new", commit=theirs), io.BytesIO(b"BBB"), intent=True)
    assert stored.size == 3
    assert app.status(stored.version_id) == "active"
    assert app.looks() == []
    with storage.open_version(stored.version_id) as file:
        assert file.read() == b"BBB"
