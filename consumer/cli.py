"""The command line: the parser, from which everything else follows.

A command is named as `module:function` below consumer/commands and imported when it runs, so that --help is quick.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from consumer.parsers import doctor, findings, orphans, repair, roles, scrub, stream, suppress, sweep, watching
from consumer.parsers.shared import (
    Subparsers,
    changes,
    command,
    common_options,
    count,
    exit_code,
    family,
    moment,
    seconds,
)

FAMILIES = (doctor, roles, sweep, scrub, stream, findings, orphans, suppress, watching, repair)
WRITING = ("apply", "fix", "baseline")
MOST_PARTITIONS, MOST_REPLICAS = 100_000, 10_000  # of one topic, as librdkafka has it

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


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = parse(words)
    from consumer.commands.running import run  # noqa: PLC0415  # not for --help

    return run(options)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of one command, all common ones filled in."""
    parser = build_parser()
    options = parser.parse_args(words, argparse.Namespace(**DEFAULTS))
    if options.dry_run and (written := [name for name in WRITING if getattr(options, name, False)]):
        way_out = "without both the plan is printed and nothing is done"
        parser.error(f"--dry-run and --{written[0]} exclude each other; {way_out}")
    return options


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    common = common_options()
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
    _explain(commands, common)
    for added in FAMILIES:
        added.add(commands, common)
    _status(commands, common)
    _report(commands, common)
    _brake(commands, common)
    _about(commands, common)
    return parser


def _config(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    named = family(commands, "config", "the configuration")
    check = command(named, "check", "config:check", common, "check the configuration and tell every fault at once")
    check.add_argument("--offline", action="store_true", help="do not compare the mapping with the database's tables")
    show = command(named, "show", "config:show", common, "show the effective values and where each comes from")
    show.add_argument("--set", action="store_true", dest="only_set", help="leave out what is at its default")
    generate = command(
        named, "generate", "generate:generate", common, "propose a configuration from the tables that a database has"
    )
    generate.add_argument("--database", metavar="URL", help="where the tables are (RECONCILER_DATABASE__URL)")
    generate.add_argument(
        "--table", metavar="NAME", help="the table with one row for each object, if not the likeliest"
    )
    generate.add_argument("--bucket", metavar="NAME", help="the bucket of all rows")


def _setup(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    init = command(commands, "init", "setup:init", common, "prepare database, topics and the bucket's event rule")
    init.add_argument("--only", choices=("database", "kafka", "bucket"), help="prepare this alone")
    init.add_argument("--sql", action="store_true", help="print the SQL instead, for whoever owns the database")
    init.add_argument(
        "--bucket", action="append", metavar="NAME", help="the bucket whose events are wanted (repeatable)"
    )
    init.add_argument("--arn", metavar="ARN", help="MinIO's Kafka target (arn:minio:sqs::RECON:kafka)")
    init.add_argument(
        "--partitions", type=count(1, MOST_PARTITIONS), default=6, metavar="N", help="of a topic that is created (6)"
    )
    init.add_argument(
        "--replication",
        type=count(1, MOST_REPLICAS),
        default=-1,
        metavar="N",
        help="of a topic that is created (the broker's)",
    )
    changes(init)
    changes(command(commands, "migrate", "setup:migrate", common, "bring the schema reconciler up to date"))
    uninstall = command(
        commands, "uninstall", "uninstall:uninstall", common, "remove the schema and the bucket's event rule"
    )
    uninstall.add_argument("--bucket", action="append", metavar="NAME", help="a bucket with our rule (repeatable)")
    uninstall.add_argument("--arn", metavar="ARN", help="MinIO's Kafka target (arn:minio:sqs::RECON:kafka)")
    changes(uninstall)


def _consume(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    command(commands, "consume", "consume:consume", common, "run the always-on consumer until it is told to stop")


def _explain(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    explain = command(
        commands, "explain", "explain:explain", common, "look at both sides of one object now, and say why"
    )
    explain.add_argument("subject", metavar="KEY|VERSION_ID", help="an object's key, or the id of a version row")
    explain.add_argument("--bucket", metavar="NAME", help="the object's bucket, where a key may be in several")
    explain.add_argument("--s3-version", default="", metavar="ID", help="this S3 version instead of the latest")
    exit_code(explain)


def _status(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    status = command(commands, "status", "status:status", common, "show the state of everything on one screen")
    status.add_argument(
        "--watch", nargs="?", type=seconds, const="2s", default=argparse.SUPPRESS, metavar="DURATION",
        help="show it again and again (every 2s)",
    )  # fmt: skip
    exit_code(status)


def _report(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    report = command(commands, "report", "report:report", common, "tell what came and went, beside the time before")
    report.add_argument(
        "--since", type=moment, default="24h", metavar="TIME", help="a duration (24h), or a time (2025-01-31)"
    )
    report.add_argument("--until", type=moment, metavar="TIME", help="a duration ago, or a time (now)")
    exit_code(report)


def _brake(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    named = family(commands, "brake", "the brake that holds a mass of flags")
    status = command(named, "status", "brake:status", common, "tell which brakes are on, and what they hold")
    status.add_argument(
        "--exit-code", action="store_true", default=argparse.SUPPRESS, help="exit with 4 if a brake is on"
    )
    release = command(named, "release", "brake:release", common, "release the brakes; what they held is looked at anew")
    release.add_argument("--kind", choices=["missing", "orphan", "purge"], help="only the brake of these")
    changes(release)


def _about(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    command(commands, "version", "about:version", common, "tell the version of this program and of what it stands on")
    completion = command(commands, "completion", "about:completion", common, "print a shell's completion script")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="the shell")
