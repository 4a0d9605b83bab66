"""A person's act, carried out on a real database: over every state, where it is busy, where the row is refused."""

import psycopg
import pytest

from reconcile.life import LIFE, Input
from reconcile.model import FINAL, Kind, ObjectRef, State, Unavailable
from reconcile.repair.triage import TRIES, Deed, Named, as_it_is, carried_out, still_drifting, unasked
from reconcile.steps import GiveBack, Purge
from reconcile.trial import Trial
from tests.contract.stages import Meanwhile, flag

KEEP = """
INSERT INTO reconciler.finding (bucket, key, kind, state, closed_at)
VALUES (%s, %s, 'orphan', %s, CASE WHEN %s THEN now() END) RETURNING id
"""
LOST = """
INSERT INTO reconciler.finding (bucket, key, row_id, kind, state, previous_status, closed_at)
VALUES (%s, %s, %s, %s, %s, %s, CASE WHEN %s THEN now() END) RETURNING id
"""
KEPT = "SELECT state FROM reconciler.finding WHERE id = %s"
TOUCH = "UPDATE reconciler.finding SET revision = revision + 1"
UNPROVEN = {Input.IGNORE, Input.REOPEN}
AS_IT_IS = UNPROVEN | {Input.DELETE, Input.ADOPT}  # ask nothing of the two sides


def orphan(live, state):
    """Keep the finding of an orphan that is there; returns what names it."""
    ref = ObjectRef(live.bucket, f"{state}")
    live.put(ref.key)
    [(number,)] = live.sql(KEEP, [ref.bucket, ref.key, state, state in FINAL])
    return Named(number, ref)


def version(live, state):
    """Keep a flagged row whose object is gone, and its finding; returns what names it."""
    ref, row_id, is_closed = ObjectRef(live.bucket, f"{state}"), f"row of {state}", state in FINAL
    live.row(ref.key, status="corrupted")
    was = None if is_closed else "active"
    [(number,)] = live.sql(LOST, [ref.bucket, ref.key, row_id, "missing", state, was, is_closed])
    return Named(number, ref, row_id)


def mismatch(live, state):
    """Keep a live row whose object is of another size, and its finding; returns what names it."""
    ref, row_id = ObjectRef(live.bucket, f"{state}"), f"row of {state}"
    live.row(ref.key)
    live.put(ref.key, b"longer")
    [(number,)] = live.sql(LOST, [ref.bucket, ref.key, row_id, "mismatch", state, None, False])
    return Named(number, ref, row_id)


def deed(act, **more):
    """Return the act as its command does it."""
    if act is Input.PURGE:
        more = {"effect": lambda subject: Purge(subject.row_id, alone=True)} | more
    unfit = as_it_is if act in AS_IT_IS else still_drifting
    return Deed(act, "because", unfit, **({"through": unasked} if act in UNPROVEN else {}), **more)


@pytest.mark.parametrize(
    "act", [Input.IGNORE, Input.REOPEN, Input.APPROVE, Input.ERASE, Input.DELETE, Input.PURGE], ids=lambda act: act.name
)
def test_over_every_state_an_act_does_what_the_table_says_and_tells_why_not(live, act):
    """The outcome, what is kept and the history agree; a plan tells the same and writes nothing."""
    world = live.world(actor="ann")
    there = {state: (version if act is Input.PURGE else orphan)(live, state) for state in State}
    expected = {state: LIFE.get((state, act)) if state not in FINAL else None for state in State}
    before = live.everything()
    planned = {one.named: one for one in carried_out(Trial(world, has_kept=True), deed(act), there.values())}
    assert live.everything() == before
    done = {one.named: one for one in carried_out(world, deed(act), there.values())}
    for state, named in there.items():
        assert planned[named][:3] == done[named][:3]
        assert done[named].done == (expected[state] is not None)
        assert done[named].told == expected[state][1] if expected[state] else done[named].told
        [(kept,)] = live.sql(KEPT, [named.finding])
        assert kept == (expected[state][0] if expected[state] else state)
    acts = [(one[0], one[1]) for one in live.lines() if one[2] == "because"]
    assert sorted(acts) == sorted(("ann", one[1]) for one in expected.values() if one)
    if act is Input.PURGE:
        left = {row_id for (row_id,) in live.sql("SELECT id FROM version")}
        assert left == {one.row_id for state, one in there.items() if not expected[state]}


@pytest.mark.parametrize("state", [None, *State], ids=str)
def test_a_flag_is_taken_over_where_no_finding_that_is_not_closed_has_it(live, state):
    """With the status to go back to; a plan tells the same, and writes nothing."""
    world = live.world(actor="ann")
    if state is None:
        live.row("None", status="corrupted")
    else:
        version(live, state)
    named = Named(None, ObjectRef(live.bucket, f"{state}"), f"row of {state}")
    before = live.everything()
    [planned] = carried_out(Trial(world, has_kept=True), deed(Input.ADOPT, previous_status="active"), [named])
    assert live.everything() == before
    [done] = carried_out(world, deed(Input.ADOPT, previous_status="active"), [named])
    assert planned[:3] == done[:3]
    is_free = state is None or state in FINAL
    assert (done.done, done.told) == ((True, "adopted") if is_free else (False, f"it is missing, {state}"))
    kept = "SELECT state, previous_status FROM reconciler.finding WHERE closed_at IS NULL"
    assert live.sql(kept) == [("open" if is_free else state, "active")]
    assert live.status(named.row_id) == "corrupted"


@pytest.mark.parametrize("act", [Input.APPROVE, Input.ERASE, Input.DELETE, Input.PURGE], ids=lambda act: act.name)
@pytest.mark.parametrize("state", [State.OPEN, State.APPROVED])
@pytest.mark.parametrize("kind", [orphan, version, mismatch], ids=lambda kind: kind.__name__)
def test_no_act_is_done_to_a_kind_that_it_is_not_for(live, act, kind, state):
    """An object that a row names is never approved nor deleted; nor is a mismatch purged."""
    if kind is (version if act is Input.PURGE else orphan):
        return
    named = kind(live, state)
    [outcome] = carried_out(live.world(), deed(act), [named])
    assert (outcome.done, live.sql(KEPT, [named.finding])) == (False, [(state,)])
    assert live.history() == []


def test_what_is_not_what_it_was_is_left_alone_and_said_to_be(live):
    """An orphan that a row names by now, and one that is gone, are looked at instead: both are resolved."""
    world = live.world()
    named, gone = orphan(live, State.OPEN), orphan(live, State.SUSPECTED)
    live.row(named.ref.key)
    live.remove(gone.ref.key)
    outcomes = list(carried_out(world, deed(Input.APPROVE), [named, gone]))
    assert [one.done for one in outcomes] == [False, False]
    assert all("a look changed it: resolved" in one.told for one in outcomes)
    assert live.findings() == []


def test_where_a_finding_moves_on_meanwhile_the_act_is_tried_again(live):
    """Somebody else's change between reading and writing loses nothing, and the act is done once."""
    named = orphan(live, State.OPEN)
    touched = []

    def once():
        if not touched:
            touched.append(live.sql(TOUCH))

    [outcome] = carried_out(Meanwhile(live.world(), in_transaction=once), deed(Input.APPROVE), [named])
    assert (outcome.done, live.history()) == (True, ["approved"])


def test_where_a_finding_never_stands_still_it_is_told_and_another_try_may_do_it(live):
    """Nothing is half done, and what was meant can be asked for again."""
    named, tries = orphan(live, State.OPEN), []
    busy = Meanwhile(live.world(), in_transaction=lambda: tries.append(live.sql(TOUCH)))
    [outcome] = carried_out(busy, deed(Input.APPROVE), [named])
    assert (outcome.done, outcome.again, len(tries)) == (False, True, TRIES)
    assert live.history() == []
    assert live.sql(KEPT, [named.finding]) == [("open",)]


def test_what_was_done_before_a_server_went_away_is_told(live):
    """One is committed, the other was busy; at the next try nobody answers."""
    done, busy = orphan(live, State.OPEN), orphan(live, State.SUSPECTED)
    touch = f"{TOUCH} WHERE id = {busy.finding}"
    transactions = iter((touch, "SELECT", touch))  # of both, of the first alone, of the other alone

    def then() -> None:
        query = next(transactions, "")
        if not query:
            raise Unavailable("postgresql", "it is away")
        live.sql(query)

    outcomes = carried_out(Meanwhile(live.world(), in_transaction=then), deed(Input.IGNORE), [done, busy])
    assert next(outcomes)[:3] == (done, True, "ignored")
    with pytest.raises(Unavailable):
        next(outcomes)
    assert live.history() == ["ignored"]


def test_one_that_is_locked_hinders_no_other(live):
    """A batch is halved until the one stands alone that somebody holds."""
    world = live.world()
    world.database.lock_timeout = "50ms"
    several = [orphan(live, state) for state in (State.SUSPECTED, State.OPEN)]
    with psycopg.connect(live.url) as other:
        other.execute("SELECT FROM reconciler.finding WHERE id = %s FOR UPDATE", [several[0].finding])
        outcomes = list(carried_out(world, deed(Input.IGNORE), several))
        other.rollback()
    assert [(one.done, one.again) for one in outcomes] == [(False, True), (True, False)]


@pytest.mark.parametrize("refusing", [True, False])
def test_a_row_that_is_refused_is_told_of_with_the_tables_own_words(live, refusing):
    """Another one of the batch is done; the finding says that it was refused."""
    world = live.world()
    refs = flag(live, world, "a", "b")
    numbers = dict(live.sql("SELECT key, id FROM reconciler.finding"))
    live.sql("UPDATE reconciler.finding SET state = 'ignored'")
    if refusing:
        live.refuse("row of a")
    act = Deed(Input.REOPEN, "because", still_drifting, effect=lambda subject: GiveBack(subject.row_id, "active"))
    outcomes = list(carried_out(world, act, [Named(numbers[ref.key], ref, f"row of {ref.key}") for ref in refs]))
    assert [one.done for one in outcomes] == [not refusing, True]
    assert live.status("row of b") == "active"
    if refusing:
        assert "this row is not for you" in outcomes[0].told
        assert outcomes[0].again
        assert live.status("row of a") == "corrupted"
        assert {one.held_by for one in live.findings() if one.key == "a"} == {"refused"}
    assert {one.kind for one in live.findings()} == {Kind.MISSING}
