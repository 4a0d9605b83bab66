"""`sweep` where much is gone at once of which there are findings."""

from __future__ import annotations

from reconcile.sweeps import sweep
from reconcile.sweeps.looker import Looker
from tests.acceptance.test_commands import add_row
from tests.support.proxy import Slow
from tests.support.sweeping import put
from tests.support.sweeps import AT_ONCE, WORDS, found, report_of, swept

OPEN_MEANWHILE = """
SELECT query FROM pg_stat_activity WHERE application_name LIKE 'storage-reconciler%' AND datname = current_database()
   AND state = 'idle in transaction' AND state_change < clock_timestamp() - interval '250 ms'
"""
FLAGGED = "SELECT object_key FROM file_versions WHERE status = 'corrupted'"
STATES = "SELECT state, count(*) FROM reconciler.finding GROUP BY state"
MANY = 35


def test_a_prefix_that_is_gone_is_looked_at_by_pages(connection, installed, objects, bucket, monkeypatch):
    """Its findings lie between two keys of one block: no more are looked at at once than a page holds."""
    for number in range(MANY + 5):  # else a guard would not believe that so much is gone
        put(objects, bucket, f"z/{number:02}")
        add_row(connection, f"z/{number:02}")
    for number in range(MANY):
        put(objects, bucket, f"legacy/{number:02}")
    assert len(found(swept(installed, "--baseline"))) == MANY
    assert connection.execute(STATES).fetchall() == [("ignored", MANY)]
    for number in range(MANY):
        objects.remove_object(bucket_name=bucket, object_name=f"legacy/{number:02}")
    looked, look = [], Looker.look
    monkeypatch.setattr(sweep, "PAGE", 10)
    monkeypatch.setattr(Looker, "look", lambda self, hints: looked.append(len(hints)) or look(self, hints))
    report = swept(installed)
    assert looked[:4] == [10, 10, 10, 5]
    assert (found(report), report["totals"]["healed"]) == (set(), MANY)
    swept(installed, "--fix")
    assert connection.execute(STATES).fetchall() == [("resolved", MANY)]


def test_no_transaction_is_open_while_an_object_is_asked_for(connection, installed, objects, bucket, lists):
    """Each HEAD takes half a second, at each look and before the flag: nobody's locks wait for it."""
    for number in range(30):
        put(objects, bucket, f"fine/{number:02}")
        add_row(connection, f"fine/{number:02}")
    add_row(connection, "gone")
    lists.what = b"HEAD /"
    lists.set(Slow(0.5))
    seen = []
    with installed.running(*WORDS, "--fix", **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url) as process:
        while process.poll() is None:
            seen += connection.execute(OPEN_MEANWHILE).fetchall()
        assert found(report_of(process)) == {("missing", "gone")}
    assert seen == []
    assert lists.asked > 3
    assert connection.execute("SELECT object_key FROM file_versions WHERE status = 'corrupted'").fetchall() == [
        ("gone",)
    ]
