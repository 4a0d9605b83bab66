"""`sweep --resume`: what a refused one leaves as it was, and what a later one looks at again."""

from __future__ import annotations

import pytest

from tests.acceptance.test_commands import add_row
from tests.support import sweeping
from tests.support.sweeping import put
from tests.support.sweeps import AT_ONCE, WORDS, found, number_of, swept

WHY = ("--believe", "--why", "the volume was moved")
BEGUN = "INSERT INTO reconciler.sweep (bucket, mode, state, actor, facts) VALUES (%s, %s, 'running', 'x', %s)"
COMPARED = '{"s3_version": false, "size": true, "etag": false}'
ALL = "SELECT to_jsonb(s) FROM reconciler.sweep AS s"
RULE = """
INSERT INTO reconciler.restraint (effect, bucket, pattern, until, actor) VALUES ('ignore', %s, '*', now(), 'ann')
RETURNING id
"""


@pytest.mark.parametrize("words", [("--fix", *WHY), ("--listing", "pyproject.toml", *WHY), ("--prefix", "a/", *WHY)])
def test_a_refused_resumption_writes_nothing(connection, installed, bucket, words):
    """Neither in whose words it would be believed, nor the end of a rule: status 2, and all is as it was."""
    connection.execute(BEGUN, [bucket, "report", COMPARED])
    connection.execute(RULE, [bucket])
    before = connection.execute(ALL).fetchall()
    ended = installed.run(*WORDS, "--resume", *words, **AT_ONCE)
    assert ended.returncode == 2, ended.stderr
    assert connection.execute(ALL).fetchall() == before
    assert connection.execute("SELECT lifted_at FROM reconciler.restraint").fetchall() == [(None,)]


def test_what_healed_while_a_sweep_stood_still_is_no_drift(connection, installed, objects, bucket):
    """Killed when all was seen twice, resumed after one came back: everything is looked at again."""
    for number in range(30):
        put(objects, bucket, f"fine/{number:02}")
        add_row(connection, f"fine/{number:02}")
    for key in ("gone", "late"):
        add_row(connection, key)
    sweeping.killed_at(installed, "finishing", 1, *WORDS, **AT_ONCE)
    killed = number_of(connection)
    sweeping.expire(connection)
    put(objects, bucket, "late")
    report = swept(installed, "--resume")
    assert report["id"] == killed
    assert found(report) == {("missing", "gone")}
    assert report["totals"]["missing"] == 1
