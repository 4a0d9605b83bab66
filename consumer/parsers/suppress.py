"""The parser of `suppress`."""

from __future__ import annotations

import argparse

from consumer.parsers.shared import Subparsers, changes, command, family, identity, moment


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    named = family(commands, "suppress", "windows in which drift is observed and nothing is flagged")
    window = command(named, "add", "suppress:add", common, "set a window, such as for a restore from a backup")
    window.add_argument("--bucket", required=True, metavar="NAME", help="in this bucket")
    window.add_argument("--prefix", default="", metavar="PREFIX", help="of keys that begin so alone")
    window.add_argument(
        "--until", type=moment, required=True, metavar="T", help="from now on so long (2h), or until a time"
    )
    changes(window)
    listing = command(named, "list", "suppress:listing", common, "list the windows that are on")
    listing.add_argument("--all", action="store_true", help="those that are over, too")
    lift = command(named, "lift", "suppress:lift", common, "end windows before their time; all is looked at again")
    lift.add_argument("ids", type=identity, nargs="+", metavar="ID", help="a window's id, as listed")
    changes(lift)
