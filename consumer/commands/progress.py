"""How far something long is, on stderr: a line that changes on a terminal, one in the log now and then elsewhere."""

from __future__ import annotations

import sys
from time import monotonic
from typing import Self

import structlog

log = structlog.get_logger("progress")
ON_SCREEN_S = 0.2
IN_LOG_S = 10.0


class Progress:
    """Shows what is told, for as long as the block lasts."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._screen = sys.stderr.isatty()
        self._began = monotonic()
        self._shown_at = self._began - (ON_SCREEN_S if self._screen else 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._screen:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return monotonic() - self._began

    def show(self, told: str) -> None:
        """Show it, unless something was shown just now."""
        now = monotonic()
        if now - self._shown_at < (ON_SCREEN_S if self._screen else IN_LOG_S):
            return
        self._shown_at = now
        if self._screen:
            sys.stderr.write(f"\r\x1b[K{self._what}: {told}")
            sys.stderr.flush()
        else:
            log.info("progress", what=self._what, doing=told)
