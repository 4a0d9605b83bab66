"""The parsers of `replay` and `dead-letters`: what was in a topic, once more."""

from __future__ import annotations

import argparse

from consumer.parsers.shared import Subparsers, changes, command, count, edge, exit_code, family


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    replay = command(commands, "replay", "replay:replay", common, "read a range of the topic again, beside the group")
    replay.add_argument(
        "--from", dest="first", type=edge, required=True, metavar="X", help="an offset, a time, 7d, earliest"
    )
    replay.add_argument(
        "--to", dest="last", type=edge, default="latest", metavar="Y", help="the same, not included (latest)"
    )
    replay.add_argument("--partition", type=count(0), metavar="N", help="this partition alone")
    replay.add_argument("--bucket", metavar="NAME", help="events of this bucket alone")
    replay.add_argument("--prefix", default="", metavar="PREFIX", help="of keys that begin so alone")
    replay.add_argument(
        "--event", action="append", metavar="PATTERN", help="of this name, such as s3:ObjectRemoved:* (repeatable)"
    )
    changes(replay)
    exit_code(replay)
    _dead_letters(family(commands, "dead-letters", "records that never decoded"), common)


def _dead_letters(named: Subparsers, common: argparse.ArgumentParser) -> None:
    listing = command(named, "list", "dead_letters:listing", common, "list dead letters, the latest first")
    listing.add_argument("--reason", metavar="WORD", help="buried for this reason")
    listing.add_argument("--all", action="store_true", help="those that were replayed or discarded, too")
    listing.add_argument("--limit", type=count(1), default=50, metavar="N", help="at most so many (50)")
    show = command(named, "show", "dead_letters:show", common, "show one dead letter with its bytes")
    show.add_argument("id", metavar="ID", help="the dead letter's id, as listed: PARTITION:OFFSET of its origin")
    for name, help_text in (
        ("replay", "send dead letters through again, after a fix"),
        ("discard", "take dead letters as seen; they stay in their topic"),
    ):
        act = command(named, name, f"dead_letters:{name}", common, help_text)
        act.add_argument("ids", nargs="*", metavar="ID", help="as listed; none: all that are left")
        act.add_argument("--reason", metavar="WORD", help="buried for this reason")
        act.add_argument(
            "--limit", type=count(1), default=10_000, metavar="N", help="at most so many not named (10000)"
        )
        changes(act)
