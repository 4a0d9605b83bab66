"""What is done about a finding, on real tables of every shape: purge, versions beside it, checksums."""

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import psycopg
import pytest
from psycopg import sql

from reconcile import rows
from reconcile.config.settings import MappingSettings
from reconcile.model import RowState
from reconcile.rows import Sibling
from reconcile.tables import catalog, expressions
from tests.support.composed import COMPOSED, TEMPLATE_OF_PARENT
from tests.support.shapes import ENUM, S3_VERSIONS, SEED, SHAPES, Shape

SUM = sha256(b"content").digest()
START = datetime(2026, 7, 1, 12, tzinfo=UTC)
every_shape = pytest.mark.parametrize("shape", [*SHAPES, *COMPOSED], ids=lambda shape: shape.name)


class Application:
    """A shape's tables: `live` and `flagged` are versions of one file where there are files, `alone` has no other."""

    def __init__(self, connection: psycopg.Connection, shape: Shape) -> None:
        self.connection = connection
        self.shape = shape
        shape.create(connection)
        self.made = 0
        self.settings = shape.settings()
        states = shape.states if "flagged" in shape.states else ("live",)
        self.live, self.flagged, self.alone = (
            self.put(state) for state in ("live", *(["flagged"] * 2 if len(states) > 1 else ["live"] * 2))
        )
        self.mapping = catalog.compiled(connection, self.settings)
        self.has_files = self.settings.version.file_id is not None
        self.part(self.alone)
        self.join(self.flagged, self.live)

    def put(self, state: str) -> str:
        """Insert a version of a file of its own, each a minute after the other."""
        self.made += 1
        at = START - timedelta(minutes=self.made)
        row_id, _ = self.shape.put(self.connection, f"name {self.made}", self.made, state, at)
        if self.shape is TEMPLATE_OF_PARENT:  # whose versions of one file differ in their number
            self.connection.execute("UPDATE photo SET number = %s WHERE id = %s", [50 - self.made, row_id])
        return row_id

    def join(self, row_id: str, other: str) -> None:
        """Make a version one of another's file."""
        if self.has_files:
            self._write("{file} = (SELECT {file} FROM {table} WHERE {id}::text = %s)", other, row_id)

    def part(self, row_id: str) -> None:
        """Leave a version without others, where all rows were put into one file."""
        if self.shape is ENUM:
            self._write("{file} = 2 + %s", 0, row_id)

    def _write(self, setting: str, *given: object) -> None:
        of, version = self.mapping.tables, self.settings.version
        names: dict[str, sql.Composable] = {
            "table": expressions.table_name(of.version),
            "id": expressions.plain(version.id),
            "file": expressions.plain(version.file_id or ""),
        }
        names["setting"] = sql.SQL(setting).format(**names)
        self.connection.execute(sql.SQL("UPDATE {table} SET {setting} WHERE {id}::text = %s").format(**names), given)

    def state(self, row_id: str) -> RowState | None:
        """Return what a row says, None where it is gone."""
        found = rows.by_id(self.connection, self.mapping, [row_id])
        return RowState(found[0].state) if found else None

    def purge(self, *wanted: tuple[str, bool]) -> set[str]:
        """Purge rows."""
        return rows.purge(self.connection, self.mapping, wanted)


@pytest.fixture
def application(connection, shape) -> Application:
    """Set the shape up."""
    return Application(connection, shape)


@every_shape
def test_a_purge_deletes_flagged_rows_that_have_another_live_version(application):
    """Neither a live row, nor one that is its file's only version, unless it may be alone."""
    asked = [(one, False) for one in (application.live, application.flagged, application.alone, "no-id")]
    beside = rows.siblings(application.connection, application.mapping, [one for one, _ in asked[1:]])
    later = application.settings.version.created_at is not None
    expected = [Sibling(application.flagged, application.live, None, RowState.LIVE, later)]
    assert beside == (expected if application.has_files else [])
    if application.mapping.purge is None:
        assert application.purge(*asked) == set()
        return
    assert application.purge(*asked) == ({application.flagged} if application.has_files else set())
    assert application.purge((application.alone, True), (application.live, True)) == {application.alone}
    assert application.state(application.live) == RowState.LIVE
    assert application.state(application.alone) is None
    assert (application.state(application.flagged) is None) == application.has_files


@pytest.mark.parametrize("shape", [SEED, ENUM, S3_VERSIONS, TEMPLATE_OF_PARENT], ids=lambda shape: shape.name)
def test_a_version_that_is_flagged_or_gone_saves_nobody_and_a_purge_may_set_a_status(application):
    """Two flagged versions of one file are both kept, and one beside a pending one; a row that stays expects none."""
    gone = application.put("pending")
    application.part(gone)
    application.join(application.flagged, gone)
    application.join(application.alone, gone)
    assert application.purge((application.flagged, False), (application.alone, False)) == set()
    [beside] = rows.siblings(application.connection, application.mapping, [gone])[:1]
    assert (beside.state, beside.later) == (RowState.FLAGGED, True)
    status = application.settings.status
    settings = replace(application.settings, status=replace(status, purged=status.expects_absence[0]))
    application.mapping = catalog.compiled(application.connection, settings)
    assert application.purge((application.alone, True)) == {application.alone}
    assert application.state(application.alone) == RowState.EXPECTS_ABSENCE
    assert application.purge((application.alone, True)) == set()


def numbered(shape: Shape, **columns: str) -> MappingSettings:
    """Return a shape's mapping with more columns of its versions."""
    settings = shape.settings()
    return replace(settings, version=replace(settings.version, **columns))


@pytest.mark.parametrize(
    ("shape", "column"), [(SEED, "version_number"), (TEMPLATE_OF_PARENT, "number")], ids=["seed", "composed"]
)
def test_a_number_tells_what_came_later(connection, shape, column):
    """The mapped number goes before the time, and is told."""
    application = Application(connection, shape)
    if shape is TEMPLATE_OF_PARENT:
        connection.execute("UPDATE photo SET number = CASE id WHEN %s THEN 9 ELSE 3 END", [application.live])
        application.join(application.flagged, application.live)
        number = 9
    else:
        connection.execute("UPDATE file_versions SET version_number = 9 WHERE id = %s", [application.live])
        number = 9
    mapping = catalog.compiled(connection, numbered(shape, number=column))
    [beside] = rows.siblings(connection, mapping, [application.flagged])
    assert (beside.row_id, beside.number, beside.later) == (application.live, number, True)
    [before] = rows.siblings(connection, mapping, [application.live])
    assert before.later is False


@pytest.mark.parametrize(
    ("kind", "written", "told"),
    [
        ("text", f" {SUM.hex().upper()}", SUM.hex()),
        ("char(80)", SUM.hex(), SUM.hex()),
        ("text", b64encode(SUM).decode(), SUM.hex()),
        ("bytea", SUM, SUM.hex()),
        ("text", "AB12", None),
        ("text", "", None),
    ],
)
def test_checksums_are_told_in_hex_however_they_are_written(connection, kind, written, told):
    """Of the rows that have one that can be read, in a row itself as it is written; none where none is mapped."""
    connection.execute(f"ALTER TABLE file_versions ADD sha256 {kind}".encode())
    application = Application(connection, SEED)
    connection.execute("UPDATE file_versions SET sha256 = %s WHERE id = %s", [written, application.live])
    mapping = catalog.compiled(connection, numbered(SEED, sha256="sha256"))
    both = [application.live, application.flagged]
    assert rows.checksums(connection, mapping, both) == ({application.live: told} if told else {})
    found = {row.row_id: row.sha256 for row in rows.by_id(connection, mapping, both)}
    in_full = written.hex() if isinstance(written, bytes) else written.strip()
    assert found == {application.live: in_full or None, application.flagged: None}
    assert rows.checksums(connection, application.mapping, both) == {}
