"""How far a sweep or a scrub is, in words for progress.py."""

from __future__ import annotations

from typing import Self

from consumer.commands.progress import Progress as Line
from consumer.runs.sweeping import Progress
from reconcile.human import duration


class Display:
    """Shows a sweep's progress for as long as the block lasts."""

    def __init__(self, bucket: str) -> None:
        self._line = Line(bucket)
        self._began: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        self._line.__enter__()
        return self

    def __exit__(self, *ended: object) -> None:
        self._line.__exit__(*ended)

    def show(self, progress: Progress) -> None:
        """Show it, unless something was shown just now."""
        self._line.show(self.told(progress, self._line.seconds))

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
