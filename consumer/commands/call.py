"""What every command is called with: its options, and the settings and servers that it may open."""

from __future__ import annotations

import argparse
import getpass
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconcile.database import Database
from reconcile.model import Misconfigured
from reconcile.settings import Settings, load

DEFAULT_FILE = "reconciler.toml"


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

    def document(self) -> dict[str, Any]:
        """Return the configuration file as it is written; empty where none is named and none lies here."""
        path = self.file()
        if path is None:
            return {}
        try:
            return tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise Misconfigured(f"{path}: cannot be read ({error.strerror}); name another with --config") from error
        except UnicodeDecodeError as error:
            raise Misconfigured(f"{path}: is not UTF-8 text; TOML must be") from error
        except tomllib.TOMLDecodeError as error:
            raise Misconfigured(f"{path}: is not TOML: {error}") from error

    def file(self) -> Path | None:
        """Return the configuration file's path: --config, RECONCILER_CONFIG, or ./reconciler.toml if it is there."""
        named = self.options.config or self.environ.get("RECONCILER_CONFIG")
        if named:
            return Path(named)
        here = Path(DEFAULT_FILE)
        return here if here.exists() else None


def read_file(path: str) -> str:
    """Return a file's text, for secrets that are kept in one."""
    return Path(path).read_text("utf-8")


@contextmanager
def database(settings: Settings, *, patient: bool = False) -> Iterator[Database]:
    """Open the database for a person, who waits a little longer for a lock if `patient`."""
    opened = Database(
        settings.database.url,
        name="storage-reconciler command",
        statement_timeout="60s",
        lock_timeout="10s" if patient else "2s",
    )
    try:
        yield opened
    finally:
        opened.close()
