"""Rows read by pages from an index in byte order, on a real PostgreSQL."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from reconcile.database import Database
from reconcile.sweeps.compare import Facts, Lines, key_of
from reconcile.sweeps.rowpages import Pages
from reconcile.tables.catalog import compiled
from reconcile.tables.mapping import Mapping
from tests.support.shapes import S3_VERSIONS as SHAPE

KEYS = ["a", "a", "a", "a", "a", "a\tb", "a/b", "a\\b", "b", "b", "c\n", "é", "e\u0301", "\uffff", "\U00010000", "~"]
FACTS = Facts(s3_version=True, size=True, etag=False)


@pytest.fixture
def mapping(connection) -> Mapping:
    """Make tables with several rows a key and an index in byte order, and rows of another bucket among them."""
    SHAPE.create(connection)
    connection.execute('CREATE INDEX ON file_object (key COLLATE "C")')
    for number, key in enumerate(KEYS):
        [at] = connection.execute("SELECT now()").fetchone()
        SHAPE.put(connection, key, number, "live", at)
        SHAPE.put(connection, key, 100 + number, "deleted", at)
    connection.execute(
        "WITH f AS (INSERT INTO file VALUES (gen_random_uuid(), 'other') RETURNING id)"
        " INSERT INTO file_object (id, file_id, key) SELECT gen_random_uuid(), id, 'a' FROM f"
    )
    return compiled(connection, SHAPE.settings())


def read(
    database: str, mapping: Mapping, size: int, *, prefix: str = "", bounds: tuple[str, str | None]
) -> list[Lines]:
    return list(Pages(Database(database), mapping, SHAPE.bucket, prefix, FACTS, size).blocks(*bounds))


def in_bytes(keys: list[str]) -> list[bytes]:
    return sorted(key.encode() for key in keys)


def test_whatever_the_page_every_row_comes_once_and_in_byte_order(database, mapping):
    """Also where one key has more rows than a page; a key is never cut in two, and what expects absence is left out."""
    for size in (1, 2, 3, 5, 6, 16, 17, 1000):
        blocks = read(database, mapping, size, bounds=("", None))
        keys = [[key_of(line) for line in block] for block in blocks]
        assert [key for block in keys for key in block] == in_bytes(KEYS)
        assert all(one[-1] < other[0] for one, other in pairwise(keys))
        lines = [line for block in blocks for line in block]
        assert len(set(lines)) == len(lines) == len(KEYS)


def test_a_range_has_what_is_above_one_key_and_up_to_another(database, mapping):
    """Its lower end is not in it and its upper end is, whatever the keys."""
    ends = list(dict.fromkeys(KEYS))
    for lower, upper in product(["", *ends], [*ends, None]):
        wanted = [key for key in KEYS if key > lower and (upper is None or key <= upper)]
        blocks = read(database, mapping, 3, bounds=(lower, upper))
        assert [key_of(line) for block in blocks for line in block] == in_bytes(wanted)


def test_a_prefix_is_kept_within_a_range(database, mapping):
    """Keys that do not begin so are left out, wherever the range begins."""
    blocks = read(database, mapping, 2, prefix="a", bounds=("a", "b"))
    assert [key_of(line) for block in blocks for line in block] == [b"a\tb", b"a/b", b"a\\b"]


def test_a_connection_that_breaks_between_two_pages_is_opened_anew(database, connection, mapping):
    """Nothing is read twice or left out."""
    pages = Pages(Database(database, name="reading"), mapping, SHAPE.bucket, "", FACTS, 6).blocks("", None)
    first = next(pages)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reading'"
    assert connection.execute(cut).fetchall() == [(True,)]
    rest = [line for block in pages for line in block]
    assert [key_of(line) for line in [*first, *rest]] == in_bytes(KEYS)


def test_what_is_deleted_meanwhile_disturbs_no_page(database, connection, mapping):
    """A page goes on behind the last key, whether that is still there or not."""
    pages = Pages(Database(database), mapping, SHAPE.bucket, "", FACTS, 6).blocks("", None)
    first = next(pages)
    connection.execute("DELETE FROM file_object WHERE key = %s", [key_of(first[-1]).decode()])
    rest = [line for block in pages for line in block]
    assert [key_of(line) for line in [*first, *rest]] == in_bytes(KEYS)
