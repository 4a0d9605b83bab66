"""Ends a process of the tests that is held up inside a driver, where the time-out's signal is never heard."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Iterator

import pytest

GRACE_SECONDS = 60.0  # beyond a test's own time-out, for what it tidies up when that strikes


class Watchdog:
    """Lets a test overrun its time-out by a grace; then tells where each thread stands, and ends the process."""

    def __init__(self, config: pytest.Config, grace: float = GRACE_SECONDS) -> None:
        self._grace = grace
        self._seconds: float | None = None  # of the test at work
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            self._screen = os.fdopen(os.dup(2), "w")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Watch one test, with its fixtures."""
        marker = item.get_closest_marker("timeout")
        self._seconds = marker.args[0] if marker else float(item.config.getini("timeout"))
        self._watch()
        try:
            return (yield)
        finally:
            self._seconds = None
            faulthandler.cancel_dump_traceback_later()

    @pytest.hookimpl(trylast=True)
    def pytest_exception_interact(self) -> None:
        """Watch what a test that failed tidies up; pytest itself has just called every such watch off."""
        self._watch()

    def pytest_enter_pdb(self) -> None:
        """Leave a person who debugs alone."""
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        if self._seconds is not None:
            faulthandler.dump_traceback_later(self._seconds + self._grace, exit=True, file=self._screen)
