"""What is kept of a sweep, on a real PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from reconcile.database import Database, migrate
from reconcile.model import ObjectRef
from reconcile.sweeps import keeping
from reconcile.sweeps.compare import Facts
from reconcile.sweeps.confirm import Confirmed
from reconcile.sweeps.drift import Class, Drift
from reconcile.sweeps.keeping import Kept, Lost
from reconcile.tables import catalog, plans


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


MANY = 1_201
INSERT = """
INSERT INTO reconciler.drift (sweep_id, kind, bucket, key, row_id)
SELECT %(id)s, 'orphan', 'files', CASE n WHEN 0 THEN '' ELSE 'k' || n END, 'row ' || r
FROM generate_series(0, %(many)s - 1) AS n, generate_series(1, 2) AS r
"""


def test_whoever_lost_the_lead_writes_no_second_look(kept, connection):
    """It stood still for longer than its lease, and what it saw is of then: another looks at all of it anew."""
    leader = replace(kept, leads=True)
    connection.execute(INSERT, {"id": kept.run.id, "many": 3})
    seen = [ObjectRef("files", "k1")], Confirmed([Drift(Class.ORPHAN, "files", "k1", row_id="row 1")])
    for write in (partial(leader.seen_again, *seen), leader.pair, partial(leader.metered, seen[1].drifts)):
        with pytest.raises(Lost):
            write()
    assert connection.execute(SEEN).fetchall() == [(6, 0)]
    assert keeping.led(leader.database, "files", "ann")
    leader.seen_again(*seen)
    assert connection.execute(SEEN).fetchall() == [(5, 1)]
    kept.database.close()


SEEN = "SELECT count(*), count(*) FILTER (WHERE seen_again) FROM reconciler.drift"
INSERT_FINDINGS = """
INSERT INTO reconciler.finding (bucket, key, kind, state, row_id)
SELECT 'files', 'k' || n, 'missing', 'open', 'row ' || r FROM generate_series(1, 50000) AS n, generate_series(1, 2) AS r
"""


def test_all_that_was_sighted_is_looked_at_again_once(kept, connection):
    """Page by page, also what has no key at all; what is another drift by then comes round again."""
    connection.execute(INSERT, {"id": kept.run.id, "many": MANY})
    assert kept.to_see_again(timedelta(hours=1))[1] is False, "none is ripe"
    looked = []
    while (page := kept.to_see_again(timedelta()))[0]:
        assert page[1]
        looked += page[0]
        kinds = {ref.key: Class.MISMATCH if ref.key == "k7" else Class.ORPHAN for ref in page[0]}
        seen = [Drift(kind, "files", key, row_id=row) for key, kind in kinds.items() for row in ("row 1", "row 2")]
        kept.seen_again(page[0], Confirmed(seen))
    assert sorted(ref.key for ref in looked) == sorted(["", "k7", *(f"k{n}" for n in range(1, MANY))])
    assert {one.kind for one in kept.drifts(None) if one.key == "k7"} == {Class.MISMATCH}
    kept.database.close()


@pytest.mark.parametrize("name", ["to_see_again", "drifts", "open_findings"])
def test_a_page_of_many_drifts_is_read_without_sorting_them_all(kept, connection, name):
    """However many there are, of 100,000 findings too, and though no statistics know of them yet."""
    connection.execute(INSERT, {"id": kept.run.id, "many": MANY})
    connection.execute(INSERT_FINDINGS)
    given = {
        "id": kept.run.id,
        "margin_s": 0,
        "last": None,
        "healed": False,
        "key": "k",
        "s3_version": "",
        "row_id": "",
        "bucket": "files",
        "prefix": "",
        "lower": "k3",
        "upper": None,
    }
    with connection.transaction():
        connection.execute(catalog.SQL["plan_for_use"])
        [([plan],)] = connection.execute("EXPLAIN (FORMAT JSON) " + keeping.SQL[name], given).fetchall()
    assert not plans.sorts(plan["Plan"]), plan


def test_open_findings_are_told_page_by_page_each_reference_once(kept, connection):
    """Two rows' findings of one key are one reference, and no page ends within a key."""
    connection.execute(INSERT_FINDINGS)
    told, lower = [], ""
    while page := kept.open_findings(lower, "k2"):
        told += page
        lower = page[-1].key
    keys = [ref.key for ref in told]
    assert keys == sorted(f"k{n}" for n in range(1, 50_001) if f"k{n}" <= "k2")
    kept.database.close()


OF_ONE_KEY = """
INSERT INTO reconciler.finding (bucket, key, s3_version, kind, state, row_id)
SELECT 'files', 'k', 'v' || n, 'missing', 'open', 'row ' || n FROM generate_series(1, 1201) AS n
UNION ALL SELECT 'files', 'l', '', 'missing', 'open', 'row'
"""


def test_open_findings_of_a_key_that_fills_a_page_are_told_whole(kept, connection):
    """The next page begins behind the key: what it left out would never be looked at."""
    connection.execute(OF_ONE_KEY)
    told = kept.open_findings("", None)
    assert {ref.s3_version for ref in told} == {f"v{n}" for n in range(1, 1202)}
    assert [ref.key for ref in kept.open_findings(told[-1].key, None)] == ["l"]
    kept.database.close()


def test_what_healed_until_the_second_look_is_kept_as_healed(kept, connection):
    """A flag that is to be given back is not forgotten with its drift."""
    connection.execute(INSERT, {"id": kept.run.id, "many": 2})
    refs, _ = kept.to_see_again(timedelta())
    kept.seen_again(refs, Confirmed(healed=[Drift(Class.HEALED, "files", "k1", row_id="row 1")]))
    assert [(one.kind, one.row_id) for one in kept.drifts(None, healed=True)] == [(Class.HEALED, "row 1")]
    assert (list(kept.drifts(None)), kept.to_see_again(timedelta())[0]) == ([], [])
    kept.database.close()
