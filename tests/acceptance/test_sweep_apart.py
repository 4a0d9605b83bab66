"""`sweep --fix` and what is not its own: findings elsewhere that are only observed."""

from __future__ import annotations

from tests.acceptance.test_commands import add_row
from tests.support.sweeping import put
from tests.support.sweeps import AT_ONCE, WORDS

FOUND = """
INSERT INTO reconciler.finding (bucket, key, row_id, kind, cause, state, suspected_at)
VALUES (%s, 'b/old', %s, 'missing', 'NoSuchKey', 'open', now() - interval '1 hour')
"""
LOOK = "INSERT INTO reconciler.look (bucket, key, s3_version, due_at, reason) VALUES (%s, 'b/old', '', now(), 'open')"
FLAGGED = "SELECT object_key FROM file_versions WHERE status = 'corrupted'"


def test_fix_flags_nothing_outside_its_prefix(connection, installed, objects, bucket):
    """A look that is due elsewhere stays for whoever may do it, and its row as it is."""
    for number in range(10):
        put(objects, bucket, f"c/{number}")
        add_row(connection, f"c/{number}")
    add_row(connection, "a/new")
    connection.execute(FOUND, [bucket, add_row(connection, "b/old")])
    connection.execute(LOOK, [bucket])
    installed.run(*WORDS, "--fix", "--prefix", "a/", **AT_ONCE)
    assert connection.execute(FLAGGED).fetchall() == [("a/new",)]
