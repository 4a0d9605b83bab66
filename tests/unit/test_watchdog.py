"""The tests' own guard: one that hangs where no signal is heard costs its process, and not the whole run."""

import subprocess
import sys

import pytest

from tests.support.command import ROOT

HELD = """
import signal, threading, pytest

@pytest.mark.timeout(0.2)
def test_held_up():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    threading.Event().wait(60)
"""
HELD_AFTER_A_FAULT = """
import signal, threading, pytest

@pytest.fixture
def held():
    yield
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    threading.Event().wait(60)

@pytest.mark.timeout(0.2)
def test_held_up(held):
    assert False
"""
CONFTEST = """
from tests.support.watchdog import Watchdog

def pytest_configure(config):
    config.pluginmanager.register(Watchdog(config, grace=0.3))
"""


@pytest.mark.parametrize(("code", "frame"), [(HELD, "test_held_up"), (HELD_AFTER_A_FAULT, "held")])
def test_a_test_that_hears_no_signal_is_ended_and_told(tmp_path, code, frame):
    """The process ends by itself, and its last words are where it stood, also in what a fault left to tidy up."""
    (tmp_path / "conftest.py").write_text(CONFTEST, "utf-8")
    (tmp_path / "test_it.py").write_text(code, "utf-8")
    words = [sys.executable, "-m", "pytest", "-o", "timeout=60", f"--rootdir={tmp_path}", str(tmp_path)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "Timeout (0:00:00.5" in ended.stderr
    assert f"in {frame}" in ended.stderr
