"""Expressions for Prometheus, held to the catalogue; and its tools, this machine's own or Debian's."""

import os
import re
import shutil

import pytest

from consumer.metrics import CATALOGUE, HISTOGRAM
from deploy.local.progress import run, step

APT = {"DEBIAN_FRONTEND": "noninteractive"}
WAY_OUT = "Install Prometheus, with its promtool, on this machine."
SUFFIXES = ("_bucket", "_count", "_sum")
FAMILIES = {one.name: one for one in CATALOGUE} | {
    one.name + suffix: one for one in CATALOGUE if one.kind == HISTOGRAM for suffix in SUFFIXES
}


def program(name: str) -> str:
    """Return promtool or prometheus, installed first where that is ours to do; skips the test where there is none."""
    found = shutil.which(name)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        with step(f"{name} is not on this machine: installing Debian's prometheus"):
            run(["apt-get", "update", "--quiet"], WAY_OUT, APT)
            run(["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "prometheus"], WAY_OUT, APT)
        found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on this machine, and only root on Debian or Ubuntu installs it")
    return found


def names_what_is_exported(text: str) -> None:
    """Fail where a metric, or a value of a label, is named that nobody exports: it would be silent for ever."""
    for name, labels in re.findall(r"\b(reconciler_\w+)(?:\{([^}]*)\})?", text):
        assert name in FAMILIES, name
        one = FAMILIES[name]
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            if label == "le":
                assert value in {str(end) for end in one.buckets}
            else:
                assert value in (one.labels[label] or [value]), (name, label, value)
