"""A server is away: nothing of a batch is written."""

from contextlib import ExitStack
from datetime import timedelta

import psycopg
import pytest

from reconcile.database import migrate
from reconcile.model import ObjectRef, State, Unavailable
from tests.contract.stages import Meanwhile, hints, look, states, suspect
from tests.support.waiting import until


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


@pytest.mark.invariant(2)
def test_a_process_that_slept_within_its_transaction_reads_again(live):
    """PostgreSQL ends an idle transaction: nothing is written, and it is an outage like any other, no refusal."""
    world = live.world()
    [ref] = suspect(live, world, "k")
    before = live.everything()
    world.database.connection().execute("SET idle_in_transaction_session_timeout = '50ms'")
    gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'test'"
    with pytest.raises(Unavailable):
        look(Meanwhile(world, before_commit=lambda: until(lambda: live.sql(gone)[0][0])), ref)
    assert live.everything() == before
    look(world, ref)
    assert live.status("row of k") == "corrupted"


@pytest.mark.invariant(2)
@pytest.mark.parametrize("side", ["healthy", "drifting"])
def test_a_look_that_another_holds_is_no_defect(live, side):
    """However long its row stays locked: busy, or an outage to be waited out; what was to be done is done later."""
    world, ref = live.world(), ObjectRef(live.bucket, "k")
    live.row("k")
    if side == "healthy":
        live.put("k")
    world.ask(hints(ref), timedelta(0), "asked")
    with psycopg.connect(live.url) as another:
        another.execute("SELECT FROM reconciler.look FOR UPDATE")
        with pytest.raises(Unavailable):
            look(world, ref)
        assert live.findings() == []
    look(world, ref)
    assert states(live) == ({} if side == "healthy" else {"row of k": State.SUSPECTED})


@pytest.mark.invariant(2)
def test_a_finding_that_another_is_writing_is_busy(live):
    """It is not waited for longer than a lock may take; the others of the batch are done."""
    one = live.world()
    first, second = suspect(live, one, "a", "b")
    with psycopg.connect(live.url) as another:
        another.execute("SELECT FROM reconciler.finding WHERE key = 'a' FOR UPDATE")
        tally = look(one, first, second)
        assert (tally.busy, dict(tally.acts)) == (1, {"flagged": 1})
    assert live.status("row of a") == "active"
    assert live.looks()[first].in_s <= 1


def test_the_schema_is_what_the_migrations_made(live):
    """A second migration of a migrated database does nothing."""
    assert migrate(live.connection) == []
