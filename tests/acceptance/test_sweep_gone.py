"""`sweep` where much is gone at once of which there are findings."""

from __future__ import annotations

from reconcile import sweep
from reconcile.looker import Looker
from tests.acceptance.test_commands import add_row
from tests.support.sweeping import put
from tests.support.sweeps import found, swept

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
