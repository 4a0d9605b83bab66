"""All that a run writes, wherever it goes, and which secrets are found in it."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

from psycopg import sql

from consumer.cli import build_parser
from tests.support.command import Program
from tests.support.consuming import Site

TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'reconciler'::regnamespace AND relkind IN ('r', 'v', 'm')"
SESSIONS = "SELECT a::text FROM pg_stat_activity AS a WHERE application_name LIKE 'storage-reconciler%'"
CREDENTIALS = ("X-Amz-Signature=", "X-Amz-Credential=", "Bearer ey")  # what a signed address or a token begins with


@dataclass
class Overheard:
    """What was written, each with where."""

    texts: dict[str, str] = field(default_factory=dict)

    def add(self, where: str, text: object) -> None:
        """Keep one more."""
        self.texts[f"{len(self.texts)} {where}"] = str(text)

    def ran(self, name: str, program: Program, words: Iterable[str], **changed: str) -> int:
        """Run a command to its end, and keep what it told."""
        words = list(words)
        ended = program.run(*words, **changed)
        self.add(f"{name}: {' '.join(words)} ({ended.returncode})", ended.stdout + ended.stderr)
        return ended.returncode

    def process(self, process: subprocess.Popen[str]) -> None:
        """Keep what everybody may read of a process."""
        for name in ("cmdline", "comm", "status"):
            self.add(f"its {name}", Path(f"/proc/{process.pid}/{name}").read_text())

    def tables(self, site: Site) -> None:
        """Keep our whole schema, and the sessions as other users see them."""
        for (name,) in site.sql(TABLES):
            rows = sql.SQL("SELECT t::text FROM reconciler.{} AS t").format(sql.Identifier(name))
            self.add(f"table {name}", site.connection.execute(rows).fetchall())
        sessions = site.sql(SESSIONS)
        assert sessions, "nobody of ours is connected"
        self.add("sessions", sessions)

    def topic(self, site: Site, name: str) -> None:
        """Keep the records of a topic, which must hold some."""
        self.add(f"topic {name}", [(one.key(), one.value(), one.headers()) for one in site.letters(topic=name)])

    def helps(self) -> None:
        """Keep every page of help."""
        for number, parser in enumerate(parsers(build_parser())):
            self.add(f"help {number} {parser.prog}", parser.format_help())

    def found(self, secrets: Iterable[str]) -> list[str]:
        """Return where any of these is found, as it is or as a URL writes it, or what would do instead of one."""
        wanted = {form for one in secrets for form in (one, quote(one, safe=""), quote_plus(one))} | {*CREDENTIALS}
        return [f"{one!r} in {where}" for where, text in self.texts.items() for one in wanted if one in text]


def parsers(of: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of its commands."""
    yield of
    for action in of._actions:  # noqa: SLF001 - argparse tells its commands nowhere else
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for one in action.choices.values():
                yield from parsers(one)
