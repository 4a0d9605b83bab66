"""The consumer's loop on real servers: whatever happens on the way, the findings are the truth, and nothing is lost."""

import json
import random
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from time import monotonic

import pytest

from consumer.stream.hold import Hold, Patience
from consumer.stream.loop import AGAIN_S
from reconcile.steps import Tally
from tests.support import consuming, databases, proxy
from tests.support.consuming import after, turning
from tests.support.waiting import until

FLAGGING = {"RECONCILER_FLAGGING": "true"}
QUICK = {"RECONCILER_POLICY__MISSING_GRACE": "300ms", "RECONCILER_POLICY__ORPHAN_GRACE": "300ms"}
FOLLOWED = """
WITH f AS (INSERT INTO storage_files (bucket_type, name) VALUES ('user', 'one') RETURNING id)
INSERT INTO file_versions (file_id, version_number, object_key, size)
SELECT f.id, n, format('followed/%s', n), 10 FROM f, generate_series(1, 9000) AS n
"""


@pytest.fixture
def sibling(site, tmp_path, servers, template_database, new_topic):
    """Return what makes another application over the same bucket."""

    @contextmanager
    def make():
        directory = tmp_path / "sibling"
        directory.mkdir()
        with (
            databases.new_database(servers.postgres, template_database) as url,
            consuming.site(directory, url, servers.minio, servers.kafka.bootstrap, new_topic(4), site.bucket) as made,
        ):
            yield made

    return make


@pytest.mark.invariant(2)
@pytest.mark.invariant(3)
def test_uploads_in_order_are_waited_for_and_nothing_is_written(site):
    """The event comes 300 ms before the commit, also of a prepared transaction: settled, and not a row is kept."""
    keys = [f"in order/{number}" for number in range(40)]
    for key in keys:
        site.put(key)
    with (
        consuming.consuming(site.settings()) as consumer,
        site.uncommitted(*keys[:30]) as application,
        site.prepared(*keys[30:]) as other,
    ):
        site.spread([site.created(key) for key in keys])
        read = [0]
        until(lambda: read.append(read.pop() + consumer.turn().acts["read"]) or read == [40], what="all are read")
        begun = monotonic()
        turning(consumer, until_true=after(begun, 0.3))
        assert site.committed() == {}, "all forty are held"
        application.commit()
        other.tpc_commit()
        total = turning(consumer, until_true=site.caught_up, what="all are committed")
    assert total.settled == 40
    assert site.ends() == dict.fromkeys(range(4), 10)
    assert site.nothing_written()


@pytest.mark.invariant(4)
def test_what_the_hold_cannot_wait_for_is_found_and_ends_as_the_truth(site):
    """Committed after the hold: suspected, resolved. Rolled back: orphan. Deleted before the commit: missing."""
    for key in ("late", "rolled back", "deleted", "short"):
        site.put(key, 5 if key == "short" else 10)
    site.remove("deleted")
    patient = {"RECONCILER_POLICY__ORPHAN_GRACE": "1s", "RECONCILER_POLICY__MISSING_GRACE": "300ms"}
    with (
        consuming.consuming(site.settings(**patient, **FLAGGING)) as consumer,
        site.uncommitted("late") as late,
        site.uncommitted("rolled back") as rolled_back,
        site.uncommitted("deleted", "short") as quick,
    ):
        site.send([site.created("late"), site.created("rolled back")])
        site.send([site.created("deleted"), site.removed("deleted"), site.created("short", 5)], partition=1)
        begun = monotonic()
        turning(consumer, until_true=after(begun, 0.2))
        quick.commit()
        rolled_back.rollback()
        suspected = {("late", "orphan", "suspected"), ("rolled back", "orphan", "suspected")}
        turning(consumer, until_true=lambda: suspected <= site.open(), what="both are suspected")
        assert monotonic() - begun > 1.9, "the hold's two seconds are over"
        late.commit()
        truth = {("rolled back", "orphan", "open"), ("deleted", "missing", "open"), ("short", "mismatch", "open")}
        turning(consumer, until_true=lambda: site.open() == truth and site.caught_up(), what="the truth")
    assert site.acts("late") == ["suspected", "resolved"]
    assert site.acts("deleted") == ["suspected", "flagged"]
    flagged = "SELECT object_key FROM file_versions WHERE status = 'corrupted'"
    assert site.sql(flagged) == [("deleted",)]


def test_an_upload_of_long_ago_is_not_waited_for(site):
    """After an hour's outage a backlog does not wait two seconds for each commit: what has no row is an orphan."""
    for key in ("of an hour ago", "of now"):
        site.put(key)
    with consuming.consuming(site.settings()) as consumer:
        site.send([site.created("of an hour ago", ago_s=3600), site.created("of now")])
        begun = monotonic()
        turning(consumer, until_true=lambda: site.open() == {("of an hour ago", "orphan", "suspected")})
        assert site.committed() == {0: 1}
        turning(consumer, until_true=lambda: len(site.open()) == 2 and site.caught_up())
        assert monotonic() - begun > 1.9


POISON = {
    b"tombstone": None,
    b"not-json": b"\xff\xfe garbage",
    b"not-json ": b'{"of no interest":' + b"[" * 200_000,
    b"not-json  ": consuming.event("s3:ObjectCreated:Put", "b", "x", 1).replace(b'"key": "x"', b'"key": "\\ud800"'),
    b"bad-key": consuming.event("s3:ObjectCreated:Put", "b", "a\0b", 1),
    b"bad-key ": consuming.event("s3:ObjectCreated:Put", "b", "x", 1).replace(b'"key": "x"', b'"key": "%ff"'),
    b"bad-key  ": consuming.event("s3:ObjectCreated:Put", "b", "k" * 1025, 1),
    b"bad-bucket": consuming.event("s3:ObjectCreated:Put", "b\0", "k", 1),
    b"wrong-shape ": b"[" * 200_000,
    b"wrong-shape": b'{"Records":[{"eventName":7}]}',
    b"no-records": b'{"Records":[]}',
}


@pytest.mark.invariant(2)
def test_what_cannot_be_read_is_buried_and_its_neighbours_are_served(site):
    """Each poison lies in the dead letter topic with reason, origin and headers; its offset passes, as all others."""
    site.put("before")
    site.row("before")
    gone = site.row("after")
    offsets = {}
    with consuming.consuming(site.settings(**QUICK, **FLAGGING)) as consumer:
        for reason, value in POISON.items():
            site.send([site.created("before")], partition=2)
            offsets[site.send([value], 2, [("traced", b"yes")])[0]] = (reason.strip(), value)
        site.send([site.removed("after")], partition=2)
        total = turning(
            consumer, until_true=lambda: site.caught_up() and site.status(gone) == "corrupted", what="all are served"
        )
    assert total.acts["buried"] == len(POISON)
    assert site.open() == {("after", "missing", "open")}
    letters = site.letters(wanted=len(POISON))
    found = {int(dict(letter.headers())["reconciler.offset"]): letter for letter in letters}
    assert len(letters) == len(found) == len(POISON)
    for offset, (reason, value) in offsets.items():
        headers = dict(found[offset].headers())
        assert (found[offset].key(), found[offset].value(), headers["traced"]) == (b"a key", value, b"yes")
        assert headers["reconciler.reason"] == reason
        assert (headers["reconciler.topic"], headers["reconciler.partition"]) == (site.topic.encode(), b"2")


def test_events_of_others_are_counted_and_passed_over(site):
    """Other buckets, filtered keys, and events by which nothing comes or goes are read and skipped, and cost no row."""
    others = [
        consuming.event("s3:ObjectRemoved:Delete", "another-bucket", "gone"),
        site.removed("thumbnails/gone"),
        consuming.event("s3:ObjectAccessed:Get", site.bucket, "read", 10),
    ]
    site.row("thumbnails/gone")
    with consuming.consuming(site.settings(RECONCILER_FILTERS__EXCLUDE="thumbnails/**")) as consumer:
        site.send(others * 5)
        total = turning(consumer, until_true=site.caught_up, what="all are passed over")
    assert (total.acts["read"], total.acts["skipped"], total.looks) == (15, 15, 0)
    assert site.nothing_written()


@pytest.mark.invariant(2)
def test_a_row_that_the_table_refuses_to_flag_does_not_hold_the_others_up(site):
    """One of forty may not be flagged by a CHECK: it stays with a finding that says so, the others are flagged."""
    refuse = "ALTER TABLE file_versions ADD CHECK (object_key <> 'key 17' OR status <> 'corrupted')"
    site.sql(refuse)
    rows = {f"key {number}": site.row(f"key {number}") for number in range(40)}
    with consuming.consuming(site.settings(**QUICK, **FLAGGING)) as consumer:
        site.spread([site.removed(key) for key in rows])
        everything = {(key, "missing", "open") for key in rows}
        turning(consumer, until_true=lambda: site.open() == everything and site.caught_up(), what="all are open")
        flagged = {key for (key,) in site.sql("SELECT object_key FROM file_versions WHERE status = 'corrupted'")}
        assert flagged == rows.keys() - {"key 17"}
    [(held_by, why)] = site.sql(
        "SELECT f.held_by, h.why FROM reconciler.finding f JOIN reconciler.history h ON h.finding_id = f.id"
        " WHERE f.key = 'key 17' AND h.act = 'refused'"
    )
    assert held_by == "refused"
    assert "check" in why


@pytest.mark.invariant(2)
def test_more_than_one_turn_can_look_at_is_kept_and_not_lost(site):
    """A thousand deletions at once: what there is no room for becomes looks, before the offsets pass; all are found."""
    insert = """
        WITH f AS (INSERT INTO storage_files (bucket_type) VALUES ('user') RETURNING id)
        INSERT INTO file_versions (file_id, version_number, object_key, size)
        SELECT f.id, n, format('gone/%s', n), 10 FROM f, generate_series(1, 1000) AS n
    """
    site.sql(insert)
    site.spread([site.removed(f"gone/{number}") for number in range(1, 1001)])
    with consuming.consuming(site.settings()) as consumer:
        total = turning(consumer, until_true=site.caught_up, what="all is read")
    assert total.not_asked > 0
    kept = "SELECT key FROM reconciler.finding UNION SELECT key FROM reconciler.look"
    assert len(site.sql(kept)) == 1000, "each has an outcome when its offset passes"
    site.hurry()
    with consuming.consuming(site.settings()) as heir:
        turning(heir, until_true=lambda: len(site.open()) == 1000, what="all are found")
    assert {key for key, _, _ in site.open()} == {f"gone/{number}" for number in range(1, 1001)}


@pytest.mark.invariant(2)
def test_where_rows_follow_their_events_a_backlog_is_glanced_at_once(site):
    """Only the first of a turn's batches is glanced at in vain; nothing is lost, and no healthy upload is written."""
    keys = [f"followed/{number}" for number in range(1, 9_001)]
    site.spread([site.created(key) for key in keys])
    glances: Counter[str] = Counter()
    with consuming.consuming(site.settings(RECONCILER_STREAM__BATCH="3000")) as consumer, ExitStack() as exits:
        unsettled = consumer.world.unsettled

        def counted(batches, doubtful):
            return unsettled((glances.update(hint.ref.key for hint in hints) or hints for hints in batches), doubtful)

        consumer.world.unsettled = counted
        consumer.server_ahead = lambda: None  # nothing is too old to be held
        rows = exits.enter_context(site.uncommitted())
        rows.execute(FOLLOWED)
        turning(consumer, until_true=lambda: len(consumer.hold) == len(keys), what="all is held")
        rows.commit()
        turning(consumer, until_true=site.caught_up, what="all is settled")
    assert site.nothing_written()
    seldom = sum(1 for key in keys if glances[key] == 1)
    assert seldom >= 1_000, "of a full turn only the first batch is glanced at twice"  # slow turns read less at once


@pytest.mark.invariant(2)
def test_no_more_is_read_than_may_be_held(site):
    """Where the hold is full, what is held comes first: healthy uploads beyond its bound are not written either."""
    keys = [f"followed/{number}" for number in range(1, 9_001)]
    site.spread([site.created(key) for key in keys])
    with consuming.consuming(site.settings(RECONCILER_STREAM__BATCH="3000")) as consumer, ExitStack() as exits:
        consumer.hold = Hold(Patience(held_most=2_000))
        consumer.server_ahead = lambda: None  # nothing is too old to be held
        pauses: list[float] = []
        consumer.pause = pauses.append
        rows = exits.enter_context(site.uncommitted())
        rows.execute(FOLLOWED)
        turning(consumer, until_true=lambda: len(consumer.hold) >= 2_000, what="the hold is full")
        turning(consumer, until_true=lambda: len(consumer.hold) > 2_000, what="what is read all the same is held, too")
        assert pauses
        assert len(consumer.hold) < 2_100
        rows.commit()
        turning(consumer, until_true=site.caught_up, what="all is settled")
    assert site.nothing_written()


def test_a_burst_begins_with_few_records(site):
    """Whatever it turns out to be of, the first turn is soon over; then as many are read as turns allow."""
    site.row("here")
    site.put("here")
    with consuming.consuming(site.settings(RECONCILER_STREAM__BATCH="400")) as consumer:
        turning(consumer, until_true=consumer.topic.assigned, what="a partition is ours")
        site.send([site.created("here")] * 2_000)
        read = []
        until(lambda: read.append(consumer.turn().acts["read"]) or site.caught_up(), what="all are committed")
    assert next(filter(None, read)) <= 100
    assert max(read) == 400


@pytest.mark.invariant(2)
def test_no_offset_passes_a_record_that_is_held(site):
    """Kafka's own answer: the partition stops at the oldest held record, the others go on; then all is committed."""
    for key in ("here", "held", "held later"):
        site.put(key)
    site.row("here")
    healthy = site.created("here")
    with (
        consuming.consuming(site.settings()) as consumer,
        site.uncommitted("held") as first,
        site.uncommitted("held later") as second,
    ):
        site.send([healthy] * 3 + [site.created("held")] + [healthy] * 3 + [site.created("held later"), healthy])
        site.send([healthy] * 5, partition=1)
        turning(consumer, until_true=lambda: site.committed() == {0: 3, 1: 5}, what="committed up to the held one")
        begun = monotonic()
        turning(consumer, until_true=lambda: site.committed() != {0: 3, 1: 5} or after(begun, 0.3)())
        assert site.committed() == {0: 3, 1: 5}
        first.commit()
        turning(consumer, until_true=lambda: site.committed() == {0: 7, 1: 5}, what="committed up to the next held one")
        second.commit()
        turning(consumer, until_true=lambda: site.committed() == {0: 9, 1: 5}, what="all is committed")
    assert site.nothing_written()


@pytest.mark.invariant(8)
def test_any_order_and_any_repetition_end_in_the_same_findings(site, sibling):
    """The same events once in order, and thrice backwards and shuffled: over the same world the same is open."""
    keys = [f"{kind} {number}" for kind in ("whole", "gone", "orphan", "short", "nothing") for number in range(6)]
    events = []
    for key in keys:
        kind = key.split()[0]
        events += [site.created(key), site.removed(key)] if kind in ("gone", "nothing") else []
        events += [site.removed(key), site.created(key)] if kind in ("whole", "orphan", "short") else []
        if kind in ("whole", "orphan", "short"):
            site.put(key, 7 if kind == "short" else 10)
    mixed = events[::-1] * 3
    random.Random(20250907).shuffle(mixed)  # noqa: S311 - a fixed order, not a secret
    truth = {(key, "missing", "open") for key in keys if key.startswith("gone")}
    truth |= {(key, "orphan", "open") for key in keys if key.startswith("orphan")}
    truth |= {(key, "mismatch", "open") for key in keys if key.startswith("short")}
    with ExitStack() as exits:
        other = exits.enter_context(sibling())
        both = ((site, events), (other, mixed))
        consumers = [exits.enter_context(consuming.consuming(one.settings(**QUICK))) for one, _ in both]
        for one, sent in both:
            for key in keys:
                if not key.startswith(("orphan", "nothing")):
                    one.row(key)
            one.spread(sent)
        turning(
            *consumers,
            until_true=lambda: all(one.open() == truth and one.caught_up() for one, _ in both),
            what="the same findings",
        )
        turning(*consumers, until_true=after(monotonic(), 0.5))
        assert site.open() == other.open() == truth


@pytest.mark.invariant(2)
@pytest.mark.timeout(240)
def test_killed_at_every_point_of_its_turn_nothing_is_lost_or_doubled(site):
    """Consumer after consumer dies by kill -9 at another point; the last one finishes what was read by any."""
    gone = {f"gone {number}": site.row(f"gone {number}") for number in range(30)}
    orphans = [f"orphan {number}" for number in range(30)]
    for key in orphans:
        site.put(key)
    poison = [b"poison %d" % number for number in range(30)]
    values = [
        one for three in zip(map(site.removed, gone), map(site.created, orphans), poison, strict=True) for one in three
    ]
    site.spread(values)
    # The same static member comes back each time, so that nobody waits for the dead one's session to end.
    changed = {"RECONCILER_STREAM__BATCH": "20", "RECONCILER_KAFKA__GROUP_INSTANCE_ID": "one", **QUICK, **FLAGGING}
    for point in (*consuming.POINTS, "written", "reconciled"):
        with consuming.killed_at(site, "consumer", point, **changed) as child:
            assert child.wait(30) == -9, point
    truth = {(key, "missing", "open") for key in gone} | {(key, "orphan", "open") for key in orphans}
    site.hurry()  # what a dead one had claimed would be due again within a minute
    with consuming.consuming(site.settings(**changed)) as consumer:
        turning(consumer, until_true=lambda: site.open() == truth and site.caught_up(), seconds=40, what="all is found")
    assert all(site.status(row_id) == "corrupted" for row_id in gone.values())
    for key in gone:
        assert site.acts(key) == ["suspected", "flagged"]
    for key in orphans:
        assert site.acts(key) == ["suspected", "opened"]
    assert site.sql("SELECT count(*) FROM reconciler.finding") == [(60,)]
    buried = [letter.value() for letter in site.letters(wanted=30)]
    assert set(buried) == set(poison)


@pytest.mark.invariant(2)
@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_a_second_consumer_that_joins_while_the_first_holds_records_changes_nothing(site, strategy):
    """Each offset that Kafka holds has its outcomes below it, all the while; at the end the findings are the truth."""
    changed = {"RECONCILER_KAFKA__PARTITION_ASSIGNMENT_STRATEGY": strategy, "RECONCILER_STREAM__BATCH": "15", **QUICK}
    settled = [f"settled {number}" for number in range(40)]
    rolled_back = [f"rolled back {number}" for number in range(40)]
    for key in settled + rolled_back:
        site.put(key)
    sent = [key for pair in zip(settled, rolled_back, strict=True) for key in pair]
    at = {partition: sent[partition::4] for partition in range(4)}

    def outcomes_reached() -> bool:
        """Tell that it is over; whatever is committed must have an outcome by then."""
        offsets = site.committed()
        kept = {key for (key,) in site.sql("SELECT key FROM reconciler.finding")}
        rows = {key for (key,) in site.sql("SELECT object_key FROM file_versions")}
        for partition, offset in offsets.items():
            assert set(at[partition][:offset]) <= kept | rows
        truth = {(key, "orphan", "open") for key in rolled_back}
        return len(site.members()) == 2 and site.open() == truth and site.caught_up()

    with (
        consuming.consuming(site.settings(**changed), "first") as first,
        site.uncommitted(*settled) as application,
        site.uncommitted(*rolled_back),
    ):
        site.spread([site.created(key) for key in sent])
        turning(first, until_true=lambda: len(first.hold) > 30, what="the first holds records")
        assert site.committed() == {}
        with consuming.consuming(site.settings(**changed), "second") as second:
            turning(first, second, until_true=lambda: len(site.members()) == 2 or outcomes_reached(), what="it joined")
            application.commit()
            turning(first, second, until_true=outcomes_reached, seconds=40, what="the truth")
    assert site.sql("SELECT count(*) FROM reconciler.history WHERE act = 'suspected'") == [(40,)]


@pytest.mark.invariant(9)
@pytest.mark.invariant(5)
def test_observing_changes_no_row_and_what_was_seen_is_flagged_once_it_may_be(site):
    """Without flagging no row has another xmin; later all is flagged at its next look; what they change stays."""
    rows = {f"gone {number}": site.row(f"gone {number}") for number in range(20)}
    everything = "SELECT id, xmin::text, ctid::text, status FROM file_versions ORDER BY id"
    before = site.sql(everything)
    truth = {(key, "missing", "open") for key in rows}
    with consuming.consuming(site.settings(**QUICK)) as observer:
        site.spread([site.removed(key) for key in rows])
        turning(observer, until_true=lambda: site.open() == truth and site.caught_up(), what="all are open")
        site.hurry()
        turning(observer, until_true=lambda: site.sql("SELECT min(due_at) > now() FROM reconciler.look") == [(True,)])
    assert site.sql(everything) == before
    flagged = "SELECT count(*) FROM file_versions WHERE status = 'corrupted'"
    with consuming.consuming(site.settings(**QUICK, **FLAGGING)) as bold:
        site.hurry()
        turning(bold, until_true=lambda: site.sql(flagged) == [(20,)], what="all are flagged at their next look")
        site.sql("UPDATE file_versions SET status = 'archived' WHERE id = %s", rows["gone 1"])
        for key in ("gone 1", "gone 2"):
            site.put(key)
            site.send([site.created(key)])
        back = truth - {("gone 1", "missing", "open"), ("gone 2", "missing", "open")}
        turning(bold, until_true=lambda: site.open() == back and site.caught_up(), what="both are resolved")
    assert (site.status(rows["gone 1"]), site.status(rows["gone 2"])) == ("archived", "active")
    assert site.acts("gone 1") == ["suspected", "opened", "flagged", "resolved"]
    assert site.acts("gone 2") == ["suspected", "opened", "flagged", "given back"]


@pytest.mark.invariant(7)
def test_a_mass_deletion_is_held_until_a_person_releases_it(site):
    """Beyond a hundred all are held, and `brake status` says so; released, each is flagged, and no brake trips."""
    rows = {f"mass {number}": site.row(f"mass {number}") for number in range(130)}
    flagged = "SELECT count(*) FROM file_versions WHERE status = 'corrupted'"
    count = "SELECT count(*) FILTER (WHERE held_by = 'brake'), count(previous_status) FROM reconciler.finding"

    def all_held() -> bool:
        """Tell whether every one is either held or was believed before."""
        [(held, believed)] = site.sql(count)
        assert believed <= 100
        return held + believed == 130 and site.caught_up()

    with consuming.consuming(site.settings(**QUICK, **FLAGGING)) as consumer:
        site.spread([site.removed(key) for key in rows])
        turning(consumer, until_true=all_held, what="all are held")
        [(held, believed)] = site.sql(count)
        assert site.sql(flagged) == [(believed,)]
        told = site.program.run("brake", "status", "--exit-code", "-o", "json")
        assert told.returncode == 4
        assert (json.loads(told.stdout)["brake"], json.loads(told.stdout)["held"]) == ("on", held)
        site.program.json("brake", "release", "--apply", "--why", "we moved house")
        turning(consumer, until_true=lambda: site.sql(flagged) == [(130,)], what="all are flagged")
        more = site.row("one more")
        site.send([site.removed("one more")])
        turning(consumer, until_true=lambda: site.status(more) == "corrupted", what="flagging goes on")
    assert site.program.json("brake", "status")["brake"] == "off"
    assert site.sql("SELECT count(*) FROM reconciler.restraint WHERE effect = 'brake'") == [(1,)]
    assert site.sql("SELECT lifted_by IS NOT NULL FROM reconciler.restraint") == [(True,)]
    assert site.sql("SELECT DISTINCT why FROM reconciler.history WHERE act = 'released'") == [("we moved house",)]


def test_the_loop_stops_when_it_is_told_to(site):
    """A loop that waits for records, or holds some, ends within a second."""
    stop = threading.Event()
    site.put("held")
    with consuming.consuming(site.settings()) as consumer, site.uncommitted("held"):
        with consuming.beside(lambda: consumer.run(stop.is_set, lambda _: None), stop):
            site.send([site.created("held")])
            until(lambda: len(consumer.hold), what="it is held")
            begun = monotonic()
            stop.set()
        assert monotonic() - begun < 1
    assert site.committed() == {}


def test_a_turn_that_goes_on_is_told_from_a_standstill(site):
    """However long the database takes for each batch of a turn, and however many batches it has."""
    site.put("there")
    site.row("there")
    site.send([site.created("there")] * 600)
    beats = []
    with consuming.consuming(site.settings()) as consumer:
        consumer.beat = lambda: beats.append("beat")
        turning(consumer, until_true=site.caught_up, what="all are committed")
    assert len(beats) >= 2


def test_an_outage_is_told_until_a_turn_has_ended_well(site, minio):
    """However often it is tried meanwhile, and in vain: the process is not ready before one try went well."""
    told, stop = [], threading.Event()
    host, port = minio.endpoint.split(":")
    with (
        proxy.Proxy(host, int(port)) as between,
        consuming.consuming(site.settings(RECONCILER_MINIO__ENDPOINT=between.url)) as consumer,
    ):
        between.set(proxy.Cut())
        site.row("gone")
        site.send([site.removed("gone")])
        consumer.waits_for = told.append
        with consuming.beside(lambda: consumer.run(stop.is_set, lambda _: None), stop):
            until(lambda: told.count("minio") >= 3, what="three tries fail")
            tries = told[told.index("minio") :]
            assert set(tries) == {"minio"}
            between.set(proxy.Pass())
            until(lambda: told[-1] == "" and site.caught_up(), what="it goes on")
    assert site.open() == {("gone", "missing", "suspected")}


def test_an_outage_of_minio_is_over_where_nothing_is_left_to_ask_it(site):
    """Another process may have what it did not answer: then the time in which it would have come again is waited."""
    told = []
    with consuming.consuming(site.settings()) as consumer:
        consumer.waits_for, consumer.away, consumer.away_at = told.append, "minio", 0.0
        for at in (AGAIN_S - 1, AGAIN_S + 1):
            consumer.now = lambda at=at: at
            consumer.went_well(Tally())
            assert told == ([""] if at > AGAIN_S else [])
