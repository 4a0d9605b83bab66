"""Secrets that lie in files, as the files are now: whoever logs in asks here, so that a changed one needs no restart.

Knows no server. A file that cannot be read, is empty, or holds what could never be a value leaves what was; of the last
the log tells once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from time import monotonic

import structlog

from reconcile.config.checks import unfit_url
from reconcile.config.configured import read_file
from reconcile.config.loading import text_of
from reconcile.config.openkeys import Scalar
from reconcile.config.settings import Settings

log = structlog.get_logger("settings")
REREAD_S = 1.0
URL = "database.url"


@dataclass(slots=True)
class Secret:
    """A value and the file that it came from, which is read again when it is asked for, at most once a second.

    Threads may share it.
    """

    key: str
    value: str = field(repr=False)
    file: str
    _read_at: float = field(default_factory=monotonic)
    _seen: str = field(default="", repr=False)

    def __call__(self) -> str:
        """Return the value."""
        if monotonic() - self._read_at >= REREAD_S:
            self._read_at = monotonic()
            self._reread()
        return self.value

    def _reread(self) -> None:
        try:
            found = text_of(read_file, self.file)
        except (OSError, ValueError):  # it is about to be replaced, or the connection will tell
            return
        if found in {"", self._seen or self.value}:
            return
        self._seen = found
        if self.key == URL and (why := unfit_url(found)):
            log.warning("file.unfit", key=self.key, file=self.file, why=why)
        else:
            self.value = found
            log.info("file.reread", key=self.key, file=self.file)


@cache
def _secret(key: str, value: str, file: str) -> Secret:
    """Return the one that all of this process share, so that a change is told once."""
    return Secret(key, value, file)


def current(settings: Settings, key: str) -> Callable[[], str]:
    """Return what tells a setting as it is now."""
    value = str(attrgetter(key)(settings))
    file = settings.files.get(key)
    return _secret(key, value, file) if file else lambda: value


class Kafka(Mapping[str, Scalar]):
    """All that goes to librdkafka, as it is now."""

    def __init__(self, settings: Settings) -> None:
        self._values = {**settings.kafka, **settings.kafka_topic}
        self._secrets = {
            name: _secret(f"kafka.{name}", str(value), settings.files[f"kafka.{name}"])
            for name, value in settings.kafka.items()
            if f"kafka.{name}" in settings.files
        }

    def __getitem__(self, name: str) -> Scalar:
        return self._secrets[name]() if name in self._secrets else self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
