"""The parser of `doctor`: whether everything is as it has to be."""

from __future__ import annotations

import argparse

from consumer.parsers.shared import Subparsers, command


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command(commands, "doctor", "doctor:doctor", common, "check every precondition, and say how what lacks is mended")
