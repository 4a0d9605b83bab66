"""Figures of several rounds: a table as docs/benchmarks.md keeps it, and the RESULT lines that scripts read."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg

from benchmarks.machine import machine
from deploy.local import kafka, minio
from deploy.local.stack import Servers

WHOLE = 20  # from here on a figure is shown without decimals
ONLY = ""


@dataclass
class Table:
    """A row for each figure, a column for each way, and in each cell the median of the rounds and their spread.

    `labels` names the figures, ratios first; a way without that figure has an empty cell.
    """

    name: str
    labels: Mapping[str, str]
    about: str
    found: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def note(self, figure: str, value: float, way: str = ONLY) -> None:
        """Keep what a round came to."""
        self.found.setdefault(way, {}).setdefault(figure, []).append(value)

    def note_all(self, figures: Mapping[str, float], way: str = ONLY) -> None:
        """Keep all of a round that the table has a row for."""
        for figure, value in figures.items():
            if figure in self.labels:
                self.note(figure, value, way)

    def show(self) -> None:
        """Print the table, what it was measured on, and the medians as RESULT lines."""
        print(f"\n{self.name}: {self.about}\n")
        print(f"| | {' | '.join(way or 'median (least - most)' for way in self.found)} |")
        print(f"|---|{'---|' * len(self.found)}")
        rows = [figure for figure in self.labels if any(figure in of_way for of_way in self.found.values())]
        for figure in rows:
            cells = [cell(of_way.get(figure, [])) for of_way in self.found.values()]
            print(f"| {self.labels[figure]} | {' | '.join(cells)} |")
        print()
        for way, figure, values in [(way, row, self.found[way].get(row)) for way in self.found for row in rows]:
            if values:
                print(
                    f"RESULT {'.'.join(filter(None, (self.name, word(way), figure)))}={statistics.median(values):.4g}"
                )
        print(end="", flush=True)


def cell(values: Sequence[float]) -> str:
    """Return the median, and the least and the most where they differ from it."""
    if not values:
        return ""
    least, median, most = (shown(value) for value in (min(values), statistics.median(values), max(values)))
    return median if least == most else f"{median} ({least} - {most})"


def shown(value: float) -> str:
    """Return a figure with as many digits as can be believed."""
    if value == round(value) or abs(value) >= WHOLE:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"  # noqa: PLR2004


def word(text: str) -> str:
    """Return a name as one word of a RESULT line."""
    return re.sub(r"\W+", "_", text.replace(",", "")).strip("_")


def about(servers: Servers, work: str) -> str:
    """Print and return the work, the machine, the servers' versions and the day, as the database tells it."""
    with psycopg.connect(servers.postgres.url) as connection:
        [(day, version)] = connection.execute("SELECT current_date::text, current_setting('server_version')").fetchall()
    release = minio.SOURCE.rsplit("-", 2)[1][:8]
    said = (
        f"{work}; {machine()}, Kafka {kafka.VERSION}, MinIO of {release}, PostgreSQL {str(version).split()[0]}; {day}"
    )
    print(said, flush=True)
    return said
