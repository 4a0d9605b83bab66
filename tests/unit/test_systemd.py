"""The units in deploy/systemd: systemd itself finds no fault with them, and how little each may do."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.cli import parse
from tests.support.command import ROOT

HERE = ROOT / "deploy" / "systemd"
UNITS = sorted(HERE.iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
ALWAYS = HERE / "storage-reconciler.service"
PROGRAM = "/usr/local/bin/storage-reconciler"
EXPOSURE = 25  # of 100: what systemd calls OK ends at 49
SHARED = "DynamicUser=yes"


@pytest.fixture(scope="module")
def analyze() -> str:
    """Return systemd's own judge, or skip."""
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not on this machine")
    return found


def copied(directory: Path) -> list[Path]:
    """Copy every unit, with a program in it that is there."""
    for unit in UNITS:
        (directory / unit.name).write_text(unit.read_text("utf-8").replace(PROGRAM, sys.executable), "utf-8")
    return sorted(directory.iterdir())


def test_systemd_finds_no_fault(analyze, tmp_path):
    """Every section and key is known to it, and every value can be read."""
    ended = subprocess.run([analyze, "verify", *copied(tmp_path)], capture_output=True, text=True, check=False)
    told = [line for line in (ended.stdout + ended.stderr).splitlines() if "storage-reconciler" in line]
    assert (ended.returncode, told) == (0, [])


@pytest.mark.parametrize("service", SERVICES, ids=lambda unit: unit.stem)
def test_each_may_do_little(analyze, service):
    """What systemd counts of what is open to a service stays below the threshold."""
    words = [analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", str(service)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr


def test_all_are_locked_down_alike():
    """One block for all services, so that none is forgotten."""
    blocks = {unit.read_text("utf-8").partition(SHARED)[2].partition("\n[")[0].strip() for unit in SERVICES}
    assert len(blocks) == 1


def test_the_consumer_is_kept_running_whatever_ends_it():
    """Started anew without an end: also status 2 may pass, as where a topic is made anew or a grant comes late."""
    text = ALWAYS.read_text("utf-8")
    [line] = [line for line in text.splitlines() if line.startswith(f"ExecStart={PROGRAM} ")]
    read = parse(shlex.split(line)[1:])
    assert (read.run, read.dry_run) == ("consume:consume", False)
    for said in (
        "Restart=always",
        "StartLimitIntervalSec=0",
        "WantedBy=multi-user.target",
    ):
        assert f"\n{said}\n" in text
    assert "\nRestartPreventExitStatus" not in text
    assert "KillSignal" not in text  # SIGTERM: it commits and leaves the group
