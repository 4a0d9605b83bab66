"""The parser of `sweep`."""

from __future__ import annotations

import argparse
from datetime import timedelta

from consumer.parsers.shared import (
    Subparsers,
    command,
    count,
    directory,
    duration,
    exit_code,
    identity,
    reason,
    seconds,
)

RUNNING = -1  # as in runs/beginning.py, which is not imported for --help


def joined(word: str) -> int:
    """Read the id of a sweep, or `running`."""
    return RUNNING if word == "running" else identity(word)


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    sweep = command(commands, "sweep", "sweep:sweep", common, "compare every object of a bucket with every row")
    _mode(sweep)
    sweep.add_argument("--bucket", metavar="NAME", help="the bucket (those that the configuration names)")
    sweep.add_argument("--prefix", default="", metavar="PREFIX", help="compare only keys that begin so")
    sweep.add_argument("--listing", metavar="FILE", help="the bucket's keys: lines, mc ls --json, rclone lsjson, CSV")
    _sharing(sweep)
    sweep.add_argument(
        "--margin",
        type=seconds,
        metavar="DURATION",
        help="between the two looks at a difference (policy.missing_grace)",
    )
    sweep.add_argument(
        "--believe", action="store_true", help="believe both sides, whatever the guards say (with --why)"
    )
    reason(sweep, "the reason for --fix, --baseline, --believe or --dismiss, kept in the history")
    sweep.add_argument("--spool", type=directory, metavar="DIRECTORY", help="where the rows are copied to (TMPDIR)")
    sweep.add_argument("--metrics-file", metavar="FILE", help="write figures for node_exporter's textfile collector")
    exit_code(sweep)


def _mode(sweep: argparse.ArgumentParser) -> None:
    """Add what is done with what is found."""
    mode = sweep.add_mutually_exclusive_group()
    mode.add_argument("--report-only", action="store_true", help="write nothing but the report (the default)")
    mode.add_argument("--fix", action="store_true", help="let the reconciler keep and flag what is found")
    mode.add_argument("--apply", action="store_true", default=argparse.SUPPRESS, help="the same as --fix")
    mode.add_argument(
        "--baseline", action="store_true", help="take what is found as known: kept for triage, and silent in alerts"
    )


def _sharing(sweep: argparse.ArgumentParser) -> None:
    """Add how it stands to other runs, and how many take part."""
    taking = sweep.add_mutually_exclusive_group()
    taking.add_argument("--resume", action="store_true", help="go on with a sweep that was interrupted")
    taking.add_argument(
        "--join",
        type=joined,
        metavar="ID",
        help="take part in this sweep; running: in the bucket's, whose id nobody knows yet",
    )
    taking.add_argument(
        "--dismiss",
        type=identity,
        nargs="+",
        metavar="ID",
        help="want these no more, as status lists them (with --why)",
    )
    sweep.add_argument(
        "--wait",
        type=duration,
        default=timedelta(),
        metavar="DURATION",
        help="how long to wait for another run of the bucket to end; a killed one has it for a minute (0s)",
    )
    sweep.add_argument("--workers", type=count(1), default=1, metavar="N", help="processes on this machine (1)")
    sweep.add_argument(
        "--ranges", type=count(0), default=0, metavar="N", help="cut the bucket, so that others can --join (1 a worker)"
    )
