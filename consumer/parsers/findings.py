"""The parser of `findings`."""

from __future__ import annotations

import argparse

from consumer.parsers.shared import (
    Subparsers,
    changes,
    choosing,
    command,
    count,
    exit_code,
    family,
    identity,
    listed,
    moment,
)

GROUPINGS = ("prefix", "owner", "principal", "cause", "group", "bucket", "kind", "state")


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    named = family(commands, "findings", "what was found")
    listing = command(named, "list", "findings:listing", common, "list findings, the latest first")
    choosing(listing)
    listed(listing, GROUPINGS)
    listing.add_argument("--limit", type=count(1), default=50, metavar="N", help="at most so many (50)")
    exit_code(listing)
    show = command(named, "show", "findings:show", common, "show one finding with its evidence and history")
    show.add_argument("id", type=identity, metavar="ID", help="the finding's id, as listed")
    exit_code(show)
    note = command(named, "note", "triage:note", common, "write a note into the history of findings")
    note.add_argument("ids", type=identity, nargs="+", metavar="ID", help="a finding's id")
    changes(note)
    for name, help_text in (
        ("ignore", "leave findings alone: kept, and silent everywhere"),
        ("reopen", "take back that findings were ignored or approved"),
    ):
        module = "rules" if name == "ignore" else "triage"
        act = command(named, name, f"{module}:{name}", common, help_text)
        act.add_argument("ids", type=identity, nargs="*", metavar="ID", help="a finding's id")
        choosing(act)
        act.add_argument("--all", action="store_true", help="every one")
        if name == "ignore":
            act.add_argument("--pattern", metavar="GLOB", help="whose key matches this; with --until alone")
            act.add_argument(
                "--until",
                type=moment,
                metavar="T",
                help="a rule, for what is found later, too: so long (90d), or until",
            )
        changes(act)
    _rules(named, common)
    _adopt(named, common)


def _rules(named: Subparsers, common: argparse.ArgumentParser) -> None:
    rules = family(named, "rules", "what findings ignore --until has set")
    listing = command(rules, "list", "rules:listing", common, "list the ignore rules that are in force")
    listing.add_argument("--all", action="store_true", help="those that are over, too")
    lift = command(rules, "lift", "rules:lift", common, "end rules before their time; what they held is reopened")
    lift.add_argument("ids", type=identity, nargs="+", metavar="ID", help="a rule's id, as listed")
    changes(lift)


def _adopt(named: Subparsers, common: argparse.ArgumentParser) -> None:
    adopt = command(named, "adopt", "adopting:adopt", common, "take over flags that others set")
    adopt.add_argument("ids", nargs="*", metavar="VERSION_ID", help="the id of a version row")
    adopt.add_argument("--status", required=True, metavar="WORD", help="the status to go back to")
    for name in ("bucket", "prefix", "group", "owner"):
        adopt.add_argument(f"--{name}", metavar="TEXT", help=f"of this {name}")
    adopt.add_argument("--all", action="store_true", help="every flag that is not ours")
    changes(adopt)
