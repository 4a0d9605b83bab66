"""`sweep` over the tables of many applications, and over keys that are odd in every way that MinIO holds."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from psycopg import sql

from reconcile.database import migrate
from tests.acceptance.test_commands import add_row
from tests.support import command
from tests.support.composed import COMPOSED
from tests.support.shapes import SHAPES, Shape
from tests.support.sweeping import SIZE, put
from tests.support.sweeps import found, swept

OLD = datetime(2025, 9, 7, tzinfo=UTC)
ETAG = hashlib.md5(b"x" * SIZE, usedforsecurity=False).hexdigest()
ODD = [
    "line\nbreak",
    "tab\tbed",
    "back\\slash\\n",
    "per%cent%2Fsign%",
    "plus+sign",
    " spaces  inside ",
    'quo\'te "double"',
    "&amp;<tag>;",
    "star*?[x]",
    "e\u0301 decomposed",
    "\u00e9 composed",
    "emoji \U0001f9ff/\U0001f9ff",
    "bmp \uffff",
    "astral \U00010000",
    "bmp \uffff-/a",
    "кириллица/ключ",
    "right \u202eto left",
    "ctrl \x01\x1f\x7f",
    "/".join(["k" * 250] * 4) + "/" + "é" * 7,
    "trailing/dots.../x",
]


def of(shape: Shape, bucket: str) -> Shape:
    """Return the shape over a real bucket, its rows with the ETag of what is uploaded, and no S3 version."""
    there = re.compile(r"\bfiles\b")
    insert = shape.insert.replace("abc", ETAG).replace("'v' || %(n)s", "NULL")
    return replace(shape, mapping=there.sub(bucket, shape.mapping), insert=there.sub(bucket, insert), bucket=bucket)


@pytest.fixture
def configured(program, database, connection, minio, bucket) -> Callable[[Shape], command.Program]:
    """Return what makes a shape's tables, and configures the command for them."""

    def configure(shape: Shape) -> command.Program:
        shape.create(connection)
        named = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET search_path = app, public").format(named))
        migrate(connection)
        sections = re.sub(r"^\s*\[", "[mapping.", shape.mapping, flags=re.MULTILINE)
        server = f'[minio]\nendpoint = "{minio.url}"\naccess_key = "{minio.user}"\n'
        program.file.write_text(f"{server}[mapping]\n{sections}", "utf-8")
        return program

    return configure


@pytest.mark.parametrize("shape", [*SHAPES, *COMPOSED], ids=lambda shape: shape.name)
def test_the_tables_of_every_application_are_swept(configured, connection, objects, bucket, shape):
    """What agrees, is missing, should be gone, carries somebody's flag, or has no row is told apart; --fix flags."""
    shape = of(shape, bucket)
    program = configured(shape)
    keys: dict[str, str] = {}
    for number in range(22):
        _, key = shape.put(connection, f"fine{number}", number, "live", OLD)
        put(objects, bucket, key)
    for number, state in enumerate(("live", *shape.states), 50):
        _, keys[f"{state} {number}"] = shape.put(connection, f"odd{number}", number, state, OLD)
    gone, *rest = keys.items()
    assert rest[0][0].startswith("live")
    for name, key in rest:
        if not name.startswith("flagged"):
            put(objects, bucket, key)
    put(objects, bucket, "stray")
    wanted = {("missing", gone[1]), ("orphan", "stray")}
    wanted |= {("leftover", key) for name, key in rest if name.startswith(("deleted", "pending"))}
    report = swept(program)
    assert found(report) == wanted
    assert report["totals"].get("flagged_by_others") == ("flagged" in shape.states or None)
    assert report["totals"]["agreed"] == 23
    flagged = swept(program, "--fix")
    assert found(flagged) == wanted
    asked = "SELECT key FROM reconciler.finding WHERE kind = 'missing' AND state = 'open'"
    assert connection.execute(asked).fetchall() == [(gone[1],)]


@pytest.mark.parametrize("indexed", [False, True])
def test_odd_keys_are_told_apart_and_flagged(installed, connection, objects, bucket, indexed):
    """Each key that agrees agrees, each that is gone is missing, and each that no row names is an orphan."""
    if indexed:
        connection.execute('CREATE INDEX ON file_versions (object_key COLLATE "C")')
    for key in ODD:
        for kind in ("fine", "stray"):
            put(objects, bucket, fit(kind, key))
        for kind in ("fine", "gone"):
            add_row(connection, fit(kind, key))
    for number in range(60):
        put(objects, bucket, f"more/{number}")
        add_row(connection, f"more/{number}")
    wanted = {("orphan", fit("stray", key)) for key in ODD} | {("missing", fit("gone", key)) for key in ODD}
    report = swept(installed, "--fix")
    assert found(report) == wanted
    assert report["totals"]["agreed"] == len(ODD) + 60
    flagged = connection.execute("SELECT object_key FROM file_versions WHERE status = 'corrupted'").fetchall()
    assert {key for (key,) in flagged} == {fit("gone", key) for key in ODD}
    second = swept(installed)
    assert found(second) == wanted
    assert {one["known"] for one in second["drifts"]} == {True}


def fit(kind: str, key: str) -> str:
    """Return a key of its own, within the 1024 bytes that MinIO takes."""
    made = f"{kind}/{key}"
    assert len(made.encode()) <= 1024
    return made


@pytest.mark.parametrize("kept", [True, False])
def test_keys_that_minio_cannot_hold_are_a_class_of_their_own(program, connection, objects, bucket, kept):
    """Another form of a key that is there is named as the likely counterpart, and is neither missing nor an orphan."""
    if kept:
        migrate(connection)
    forms = {
        "/leading": "leading",
        "double//slash": "double/slash",
        "en%20coded": "en coded",
        unicodedata.normalize("NFC", "na\u00efve"): unicodedata.normalize("NFD", "na\u00efve"),
    }
    for number in range(40):
        put(objects, bucket, f"fine/{number}")
        add_row(connection, f"fine/{number}")
    for row, there in forms.items():
        add_row(connection, row)
        put(objects, bucket, there)
    alone = {"no//where", "a/../b", "a\\..\\b", "k" * 1025, "é" * 128}
    for row in alone:
        add_row(connection, row)
    report = swept(program)
    pairs = {(one["key"], one["counterpart"]) for one in report["drifts"] if one["kind"] == "lookalike"}
    both = {pair for row, there in forms.items() for pair in ((row, there), (there, row))}
    assert pairs == both | {(row, "") for row in alone}
    assert {one["kind"] for one in report["drifts"]} == {"lookalike"}
