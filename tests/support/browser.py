"""A real browser: Chromium or Chrome, this machine's own or Debian's, driven by Playwright."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest

from deploy.local import tools
from deploy.local.progress import run, step

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ON_MACOS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
APT = {"DEBIAN_FRONTEND": "noninteractive"}
WAY_OUT = "Install Chromium or Chrome on this machine."


def program() -> str:
    """Return a browser's program, installed first where that is ours to do; skips the test where there is none."""
    found = _own()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
        found = _own()
    if found is None:
        pytest.skip(f"none of {', '.join(PROGRAMS)} is on this machine, and only root on Debian or Ubuntu installs one")
    return found


def _own() -> str | None:
    return next((path for name in (*PROGRAMS, *ON_MACOS) if (path := shutil.which(name))), None)


def _install() -> None:
    with step("no browser is on this machine: installing Debian's chromium"):
        run(["apt-get", "update", "--quiet"], WAY_OUT, APT)
        run(["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "chromium"], WAY_OUT, APT)


@contextmanager
def browser() -> Iterator[Any]:
    """Start a browser without a window, and end it; Playwright's Browser."""
    executable = program()
    sys.path.append(str(tools.playwright()))  # after our own, which are not to be replaced
    try:
        sync_api = import_module("playwright.sync_api")
        with sync_api.sync_playwright() as playwright:
            sandbox = os.geteuid() != 0  # Chromium's needs another user than root
            opened = playwright.chromium.launch(executable_path=executable, chromium_sandbox=sandbox)
            try:
                yield opened
            finally:
                opened.close()
    finally:
        sys.path.remove(str(tools.playwright()))
