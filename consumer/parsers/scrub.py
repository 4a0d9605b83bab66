"""The parser of `scrub`."""

from __future__ import annotations

import argparse

from consumer.parsers.shared import Subparsers, command, count, directory, duration, exit_code, rate, reason, seconds


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    scrub = command(
        commands, "scrub", "scrub:scrub", common, "read objects, a little at a time, and compare their SHA-256"
    )
    mode = scrub.add_mutually_exclusive_group()
    mode.add_argument("--report-only", action="store_true", help="write nothing but the report (the default)")
    mode.add_argument("--fix", action="store_true", help="let the reconciler keep what is found")
    mode.add_argument("--apply", action="store_true", default=argparse.SUPPRESS, help="the same as --fix")
    reason(scrub, "the reason for --fix, kept in the history")
    scrub.add_argument("--bucket", metavar="NAME", help="the bucket (those that the configuration names)")
    scrub.add_argument("--prefix", default="", metavar="PREFIX", help="read only keys that begin so")
    scrub.add_argument(
        "--rate", type=rate, default="20MiB", metavar="SIZE", help="at most so many bytes a second (20MiB)"
    )
    scrub.add_argument("--limit", type=count(1), metavar="N", help="stop after so many objects; the next run goes on")
    scrub.add_argument(
        "--for", dest="lasting", type=duration, metavar="DURATION", help="stop after so long, such as 2h"
    )
    scrub.add_argument("--anew", action="store_true", help="begin at the first key again")
    scrub.add_argument(
        "--margin", type=seconds, metavar="DURATION", help="between two readings of what differs (policy.missing_grace)"
    )
    scrub.add_argument(
        "--spool", type=directory, metavar="DIRECTORY", help="where keys are copied to if no index orders them (TMPDIR)"
    )
    scrub.add_argument("--metrics-file", metavar="FILE", help="write figures for node_exporter's textfile collector")
    exit_code(scrub)
