"""Figures of several rounds: a table as docs/benchmarks.md keeps it, and the RESULT lines that scripts read."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version

import psycopg

from benchmarks.machine import Moment, machine, meanwhile, moment
from deploy.local import kafka, minio
from deploy.local.stack import Servers

WHOLE = 20  # from here on a figure is shown without decimals
ONLY = ""
DAY_AND_VERSION = "SELECT current_date::text, current_setting('server_version')"
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})")


@dataclass
class Table:
    """A row for each figure, a column for each way, and in each cell the median of the rounds and their spread.

    `labels` names the figures, ratios first; a way without that figure has an empty cell.
    """

    name: str
    labels: Mapping[str, str]
    about: str
    found: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    began: Moment = field(default_factory=moment)

    def note(self, figure: str, value: float, way: str = ONLY) -> None:
        """Keep what a round came to."""
        self.found.setdefault(way, {}).setdefault(figure, []).append(value)

    def note_all(self, figures: Mapping[str, float], way: str = ONLY) -> None:
        """Keep all of a round that the table has a row for."""
        for figure, value in figures.items():
            if figure in self.labels:
                self.note(figure, value, way)

    def show(self) -> None:
        """Print the table in Markdown, what it was measured on, and the medians as RESULT lines."""
        rows = [row for row in self.labels if any(row in figures for figures in self.found.values())]
        print(f"\n{self.name}: {self.about}; {meanwhile(self.began, moment())}\n")
        print(line("", *(way or "median (least - most)" for way in self.found)))
        print(f"|---|{'---|' * len(self.found)}")
        for row in rows:
            print(line(self.labels[row], *(cell(figures.get(row, [])) for figures in self.found.values())))
        print()
        for way, figures in self.found.items():
            for row in filter(figures.get, rows):
                name = ".".join(filter(None, (self.name, word(way), row)))
                print(f"RESULT {name}={statistics.median(figures[row]):.4g}", flush=True)


def line(*cells: str) -> str:
    """Return a line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


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


def about(servers: Servers, work: str, *parts: str) -> str:
    """Print and return the work, the machine, the versions of servers and parts, and the day by the database."""
    with psycopg.connect(servers.postgres.url) as connection:
        [(day, postgres)] = connection.execute(
            "SELECT current_date::text, current_setting('server_version')"
        ).fetchall()
    named = [f"Kafka {kafka.VERSION}", f"MinIO of {day_of(minio.SOURCE)}", f"PostgreSQL {str(postgres).split()[0]}"]
    named += [f"{part} {VERSIONS[part]()}" for part in parts]
    said = f"{THOUSANDS.sub(' ', work)}; {machine()}, {', '.join(named)}; {day}"
    print(said, flush=True)
    return said


def day_of(source: str) -> str:
    """Return the day of a source in Go that is pinned to a commit, as 20250907."""
    return source.rsplit("-", 2)[1][:8]


def of_rclone() -> str:
    """Return the version of the rclone that is installed, if any is."""
    if shutil.which("rclone") is None:
        return "not installed"
    told = subprocess.run(["rclone", "version"], check=True, stdout=subprocess.PIPE, text=True)  # noqa: S607 - wherever it is
    return told.stdout.split()[1]


VERSIONS: Mapping[str, Callable[[], str]] = {
    "confluent-kafka": partial(version, "confluent-kafka"),
    "minio-py": partial(version, "minio"),
    "mc": lambda: f"of {day_of(minio.CLIENT_SOURCE)}",
    "rclone": of_rclone,
}
