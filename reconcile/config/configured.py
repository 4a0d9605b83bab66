"""Where the configuration is: a file that is named, or that lies here, and the environment."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconcile.model import Misconfigured

DEFAULT_FILE = "reconciler.toml"
VARIABLE = "RECONCILER_CONFIG"


def located(named: str | Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file that is named, by RECONCILER_CONFIG otherwise, or ./reconciler.toml if it is there."""
    chosen = named or environ.get(VARIABLE)
    if chosen:
        return Path(chosen)
    here = Path(DEFAULT_FILE)
    return here if here.exists() else None


def document(path: Path | None) -> dict[str, Any]:
    """Return a configuration file as it is written, empty where there is none; raises Misconfigured."""
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Misconfigured(f"{path}: cannot be read ({error.strerror}); name another with --config") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{path}: is not UTF-8 text; save it as such, or name another with --config") from error
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path}: is not TOML: {error}; mend it there, or name another with --config") from error


def read_file(path: str) -> str:
    """Return a file's text, for secrets that are kept in one."""
    return Path(path).read_text("utf-8")
