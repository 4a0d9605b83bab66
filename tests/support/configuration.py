"""Configurations for tests: the least that is needed, and more."""

from __future__ import annotations

import tomllib

import pytest

from reconcile.config.settings import Settings, load
from reconcile.model import Misconfigured

SECRET = "s3cr3t-word"
LEAST = f"""
    [database]
    url = "postgresql://app:{SECRET}@db:5432/app"
    [minio]
    endpoint = "http://minio:9000"
    access_key = "reader"
    secret_key = "{SECRET}"
    [mapping.version]
    table = "file_versions"
    key = "object_key"
    [mapping.bucket]
    name = "files"
"""


def no_file(path: str) -> str:
    """Read nothing."""
    raise FileNotFoundError(2, "No such file or directory", path)


def loaded(text: str = "", environ: dict[str, str] | None = None, files: dict[str, str] | None = None) -> Settings:
    """Load the least that is needed, and more."""
    given = tomllib.loads(LEAST)
    for section, values in tomllib.loads(text).items():
        merged = isinstance(values, dict) and section in given
        given[section] = given[section] | values if merged else values
    return load(given, environ or {}, files.__getitem__ if files else no_file)


def faults(text: str = "", environ: dict[str, str] | None = None, files: dict[str, str] | None = None) -> list[str]:
    """Return the faults of a configuration that must have some."""
    with pytest.raises(Misconfigured) as raised:
        loaded(text, environ, files)
    return list(raised.value.faults)
