"""Prometheus' promtool: this machine's own, or Debian's."""

import os
import shutil

import pytest

from deploy.local.progress import run, step

APT = {"DEBIAN_FRONTEND": "noninteractive"}
WAY_OUT = "Install promtool, which comes with Prometheus, on this machine."


def program() -> str:
    """Return promtool, installed first where that is ours to do; skips the test where there is none."""
    found = shutil.which("promtool")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        with step("promtool is not on this machine: installing Debian's prometheus"):
            run(["apt-get", "update", "--quiet"], WAY_OUT, APT)
            run(["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "prometheus"], WAY_OUT, APT)
        found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not on this machine, and only root on Debian or Ubuntu installs it")
    return found
