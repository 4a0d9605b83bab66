"""The users that `roles` describes, made on real servers by what it prints, and the command as each of them."""

from __future__ import annotations

import json
import secrets
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin
from psycopg import sql

from consumer.roles import FIGURES, ROLES, policy
from deploy.local.minio import Minio
from reconcile.config.settings import load
from reconcile.tables.grants import grants, role
from tests.support.command import Program


@dataclass(frozen=True)
class Staff:
    """One application's users, each with its part on PostgreSQL and MinIO, and no more."""

    program: Program
    prefix: str
    word: str

    def role(self, name: str) -> Program:
        """Return the command as a role on both servers."""
        return replace(self.program, environ=self.program.environ | self.rows(name) | self.objects(name))

    def rows(self, name: str) -> dict[str, str]:
        """Return what makes a command a role on PostgreSQL."""
        url = urlsplit(self.program.environ["RECONCILER_DATABASE__URL"])
        there = url.netloc.rpartition("@")[2]
        named = url._replace(netloc=f"{self.prefix}{name}:{quote(self.word, safe='')}@{there}")
        return {"RECONCILER_DATABASE__URL": urlunsplit(named)}

    def objects(self, name: str) -> dict[str, str]:
        """Return what makes a command a role on MinIO."""
        return {"RECONCILER_MINIO__ACCESS_KEY": f"{self.prefix}{name}", "RECONCILER_MINIO__SECRET_KEY": self.word}


def administrator(minio: Minio) -> MinioAdmin:
    """Return what makes users and policies, as root."""
    provider = StaticProvider(minio.user, minio.password)
    return MinioAdmin(endpoint=minio.endpoint, credentials=provider, secure=minio.secure)


@contextmanager
def staff(program: Program, connection: psycopg.Connection[Any], minio: Minio) -> Iterator[Staff]:
    """Make every role's user by what the command prints, and one that may do nothing; take them away afterwards."""
    made = Staff(program, f"s{secrets.token_hex(4)}_", secrets.token_hex(12))
    admin = administrator(minio)
    users = [f"{made.prefix}{name}" for name in (*ROLES, "nobody")]
    connection.execute(program.run("roles", "sql", "--user-prefix", made.prefix).stdout.encode())
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(users[-1])))
    for user in users:
        login = sql.SQL("ALTER ROLE {} PASSWORD {}")
        connection.execute(login.format(sql.Identifier(user), sql.Literal(made.word)))
        admin.user_add(user, made.word)
    for name in ROLES:
        printed = json.loads(program.run("roles", "policy", name).stdout)
        admin.policy_add(f"{made.prefix}{name}", policy=printed)
        admin.attach_policy([f"{made.prefix}{name}"], user=f"{made.prefix}{name}")
    try:
        yield made
    finally:
        for user in users:
            admin.user_remove(user)
            for statement in ("DROP OWNED BY {} CASCADE", "DROP ROLE {}"):
                connection.execute(sql.SQL(statement).format(sql.Identifier(user)))
        for name in ROLES:
            admin.policy_remove(f"{made.prefix}{name}")


@cache
def employed(minio: Minio) -> tuple[str, str, list[str]]:
    """Make a MinIO's one user for all tests, since passwords take a second; return name, password and its buckets."""
    user, word, admin = f"s{secrets.token_hex(4)}_consumer", secrets.token_hex(12), administrator(minio)
    admin.user_add(user, word)
    figures = {"Effect": "Allow", "Action": list(FIGURES)}  # there must be something; each test puts in its own
    admin.policy_add(user, policy={"Version": "2012-10-17", "Statement": [figures]})
    admin.attach_policy([user], user=user)
    return user, word, []


@contextmanager
def hired(program: Program, connect: Callable[[], psycopg.Connection[Any]], minio: Minio) -> Iterator[dict[str, str]]:
    """Lend what makes a command a user of the consumer's role alone, whose part of MinIO is the buckets so far."""
    one, (user, word, buckets) = ROLES["consumer"], employed(minio)
    buckets.append(program.bucket)
    settings = load(tomllib.loads(program.file.read_text("utf-8")), program.environment({}), Path.read_text)
    canary = replace(settings.canary, interval=timedelta(minutes=1))  # a test may let them fly later
    administrator(minio).policy_add(user, policy=policy(replace(settings, canary=canary), buckets, one))
    made = Staff(program, f"s{secrets.token_hex(4)}_", word)
    name = one.user(made.prefix)
    login = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(word)).as_string()
    connect().execute(f"{role(name)} {login}; {grants(settings.mapping, name, one.database)}".encode())
    keys = {"RECONCILER_MINIO__ACCESS_KEY": user, "RECONCILER_MINIO__SECRET_KEY": word}
    try:
        yield made.rows(one.name) | keys
    finally:
        buckets.remove(program.bucket)
        connect().execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}".encode())
