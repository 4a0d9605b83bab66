"""What every World tells, and what a look leads to, held against both of them."""

from datetime import timedelta
from itertools import product

import psycopg
import pytest

from reconcile.batch import Unsettled
from reconcile.model import NOTHING_KNOWN, Action, Hint, Kind, ObjectRef, RowState, State, Told
from reconcile.reconciler import reconcile
from reconcile.verdict import settled
from tests.contract.stages import (
    GRACE,
    HOUR,
    MINUTE,
    NEVER_A_VERSION,
    OBSERVING,
    ORPHAN_GRACE,
    Meanwhile,
    Seen,
    flag,
    hints,
    look,
    look_again,
    states,
    suspect,
)


# ----- the glance -----
def test_nothing_is_known_of_an_unknown_key(stage):
    """A reference that no row, finding or look names is told as nothing, but told."""
    refs = [ObjectRef(stage.bucket, "a"), ObjectRef(stage.bucket, "b", "v1")]
    assert stage.world().glance(refs) == dict.fromkeys(refs, NOTHING_KNOWN)
    assert stage.world().glance([]) == {}


def test_what_a_glance_does_not_settle_is_what_the_verdict_does_not_settle(stage):
    """Over rows of every state, size and ETag, one and two a key, with a finding and without, for every hint."""
    keys = ["none", "opened"]
    for number, (status, size, etag) in enumerate(
        product(("active", "corrupted", "pending"), (None, 3, 4), (None, "e"))
    ):
        keys.append(f"k{number}")
        stage.row(keys[-1], f"{number}", size=size, etag=etag, status=status)
    for number, second in enumerate(("pending", "corrupted", "active")):
        keys.append(f"two{number}")
        stage.row(keys[-1], f"a{number}", size=3, status="active")
        stage.row(keys[-1], f"b{number}", size=4 if number % 2 else 3, status=second)
    stage.row("opened", "o", size=3)
    world = stage.world()
    reconcile(world, [Hint(ObjectRef(stage.bucket, "opened"))])
    refs = [ObjectRef(stage.bucket, key) for key in keys]
    hints = [
        Hint(ref, *told) for ref in refs for told in ((Action.CREATED, "event", 3, "e"), (Action.CREATED, "event", 3))
    ]
    hints += [Hint(ref, action) for ref in refs for action in (Action.REMOVED, Action.LOOK)]
    known = world.glance(refs)
    batches = [hints[:40], [], hints[40:]]
    told = [[one for one in batch.pairs() if not settled(*one)] for batch in world.unsettled(iter(batches), ())]
    assert told == [[(one, known[one.ref]) for one in batch if not settled(one, known[one.ref])] for batch in batches]


def test_a_row_of_another_version_settles_nothing(stage):
    """An event that names no version is not borne out by a row that names one."""
    stage.row("k", s3_version=NEVER_A_VERSION)
    ref = ObjectRef(stage.bucket, "k")
    world = stage.world()
    for version, expected in (("", 1), (NEVER_A_VERSION, 0), ("another", 1)):
        hint = Hint(ref, Action.CREATED, "event", 3, s3_version=version)
        [told] = world.unsettled([[hint]], ())
        assert len([one for one in told.pairs() if not settled(*one)]) == expected


def test_a_row_of_another_bucket_settles_nothing(stage):
    """The same key elsewhere is another object."""
    stage.row("k", bucket=stage.other)
    here, there = (Hint(ObjectRef(bucket, "k"), Action.CREATED, "event", 3) for bucket in (stage.bucket, stage.other))
    assert list(stage.world().unsettled([[here, there]], ())) == [Unsettled([(here, NOTHING_KNOWN)])]


def test_what_is_doubtful_is_always_told(stage):
    """A key that was removed a moment ago is not settled by its row."""
    stage.row("a", size=3)
    hint = Hint(ObjectRef(stage.bucket, "a"), Action.CREATED, "event", 3)
    world = stage.world()
    assert list(world.unsettled([[hint]], {hint.ref})) == [Unsettled([(hint, world.glance([hint.ref])[hint.ref])])]
    assert list(world.unsettled([[hint]], ())) == [Unsettled([])]
    assert list(world.unsettled([], ())) == []


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


def test_a_glance_tells_the_rows_that_may_claim_the_version(stage):
    """Of the latest all rows of the key may; of another its own, and those that name none, whichever is the latest."""
    stage.row("k", "a")
    stage.row("k", "b", s3_version="v1")
    stage.row("k", "c", s3_version="v2")
    latest, version = ObjectRef(stage.bucket, "k"), ObjectRef(stage.bucket, "k", "v1")
    known = stage.world().glance([latest, version])
    assert [row.row_id for row in known[latest].rows] == ["a", "b", "c"]
    assert [row.row_id for row in known[version].rows] == ["a", "b"]


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


@pytest.mark.invariant(8)
def test_a_row_that_moved_with_its_flag_is_looked_at_where_it_is_now(stage):
    """Its status is given back at the old key; an event of the new one, in the same batch, met it flagged."""
    world = stage.world()
    row_id = stage.row("old")
    old, new = ObjectRef(stage.bucket, "old"), ObjectRef(stage.bucket, "new")
    look(world, old)
    stage.age(GRACE)
    look_again(world)
    assert stage.status(row_id) == "corrupted"
    stage.change(row_id, key="new")
    look(world, old, new)
    assert stage.status(row_id) == "active"
    assert set(stage.looks()) == {new}
    look_again(world)
    assert stage.findings() == [Seen("new", row_id, Kind.MISSING, State.SUSPECTED, None, None)]


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


@pytest.mark.invariant(6)
def test_a_row_without_a_version_claims_whichever_version_is_the_latest(stage):
    """What another row says should be gone is no leftover then, which a person could have deleted."""
    stage.make_versioned()
    version = stage.put("k")
    stage.row("k", "given up", s3_version=version, deleted=True)
    stage.row("k", "in use")
    world = stage.world()
    look(world, ObjectRef(stage.bucket, "k", version), ObjectRef(stage.bucket, "k"))
    assert stage.findings() == []


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


# ----- what is kept of it -----


def told(ref, action=Action.LOOK, named_by="event", **facts):
    """Name a reference with evidence."""
    return Hint(ref, action, named_by, evidence=Told(facts))


def test_every_change_keeps_who_why_and_the_evidence(stage):
    """The process that wrote it, the reason where there is one, the hint's own account, and what HEAD said."""
    one, another = stage.world(actor="one"), stage.world(actor="another")
    stage.row("k")
    ref = ObjectRef(stage.bucket, "k")
    reconcile(one, [told(ref, Action.REMOVED, principal="someone", source_address="10.0.0.9")])
    facts = stage.evidence("k")
    assert (facts["principal"], facts["source_address"]) == ("someone", "10.0.0.9")
    assert (facts["named_by"], facts["object"]["seen"], facts["object"]["code"]) == ("event", "absent", "NoSuchKey")
    stage.put("k")
    stage.age(GRACE)
    look_again(another)
    assert stage.lines() == [("one", "suspected", ""), ("another", "resolved", "the object is there and agrees")]


def test_the_hint_that_tells_most_is_the_one_that_is_kept(stage):
    """Of several hints for one reference a removal says more than a creation, and that more than a look."""
    stage.row("k")
    ref = ObjectRef(stage.bucket, "k")
    batch = [
        told(ref, Action.REMOVED, said="removed"),
        told(ref, Action.CREATED, said="created"),
        told(ref, said="look"),
    ]
    tally = reconcile(stage.world(), batch)
    assert (tally.looks, stage.evidence("k")["said"]) == (1, "removed")


def test_an_event_that_comes_later_adds_who_did_it(stage):
    """What a sweep found first is told more of by the event that can have caused it, and by no other; once."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    stage.row("k")
    reconcile(world, [told(ref, named_by="sweep")])
    reconcile(world, [told(ref, Action.CREATED, principal="not they")])
    reconcile(world, [told(ref, Action.REMOVED, principal="they")])
    reconcile(world, [told(ref, Action.REMOVED, principal="somebody later")])
    assert stage.evidence("k")["principal"] == "they"
    assert world.glance([ref])[ref].findings[0].named_by == ("sweep", "event")
    assert world.glance([ref])[ref].findings[0].revision == 1
    assert stage.history() == ["suspected"]


def test_what_a_stored_look_tells_reaches_the_finding(stage):
    """A hint that was put off loses nothing of its evidence."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    stage.row("k")
    world.ask([told(ref, Action.REMOVED, "express", principal="someone")], timedelta(0), "busy")
    look_again(world)
    facts = stage.evidence("k")
    assert (facts["principal"], facts["named_by"], facts["look"]) == ("someone", "express", "busy")


def test_a_status_that_the_application_had_changed_is_not_said_to_be_given_back(stage):
    """The history does not claim what did not happen."""
    world = stage.world()
    [ref] = flag(stage, world, "k")
    stage.change("row of k", status="archived")
    stage.put("k")
    look(world, ref)
    assert stage.lines()[-1] == ("test", "resolved", "the application had changed the status")


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


@pytest.mark.parametrize("first", ["express", "event"])
def test_an_upload_that_is_read_late_takes_nobodys_place_in_the_evidence(stage, first):
    """Who removed it stays, or comes when it is told; who had uploaded it before is nothing to a missing object."""
    world, ref = stage.world(), ObjectRef(stage.bucket, "k")
    stage.row("k")
    late = told(ref, Action.CREATED, "event", principal="the uploader")
    removal = told(ref, Action.REMOVED, first, principal="the remover")
    for hint in (removal, late) if first == "express" else (late, removal):
        reconcile(world, [hint])
    stage.age(GRACE)
    reconcile(world, [late])
    look_again(world)
    assert stage.evidence("k")["principal"] == "the remover"
