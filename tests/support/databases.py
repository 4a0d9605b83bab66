"""Databases of a run: one template with everything in it, and a copy of it for each test."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from deploy.local.postgres import Postgres

SEED = Path(__file__).parents[2] / "deploy" / "local" / "seed.sql"


def fill(connection: psycopg.Connection) -> None:
    """Put into the template what every test's database holds; extended as the project grows."""
    connection.execute(SEED.read_bytes())


@contextmanager
def new_database(server: Postgres, template: str = "template1") -> Iterator[str]:
    """Create a database as a copy of another, give its URL, drop it."""
    name = f"test_{secrets.token_hex(6)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(create)
    try:
        yield server.database_url(name)
    finally:
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(drop)
