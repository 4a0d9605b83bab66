"""The parser of `roles`."""

from __future__ import annotations

import argparse

from consumer.parsers.shared import Subparsers, command, family

NAMES = ("owner", "reader", "consumer", "purger", "deleter", "restorer")  # a test holds them to those of roles.py


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    named = family(commands, "roles", "the least that each command needs on each server")
    command(named, "list", "roles:listing", common, "list the roles, and what each may do")
    sql = command(named, "sql", "roles:sql", common, "print the SQL that makes the roles, to be run before init")
    policy = command(named, "policy", "roles:minio", common, "print a role's policy for MinIO")
    policy.add_argument("role", choices=NAMES, help="the role")
    policy.add_argument("--bucket", action="append", metavar="NAME", help="over this bucket (repeatable; the mapped)")
    acls = command(named, "acls", "roles:kafka", common, "print the lines for kafka-acls.sh")
    acls.add_argument("role", nargs="?", choices=NAMES, help="of this role alone")
    for names in (sql, acls):
        names.add_argument(
            "--user-prefix", default="reconciler_", metavar="TEXT", help="what the users are called before the role"
        )
