"""How far a sweep is, on stderr: one line that changes on a terminal, a line of the log now and then elsewhere."""

from __future__ import annotations

import sys
from time import monotonic
from typing import Self

import structlog

from consumer.runs.sweeping import Progress
from reconcile.human import duration

log = structlog.get_logger("sweep")
ON_SCREEN_S = 0.2
IN_LOG_S = 10.0


class Display:
    """Shows a sweep's progress for as long as the block lasts."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._screen = sys.stderr.isatty()
        self._shown_at = -IN_LOG_S
        self._began: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._screen:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def show(self, progress: Progress) -> None:
        """Show it, unless it was shown just now."""
        now = monotonic()
        if now - self._shown_at < (ON_SCREEN_S if self._screen else IN_LOG_S):
            return
        self._shown_at = now
        told = self.told(progress, now)
        if self._screen:
            sys.stderr.write(f"\r\x1b[K{self._bucket}: {told}")
            sys.stderr.flush()
        else:
            log.info("sweep.progress", bucket=self._bucket, doing=told)

    def told(self, progress: Progress, now: float) -> str:
        """Return rows, objects, rate, what was found, and the time left by the rows."""
        totals, of_rows = progress.totals, progress.of_rows
        rows, objects = totals.get("rows", 0), totals.get("objects", 0)
        if not (rows or objects):
            return progress.doing
        self._began = self._began or (now, objects)
        took = max(now - self._began[0], 1e-3)
        rate = (objects - self._began[1]) / took
        of = f" of {of_rows:,}" if of_rows >= rows else ""  # it may be an estimate, or not known
        parts = [progress.doing, f"{objects:,} objects", f"{rows:,}{of} rows", f"{rate:,.0f}/s"]
        parts.append(f"{totals.get('candidates', 0):,} differences looked at")
        if rate > 0 and of_rows > rows:
            parts.append(f"{duration((of_rows - rows) / rate)} left")
        return ", ".join(parts)
