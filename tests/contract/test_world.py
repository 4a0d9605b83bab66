"""What every World must mean, held against both: the one in memory, and the one on PostgreSQL and MinIO."""

import secrets
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from reconcile.model import (
    NOTHING_KNOWN,
    Action,
    Brake,
    Hint,
    Kind,
    ObjectRef,
    Policy,
    RowState,
    State,
    Unavailable,
)
from reconcile.reconciler import reconcile
from reconcile.signature import Server
from tests.contract.stages import FLAGGING, LiveStage, Meanwhile, MemoryStage, NarrowPool, Seen, hints, prepare
from tests.support import databases, storage

GRACE, ORPHAN_GRACE, MINUTE, HOUR = (timedelta(seconds=s) for s in (30, 900, 60, 3600))
OBSERVING = Policy()
NEVER_A_VERSION = "00000000-0000-4000-8000-000000000000"
THREE = Brake(floor=3, bucket_floor=1000)


@pytest.fixture(scope="module")
def ground(postgres, template_database):
    """Prepare the database on which the live stage is set, and cleared, for each test."""
    with databases.new_database(postgres, template_database) as url:
        prepare(url)
        yield url


@pytest.fixture(params=["memory", "live"])
def stage(request):
    """Set a stage: two buckets, the application's table, nothing kept."""
    if request.param == "memory":
        yield MemoryStage()
        return
    with ExitStack() as opened:
        ready = live_stage(request.getfixturevalue("ground"), request.getfixturevalue("minio"), opened)
        ready.clear()
        yield ready


@pytest.fixture
def live(database, minio):
    """Set the live stage alone, on a database whose tables may be spoilt."""
    prepare(database)
    with ExitStack() as opened:
        yield live_stage(database, minio, opened)


def live_stage(url, minio, opened) -> LiveStage:
    """Set the stage on the servers of the run."""
    connection = opened.enter_context(psycopg.connect(url, autocommit=True))
    server = Server(minio.url, minio.user, minio.password, minio.region)
    client, name = storage.client(minio), f"contract-{secrets.token_hex(6)}"
    for bucket in (name, f"{name}-other"):
        client.make_bucket(bucket_name=bucket)
    return LiveStage(url, name, f"{name}-other", f"{name}-missing", server, client, connection, opened)


def look(world, *refs):
    """Look at references that an event has named."""
    return reconcile(world, hints(*refs))


def look_again(world):
    """Look at whatever is due."""
    return reconcile(world, world.due(1000))


def suspect(stage, world, *keys, **columns):
    """Make rows without an object, suspected, at the end of their grace; return their references."""
    refs = [ObjectRef(stage.bucket, key) for key in keys]
    for key in keys:
        stage.row(key, **columns)
    look(world, *refs)
    stage.age(GRACE)
    return refs


def flag(stage, world, *keys):
    """Make rows without an object, and flagged by us; return their references."""
    refs = suspect(stage, world, *keys)
    look_again(world)
    assert {stage.status(f"row of {key}") for key in keys} == {"corrupted"}
    return refs


def states(stage):
    """Return the state of what is kept of each row or object."""
    return {one.row_id or one.key: one.state for one in stage.findings()}


# ----- the glance -----


def test_nothing_is_known_of_an_unknown_key(stage):
    """A reference that no row, finding or look names is told as nothing, but told."""
    refs = [ObjectRef(stage.bucket, "a"), ObjectRef(stage.bucket, "b", "v1")]
    assert stage.world().glance(refs) == dict.fromkeys(refs, NOTHING_KNOWN)
    assert stage.world().glance([]) == {}


def test_a_glance_tells_rows_as_they_are(stage):
    """Each row with its id, size, etag, status, and the state that these mean."""
    stage.row("a", "1", size=None, etag="e", status="new")
    stage.row("b", "2", status="corrupted")
    stage.row("c", "3", status="pending")
    stage.row("d", "4", deleted=True)
    refs = [ObjectRef(stage.bucket, key) for key in "abcd"]
    told = [stage.world().glance(refs)[ref].rows[0] for ref in refs]
    assert [(row.row_id, row.bucket, row.key, row.s3_version) for row in told] == [
        (str(n), ref.bucket, ref.key, "") for n, ref in enumerate(refs, 1)
    ]
    assert [(row.size, row.etag, row.status) for row in told] == [
        (None, "e", "new"),
        (3, None, "corrupted"),
        (3, None, "pending"),
        (3, None, "active"),
    ]
    assert [row.state for row in told] == [
        RowState.LIVE,
        RowState.FLAGGED,
        RowState.EXPECTS_ABSENCE,
        RowState.EXPECTS_ABSENCE,
    ]


def test_a_glance_tells_all_rows_of_a_key_in_the_order_of_their_ids(stage):
    """Several rows may name one key; rows of another bucket, or of a key in another case, do not."""
    for row_id in ("c", "a", "b"):
        stage.row("k", row_id)
    stage.row("k", "elsewhere", bucket=stage.other)
    stage.row("K", "louder")
    here, there = ObjectRef(stage.bucket, "k"), ObjectRef(stage.other, "k")
    known = stage.world().glance([here, there])
    assert [row.row_id for row in known[here].rows] == ["a", "b", "c"]
    assert [row.row_id for row in known[there].rows] == ["elsewhere"]


def test_a_glance_at_the_latest_tells_the_rows_of_all_versions(stage):
    """Any of them may claim the object; at a version's own reference only its rows are told."""
    stage.row("k", "a")
    stage.row("k", "b", s3_version="v1")
    latest, version = ObjectRef(stage.bucket, "k"), ObjectRef(stage.bucket, "k", "v1")
    known = stage.world().glance([latest, version])
    assert [row.row_id for row in known[latest].rows] == ["a", "b"]
    assert [row.row_id for row in known[version].rows] == ["b"]


def test_a_glance_tells_findings_and_the_pending_look(stage):
    """With their states and revisions, the asks of the look, and how often it came back."""
    world = stage.world()
    [ref] = suspect(stage, world, "k")
    known = world.glance([ref])[ref]
    [finding] = known.findings
    assert (finding.ref, finding.row_id, finding.kind) == (ref, "row of k", Kind.MISSING)
    assert (finding.state, finding.revision, finding.previous_status, finding.held_by) == (
        State.SUSPECTED,
        1,
        None,
        None,
    )
    assert (known.asks, known.attempt) == (0, 0)
    look_again(world)
    world.ask(hints(ref), HOUR, "asked")
    known = world.glance([ref])[ref]
    assert (known.findings[0].state, known.findings[0].revision) == (State.OPEN, 2)
    assert (known.findings[0].id, known.findings[0].previous_status) == (finding.id, "active")
    assert (known.asks, known.attempt) == (2, 1)


def test_findings_of_one_version_are_not_those_of_another(stage):
    """Findings and looks belong to one reference; final ones are not told at all."""
    stage.make_versioned()
    stage.row("k", "a", s3_version=NEVER_A_VERSION)
    latest, version = ObjectRef(stage.bucket, "k"), ObjectRef(stage.bucket, "k", NEVER_A_VERSION)
    stage.put("k")
    world = stage.world()
    look(world, latest, version)
    known = world.glance([latest, version])
    assert [one.kind for one in known[latest].findings] == [Kind.ORPHAN]
    stage.delete_row("a")
    stage.remove("k")
    look(world, latest, version)
    known = world.glance([latest, version])
    assert known == dict.fromkeys([latest, version], NOTHING_KNOWN)


KEYS = [
    " a ",
    "a b",
    "a+b",
    "a%20b",
    "%s %(keys)s",
    "a/b",
    "Ключ",
    "\U0001f5dd\ufe0f",
    "'\"\\",
    "\u00e9",
    "e\u0301",
    "/".join(["k" * 204] * 5),
]


@pytest.mark.parametrize("key", KEYS, ids=[ascii(key)[:20] for key in KEYS])
def test_a_key_is_what_it_is(stage, key):
    """Any name of an object comes back as it went in, and is never taken for another."""
    stage.put(key)
    stage.row(key, "r")
    world, ref = stage.world(), ObjectRef(stage.bucket, key)
    assert [row.row_id for row in world.glance([ref])[ref].rows] == ["r"]
    look(world, ref)
    assert stage.findings() == []
    stage.remove(key)
    look(world, ref)
    assert [(one.key, one.row_id) for one in stage.findings()] == [(key, "r")]
    assert list(stage.looks()) == [ref]


# ----- what a look leads to -----


def test_a_healthy_key_leaves_no_trace(stage):
    """Rows that agree with their object, and removals of what nobody names, write nothing."""
    stage.row("k")
    stage.put("k")
    before = stage.everything()
    tally = look(stage.world(), ObjectRef(stage.bucket, "k"), ObjectRef(stage.bucket, "never"))
    assert stage.everything() == before
    assert (tally.looks, tally.busy, tally.unknown, dict(tally.acts)) == (2, 0, 0, {})


def test_no_hints_are_no_look(stage):
    """An empty batch does not even ask."""
    assert reconcile(stage.world(), []).looks == 0


def test_a_missing_object_is_suspected_then_flagged_then_given_back(stage):
    """The whole life of a finding; each step is kept in the history, each waits for its look."""
    world = stage.world()
    row_id = stage.row("k", status="ready")
    ref = ObjectRef(stage.bucket, "k")
    tally = look(world, ref)
    assert dict(tally.acts) == {"suspected": 1}
    assert stage.findings() == [Seen("k", row_id, Kind.MISSING, State.SUSPECTED, None, None)]
    assert stage.looks()[ref].in_s == pytest.approx(30, abs=3)
    assert stage.status(row_id) == "ready"
    assert world.due(10) == []
    stage.age(GRACE)
    look_again(world)
    assert stage.findings() == [Seen("k", row_id, Kind.MISSING, State.OPEN, "ready", None)]
    assert stage.looks()[ref].in_s == pytest.approx(60, abs=3)
    assert stage.status(row_id) == "corrupted"
    stage.put("k")
    stage.age(MINUTE)
    look_again(world)
    assert stage.findings() == []
    assert stage.looks() == {}
    assert stage.status(row_id) == "ready"
    assert stage.history() == ["suspected", "flagged", "given back"]


def test_an_orphan_opens_and_resolves(stage):
    """An object without a row is suspected, opens after its grace, and resolves once a row claims it."""
    world = stage.world()
    stage.put("k")
    look(world, ObjectRef(stage.bucket, "k"))
    assert stage.findings() == [Seen("k", "", Kind.ORPHAN, State.SUSPECTED, None, None)]
    stage.age(ORPHAN_GRACE)
    look_again(world)
    assert states(stage) == {"k": State.OPEN}
    stage.row("k")
    stage.age(MINUTE)
    look_again(world)
    assert stage.findings() == []


def test_a_leftover_and_a_mismatch_are_told_apart(stage):
    """An object whose row expects its absence, and one whose row says another size."""
    stage.put("a")
    stage.put("b")
    stage.row("a", status="deleted")
    stage.row("b", size=4)
    look(stage.world(), ObjectRef(stage.bucket, "a"), ObjectRef(stage.bucket, "b"))
    assert [(one.key, one.row_id, one.kind) for one in stage.findings()] == [
        ("a", "", Kind.LEFTOVER),
        ("b", "row of b", Kind.MISMATCH),
    ]


def test_a_mismatch_by_etag_alone(stage):
    """The same size, another content."""
    stage.put("k", b"AAA")
    stage.row("k", etag="e1faffb3e614e6c2fba74296962386b7")
    ref = ObjectRef(stage.bucket, "k")
    world = stage.world()
    look(world, ref)
    assert stage.findings() == []
    stage.put("k", b"BBB")
    look(world, ref)
    assert [one.kind for one in stage.findings()] == [Kind.MISMATCH]


@pytest.mark.parametrize("kind", ["size", "etag"])
def test_another_kind_of_drift_is_suspected_anew(stage, kind):
    """A missing object that comes back different begins a new grace, under the same finding."""
    world = stage.world()
    [ref] = suspect(stage, world, "k", **({"size": 4} if kind == "size" else {"etag": "other"}))
    stage.put("k")
    look_again(world)
    assert [(one.kind, one.state) for one in stage.findings()] == [(Kind.MISMATCH, State.SUSPECTED)]
    stage.age(GRACE - timedelta(seconds=5))
    look(world, ref)
    assert states(stage) == {"row of k": State.SUSPECTED}
    stage.age(timedelta(seconds=5))
    look(world, ref)
    assert states(stage) == {"row of k": State.OPEN}
    assert stage.history() == ["suspected", "changed", "opened"]
    assert stage.status("row of k") == "active"


def test_each_of_several_rows_has_its_finding(stage):
    """Rows of one key are judged and flagged one by one."""
    world = stage.world()
    for row_id in ("a", "b"):
        stage.row("k", row_id)
    stage.row("k", "c", status="deleted")
    ref = ObjectRef(stage.bucket, "k")
    look(world, ref)
    stage.age(GRACE)
    look_again(world)
    assert states(stage) == {"a": State.OPEN, "b": State.OPEN}
    assert [stage.status(row_id) for row_id in "abc"] == ["corrupted", "corrupted", "deleted"]
    stage.put("k")
    look(world, ref)
    assert [stage.status(row_id) for row_id in "abc"] == ["active", "active", "deleted"]


def test_a_resolved_finding_is_not_reopened(stage):
    """What drifts again is another finding, with a grace of its own."""
    world = stage.world()
    [ref] = suspect(stage, world, "k")
    [first] = world.glance([ref])[ref].findings
    stage.put("k")
    look_again(world)
    stage.remove("k")
    look(world, ref)
    [second] = world.glance([ref])[ref].findings
    assert (second.state, second.revision) == (State.SUSPECTED, 1)
    assert second.id != first.id


def test_a_row_in_its_own_version_is_looked_at_in_that_version(stage):
    """A delete marker hides the latest, not the version; that one is missing once it is deleted itself."""
    stage.make_versioned()
    version = stage.put("k")
    stage.row("k", s3_version=version)
    world = stage.world()
    ref = ObjectRef(stage.bucket, "k", version)
    stage.remove("k")
    look(world, ref, ObjectRef(stage.bucket, "k"))
    assert stage.findings() == []
    stage.remove("k", version)
    look(world, ref)
    assert [(one.key, one.kind) for one in stage.findings()] == [("k", Kind.MISSING)]


def test_a_delete_marker_makes_the_latest_missing_until_it_is_removed(stage):
    """A row without a version names the latest; its absence by a marker is recoverable, and says so."""
    stage.make_versioned()
    stage.put("k")
    stage.row("k")
    world = stage.world()
    ref = ObjectRef(stage.bucket, "k")
    stage.remove("k")
    look(world, ref)
    [finding] = world.glance([ref])[ref].findings
    assert "recoverable" in finding.cause
    stage.age(GRACE)
    look_again(world)
    assert stage.status("row of k") == "corrupted"


# ----- giving back -----


@pytest.mark.invariant(5)
def test_what_the_application_changed_meanwhile_stays(stage):
    """The status is given back only where our flag still is."""
    world = stage.world()
    [ref] = flag(stage, world, "k")
    stage.change("row of k", status="archived")
    stage.put("k")
    look(world, ref)
    assert stage.status("row of k") == "archived"
    assert stage.findings() == []


@pytest.mark.invariant(5)
def test_a_soft_deleted_row_is_given_back(stage):
    """A row that expects absence does not keep our flag."""
    world = stage.world()
    [ref] = flag(stage, world, "k")
    stage.change("row of k", deleted=True)
    look(world, ref)
    assert stage.status("row of k") == "active"
    assert stage.findings() == []


@pytest.mark.invariant(5)
def test_a_row_that_names_another_key_is_given_back_and_looked_at_there(stage):
    """By its id, wherever its key is now."""
    world = stage.world()
    [ref] = flag(stage, world, "k")
    stage.change("row of k", key="elsewhere")
    look(world, ref)
    assert stage.status("row of k") == "active"
    assert stage.findings() == []
    elsewhere = ObjectRef(stage.bucket, "elsewhere")
    assert list(stage.looks()) == [elsewhere]
    look_again(world)
    assert [(one.key, one.row_id, one.state) for one in stage.findings()] == [
        ("elsewhere", "row of k", State.SUSPECTED)
    ]


@pytest.mark.invariant(5)
def test_a_row_that_names_another_version_is_given_back_and_looked_at_there(stage):
    """A version that was filled in later makes it another reference."""
    world = stage.world()
    [ref] = flag(stage, world, "k")
    stage.change("row of k", s3_version="v1")
    look(world, ref)
    assert stage.status("row of k") == "active"
    assert ObjectRef(stage.bucket, "k", "v1") in stage.looks()


def test_a_row_that_was_deleted_ends_its_finding(stage):
    """There is nothing to give back."""
    world = stage.world()
    [ref] = flag(stage, world, "k")
    stage.delete_row("row of k")
    look(world, ref)
    assert stage.findings() == []
    assert stage.looks() == {}


def test_a_row_flagged_at_its_new_key_keeps_that_flag(stage):
    """Given back at the old key and flagged at the new one in the same batch, it ends flagged."""
    world = stage.world()
    [old] = flag(stage, world, "k")
    [other] = suspect(stage, world, "new", row_id="other")
    stage.change("other", key="other")
    stage.change("row of k", key="new", status="active")
    new = ObjectRef(stage.bucket, "new")
    look(world, new)
    stage.age(GRACE)
    reconcile(world, hints(old, new))
    assert other == new
    assert stage.status("row of k") == "corrupted"
    assert [(one.key, one.row_id, one.previous_status) for one in stage.findings()] == [("new", "row of k", "active")]


# ----- observing -----


@pytest.mark.invariant(9)
def test_observing_opens_and_writes_no_row(stage):
    """Findings are kept, rows are not touched; with flagging turned on the next look flags."""
    observing, flagging = stage.world(OBSERVING), stage.world()
    [ref] = suspect(stage, observing, "k")
    look_again(observing)
    assert stage.findings() == [Seen("k", "row of k", Kind.MISSING, State.OPEN, None, None)]
    assert stage.status("row of k") == "active"
    look(flagging, ref)
    assert stage.findings() == [Seen("k", "row of k", Kind.MISSING, State.OPEN, "active", None)]
    assert stage.status("row of k") == "corrupted"
    assert stage.history() == ["suspected", "opened", "flagged"]


TUPLES = """
SELECT 'version', id, xmin::text, xmax::text, ctid::text FROM version
UNION ALL SELECT 'parent', id, xmin::text, xmax::text, ctid::text FROM parent ORDER BY 1, 2
"""


@pytest.mark.invariant(3)
@pytest.mark.invariant(9)
def test_observing_neither_writes_nor_locks_a_row(live):
    """The rows' system columns, in which PostgreSQL keeps who wrote and who locked, stay as they were."""
    observing = live.world(OBSERVING)
    refs = [ObjectRef(live.bucket, key) for key in "abc"]
    for key in "abc":
        live.row(key)
    live.put("a")
    live.put("orphan")
    before = live.sql(TUPLES)
    look(observing, *refs, ObjectRef(live.bucket, "orphan"))
    live.age(HOUR)
    look_again(observing)
    assert states(live) == dict.fromkeys(["row of b", "row of c", "orphan"], State.OPEN)
    assert live.sql(TUPLES) == before


def others(tuples):
    """Leave the one row out that is to be written."""
    return [one for one in tuples if one[:2] != ("version", "row of missing")]


@pytest.mark.invariant(3)
def test_flagging_locks_only_what_it_writes(live):
    """In a batch that flags one row the healthy ones, and the suspected ones, are not locked."""
    world = live.world()
    [missing] = suspect(live, world, "missing")
    live.row("healthy")
    live.put("healthy")
    live.row("new")
    before = others(live.sql(TUPLES))
    look(world, missing, ObjectRef(live.bucket, "healthy"), ObjectRef(live.bucket, "new"))
    assert live.status("row of missing") == "corrupted"
    assert others(live.sql(TUPLES)) == before


@pytest.mark.invariant(3)
def test_a_foreign_key_does_not_meet_our_lock(live):
    """While our transaction holds the row it flagged, the application may still refer to it."""
    live.sql("CREATE TABLE comment (version_id text REFERENCES version)")
    world = live.world()
    [ref] = suspect(live, world, "k")

    def refer():
        with psycopg.connect(live.url, options="-c lock_timeout=100ms") as application:
            application.execute("INSERT INTO comment VALUES ('row of k')")

    look(Meanwhile(world, before_commit=refer), ref)
    assert live.status("row of k") == "corrupted"
    assert live.sql("SELECT * FROM comment") == [("row of k",)]


# ----- somebody else is at the same rows -----


def busy_and_untouched(stage, world, ref, tally):
    """Tell whether a look found its key busy, wrote no row of it, and asked for a look soon."""
    assert (tally.busy, dict(tally.acts)) == (1, {})
    return stage.looks()[ref].in_s <= 1


@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
@pytest.mark.parametrize(
    "columns",
    [{"status": "archived"}, {"size": 4}, {"deleted": True}, {"key": "elsewhere"}, {"status": "corrupted"}],
    ids=lambda columns: "-".join(map(str, *columns.items())),
)
def test_a_row_that_changed_since_the_glance_is_busy(stage, moment, columns):
    """What the HEAD was asked for is older than the row, or than its parent: look again soon, write nothing."""
    world = stage.world()
    [ref] = suspect(stage, world, "k")
    before = stage.findings()
    tally = look(Meanwhile(world, **{moment: lambda: stage.change("row of k", **columns)}), ref)
    assert busy_and_untouched(stage, world, ref, tally)
    assert stage.findings() == before
    assert stage.status("row of k") == columns.get("status", "active")


def test_a_row_that_went_since_the_glance_is_busy(stage):
    """Deleted between the glance and the transaction, or within it."""
    world = stage.world()
    first, second = suspect(stage, world, "k", "l")
    tally = look(Meanwhile(world, after_heads=lambda: stage.delete_row("row of k")), first)
    assert busy_and_untouched(stage, world, first, tally)
    tally = look(Meanwhile(world, in_transaction=lambda: stage.delete_row("row of l")), second)
    assert busy_and_untouched(stage, world, second, tally)
    look(world, first, second)
    assert stage.findings() == []


def test_a_row_that_came_since_the_glance_is_busy(stage):
    """The HEAD that found no object may be older than the upload that went with it."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")

    def upload():
        stage.row("k")
        stage.put("k")

    tally = look(Meanwhile(world, after_heads=upload), ref)
    assert busy_and_untouched(stage, world, ref, tally)
    look_again(world)
    assert stage.findings() == []


def test_a_row_that_came_and_agrees_needs_nothing(stage):
    """The commit that an event precedes: nothing is written for it."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    stage.put("k")
    tally = look(Meanwhile(world, after_heads=lambda: stage.row("k")), ref)
    assert (tally.busy, stage.findings(), stage.looks()) == (0, [], {})


@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
def test_a_finding_that_moved_on_since_the_glance_is_busy(stage, moment):
    """Two processes at one key: the second to write finds another revision and looks again."""
    one, another = stage.world(), stage.world(actor="another")
    [ref] = suspect(stage, one, "k")
    tally = look(Meanwhile(one, **{moment: lambda: look(another, ref)}), ref)
    assert busy_and_untouched(stage, one, ref, tally)
    assert stage.history() == ["suspected", "flagged"]
    assert stage.status("row of k") == "corrupted"


@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
def test_a_finding_that_began_since_the_glance_is_busy(stage, moment):
    """Two processes see the same drift for the first time; one finding comes of it."""
    one, another = stage.world(), stage.world(actor="another")
    stage.row("k")
    ref = ObjectRef(stage.bucket, "k")
    tally = look(Meanwhile(one, **{moment: lambda: look(another, ref)}), ref)
    assert busy_and_untouched(stage, one, ref, tally)
    assert stage.history() == ["suspected"]


@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
def test_a_finding_that_ended_since_the_glance_is_busy(stage, moment):
    """It is not brought back under its old revision."""
    one, another = stage.world(), stage.world(actor="another")
    [ref] = suspect(stage, one, "k")

    def heal():
        stage.put("k")
        look(another, ref)

    tally = look(Meanwhile(one, **{moment: heal}), ref)
    assert busy_and_untouched(stage, one, ref, tally)
    assert stage.findings() == []
    assert stage.history() == ["suspected", "resolved"]


@pytest.mark.invariant(3)
def test_a_row_that_an_open_transaction_holds_is_busy(stage):
    """It is not waited for; the others of the batch are flagged, and it itself once it is free."""
    world = stage.world()
    refs = suspect(stage, world, "a", "b", "c")
    with stage.holding("row of b"):
        tally = look(world, *refs)
        assert (tally.busy, dict(tally.acts)) == (1, {"flagged": 2})
        assert [stage.status(f"row of {key}") for key in "abc"] == ["corrupted", "active", "corrupted"]
        assert stage.looks()[refs[1]].in_s <= 1
    stage.age(timedelta(seconds=1))
    look_again(world)
    assert stage.status("row of b") == "corrupted"


@pytest.mark.invariant(3)
def test_a_held_row_does_not_keep_its_status_from_being_given_back_later(stage):
    """A give-back that meets an open transaction is done at the next look."""
    world = stage.world()
    [ref] = flag(stage, world, "k")
    stage.put("k")
    with stage.holding("row of k"):
        assert look(world, ref).busy == 1
        assert states(stage) == {"row of k": State.OPEN}
    look(world, ref)
    assert (stage.status("row of k"), stage.findings()) == ("active", [])


@pytest.mark.invariant(3)
def test_a_held_row_hinders_nothing_that_does_not_write_it(stage):
    """Suspecting, opening while observing, resolving: none of them needs the row."""
    world, observing = stage.world(), stage.world(OBSERVING)
    ref = ObjectRef(stage.bucket, "k")
    stage.row("k")
    with stage.holding("row of k"):
        assert dict(look(world, ref).acts) == {"suspected": 1}
        stage.age(GRACE)
        assert dict(look(observing, ref).acts) == {"opened": 1}
        stage.put("k")
        assert dict(look(world, ref).acts) == {"resolved": 1}


# ----- looks -----


def test_a_look_ends_when_all_is_well(stage):
    """What was asked for is done."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    world.ask(hints(ref), timedelta(0), "asked")
    look_again(world)
    assert stage.looks() == {}


@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
def test_a_look_that_was_asked_for_again_meanwhile_does_not_end(stage, moment):
    """A hint that arrives during the look may know more than the HEAD did."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    world.ask(hints(ref), timedelta(0), "asked")
    asking = Meanwhile(world, **{moment: lambda: world.ask(hints(ref), timedelta(0), "asked again")})
    reconcile(asking, world.due(10))
    assert (stage.looks()[ref].asks, stage.looks()[ref].in_s <= 0) == (2, True)
    look_again(world)
    assert stage.looks() == {}


@pytest.mark.parametrize("moment", ["after_heads", "in_transaction"])
def test_a_look_that_another_planned_meanwhile_does_not_end(stage, moment):
    """Every finding keeps its look: who saw the object does not end the look of who saw it gone."""
    one, another = stage.world(), stage.world(actor="another")
    stage.row("k")
    stage.put("k")
    ref = ObjectRef(stage.bucket, "k")
    one.ask(hints(ref), timedelta(0), "asked")

    def lose():
        stage.remove("k")
        look(another, ref)

    reconcile(Meanwhile(one, **{moment: lose}), one.due(10))
    assert states(stage) == {"row of k": State.SUSPECTED}
    assert stage.looks()[ref].in_s <= 31


def test_a_pending_look_is_planned_anew(stage):
    """The next look of an open finding takes the place of the one that led to it."""
    world = stage.world()
    [ref] = flag(stage, world, "k")
    assert (round(stage.looks()[ref].in_s / 60), stage.looks()[ref].attempt) == (1, 1)
    stage.age(MINUTE)
    look_again(world)
    assert (round(stage.looks()[ref].in_s / 60), stage.looks()[ref].attempt) == (2, 2)
    look(world, ref)
    assert (round(stage.looks()[ref].in_s / 60), stage.looks()[ref].attempt) == (4, 3)
    assert stage.looks()[ref].reason == "open"


def test_asking_makes_a_look_sooner_and_never_later(stage):
    """Every ask counts, whoever asks."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    world.ask(hints(ref), HOUR, "first")
    assert stage.looks()[ref].in_s == pytest.approx(3600, abs=5)
    world.ask(hints(ref), MINUTE, "second")
    assert stage.looks()[ref].in_s == pytest.approx(60, abs=5)
    world.ask(hints(ref), HOUR, "third")
    assert stage.looks()[ref].in_s == pytest.approx(60, abs=5)
    assert (stage.looks()[ref].asks, stage.looks()[ref].attempt, stage.looks()[ref].reason) == (3, 0, "first")
    world.ask([], HOUR, "nothing")
    world.ask(hints(ref, ref), HOUR, "twice in one batch")
    assert list(stage.looks()) == [ref]


def test_a_claimed_look_is_invisible_for_a_while(stage):
    """Nobody else gets it, and it comes back if whoever claimed it never does."""
    one, another = stage.world(), stage.world(actor="another")
    ref = ObjectRef(stage.bucket, "k")
    one.ask(hints(ref), timedelta(0), "asked")
    assert [hint.ref for hint in one.due(10)] == [ref]
    assert another.due(10) == one.due(10) == []
    stage.age(timedelta(seconds=55))
    assert another.due(10) == []
    stage.age(timedelta(seconds=10))
    assert [hint.ref for hint in another.due(10)] == [ref]


def test_the_oldest_looks_are_claimed_first(stage):
    """As many as there is room for; what is not due is left."""
    world = stage.world()
    refs = [ObjectRef(stage.bucket, key) for key in "abc"]
    for ref, after in zip(refs, (20, 10, 30), strict=True):
        world.ask(hints(ref), timedelta(seconds=after), "asked")
    world.ask(hints(ObjectRef(stage.bucket, "later")), HOUR, "asked")
    stage.age(MINUTE)
    assert world.due(0) == []
    assert {hint.ref for hint in world.due(2)} == {refs[0], refs[1]}
    assert [hint.ref for hint in world.due(2)] == [refs[2]]


def test_a_look_tells_who_first_named_its_reference(stage):
    """The evidence of a hint comes back with the look, and names the source in the next one, too."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    world.ask([Hint(ref, Action.REMOVED, "express")], timedelta(0), "why")
    [hint] = world.due(10)
    assert (hint.action, hint.named_by) == (Action.LOOK, "look")
    assert hint.evidence.facts() == {"named_by": "express", "look": "why"}


# ----- what is not known -----


@pytest.mark.invariant(1)
def test_what_is_unknown_changes_nothing_and_is_looked_at_again(stage):
    """A bucket that is not there proves no absence; the look backs off, whether rows name the key or not."""
    world = stage.world()
    row_id = stage.row("k", bucket=stage.missing)
    refs = [ObjectRef(stage.missing, "k"), ObjectRef(stage.missing, "no row")]
    tally = look(world, *refs)
    assert (tally.looks, tally.unknown) == (2, 2)
    assert (stage.findings(), stage.status(row_id)) == ([], "active")
    assert [(round(one.in_s), one.attempt) for one in stage.looks().values()] == [(5, 1)] * 2
    stage.age(timedelta(seconds=6))
    look_again(world)
    assert [(round(one.in_s), one.attempt) for one in stage.looks().values()] == [(10, 2)] * 2


@pytest.mark.invariant(1)
def test_a_flagged_row_whose_object_is_unknown_keeps_its_flag(stage):
    """And its finding, with a look."""
    world = stage.world()
    stage.make_bucket(stage.missing)
    row_id = stage.row("k", bucket=stage.missing)
    ref = ObjectRef(stage.missing, "k")
    look(world, ref)
    stage.age(GRACE)
    look_again(world)
    stage.lose_bucket(stage.missing)
    look(world, ref)
    assert (states(stage), stage.status(row_id)) == ({row_id: State.OPEN}, "corrupted")
    assert ref in stage.looks()


@pytest.mark.invariant(1)
def test_many_unknowns_make_a_bucket_unreadable_until_it_answers(stage):
    """Its looks wait while one probe a back-off goes out; one answer, to whoever, lets them go on."""
    one, another = stage.world(), stage.world(actor="another")
    refs = [ObjectRef(stage.missing, str(n)) for n in range(12)]
    look(one, *refs)
    assert stage.restraints("unreadable") == {("", stage.missing)}
    assert one.due(100) == []
    stage.age(timedelta(seconds=6))
    [probe] = one.due(100)
    reconcile(one, [probe])
    assert one.due(100) == another.due(100) == []
    stage.make_bucket(stage.missing)
    stage.age(timedelta(seconds=12))
    reconcile(another, another.due(100))
    assert stage.restraints("unreadable") == set()
    stage.age(MINUTE)
    look_again(one)
    assert stage.looks() == {}


@pytest.mark.invariant(1)
def test_an_unreadable_bucket_keeps_no_other_from_being_looked_at(stage):
    """Its looks wait; those of other buckets are claimed as ever."""
    world = stage.world()
    look(world, *(ObjectRef(stage.missing, str(n)) for n in range(12)))
    ref = ObjectRef(stage.bucket, "k")
    world.ask(hints(ref), timedelta(0), "asked")
    assert [hint.ref for hint in world.due(100)] == [ref]


def test_what_there_was_no_room_for_is_looked_at_at_once(stage):
    """Not asked is not unknown: no back-off, nothing held against the bucket, and the others go on."""
    world = stage.world()
    refs = [ObjectRef(stage.bucket, key) for key in "abc"]
    for key in "abc":
        stage.row(key)
    tally = look(NarrowPool(world, 1), *refs)
    assert (tally.looks, tally.not_asked, tally.unknown, dict(tally.acts)) == (1, 2, 0, {"suspected": 1})
    assert [(stage.looks()[ref].in_s <= 0, stage.looks()[ref].attempt) for ref in refs[1:]] == [(True, 0)] * 2
    assert {hint.ref for hint in world.due(10)} == {refs[1], refs[2]}


# ----- what is refused -----


@pytest.mark.invariant(2)
def test_a_refused_write_is_narrowed_to_its_row(stage):
    """The others of the batch are flagged; the refused one opens without a flag, says so, and is tried again."""
    world = stage.world()
    refs = suspect(stage, world, *"abcdefg")
    stage.refuse("row of c", "row of f")
    tally = look(world, *refs)
    assert dict(tally.acts) == {"flagged": 5, "refused": 2}
    kept = {one.key: (one.state, one.previous_status, one.held_by) for one in stage.findings()}
    assert kept == dict.fromkeys("abdeg", (State.OPEN, "active", None)) | dict.fromkeys(
        "cf", (State.OPEN, None, "refused")
    )
    assert [stage.status(f"row of {key}") for key in "abcdefg"] == [
        "corrupted" if key in "abdeg" else "active" for key in "abcdefg"
    ]
    assert [(round(stage.looks()[ref].in_s / 60), stage.looks()[ref].reason) for ref in (refs[2], refs[5])] == [
        (1, "refused")
    ] * 2
    stage.refuse("row of f")
    stage.age(MINUTE)
    look_again(world)
    assert [stage.status(f"row of {key}") for key in "cf"] == ["corrupted", "active"]
    assert (round(stage.looks()[refs[5]].in_s / 60), stage.looks()[refs[5]].attempt) == (2, 2)


@pytest.mark.invariant(5)
def test_a_refused_give_back_is_tried_again(stage):
    """The finding stays open and keeps the status to give back."""
    world = stage.world()
    [ref] = flag(stage, world, "k")
    stage.put("k")
    stage.refuse("row of k")
    look(world, ref)
    assert stage.findings() == [Seen("k", "row of k", Kind.MISSING, State.OPEN, "active", "refused")]
    assert stage.status("row of k") == "corrupted"
    stage.refuse()
    stage.age(HOUR)
    look_again(world)
    assert (stage.findings(), stage.status("row of k")) == ([], "active")


def test_a_refused_row_that_is_busy_as_well_waits_for_its_look(stage):
    """Refused at first, changed by somebody else before that could be written down: busy, not an outage."""
    one, another = stage.world(), stage.world(actor="another")
    [ref] = suspect(stage, one, "k")
    stage.refuse("row of k")
    calls = []

    def interfere():
        calls.append(1)
        if len(calls) == 2:
            look(another, ref)

    tally = look(Meanwhile(one, in_transaction=interfere), ref)
    assert (tally.busy, stage.looks()[ref].in_s <= 1) == (1, True)
    assert stage.history() == ["suspected", "refused"]


@pytest.mark.invariant(2)
@pytest.mark.parametrize(
    "obstacle",
    [
        pytest.param("ALTER TABLE version ADD CHECK (id <> 'row of b' OR status <> 'corrupted')", id="check"),
        pytest.param(
            """CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.id = 'row of b' AND NEW.status = 'corrupted' THEN RAISE 'too late'; END IF; RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON version DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION late()""",
            id="a deferred constraint trigger, at the commit",
        ),
        pytest.param(
            """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.id = 'row of b' THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END $$;
            CREATE TRIGGER slow BEFORE UPDATE OF status ON version FOR EACH ROW EXECUTE FUNCTION slow()""",
            id="a trigger that takes longer than a statement may",
        ),
        pytest.param(
            """CREATE FUNCTION mute() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.id = 'row of b' AND NEW.status = 'corrupted' THEN RETURN NULL; END IF; RETURN NEW; END $$;
            CREATE TRIGGER mute BEFORE UPDATE OF status ON version FOR EACH ROW EXECUTE FUNCTION mute()""",
            id="a trigger that swallows the write",
        ),
        pytest.param(
            """CREATE TABLE taken (status text UNIQUE); INSERT INTO taken VALUES ('corrupted');
            CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.id = 'row of b' THEN INSERT INTO taken VALUES (NEW.status); END IF; RETURN NEW; END $$;
            CREATE TRIGGER take BEFORE UPDATE OF status ON version FOR EACH ROW EXECUTE FUNCTION take()""",
            id="a unique violation in the application's trigger",
        ),
    ],
)
def test_whatever_refuses_one_row_is_narrowed_to_it(live, obstacle):
    """However PostgreSQL says no: the row stands alone with a finding that says so, and the batch is done."""
    world = live.world()
    refs = suspect(live, world, "a", "b", "c")
    live.sql(obstacle)
    world.database.statement_timeout = "500ms"
    world.database.close()
    tally = look(world, *refs)
    assert dict(tally.acts) == {"flagged": 2, "refused": 1}
    assert [live.status(f"row of {key}") for key in "abc"] == ["corrupted", "active", "corrupted"]
    assert {one.held_by for one in live.findings() if one.key == "b"} == {"refused"}


@pytest.mark.invariant(2)
def test_without_the_privilege_to_write_nothing_is_flagged_and_all_is_said(live):
    """A role that may read the rows only: each finding says that it was refused."""
    world = live.world()
    refs = suspect(live, world, "a", "b")
    with live.reader() as role:
        world.database.connection().execute(f"SET ROLE {role}")
        tally = look(world, *refs)
    assert dict(tally.acts) == {"refused": 2}
    assert {one.held_by for one in live.findings()} == {"refused"}
    assert {live.status(f"row of {key}") for key in "ab"} == {"active"}


@pytest.mark.invariant(5)
def test_a_give_back_that_is_swallowed_is_no_give_back(live):
    """A finding does not resolve over a row that still carries our flag."""
    world = live.world()
    [ref] = flag(live, world, "k")
    live.sql(
        """CREATE FUNCTION mute() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER mute BEFORE UPDATE OF status ON version FOR EACH ROW EXECUTE FUNCTION mute()"""
    )
    live.put("k")
    look(world, ref)
    assert live.status("row of k") == "corrupted"
    assert states(live) == {"row of k": State.OPEN}


# ----- the brake -----


@pytest.mark.invariant(7)
def test_the_brake_holds_the_batch_that_would_cross_it(stage):
    """Three are believed: four in one batch are held, all of them, and it latches."""
    world = stage.world(brake=THREE)
    look(world, *suspect(stage, world, *"abcd"))
    assert stage.restraints("brake") == {("missing", "")}
    assert {(one.state, one.held_by) for one in stage.findings()} == {(State.SUSPECTED, "brake")}
    assert {stage.status(f"row of {key}") for key in "abcd"} == {"active"}
    assert {round(one.in_s / 60) for one in stage.looks().values()} == {60}
    assert stage.history() == ["suspected"] * 4 + ["held"] * 4


@pytest.mark.invariant(7)
def test_the_brake_counts_what_was_flagged_within_its_window(stage):
    """By the history, whoever flagged it, in whatever bucket; what is older does not count."""
    one, another = stage.world(brake=THREE), stage.world(brake=THREE, actor="another")
    flag(stage, one, "a", "b")
    look(another, *suspect(stage, another, "c"))
    assert stage.restraints("brake") == set()
    stage.age(timedelta(minutes=11))
    flag(stage, another, "d", "e", "f")
    assert stage.restraints("brake") == set()
    look(one, *suspect(stage, one, "g"))
    assert stage.restraints("brake") == {("missing", "")}
    assert stage.status("row of g") == "active"


@pytest.mark.invariant(7)
def test_a_latched_brake_holds_whatever_comes_until_it_is_released(stage):
    """Also when the window is over, and also a single one; the hold changes nothing a second time."""
    world = stage.world(brake=THREE)
    look(world, *suspect(stage, world, *"abcd"))
    stage.age(HOUR)
    [late] = suspect(stage, world, "late")
    look(world, late)
    assert stage.status("row of late") == "active"
    before = stage.history()
    stage.age(HOUR)
    look_again(world)
    assert stage.history() == before
    assert {one.held_by for one in stage.findings()} == {"brake"}
    assert {round(one.in_s / 60) for one in stage.looks().values()} == {60}


@pytest.mark.invariant(5)
@pytest.mark.invariant(7)
def test_under_the_brake_giving_back_goes_on(stage):
    """What was flagged before is healed; what is held resolves when its object is there."""
    world = stage.world(brake=THREE)
    [flagged] = flag(stage, world, "flagged")
    refs = suspect(stage, world, *"abcd")
    look(world, *refs)
    assert stage.restraints("brake") == {("missing", "")}
    stage.put("flagged")
    stage.put("a")
    look(world, flagged, *refs)
    assert stage.status("row of flagged") == "active"
    assert sorted(states(stage)) == ["row of b", "row of c", "row of d"]


@pytest.mark.invariant(7)
def test_a_release_frees_what_was_held_and_does_not_trip_on_it(stage):
    """Each is looked at anew, and none of them is counted."""
    world = stage.world(brake=THREE)
    look(world, *suspect(stage, world, *"abcde"))
    stage.put("e")
    stage.release()
    assert stage.restraints("brake") == set()
    assert {one.held_by for one in stage.findings()} == {"released"}
    tally = look_again(world)
    assert dict(tally.acts) == {"flagged after release": 4, "resolved": 1}
    assert {stage.status(f"row of {key}") for key in "abcd"} == {"corrupted"}
    flag(stage, world, "f", "g", "h")
    assert stage.restraints("brake") == set()
    look(world, *suspect(stage, world, "i"))
    assert stage.restraints("brake") == {("missing", "")}


@pytest.mark.invariant(7)
def test_more_than_half_of_a_bucket_is_not_believed(stage):
    """By the count of its live rows; another bucket goes on."""
    world = stage.world(brake=Brake(bucket_floor=2))
    stage.count_live(stage.bucket, 4)
    stage.count_live(stage.other, 400)
    flag(stage, world, "a", "b")
    refs = suspect(stage, world, "c")
    stage.row("d", bucket=stage.other)
    there = ObjectRef(stage.other, "d")
    look(world, there)
    stage.age(GRACE)
    look(world, *refs, there)
    assert stage.restraints("brake") == {("missing", stage.bucket)}
    assert [stage.status(f"row of {key}") for key in "cd"] == ["active", "corrupted"]


@pytest.mark.invariant(7)
def test_orphans_have_a_brake_of_their_own(stage):
    """A mass of orphans is held unopened, counted by the history; flags go on; a release opens them uncounted."""
    world = stage.world(replace(FLAGGING, orphan_grace=MINUTE), THREE)

    def drift(*keys):
        for key in keys:
            stage.put(key)
        look(world, *(ObjectRef(stage.bucket, key) for key in keys))
        stage.age(MINUTE)
        return dict(look_again(world).acts)

    assert drift("a", "b") == {"opened": 2}
    stage.row("d", status="deleted")
    assert drift("c", "d") == {"held": 2}
    assert stage.restraints("brake") == {("orphan", "")}
    assert {one.key: (one.kind, one.state, one.held_by) for one in stage.findings() if one.key in "cd"} == {
        "c": (Kind.ORPHAN, State.SUSPECTED, "brake"),
        "d": (Kind.LEFTOVER, State.SUSPECTED, "brake"),
    }
    flag(stage, world, "x", "y", "z")
    stage.release()
    assert dict(look_again(world).acts)["opened"] == 2
    assert drift("e", "f", "g") == {"opened": 3}
    assert drift("h") == {"held": 1}


@pytest.mark.invariant(7)
def test_the_defaults_believe_a_hundred(stage):
    """A hundred and one in one batch are held; a hundred are flagged."""
    world = stage.world()
    keys = [f"{n:03}" for n in range(101)]
    refs = suspect(stage, world, *keys)
    look(world, *refs[:100])
    assert stage.restraints("brake") == set()
    assert {stage.status(f"row of {key}") for key in keys[:100]} == {"corrupted"}
    look(world, refs[100])
    assert stage.restraints("brake") == {("missing", "")}
    assert stage.status("row of 100") == "active"


@pytest.mark.invariant(7)
def test_the_brake_is_one_for_all_processes(live):
    """While one counts, another does not: its flags wait for a look, and are counted with those of the first."""
    one, another = live.world(brake=THREE), live.world(brake=THREE, actor="another")
    ours, theirs = suspect(live, one, "a", "b"), suspect(live, another, "c", "d")
    tallies = []
    look(Meanwhile(one, before_commit=lambda: tallies.append(look(another, *theirs))), *ours)
    assert (tallies[0].busy, dict(tallies[0].acts)) == (2, {})
    live.age(MINUTE)
    look(another, *theirs)
    assert [live.status(f"row of {key}") for key in "abcd"] == ["corrupted", "corrupted", "active", "active"]
    assert live.restraints("brake") == {("missing", "")}


# ----- outages -----


@pytest.mark.invariant(2)
@pytest.mark.parametrize("server", ["minio", "postgresql"])
def test_an_outage_writes_nothing(stage, server):
    """Whoever named the references keeps them: nothing is written, and Unavailable says which server."""
    world = stage.world()
    refs = suspect(stage, world, "a", "b")
    before = stage.everything()
    with stage.outage(world, server), pytest.raises(Unavailable) as outage:
        look(world, *refs)
    assert outage.value.server == server
    assert stage.everything() == before
    look(world, *refs)
    assert {stage.status(f"row of {key}") for key in "ab"} == {"corrupted"}


@pytest.mark.invariant(2)
@pytest.mark.parametrize("moment", ["after_heads", "in_transaction", "before_commit"])
def test_a_database_that_goes_away_in_between_has_nothing_written(stage, moment):
    """Before the transaction, within it, after its last statement: all of a batch or nothing."""
    world = stage.world()
    refs = suspect(stage, world, "a", "b")
    before = stage.everything()
    with ExitStack() as outage, pytest.raises(Unavailable):
        look(Meanwhile(world, **{moment: lambda: outage.enter_context(stage.outage(world, "postgresql"))}), *refs)
    assert stage.everything() == before
    look(world, *refs)
    assert {stage.status(f"row of {key}") for key in "ab"} == {"corrupted"}


@pytest.mark.invariant(2)
def test_a_process_that_dies_before_the_commit_has_nothing_written(stage):
    """Flags and findings are one transaction."""
    world = stage.world()
    refs = suspect(stage, world, "a", "b")
    before = stage.everything()

    def die():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look(Meanwhile(world, before_commit=die), *refs)
    assert stage.everything() == before
