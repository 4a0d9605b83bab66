"""The parser of `metrics`: what there is to watch."""

from __future__ import annotations

import argparse

from consumer.parsers.shared import Subparsers, command


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command(commands, "metrics", "metrics:metrics", common, "list the metrics that consume exports")
