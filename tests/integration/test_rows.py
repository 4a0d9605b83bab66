"""The mapping on real tables: every statement on every shape."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql

from reconcile import rows
from reconcile.model import Row, RowState
from reconcile.tables import catalog
from reconcile.tables.mapping import in_order_parameters
from tests.support.composed import COMPOSED
from tests.support.shapes import SHAPES, Shape

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
NAMES = (
    "plain",
    "with space + and %20, 100%",
    "Документ №1",
    "emoji 🗂️",
    "quote ' \" and back\\slash",
    "a/b//c/../d",
    " lead and trail ",
    "{brace} [set] *?",
    "line\nbreak\ttab",
    "x" * 900 + "ю" * 30,
)
STATES = {"live": RowState.LIVE, "flagged": RowState.FLAGGED}
every_shape = pytest.mark.parametrize("shape", [*SHAPES, *COMPOSED], ids=lambda shape: shape.name)


class World:
    """A shape's tables with a row of each state and name, and the mapping over them."""

    def __init__(self, connection: psycopg.Connection, shape: Shape) -> None:
        self.connection = connection
        self.shape = shape
        shape.create(connection)
        self.put: dict[str, tuple[str, str, datetime]] = {}
        for n, (state, name) in enumerate((state, name) for state in shape.states for name in NAMES):
            at = START + timedelta(minutes=n)
            row_id, key = shape.put(connection, f"{name} {n}", n, state, at)
            self.put[row_id] = (key, state, at)
        self.mapping = catalog.compiled(connection, shape.settings())

    def in_state(self, state: str) -> list[str]:
        """Return the ids of the rows put in a state."""
        return [row_id for row_id, (_, found, _) in self.put.items() if found == state]

    def lookup(self, *keys: str) -> dict[str, Row]:
        """Look keys up, by row id."""
        return {row.row_id: row for row in rows.lookup(self.connection, self.mapping, keys)}

    def by_id(self, *ids: str) -> dict[str, Row]:
        """Read rows by id."""
        return {row.row_id: row for row in rows.by_id(self.connection, self.mapping, ids)}


@pytest.fixture
def world(connection, shape) -> World:
    """Set the shape up."""
    return World(connection, shape)


@every_shape
def test_a_lookup_finds_every_row_of_the_keys_in_its_state(world):
    """Keys of any characters are found, and each row says what it says in its tables."""
    found = world.lookup(
        *(key for key, _, _ in world.put.values()), "no such key", "nul \0", "lone \ud800 surrogate", ""
    )
    assert {row_id: (row.key, row.state) for row_id, row in found.items()} == {
        row_id: (key, STATES.get(state, RowState.EXPECTS_ABSENCE)) for row_id, (key, state, _) in world.put.items()
    }
    assert {row.bucket for row in found.values()} == {world.shape.bucket}
    settings = world.shape.settings().version
    assert {row.size for row in found.values()} == {10 if settings.size else None}
    assert {(row.etag or "").strip() for row in found.values()} == {"abc" if settings.etag else ""}
    assert all((row.s3_version != "") == bool(settings.s3_version) for row in found.values())
    if settings.created_at:
        assert {row_id: row.created_at for row_id, row in found.items()} == {
            k: at for k, (_, _, at) in world.put.items()
        }


@every_shape
def test_a_row_is_found_by_its_id_as_by_its_key(world):
    """Both ways yield the same row, and what is no id of the type has none."""
    found = world.by_id(*world.put, "no-id", "", "9" * 30, "nul\0", "-1", "00000000-0000-0000-0000-00000000000g")
    assert found == world.lookup(*(key for key, _, _ in world.put.values()))


@every_shape
def test_a_flag_is_set_and_given_back_by_compare_and_set(world):
    """A status that changed meanwhile is neither flagged nor given back; the former status returns as it was."""
    connection, mapping = world.connection, world.mapping
    if mapping.flag is None:
        assert rows.flag(connection, mapping, [("thing 1", "")]) == set()
        return
    live = world.by_id(*world.in_state("live"))
    first, *rest = live
    pairs = [(row_id, row.status) for row_id, row in live.items()]
    assert rows.flag(connection, mapping, [(first, "another"), ("no-id", "x"), *pairs[1:]]) == set(rest)
    assert {row.state for row_id, row in world.by_id(*rest).items()} == {RowState.FLAGGED}
    assert rows.flag(connection, mapping, pairs[1:]) == set()
    assert rows.give_back(connection, mapping, pairs) == set(rest)
    assert world.by_id(*live) == live
    assert rows.give_back(connection, mapping, pairs) == set()


@every_shape
def test_a_locked_row_is_skipped_not_waited_for(world, database):
    """The lock takes what is free, and a lock of a foreign key's strength does not meet it."""
    ids = world.in_state("live")
    with world.connection.transaction(), psycopg.connect(database) as other:
        other.execute("SET lock_timeout = '1s'")
        assert rows.lock(world.connection, world.mapping, ids[:3])
        assert set(rows.lock(other, world.mapping, [*ids, "no-id"])) == set(ids[3:])
        table = world.mapping.tables.version
        other.execute(
            f'SELECT FROM "{table.schema}"."{table.name.replace(chr(34), chr(34) * 2)}" FOR KEY SHARE'.encode()
        )


@every_shape
def test_locks_are_taken_in_key_order(world):
    """The ids come back in the byte order of their keys."""
    with world.connection.transaction():
        locked = rows.lock(world.connection, world.mapping, list(world.put))
    assert locked == sorted(world.put, key=lambda row_id: world.put[row_id][0].encode())


@every_shape
def test_young_rows_come_by_age_and_none_twice(world):
    """Live rows within (lower, upper] are paged through in order, though many share one moment."""
    if world.mapping.young is None:
        assert rows.young(world.connection, world.mapping, START, START, 10) == []
        return
    shared = START + timedelta(days=1)
    for n in range(100, 107):
        world.shape.put(world.connection, f"young {n}", n, "live", shared)
    lower, after, seen = START, None, list[Row]()
    while page := rows.young(world.connection, world.mapping, lower, shared, 4, after):
        seen += page
        lower, after = page[-1].created_at, page[-1].row_id
    live = [world.put[row_id][2] for row_id in world.in_state("live")]
    assert [row.created_at for row in seen] == [*live[1:], *[shared] * 7]
    assert len({row.row_id for row in seen}) == len(seen)


@every_shape
def test_live_rows_are_counted_for_each_bucket(world):
    """Only live rows count."""
    assert rows.live_counts(world.connection, world.mapping) == {"files": len(world.in_state("live"))}


@every_shape
def test_rows_are_read_in_byte_order_within_bounds(world):
    """The sweep's side of the database ascends bytewise, from the lower bound on, up to and without the upper."""
    with world.connection.cursor(binary=True) as cursor:
        cursor.execute(world.mapping.in_order, in_order_parameters("files"))
        keys = [fields[3] for fields in cursor]
        assert keys == sorted((key for key, _, _ in world.put.values()), key=str.encode)
        cursor.execute(world.mapping.in_order, in_order_parameters("files", keys[3], keys[7]))
        assert [fields[3] for fields in cursor] == keys[3:7]
        assert not cursor.execute(world.mapping.in_order, in_order_parameters("other")).fetchall()


@every_shape
def test_the_check_finds_no_fault(world):
    """Every shape can be served as it is, by its indexes, and flagged."""
    flagging = world.mapping.flag is not None
    assert catalog.check(world.connection, world.shape.settings(), flagging=flagging) == []


@every_shape
def test_every_statement_can_be_prepared(world):
    """The server parses each statement with its parameters' types."""
    mapping = world.mapping
    young = {"row_lower": START, "row_upper": START, "row_limit": 1, "row_after": None}
    pairs = {"row_ids": [], "row_statuses": []}
    statements = [
        (mapping.lookup, mapping.parameters(["x"])),
        (mapping.by_id, mapping.sample),
        (mapping.lock, mapping.sample),
        (mapping.in_order, in_order_parameters("x")),
        (mapping.live_counts, {}),
        (mapping.flag, pairs),
        (mapping.give_back, pairs),
        (mapping.young, young),
    ]
    for statement, parameters in statements:
        if statement is not None:
            world.connection.execute(statement, parameters, prepare=True)


@every_shape
def test_a_lookup_is_an_arm_of_a_union(world):
    """Somebody else's columns go below a lookup's, though the tables' collations differ."""
    union = sql.SQL("SELECT * FROM ({}) AS r UNION ALL SELECT {} ").format(
        world.mapping.lookup, sql.SQL("'a','b','c','d','e',1::int8,'g','h','i' COLLATE \"C\",'j','k',now(),'m'")
    )
    keys = [key for key, _, _ in world.put.values()]
    found = world.connection.execute(union, world.mapping.parameters(keys), binary=True).fetchall()
    assert Counter(fields[3] for fields in found) == Counter([*keys, "d"])
