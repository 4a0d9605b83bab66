#!/usr/bin/env python3
"""The nightly reconciliation: `storage-reconciler sweep` with this service's configuration (--report-only or --fix)."""

import os
import sys
import sysconfig
from pathlib import Path

SERVICE = Path(__file__).resolve().parents[1]
PLACES = [Path(sysconfig.get_path("scripts")), *(place / ".venv/bin" for place in (SERVICE, *SERVICE.parents))]
FOUND = [str(path) for place in PLACES if (path := place / "storage-reconciler").exists()]
COMMAND = [*FOUND, "storage-reconciler"][0], "--config", str(SERVICE / "reconciler.toml"), "sweep", *sys.argv[1:]
os.execvp(COMMAND[0], COMMAND)  # noqa: S606 - the project's own program
