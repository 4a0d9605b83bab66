"""`doctor`'s checks, a few of them at a time, over one database and whatever else a test names."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from consumer.doctor.check import Check
from consumer.doctor.checked import Checked
from consumer.doctor.table import CHECKS, run_checks
from reconcile.config.settings import Settings, load
from reconcile.database import Database
from reconcile.opening import objects
from tests.support.command import MAPPING

NOWHERE = {"endpoint": "http://127.0.0.1:1", "access_key": "x", "secret_key": "x"}


def settings(url: str, mapping: str = "", **sections: Any) -> Settings:
    """Return settings over the seed's tables, or others."""
    named = tomllib.loads(mapping or MAPPING.format(bucket="files"))["mapping"]
    given = {"database": {"url": url}, "minio": NOWHERE, "mapping": named, **sections}
    return load(given, {}, lambda path: open(path, encoding="utf-8").read())  # noqa: PTH123


@contextmanager
def opened(of: Settings) -> Iterator[Checked]:
    """Lend what the checks look at."""
    with closing(Database(of.database.url)) as database, objects(of) as store:
        yield Checked(of, database, store)


def told(of: Settings, *names: str) -> dict[str, list[Check]]:
    """Return what the checks of these names tell, with all that they need; all where none is named."""
    wanted = {*names}
    for one in reversed(CHECKS):
        wanted |= {*one.needs} if one.name in wanted else set()
    chosen = [one for one in CHECKS if one.name in wanted or not names]
    found: dict[str, list[Check]] = {}
    with opened(of) as checked:
        for name, check in run_checks(checked, chosen):
            found.setdefault(name, []).append(check)
    return found


def one(of: Settings, name: str) -> Check:
    """Return the one thing that a check tells."""
    [check] = told(of, name)[name]
    return check
