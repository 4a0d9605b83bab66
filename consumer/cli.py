"""The command line: the parser, from which everything else follows.

A command is named as `module:function` below consumer/commands and imported when it runs, so that --help is quick.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

FORMATS = ("table", "json", "jsonl", "csv", "html")
LEVELS = ("debug", "info", "warning", "error")
DEFAULTS = {
    "config": None,
    "format": "table",
    "output_file": None,
    "log_level": "info",
    "log_format": "console",
    "dry_run": False,
    "exit_code": False,
    "apply": False,
    "watch": None,
}
KINDS = ("missing", "orphan", "mismatch", "leftover")
STATES = ("suspected", "open", "ignored", "approved", "resolved", "deleted", "all")
GROUPINGS = ("prefix", "owner", "principal", "cause", "group", "bucket", "kind", "state")
Subparsers = Any  # argparse keeps the type of its subparsers to itself


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = parse(words)
    from consumer.commands.running import run  # noqa: PLC0415  # not for --help

    return run(options)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of one command, all common ones filled in."""
    parser = build_parser()
    options = parser.parse_args(words, argparse.Namespace(**DEFAULTS))
    if options.dry_run and options.apply:
        parser.error("--dry-run and --apply exclude each other; without both the plan is printed and nothing is done")
    return options


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    common = _common()
    parser = argparse.ArgumentParser(
        prog="storage-reconciler",
        parents=[common],
        description="Tells when a MinIO bucket and an application's database no longer agree, and helps to repair it.",
        epilog="What changes data prints its plan, and does it with --apply. "
        "Exit status: 0 ran to its end, 1 a defect, 2 usage or configuration, 3 drift found (with --exit-code), "
        "4 held by the brake or a guard, 5 incomplete, 6 a server could not be reached, 7 another run holds the lease, "
        "130 interrupted.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _config(commands, common)
    _setup(commands, common)
    _consume(commands, common)
    _sweep(commands, common)
    _explain(commands, common)
    _findings(commands, common)
    _status(commands, common)
    _brake(commands, common)
    _about(commands, common)
    return parser


def _common() -> argparse.ArgumentParser:
    """Return the options that every command has, before and after its name."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("common options")
    group.add_argument("--config", metavar="FILE", help="configuration (RECONCILER_CONFIG, ./reconciler.toml)")
    group.add_argument("-o", "--format", choices=FORMATS, help="form of the result (table)")
    group.add_argument("--output-file", metavar="FILE", help="write the result here instead of stdout")
    group.add_argument("--log-level", choices=LEVELS, help="least level of the log on stderr (info)")
    group.add_argument("--log-format", choices=("console", "json"), help="form of the log on stderr (console)")
    group.add_argument(
        "--dry-run", action="store_true", help="change nothing; the default of every command but consume"
    )
    return common


def _add(
    commands: Subparsers, name: str, run_name: str, common: argparse.ArgumentParser, help_text: str
) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = commands.add_parser(
        name, parents=[common], help=help_text, description=help_text[0].upper() + help_text[1:] + "."
    )
    added.set_defaults(run=run_name)
    return added


def _family(commands: Subparsers, name: str, help_text: str) -> Subparsers:
    family = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    return family.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _changes(parser: argparse.ArgumentParser) -> None:
    """Add what every command has that changes something."""
    parser.add_argument("--apply", action="store_true", default=argparse.SUPPRESS, help="do what the plan says")
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, kept in the history")
    parser.add_argument("--who", default=None, metavar="NAME", help="who does it, kept in the history (your user name)")


def _exit_code(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--exit-code", action="store_true", default=argparse.SUPPRESS, help="exit with 3 if there is drift"
    )


def _config(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    family = _family(commands, "config", "the configuration")
    check = _add(family, "check", "config:check", common, "check the configuration and tell every fault at once")
    check.add_argument("--offline", action="store_true", help="do not compare the mapping with the database's tables")
    show = _add(family, "show", "config:show", common, "show the effective values and where each comes from")
    show.add_argument("--set", action="store_true", dest="only_set", help="leave out what is at its default")


def _setup(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    init = _add(commands, "init", "setup:init", common, "prepare database, topics and the bucket's event rule")
    init.add_argument("--only", choices=("database", "kafka", "bucket"), help="prepare this alone")
    init.add_argument("--sql", action="store_true", help="print the SQL instead, for whoever owns the database")
    init.add_argument(
        "--bucket", action="append", metavar="NAME", help="the bucket whose events are wanted (repeatable)"
    )
    init.add_argument("--arn", metavar="ARN", help="MinIO's Kafka target (arn:minio:sqs::RECON:kafka)")
    init.add_argument("--partitions", type=int, default=6, metavar="N", help="of a topic that is created (6)")
    init.add_argument(
        "--replication", type=int, default=-1, metavar="N", help="of a topic that is created (the broker's)"
    )
    _changes(init)
    _changes(_add(commands, "migrate", "setup:migrate", common, "bring the schema reconciler up to date"))
    uninstall = _add(commands, "uninstall", "setup:uninstall", common, "remove the schema and the bucket's event rule")
    uninstall.add_argument("--bucket", action="append", metavar="NAME", help="a bucket with our rule (repeatable)")
    uninstall.add_argument("--arn", metavar="ARN", help="MinIO's Kafka target (arn:minio:sqs::RECON:kafka)")
    _changes(uninstall)


def _consume(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    _add(commands, "consume", "consume:consume", common, "run the always-on consumer until it is told to stop")


def _sweep(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    sweep = _add(commands, "sweep", "sweep:sweep", common, "compare every object of a bucket with every row")
    mode = sweep.add_mutually_exclusive_group()
    mode.add_argument("--report-only", action="store_true", help="write nothing but the report (the default)")
    mode.add_argument("--fix", action="store_true", help="let the reconciler keep and flag what is found")
    mode.add_argument("--apply", action="store_true", default=argparse.SUPPRESS, help="the same as --fix")
    mode.add_argument(
        "--baseline", action="store_true", help="take what is found as known: kept for triage, and silent in alerts"
    )
    sweep.add_argument("--bucket", metavar="NAME", help="the bucket (those that the configuration names)")
    sweep.add_argument("--prefix", default="", metavar="PREFIX", help="compare only keys that begin so")
    sweep.add_argument("--listing", metavar="FILE", help="the bucket's keys: lines, mc ls --json, rclone lsjson, CSV")
    taking = sweep.add_mutually_exclusive_group()
    taking.add_argument("--resume", action="store_true", help="go on with a sweep that was interrupted")
    taking.add_argument("--join", type=int, metavar="ID", help="take part in a sweep that is running")
    sweep.add_argument("--workers", type=int, default=1, metavar="N", help="processes on this machine (1)")
    sweep.add_argument(
        "--ranges", type=int, default=0, metavar="N", help="cut the bucket, so that others can --join (4 a worker)"
    )
    sweep.add_argument(
        "--margin", type=float, metavar="SECONDS", help="between the two looks at a difference (policy.missing_grace)"
    )
    sweep.add_argument("--spool", metavar="DIRECTORY", help="where the rows are copied to (TMPDIR)")
    sweep.add_argument("--metrics-file", metavar="FILE", help="write figures for node_exporter's textfile collector")
    _exit_code(sweep)


def _explain(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    explain = _add(commands, "explain", "explain:explain", common, "look at both sides of one object now, and say why")
    explain.add_argument("subject", metavar="KEY|VERSION_ID", help="an object's key, or the id of a version row")
    explain.add_argument("--bucket", metavar="NAME", help="the object's bucket, where a key may be in several")
    explain.add_argument("--s3-version", default="", metavar="ID", help="this S3 version instead of the latest")
    _exit_code(explain)


def _findings(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    family = _family(commands, "findings", "what was found")
    listing = _add(family, "list", "findings:listing", common, "list findings, the latest first")
    listing.add_argument("--kind", action="append", choices=KINDS, help="of this kind (repeatable)")
    listing.add_argument(
        "--state", action="append", choices=STATES, help="in this state (those not closed; repeatable)"
    )
    for name, help_text in (
        ("bucket", "in this bucket"),
        ("prefix", "whose key begins so"),
        ("group", "of this group"),
        ("owner", "of this owner"),
        ("cause", "whose cause contains this"),
        ("principal", "named by an event of this principal"),
    ):
        listing.add_argument(f"--{name}", metavar="TEXT", help=help_text)
    listing.add_argument("--held", action="store_true", help="held by the brake")
    listing.add_argument(
        "--since", metavar="TIME", help="suspected since: a duration ago (24h), or a time (2025-01-31)"
    )
    listing.add_argument("--group-by", choices=GROUPINGS, help="count by this instead of listing")
    listing.add_argument("--depth", type=int, default=1, metavar="N", help="directories of a prefix to group by (1)")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (50)")
    listing.add_argument("--after", type=int, metavar="ID", help="go on after this one")
    _exit_code(listing)
    show = _add(family, "show", "findings:show", common, "show one finding with its evidence and history")
    show.add_argument("id", type=int, metavar="ID", help="the finding's id, as listed")
    _exit_code(show)


def _status(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    status = _add(commands, "status", "status:status", common, "show the state of everything on one screen")
    status.add_argument(
        "--watch", nargs="?", type=float, const=2.0, default=argparse.SUPPRESS, metavar="SECONDS",
        help="show it again and again (every 2 s)",
    )  # fmt: skip
    _exit_code(status)


def _brake(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    family = _family(commands, "brake", "the brake that holds a mass of flags")
    status = _add(family, "status", "brake:status", common, "tell which brakes are on, and what they hold")
    status.add_argument(
        "--exit-code", action="store_true", default=argparse.SUPPRESS, help="exit with 4 if a brake is on"
    )
    release = _add(family, "release", "brake:release", common, "release the brakes; what they held is looked at anew")
    release.add_argument("--kind", choices=["missing", "orphan"], help="only the brake of flags, or of orphans")
    _changes(release)


def _about(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    _add(commands, "version", "about:version", common, "tell the version of this program and of what it stands on")
    completion = _add(commands, "completion", "about:completion", common, "print a shell's completion script")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="the shell")
