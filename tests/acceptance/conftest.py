"""What the acceptance tests of sweeps share: the command over a bucket, a large one, a broken listing, a reader."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import pytest
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin
from psycopg import sql

from reconcile.database import migrate
from tests.support import command, sweeping
from tests.support.breaking import Lists, Rows
from tests.support.orphans import Office


@pytest.fixture(scope="session")
def large(minio) -> str:
    """Make one bucket of many objects for all tests that change nothing."""
    return sweeping.large_bucket(minio)


@pytest.fixture
def many(tmp_path, database, connection, minio, large) -> command.Program:
    """Give the command over the large bucket and its rows, with the drifts among them."""
    sweeping.large_rows(connection)
    migrate(connection)
    return command.program(tmp_path, database, minio, large, {})


@pytest.fixture
def program(tmp_path, database, minio, bucket) -> command.Program:
    """Give the command over an empty bucket, without a schema."""
    return command.program(tmp_path, database, minio, bucket, {})


@pytest.fixture
def installed(program, connection) -> command.Program:
    """Give the command over an empty bucket with its schema made."""
    migrate(connection)
    return program


@pytest.fixture
def office(installed, connection, objects, bucket) -> Office:
    """Give the commands over an empty bucket without a grace: nobody waits."""
    installed.environ["RECONCILER_POLICY__ORPHAN_GRACE"] = "0s"
    return Office(installed, connection, objects, bucket)


@pytest.fixture
def lists(minio) -> Iterator[Lists]:
    """Stand before MinIO, to break its listing."""
    with Lists(minio) as proxy:
        yield proxy


@pytest.fixture
def rows(database) -> Iterator[Rows]:
    """Stand before PostgreSQL, to break a copy of the rows in its midst."""
    with Rows(database) as proxy:
        yield proxy


@pytest.fixture
def reader(program, connection, minio, bucket) -> Iterator[command.Program]:
    """Give the command as a role with SELECT on two tables and a MinIO user who may list and read one bucket."""
    name, word = f"reader_{secrets.token_hex(4)}", secrets.token_hex(8)
    role = sql.Identifier(name)
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(word)))
    connection.execute(sql.SQL("GRANT SELECT ON storage_files, file_versions TO {}").format(role))
    admin = MinioAdmin(
        endpoint=minio.endpoint, credentials=StaticProvider(minio.user, minio.password), secure=minio.secure
    )
    admin.user_add(name, word)
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    may = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": resources}
    admin.policy_add(name, policy={"Version": "2012-10-17", "Statement": [may]})
    admin.attach_policy([name], user=name)
    url = urlsplit(program.environ["RECONCILER_DATABASE__URL"])
    there = url.netloc.rpartition("@")[2]
    changed = {
        "RECONCILER_DATABASE__URL": urlunsplit(url._replace(netloc=f"{name}:{word}@{there}")),
        "RECONCILER_MINIO__ACCESS_KEY": name,
        "RECONCILER_MINIO__SECRET_KEY": word,
    }
    yield replace(program, environ=program.environ | changed)
    admin.user_remove(name)
    admin.policy_remove(name)
    connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
    connection.execute(sql.SQL("DROP ROLE {}").format(role))
