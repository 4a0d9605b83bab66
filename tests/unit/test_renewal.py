"""Secrets that lie in files, while the files change beside us."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from reconcile.config import renewal
from reconcile.config.configured import read_file
from reconcile.config.renewal import Kafka, current
from reconcile.config.settings import Settings, load

URL = "postgresql://app:{}@db/app"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Read a file again whenever it is asked for."""
    monkeypatch.setattr(renewal, "REREAD_S", 0.0)


@pytest.fixture
def directory(tmp_path):
    """Make the files of three secrets."""
    for name, text in (("url", URL.format("first")), ("key", "first"), ("word", "first")):
        (tmp_path / name).write_text(f"{text}\n")
    return tmp_path


@pytest.fixture
def settings(directory) -> Settings:
    """Read a configuration that names them."""
    document = {
        "database": {"url_file": str(directory / "url")},
        "minio": {"secret_key_file": str(directory / "key"), "access_key": "alice"},
        "kafka": {"bootstrap.servers": "k", "sasl.password_file": str(directory / "word")},
    }
    return load(document, {}, read_file, needed=())


def test_what_a_file_says_now_is_what_counts(directory, settings):
    """Of all that was asked for before; what has no file stays, and none is in a repr."""
    url, key, user = (current(settings, one) for one in ("database.url", "minio.secret_key", "minio.access_key"))
    kafka = Kafka(settings)
    assert (url(), key(), user(), kafka["sasl.password"]) == (URL.format("first"), "first", "alice", "first")
    for name, text in (("url", URL.format("second")), ("key", "second"), ("word", "second")):
        (directory / name).write_text(text)
    assert (url(), key(), user()) == (URL.format("second"), "second", "alice")
    assert dict(kafka) == {"bootstrap.servers": "k", "sasl.password": "second"}
    assert "second" not in repr((url, key, kafka))


def test_a_file_that_is_away_empty_or_half_written_leaves_what_was(directory, settings):
    """It is about to be replaced; no driver is given what its error would repeat, and the log tells of it once."""
    url, key, kafka = current(settings, "database.url"), current(settings, "minio.secret_key"), Kafka(settings)
    (directory / "url").write_text("postgresql://app:new wo")
    (directory / "key").unlink()
    (directory / "word").write_text("")
    with capture_logs() as told:
        for _ in range(2):
            assert (url(), key(), kafka["sasl.password"]) == (URL.format("first"), "first", "first")
    assert [(one["event"], one["key"]) for one in told] == [("file.unfit", "database.url")]
    assert "new wo" not in str(told)
    (directory / "key").write_text("third")
    (directory / "url").write_text(URL.format("third"))
    assert (url(), key()) == (URL.format("third"), "third")
