"""The edge: an answer leaves for a file, a pipe or a terminal. The only place that knows of a screen."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path

from consumer.commands.answer import Answer
from reconcile.model import Misconfigured
from reconcile.reports.forms import Format, as_csv, as_json, as_jsonl, plain, text
from reconcile.reports.page import as_html


def rendered(answer: Answer, form: Format) -> str:
    """Return the answer in one of the forms, without colours and in its full width."""
    if isinstance(answer.shown, str):
        return answer.shown
    match form:
        case Format.TABLE:
            return plain(text(answer.shown, answer.now))
        case Format.JSON:
            return as_json(answer.shown)
        case Format.JSONL:
            return as_jsonl(answer.lines or answer.shown)
        case Format.CSV:
            return as_csv(answer.lines or answer.shown)
        case Format.HTML:
            return answer.page() if answer.page else as_html(answer.shown, answer.now)


def deliver(answer: Answer, form: Format, file: str | None) -> None:
    """Write the answer where it is wanted; a file is replaced as a whole."""
    if file:
        replace(Path(file), rendered(answer, form))
        return
    encode(form)
    if form is Format.TABLE and not isinstance(answer.shown, str) and sys.stdout.isatty():
        on_screen(answer)
    else:
        sys.stdout.write(rendered(answer, form))
        sys.stdout.flush()


def encode(form: Format) -> None:
    """Have what a machine reads be UTF-8 whatever the locale, and spell out for a person what the locale lacks."""
    if isinstance(sys.stdout, TextIOWrapper):
        if form is Format.TABLE:
            sys.stdout.reconfigure(errors="backslashreplace")
        else:
            sys.stdout.reconfigure(encoding="utf-8")


def replace(path: Path, content: str, option: str = "--output-file") -> None:
    """Write beside the file, then take its place, so that nobody reads half of it."""
    with _beside(path, option) as beside:
        beside.write_text(content, "utf-8")
        beside.replace(path)


def check(path: Path, option: str = "--output-file") -> None:
    """Raise Misconfigured where a file could not be written: before the hours of work that it is to tell of."""
    with _beside(path, option) as beside:
        beside.touch()
        beside.unlink()
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


@contextmanager
def _beside(path: Path, option: str) -> Iterator[Path]:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise Misconfigured(f"{option} {path}: cannot be written ({error.strerror}); name another file") from error


def on_screen(answer: Answer, *, clear: bool = False) -> None:
    """Show the answer on a terminal, as wide as it is; NO_COLOR is respected."""
    from rich.console import Console  # noqa: PLC0415  # costs 50 ms, and only a terminal needs it
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, markup=False, emoji=False)
    if isinstance(answer.shown, str):
        return
    lines = [Text.assemble(*line) for line in text(answer.shown, answer.now, console.width)]
    if clear:
        console.clear()
    console.print(Text("\n").join(lines), no_wrap=True, overflow="ignore", crop=False)
