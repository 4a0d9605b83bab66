"""What the parsers share: the common options, a command, a family of them, what changes or chooses something."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from consumer.parsers import edges
from reconcile.config import values
from reconcile.config.values import Unfit

FORMATS = ("table", "json", "jsonl", "csv", "html")
LEVELS = ("debug", "info", "warning", "error")
STATES = ("suspected", "open", "ignored", "approved", "resolved", "deleted", "all")
KINDS = ("missing", "orphan", "mismatch", "leftover")
FILTERS = {
    "bucket": "in this bucket",
    "prefix": "whose key begins so",
    "group": "of this group",
    "owner": "of this owner",
    "cause": "whose cause contains this",
    "principal": "named by an event of this principal",
}
MOST_DEPTH = 255  # what one of PostgreSQL's patterns may repeat
MOST = 2**63 - 1  # what the database keeps as a number
Kind = TypeVar("Kind")
Subparsers = Any  # argparse keeps the type of its subparsers to itself


def common_options() -> argparse.ArgumentParser:
    """Return the options that every command has, before and after its name."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("common options")
    group.add_argument("--config", metavar="FILE", help="configuration (RECONCILER_CONFIG, ./reconciler.toml)")
    group.add_argument("-o", "--format", choices=FORMATS, help="form of the result (table)")
    group.add_argument("--output-file", metavar="FILE", help="write the result here instead of stdout")
    group.add_argument("--log-level", choices=LEVELS, help="least level of the log on stderr (info)")
    group.add_argument("--log-format", choices=("console", "json"), help="form of the log on stderr (console)")
    group.add_argument(
        "--dry-run", action="store_true", help="change nothing; the default of every command but consume"
    )
    return common


def command(
    commands: Subparsers, name: str, run_name: str, common: argparse.ArgumentParser, help_text: str
) -> argparse.ArgumentParser:
    """Add one command, which runs `module:function` below consumer/commands."""
    added: argparse.ArgumentParser = commands.add_parser(
        name, parents=[common], help=help_text, description=help_text[0].upper() + help_text[1:] + "."
    )
    added.set_defaults(run=run_name)
    return added


def family(commands: Subparsers, name: str, help_text: str) -> Subparsers:
    """Add a family of commands and return what they are added to."""
    named = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    return named.add_subparsers(title="commands", metavar="COMMAND", required=True)


def changes(parser: argparse.ArgumentParser) -> None:
    """Add what every command has that changes something."""
    parser.add_argument("--apply", action="store_true", default=argparse.SUPPRESS, help="do what the plan says")
    reason(parser, "the reason, kept in the history")


def reason(parser: argparse.ArgumentParser, why: str) -> None:
    """Add who does something, and why."""
    parser.add_argument("--why", default="", metavar="TEXT", help=why)
    parser.add_argument("--who", default=None, metavar="NAME", help="who does it, kept in the history (your user name)")


def exit_code(parser: argparse.ArgumentParser) -> None:
    """Add the wish to exit with 3 if there is drift."""
    parser.add_argument(
        "--exit-code", action="store_true", default=argparse.SUPPRESS, help="exit with 3 if there is drift"
    )


def identity(word: str) -> int:
    """Read the id of a finding, a rule, a window; it names what is wrong with another word."""
    try:
        number = int(word)
    except ValueError:
        number = 0
    if not 1 <= number <= MOST:
        raise argparse.ArgumentTypeError(f"{word!r} is no id: one is a number from 1 to {MOST}, as listed")
    return number


def fitting(read: Callable[[str], Kind]) -> Callable[[str], Kind]:
    """Return what reads the value of an option; a word that does not fit is named, with the rule that it breaks."""

    def fitted(word: str) -> Kind:
        try:
            return read(word)
        except Unfit as rule:
            raise argparse.ArgumentTypeError(f"{word!r}: {rule}") from None

    return fitted


duration = fitting(values.duration)
moment = fitting(values.moment)
size = fitting(values.size)
edge = fitting(edges.edge)


@fitting
def seconds(word: str) -> timedelta:
    """Read a duration, of which a number alone is one of seconds."""
    return values.duration(f"{word}s" if word.replace(".", "", 1).isdecimal() else word)


@fitting
def rate(word: str) -> int:
    """Read how many bytes a second."""
    return values.within(values.size(word), 1)


@fitting
def directory(word: str) -> Path:
    """Read the name of a directory that is there."""
    if not Path(word).is_dir():
        raise Unfit("is not a directory; make it, or name another")
    return Path(word)


def count(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return what reads a number of things, of which there may be so many."""
    return fitting(lambda word: values.within(values.integer(word), least, most))


def listed(parser: argparse.ArgumentParser, groupings: Iterable[str]) -> None:
    """Add what a list of findings has beside its filter and its limit."""
    parser.add_argument("--state", action="append", choices=STATES, help="in this state (those not closed; repeatable)")
    parser.add_argument("--group-by", choices=tuple(groupings), help="count by this instead of listing")
    parser.add_argument(
        "--depth", type=count(1, MOST_DEPTH), default=1, metavar="N", help="directories of a prefix to group by (1)"
    )
    parser.add_argument("--after", type=identity, metavar="ID", help="go on after this one")


def choosing(parser: argparse.ArgumentParser, kinds: Iterable[str] = KINDS, names: Iterable[str] = FILTERS) -> None:
    """Add the filter of findings; commands/choosing.py reads it."""
    parser.add_argument("--kind", action="append", choices=tuple(kinds), help="of this kind (repeatable)")
    filters(parser, names)
    parser.add_argument("--held", action="store_true", help="held by the brake")
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="suspected since: a duration ago (24h), or a time (2025-01-31)"
    )


def filters(parser: argparse.ArgumentParser, names: Iterable[str] = FILTERS) -> None:
    """Add what a finding is of."""
    for name in names:
        parser.add_argument(f"--{name}", metavar="TEXT", help=FILTERS[name])
