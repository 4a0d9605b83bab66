"""What is kept of a sweep, on a real PostgreSQL."""

from __future__ import annotations

import pytest

from reconcile import keeping
from reconcile.compare import Facts
from reconcile.confirm import Confirmed
from reconcile.database import Database, migrate
from reconcile.drift import Class, Drift
from reconcile.keeping import Kept


@pytest.fixture
def kept(database, connection) -> Kept:
    """Begin a sweep of one range."""
    migrate(connection)
    number = keeping.begin(connection, "files", "", "report", "ann", Facts()._asdict())
    keeping.cut(connection, number, [])
    run = keeping.run_of(connection, number)
    assert run is not None
    return Kept(Database(database), run, "ann")


@pytest.mark.parametrize("kind", [Class.MISSING, Class.HEALED])
def test_a_row_that_is_seen_twice_in_a_page_is_kept_once(kept, connection, kind):
    """It was a drift and healed between two looks of the same page, or the other way: it is looked at again."""
    part = kept.take()
    assert part is not None
    drift, healed = (Drift(one, "files", "a", row_id="1") for one in (Class.MISSING, Class.HEALED))
    found = Confirmed([drift] if kind is Class.MISSING else [drift, drift], [healed])
    assert kept.advance(part, "a", {}, found, done=True)
    assert connection.execute("SELECT kind, seen_again FROM reconciler.drift").fetchall() == [("missing", False)]
    kept.database.close()
