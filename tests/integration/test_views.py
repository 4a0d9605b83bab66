"""The documented views, with the numbers that they must give, on a real database."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from reconcile.database import migrate
from tests.support.past import Past, Step, write

DOC = (Path(__file__).parents[2] / "docs/views.md").read_text("utf-8")
EXAMPLES = re.findall(r"(?:^    .*\n)+", DOC, re.MULTILINE)
VIEWS = ("changes", "changes_by_day", "corrupted", "corrupted_by_group", "findings", "orphans", "sweeps")
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def lost(key: str, group: str, at: datetime, *later: Step) -> Past:
    """Return a missing version that was flagged a minute after it was suspected."""
    steps = [Step(at, "suspected", "suspected"), Step(at + MINUTE, "flagged", "open"), *later]
    return Past(key, "missing", group, steps, row_id=key)


OPENED = [Step(NOON, "suspected", "suspected"), Step(NOON + MINUTE, "opened", "open")]
ERASED = [("approved", "approved"), ("deletion begun", "approved"), ("deleted", "deleted")]
STORY = [
    lost("a", "users", NOON - DAY),
    lost("b", "users", NOON - DAY),
    lost("c", "users", NOON - DAY, Step(NOON, "given back", "resolved")),
    lost("d", "avatars", NOON),
    lost("e", "avatars", NOON, Step(NOON + 3 * MINUTE, "purged", "resolved", "ann", "not needed")),
    Past("f", "missing", "users", [Step(NOON, "suspected", "suspected"), Step(NOON + MINUTE, "resolved", "resolved")]),
    Past("g", "missing", None, OPENED, row_id="g"),
    Past("h", "orphan", None, OPENED),
    Past("i", "leftover", None, [*OPENED, *(Step(NOON + DAY, act, state, "ann") for act, state in ERASED)]),
    Past("k", "mismatch", None, [Step(NOON + DAY, "suspected", "suspected")], row_id="k"),
    Past("j", "orphan", None, [Step(NOON, "suspected", "suspected"), Step(NOON, "ignored", "ignored", "ann", "ours")]),
]
BY_DAY = [  # day, kind, group, suspected, opened, flagged, given back, resolved, purged, deleted, net
    (date(2025, 5, 31), "missing", "users", 3, 3, 3, 0, 0, 0, 0, 3),
    (date(2025, 6, 1), "leftover", "", 1, 1, 0, 0, 0, 0, 0, 1),
    (date(2025, 6, 1), "missing", "", 1, 1, 0, 0, 0, 0, 0, 1),
    (date(2025, 6, 1), "missing", "avatars", 2, 2, 2, 0, 0, 1, 0, 1),
    (date(2025, 6, 1), "missing", "users", 1, 0, 0, 1, 1, 0, 0, -1),
    (date(2025, 6, 1), "orphan", "", 2, 1, 0, 0, 0, 0, 0, 1),
    (date(2025, 6, 2), "leftover", "", 0, 0, 0, 0, 0, 0, 1, -1),
    (date(2025, 6, 2), "mismatch", "", 1, 0, 0, 0, 0, 0, 0, 0),
]


@pytest.fixture
def told(connection) -> psycopg.Connection:
    """Give a database with the story, in our schema and in the application's tables."""
    migrate(connection)
    write(connection, STORY)
    files = connection.execute(
        "INSERT INTO storage_files (bucket_type) VALUES ('users'), ('avatars') RETURNING bucket_type, id"
    ).fetchall()
    for past in STORY:
        flagged = past.key in {"a", "b", "d"}
        if past.group:
            connection.execute(
                "INSERT INTO file_versions (file_id, version_number, object_key, status) VALUES (%s, %s, %s, %s)",
                [dict(files)[past.group], ord(past.key), past.key, "corrupted" if flagged else "active"],
            )
    return connection


def example(words: str) -> str:
    """Return the one example of the document that contains these words."""
    [found] = [each for each in EXAMPLES if words in each]
    return found


def test_corrupted_versions_are_those_of_the_applications_own_tables(told):
    """The two questions that an application's people ask, as its own SQL and as views: the same numbers."""
    assert told.execute(example("FROM file_versions WHERE").strip()).fetchall() == [(3,)]
    assert told.execute(example("count(*) FROM reconciler.corrupted;").strip()).fetchall() == [(3,)]
    by_group = told.execute(example("group_name, corrupted_count FROM").strip()).fetchall()
    assert by_group == [("avatars", 1), ("users", 2)]
    assert sorted(told.execute(example("sf.bucket_type, count(*)").strip()).fetchall()) == by_group


def test_a_corrupted_version_tells_since_when(told):
    """Each with its group, its key, and when it was flagged."""
    found = told.execute(example("FROM reconciler.corrupted ORDER BY").strip()).fetchall()
    assert [(group, key) for group, key, *_ in found] == [("users", "a"), ("users", "b"), ("avatars", "d")]
    assert [at for _, _, at, _ in found] == [NOON - DAY + MINUTE, NOON - DAY + MINUTE, NOON + MINUTE]


def test_each_day_has_its_changes(told):
    """By kind and group; what was suspected only for a moment opened nothing, and a purge is told apart."""
    assert told.execute("SELECT * FROM reconciler.changes_by_day ORDER BY 1, 2, 3").fetchall() == BY_DAY


def test_what_came_and_went_adds_up_to_what_is_open(told):
    """The net of all days is what is open now."""
    [(net, opened)] = told.execute(
        "SELECT (SELECT sum(net) FROM reconciler.changes_by_day),"
        " (SELECT count(*) FROM reconciler.findings WHERE state = 'open')"
    ).fetchall()
    assert net == opened == 5


def test_orphans_are_those_that_are_not_closed(told):
    """Also those that are set aside; the example asks for the open ones."""
    assert told.execute("SELECT key, state FROM reconciler.orphans ORDER BY key").fetchall() == [
        ("h", "open"), ("j", "ignored"),
    ]  # fmt: skip
    assert [key for _, key, *_ in told.execute(example("reconciler.orphans WHERE").strip()).fetchall()] == ["h"]


@pytest.mark.parametrize("text", [each for each in EXAMPLES if each.lstrip().startswith(("SELECT", "GRANT"))])
def test_every_example_can_be_asked(told, text):
    """The examples of the document are statements that the server takes."""
    told.execute("CREATE ROLE grafana")
    try:
        told.execute(text)
    finally:
        told.execute("DROP OWNED BY grafana")
        told.execute("DROP ROLE grafana")


def test_the_document_names_every_view_and_column(told):
    """None is missing, none is invented; each view says in the database what a line of it is, too."""
    found = told.execute(
        "SELECT c.relname, obj_description(c.oid), array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class AS c"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid WHERE c.relkind = 'v' AND a.attnum > 0"
        " AND c.relnamespace = 'reconciler'::regnamespace GROUP BY 1, 2 ORDER BY 1"
    ).fetchall()
    assert tuple(name for name, _, _ in found) == VIEWS
    for name, comment, columns in found:
        assert comment
        [paragraph] = re.findall(rf"^\*\*{name}\*\*: (.*?)\n(?:\n|\Z)", DOC, re.MULTILINE | re.DOTALL)
        listed = re.sub(r"\([^)]*\)", "", paragraph)
        assert re.findall(r"`(\w+)`", listed) == columns, name
