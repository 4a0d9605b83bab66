"""The parsers of `purge` and `restore`: what is done about versions that lost their objects."""

from __future__ import annotations

import argparse

from consumer.parsers.shared import Subparsers, changes, command, count, duration, filters, identity


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    purge = command(commands, "purge", "purge:purge", common, "give up versions that have been flagged for long")
    purge.add_argument(
        "ids", type=identity, nargs="*", metavar="ID", help="a finding's id; none: all that are old enough"
    )
    purge.add_argument(
        "--older-than",
        dest="flagged_for",
        type=duration,
        required=True,
        metavar="DURATION",
        help="flagged for at least so long, as 30d",
    )
    purge.add_argument("--even-alone", action="store_true", help="also versions whose file has no other good version")
    purge.add_argument("--limit", type=count(1), default=10_000, metavar="N", help="at most so many at once (10000)")
    _missing(purge)
    changes(purge)
    _restore(commands, common)


def _restore(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    restore = command(
        commands,
        "restore",
        "restore:restore",
        common,
        "bring missing objects back, from below a delete marker or a backup",
    )
    restore.add_argument("ids", type=identity, nargs="*", metavar="ID", help="a finding's id")
    restore.add_argument("--key", dest="keys", action="append", metavar="KEY", help="of this object's key (repeatable)")
    restore.add_argument("--all", action="store_true", help="every one")
    restore.add_argument(
        "--from", dest="source", metavar="BUCKET[/PREFIX]", help="copy from here (the configured backup)"
    )
    restore.add_argument("--marker", metavar="ID", help="this delete marker, where another hid it when it was found")
    restore.add_argument("--limit", type=count(1), default=1000, metavar="N", help="at most so many at once (1000)")
    _missing(restore)
    changes(restore)


def _missing(parser: argparse.ArgumentParser) -> None:
    """Add the filter of findings of missing objects; commands/choosing.py reads it."""
    filters(parser)
    parser.set_defaults(kind=["missing"], since=None, held=False, state=None)
