"""The parser of `orphans`."""

from __future__ import annotations

import argparse

from consumer.parsers import shared
from consumer.parsers.shared import (
    Subparsers,
    changes,
    command,
    count,
    duration,
    exit_code,
    family,
    identity,
    listed,
    size,
)

KINDS = ("orphan", "leftover")
GROUPINGS = ("prefix", "cause", "principal", "bucket", "kind", "state")
CAUSES = ("upload-in-progress", "row-deleted", "other-spelling", "backup", "rollback", "unknown")


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    named = family(commands, "orphans", "objects that no row names: list them, approve, delete, undo")
    _list(named, common)
    show = command(named, "show", "orphans:show", common, "show one orphan: both sides now, what is near it, history")
    show.add_argument("id", type=identity, metavar="ID", help="the finding's id, as listed")
    exit_code(show)
    _approve(named, common)
    _delete(named, common)


def _list(named: Subparsers, common: argparse.ArgumentParser) -> None:
    listing = command(named, "list", "orphans:listing", common, "list orphans, the most bytes first")
    choosing(listing)
    listed(listing, GROUPINGS)
    listing.add_argument("--limit", type=count(0), default=50, metavar="N", help="at most so many; 0: all (50)")
    listing.add_argument("--mc", action="store_true", help="print the lines of mc that would remove them")
    listing.add_argument("--alias", default="minio", metavar="NAME", help="the server's name in mc (minio)")
    exit_code(listing)


def _approve(named: Subparsers, common: argparse.ArgumentParser) -> None:
    approve = command(named, "approve", "approving:approve", common, "allow orphans to be deleted, as they are now")
    approve.add_argument("ids", type=identity, nargs="*", metavar="ID", help="a finding's id")
    choosing(approve)
    approve.add_argument("--all", action="store_true", help="every one that is open")
    approve.add_argument(
        "--from", dest="file", metavar="FILE", help="those of a reviewed list (orphans list -o csv --output-file FILE)"
    )
    approve.add_argument("--withdraw", action="store_true", help="take approvals back")
    changes(approve)


def _delete(named: Subparsers, common: argparse.ArgumentParser) -> None:
    delete = command(
        named, "delete", "deleting:delete", common, "delete approved orphans, each after looking at both sides again"
    )
    undo = command(named, "undo", "deleting:undo", common, "bring back orphans that were deleted")
    for act in (delete, undo):
        act.add_argument("ids", type=identity, nargs="*", metavar="ID", help="a finding's id")
        choosing(act)
        changes(act)
    delete.add_argument("--limit", type=count(1), default=1000, metavar="N", help="at most so many in one run (1000)")
    delete.add_argument(
        "--unversioned", action="append", default=[], metavar="BUCKET",
        help="allow it in this bucket, which keeps no versions, so that MinIO cannot delete conditionally (repeatable)",
    )  # fmt: skip
    undo.add_argument("--all", action="store_true", help="all that is still in the history")


def choosing(parser: argparse.ArgumentParser) -> None:
    """Add the filter of orphans; commands/choosing.py reads it."""
    shared.choosing(parser, KINDS, ("bucket", "prefix", "principal"))
    parser.add_argument(
        "--older-than", type=duration, metavar="DURATION", help="whose object was written longer ago (30d)"
    )
    parser.add_argument("--larger-than", type=size, metavar="SIZE", help="of at least so many bytes (10MiB)")
    parser.add_argument("--cause", dest="suggested", choices=CAUSES, help="whose suggested cause is this")
    parser.set_defaults(group=None, owner=None, cause=None)
