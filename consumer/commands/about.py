"""`version` and `completion`: what the program says of itself."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from importlib.metadata import version as version_of

import shtab

from consumer.commands.answer import Answer
from consumer.commands.call import Call
from reconcile.reports.forms import Section

PACKAGES = ("confluent-kafka", "minio", "msgspec", "psycopg")


def version(_: Call) -> Answer:
    """Tell the version of this program, and of what it stands on."""
    below = {"python": platform.python_version(), **{name: version_of(name) for name in PACKAGES}}
    return Answer(Section("version", "", {"storage-reconciler": version_of("storage-reconciler"), **below}))


def completion(call: Call) -> Answer:
    """Return a shell's completion script."""
    from consumer.cli import build_parser  # noqa: PLC0415  # the parser names this module, so not before it runs

    parser = build_parser()
    for action in _actions(parser):
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's own way of marking
    return Answer(shtab.complete(parser, call.options.shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001  # argparse shows its actions nowhere else
        yield action
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from _actions(below)
