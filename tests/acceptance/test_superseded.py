"""A version that was uploaded again, shown beside the one that lost its object."""

import pytest

from tests.support import command
from tests.support.repairing import repairing


@pytest.fixture
def app(tmp_path, database, minio, bucket, connection, objects):
    """Give the application with our schema made."""
    return repairing(command.program(tmp_path, database, minio, bucket, {}), connection, objects, bucket)


def test_a_version_uploaded_again_is_shown_beside_the_one_that_lost_its_object(app):
    """The latest live one by its number; one that came before, or is flagged itself, does not count."""
    file = app.file()
    old, finding = app.flagged("old", file, 2)
    app.flagged("also gone", file, 9)
    for number in (1, 3, 4):
        app.version(f"v{number}", file, number)
    listed = app.program.json("findings", "list")
    assert {one["key"]: one["superseded_by"] for one in listed} == {"old": "version 4", "also gone": None}
    assert app.program.json("findings", "show", str(finding))["superseded_by"] == "version 4"
    rows = app.program.json("explain", old)["rows"]
    assert [row["superseded_by"] for row in rows] == ["version 4"]
    shown = app.program.run("findings", "list").stdout
    assert "version 4" in shown
    assert app.findings()["old"] == ("missing", "open", None)


def test_what_supersedes_is_told_where_it_can_be(app):
    """A mapping that fits no more is told, and hides no finding."""
    file = app.file()
    app.flagged("old", file, 1)
    app.version("new", file, 2)
    app.connection.execute("ALTER TABLE file_versions RENAME COLUMN version_number TO number")
    ended = app.program.run("findings", "list")
    assert ended.returncode == 0
    assert "is not told: mapping.version.number" in " ".join(ended.stdout.split())
    [one] = app.program.json("findings", "list")
    assert one["superseded_by"] is None
