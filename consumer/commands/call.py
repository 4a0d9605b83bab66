"""What every command is called with: its options, and the settings and servers that it may open."""

from __future__ import annotations

import argparse
import getpass
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconcile.config import renewal
from reconcile.config.configured import document, located, read_file
from reconcile.config.settings import Settings, load
from reconcile.database import Database


@dataclass(frozen=True, slots=True)
class Call:
    """One run of one command."""

    options: argparse.Namespace
    environ: Mapping[str, str]

    def settings(self, *needed: str) -> Settings:
        """Return the effective settings; raises Misconfigured with every fault. `needed` keys must have a value."""
        return load(self.document(), self.environ, read_file, needed)

    def who(self) -> str:
        """Return who acts, for the history: --who, or the user's name."""
        try:
            return self.options.who or getpass.getuser()
        except (KeyError, ImportError, OSError):  # a container's user often has no name
            return f"uid {os.getuid()}"

    def program(self) -> str:
        """Return how a command is called to the same effect: with the same configuration."""
        return shlex.join(["storage-reconciler", *(("--config", self.options.config) if self.options.config else ())])

    def document(self) -> dict[str, Any]:
        """Return the configuration file as it is written; empty where none is named and none lies here."""
        return document(self.file())

    def file(self) -> Path | None:
        """Return the configuration file's path: --config, RECONCILER_CONFIG, or ./reconciler.toml if it is there."""
        return located(self.options.config, self.environ)


@contextmanager
def database(settings: Settings, *, patient: bool = False) -> Iterator[Database]:
    """Open the database for a person, who waits a little longer for a lock if `patient`."""
    opened = Database(
        renewal.current(settings, "database.url"),
        name="storage-reconciler command",
        statement_timeout="60s",
        lock_timeout="10s" if patient else "2s",
        pooled=settings.database.pooled,
    )
    try:
        yield opened
    finally:
        opened.close()
