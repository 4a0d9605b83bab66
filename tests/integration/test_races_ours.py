"""Two of ours at one finding, a person's act against what happens meanwhile, in every order of their steps.

As in test_races.py: two threads that stand at each point of their transactions until they may go on.
"""

from datetime import timedelta

import psycopg
import pytest

from reconcile.config.settings import Trash
from reconcile.database import BRAKE_LOCK
from reconcile.inquiry import Filter
from reconcile.life import Input
from reconcile.model import Action, Kind, ObjectRef, Policy
from reconcile.repair.erase import Erasing
from reconcile.repair.erasing import facts_of as approved_as
from reconcile.repair.purging import Aims, Purging
from reconcile.repair.trash import Bin
from reconcile.repair.triage import Deed, Named, as_it_is, carried_out, unasked
from reconcile.store.storing import Storing
from tests.contract.conftest import ground  # noqa: F401 - a fixture
from tests.contract.stages import GRACE, Meanwhile, look, look_again
from tests.support.racers import (
    BELIEVING,
    LOOK_STEPS,
    back,
    claimed,
    flagged,
    looking,
    orphan,
    quiet,
    racer,
    staged,
    suspected,
    two,
)
from tests.support.racing import orders, race

AT_ONCE = Policy(flagging=True, orphan_grace=timedelta(0))
NOW = Aims(timedelta(0), timedelta(0), even_alone=True)
OF_KEY = """
SELECT h.act FROM reconciler.history AS h JOIN reconciler.finding AS f ON f.id = h.finding_id
WHERE f.key = %s ORDER BY h.id
"""
WAITS_FOR = "SHOW lock_timeout"
APPROVED_SIZE = (
    "SELECT key FROM reconciler.finding WHERE state = 'deleted' AND evidence -> 'approved' -> 'size' = to_jsonb(%s)"
)


@pytest.fixture
def stage(ground, minio):  # noqa: F811 - the fixture
    """Set the live stage, with nothing kept."""
    with staged(ground, minio) as ready:
        yield ready


@pytest.fixture
def worlds(stage):
    """Start two processes."""
    return two(stage)


def named(stage, ref):
    """Name the one finding of a reference, for a person's act, whatever became of it."""
    [(number, row_id)] = stage.sql("SELECT id, row_id FROM reconciler.finding WHERE key = %s", [ref.key])
    return Named(number, ref, row_id)


def acting(act):
    """Return a person's act on the one finding of a reference."""

    def done(stage, world, ref):
        proven = act not in {Input.IGNORE, Input.REOPEN}
        deed = Deed(act, "because") if proven else Deed(act, "because", as_it_is, through=unasked)
        return list(carried_out(world, deed, [named(stage, ref)]))

    return done


FLAGGED = ("suspected", "flagged")
OPENED = ("suspected", "opened")
PAIRS = {
    "both suspect": (lambda stage, _, ref: stage.row(ref.key), looking, looking, {("suspected",), FLAGGED}),
    "both flag": (suspected, looking, looking, {FLAGGED}),
    "both give back": (back, looking, looking, {(*FLAGGED, "given back")}),
    "both find an orphan": (lambda stage, _, ref: stage.put(ref.key), looking, looking, {("suspected",), OPENED}),
    "both resolve an orphan": (claimed, looking, looking, {(*OPENED, "resolved")}),
    "one ignores what another flags": (
        suspected, acting(Input.IGNORE), looking,
        {("suspected", "ignored"), ("suspected", "flagged", "ignored")},
    ),
    "one ignores what another gives back": (
        back, acting(Input.IGNORE), looking, {(*FLAGGED, "ignored", "given back"), (*FLAGGED, "given back")},
    ),
    "two approve": (orphan, acting(Input.APPROVE), acting(Input.APPROVE), {(*OPENED, "approved")}),
    "one approves what another ignores": (
        orphan, acting(Input.APPROVE), acting(Input.IGNORE), {(*OPENED, "approved"), (*OPENED, "ignored")},
    ),
    "one approves what another resolves": (claimed, acting(Input.APPROVE), looking, {(*OPENED, "resolved")}),
}  # fmt: skip


@pytest.mark.timeout(180)
@pytest.mark.parametrize("what", PAIRS)
def test_of_two_at_one_finding_one_goes_first(stage, worlds, what):
    """Whatever the order of reads, locks and writes: what is kept is what one after the other would do."""
    prepare, one, other, serial = PAIRS[what]
    kept = set()
    for number, order in enumerate(orders(LOOK_STEPS, LOOK_STEPS, [*PAIRS].index(what))):
        ref = ObjectRef(stage.bucket, f"k{number}")
        prepare(stage, worlds[0], ref)
        stage.age(GRACE)
        race(
            racer(stage, worlds[0], lambda standing, _, ref=ref: one(stage, standing, ref)),
            racer(stage, worlds[1], lambda standing, _, ref=ref: other(stage, standing, ref)),
            order,
        )
        look(worlds[0], ref)  # both may have found the other at it, and then look again soon
        kept.add(tuple(act for (act,) in stage.sql(OF_KEY, [ref.key])))
    assert kept <= serial


def upload(stage, world, ref, pause):
    """Put the object, and hear of it."""
    stage.put(ref.key)
    pause()
    looking(stage, world, ref, Action.CREATED)


@pytest.mark.invariant(5)
@pytest.mark.timeout(180)
def test_a_purge_and_an_object_that_returns(stage, worlds):
    """Either its row is live again, or it is gone and the object is an orphan: whatever the order of their steps."""
    rows, refs, ends = {}, {}, set()
    for number, order in enumerate(orders(LOOK_STEPS + 2, LOOK_STEPS + 1)):
        ref = refs[number] = ObjectRef(stage.bucket, f"k{number}")
        flagged(stage, worlds[0], ref)
        rows[f"row of {ref.key}"] = ref.key
        run = Purging(worlds[0], NOW)
        found = [one for one in run.candidates(Filter(), None) if one.named.ref == ref]
        race(
            racer(stage, worlds[0], lambda standing, _, found=found: list(Purging(standing, NOW).apply(found))),
            racer(stage, worlds[1], lambda standing, pause, ref=ref: upload(stage, standing, ref, pause)),
            order,
        )
    quiet(stage, worlds[0], refs.values())
    there = dict(stage.sql("SELECT id, status FROM version"))
    kept = {one.key: one.kind for one in stage.findings()}
    for row, key in rows.items():
        ends.add((there.get(row), kept.get(key)))
    assert ends == {("active", None), (None, Kind.ORPHAN)}


def erase(stage, storing, ref, approve):
    """Return a person's approval, and the deletion of what was approved."""

    def work(standing, pause):
        list(carried_out(standing, approve, [named(stage, ref)]))
        hands = Bin(standing, storing, pause)
        pause()
        list(Erasing(hands, timedelta(0), Trash(), frozenset()).erased([named(stage, ref)]))

    return work


MEANWHILE = {
    "its row comes": lambda stage, ref, _: stage.row(ref.key),
    "it is written anew": lambda stage, ref, _: stage.put(ref.key, b"NEWER"),
    "both": lambda stage, ref, pause: (stage.put(ref.key, b"NEWER"), pause(), stage.row(ref.key, size=5)),
    "it goes and returns": lambda stage, ref, pause: (stage.remove(ref.key), pause(), stage.put(ref.key, b"NEWER")),
}
TWO_STEPS = {"both", "it goes and returns"}
WITHOUT_ROW = {"it is written anew", "it goes and returns"}


@pytest.mark.invariant(6)
@pytest.mark.timeout(180)
@pytest.mark.parametrize("what", MEANWHILE)
def test_an_approval_and_an_object_that_is_wanted_again(stage, what):
    """What a row names, or what is not what was approved, is there at the end; a row that comes last is missing it."""
    stage.make_versioned()
    person, world = (stage.world(AT_ONCE, BELIEVING, name) for name in ("person", "other"))
    refs, acts = {}, set()
    with Storing(stage.server) as storing:
        for number, order in enumerate(orders(2 * LOOK_STEPS + 5, 1 + (what in TWO_STEPS), [*MEANWHILE].index(what))):
            ref = refs[number] = ObjectRef(stage.bucket, f"k{number}")
            orphan(stage, world, ref)
            approve = Deed(Input.APPROVE, facts=lambda _, side: {"approved": approved_as(side)})
            race(
                racer(stage, person, erase(stage, storing, ref, approve)),
                racer(stage, world, lambda _, pause, ref=ref: MEANWHILE[what](stage, ref, pause)),
                order,
            )
            acts |= {act for (act,) in stage.sql(OF_KEY, [ref.key])}
        quiet(stage, world, refs.values())
        there = {ref.key: storing.versions(*ref[:2])[0] for ref in refs.values()}
    missing = {one.key for one in stage.findings() if one.kind is Kind.MISSING}
    gone = {key for key, one in there.items() if one.is_marker}
    if what in WITHOUT_ROW:
        gone -= {key for (key,) in stage.sql(APPROVED_SIZE, [5])}  # it came first, and is what was approved
    assert gone == missing
    assert {one.size for one in there.values() if not one.is_marker} == {3 if what == "its row comes" else 5}
    assert "deletion begun" in acts


@pytest.mark.invariant(7)
def test_whoever_cannot_have_the_brake_waits_for_it_once(stage, worlds):
    """Another holds it for long: no half of a batch waits anew, all is looked at again soon, and then is flagged."""
    keys, begun = [f"k{number}" for number in range(16)], []
    for key in keys:
        stage.row(key)
    refs = [ObjectRef(stage.bucket, key) for key in keys]
    look(worlds[0], *refs)
    stage.age(GRACE)
    with psycopg.connect(stage.url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [BRAKE_LOCK])
        tally = look(Meanwhile(worlds[0], in_transaction=lambda: begun.append("a transaction")), *refs)
    assert (tally.busy, len(begun)) == (16, 1)
    assert {planned.in_s <= 1 for planned in stage.looks().values()} == {True}
    stage.age(timedelta(seconds=1))
    timeouts = []
    seen = Meanwhile(
        worlds[0], before_commit=lambda: timeouts.append(worlds[0].database.connection().execute(WAITS_FOR))
    )
    look_again(seen)
    assert timeouts[0].fetchall() == [("200ms",)], "it waits no longer for anything else"
    assert {status for (status,) in stage.sql("SELECT status FROM version")} == {"corrupted"}
