"""The application's tables will not take a write: it is narrowed to its row."""

import pytest

from reconcile.model import Kind, State
from tests.contract.stages import HOUR, MINUTE, Meanwhile, Seen, flag, look, look_again, states, suspect


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
    """However PostgreSQL says no, and however long it takes: the row stands alone with a finding that says so."""
    world = live.world()
    refs = suspect(live, world, "a", "b", "c")
    live.sql(obstacle)
    world.database.statement_timeout = "500ms"
    world.database.close()
    began, tried = world.clock, list[str]()
    world.clock = lambda: began() + 7 * len(tried)
    tally = look(Meanwhile(world, in_transaction=lambda: tried.append("a transaction of seven seconds")), *refs)
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
