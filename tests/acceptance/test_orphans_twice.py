"""What is done to an orphan a second time, on real servers: beside another run, by a later one, after a retention."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconcile import opening, pruning
from reconcile.repair import orphans
from reconcile.repair.erasing import erasure_of
from reconcile.repair.trash import ANEW, Bin
from reconcile.store.storing import Storing
from tests.acceptance.test_orphans_crash import deleting
from tests.support.orphans import hidden, killed
from tests.support.waiting import until

TRASH = ".storage-reconciler/trash/"
LONG = timedelta(days=90)


@pytest.mark.invariant(6)
@pytest.mark.parametrize("versioned", [True, False], ids=["versioned", "unversioned"])
def test_a_removal_that_stalled_in_another_run_costs_no_copy(office, versioned):
    """Whoever removed what was begun: it is deleted, and comes back."""
    if versioned:
        office.keep_versions()
        office.program.environ["RECONCILER_TRASH__ALWAYS"] = "true"
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    [version] = office.objects.list_objects(bucket_name=office.bucket, prefix="a", include_version=True)

    def arrives() -> None:
        """Let the other run's request be served at last."""
        named = version.version_id if versioned else None
        office.objects.remove_object(bucket_name=office.bucket, object_name="a", version_id=named)

    with deleting(office, number, "a", after_copy=arrives) as outcome:
        assert outcome.done, outcome.told
    assert (office.state(number), len(office.listed(prefix=TRASH))) == ("deleted", 1)
    assert office.program.json("orphans", "undo", str(number), "--apply")["done"] == 1
    assert office.content("a") == b"AAA"


@pytest.mark.invariant(6)
def test_an_upload_that_another_run_hides_comes_to_light(office):
    """Its marker came late, and over an upload; this run sees what it hides."""
    office.keep_versions()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)

    def arrives() -> None:
        """Upload; then let the other run's request be served."""
        office.put("a", b"NEW")
        office.objects.remove_object(bucket_name=office.bucket, object_name="a")

    with deleting(office, number, "a", hold=arrives) as outcome:
        assert (outcome.done, outcome.told) == (False, ANEW)
    assert (office.content("a"), office.state(number)) == (b"NEW", "approved")


@pytest.mark.invariant(6)
@pytest.mark.parametrize("seen_first", [True, False], ids=["a look", "a run"])
def test_what_came_to_light_once_and_is_deleted_by_the_application_stays_so(office, seen_first):
    """Its marker is not ours, however like ours it lies there."""
    number = hidden(office)
    if seen_first:
        office.look("a")
    office.program.environ["RECONCILER_POLICY__ORPHAN_GRACE"] = "15m"
    assert office.program.json("orphans", "delete", "--apply")["left_alone"] == 1
    assert office.content("a") == b"NEW"
    assert "deletion undone" in office.acts(number)
    office.objects.remove_object(bucket_name=office.bucket, object_name="a")
    for words in ((), (str(number),)):
        assert office.program.json("orphans", "delete", *words, "--apply")["done"] == 0
    assert office.versions("a") == [True, False, False]


@pytest.mark.invariant(6)
def test_what_an_undo_that_was_killed_brought_back_is_not_deleted_again(office):
    """Its approval was withdrawn before: who asked for the object does not lose it to the next run."""
    office.keep_versions()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    killed(office, "removed")
    killed(office, "removed", "orphans", "undo", str(number))
    assert (office.content("a"), office.state(number)) == (b"AAA", "open")
    assert office.program.json("orphans", "delete", "--apply")["done"] == 0
    assert office.content("a") == b"AAA"


@pytest.mark.invariant(6)
def test_what_is_under_object_lock_is_told_each_time_and_copied_once(office, objects):
    """Its version is not removed; a delete marker would hide it all the same, and be taken away."""
    office.bucket = f"{office.bucket}-locked"
    office.program.environ["RECONCILER_MAPPING__BUCKET__NAME"] = office.bucket
    objects.make_bucket(bucket_name=office.bucket, object_lock=True)
    first, second = office.find({"a": b"AAA", "b": b"BB"})
    for key in ("a", "b"):
        objects.enable_object_legal_hold(bucket_name=office.bucket, object_name=key)
    office.approve(first, second)
    always = {"RECONCILER_TRASH__ALWAYS": "true"}
    written = objects.stat_object(bucket_name=office.bucket, object_name="a").last_modified
    over = "SELECT now() > %s::timestamptz + interval '1 s'"
    until(lambda: office.connection.execute(over, [written]).fetchall() == [(True,)], what="it is another second")
    for _ in range(2):
        ended = office.program.run("orphans", "delete", str(first), "--apply", "-o", "json", **always)
        assert (ended.returncode, "WORM protected" in ended.stdout) == (5, True)
    [copy] = office.listed(prefix=TRASH)
    assert (office.state(first), office.versions(copy), office.versions("a")) == ("approved", [False], [False])
    assert office.program.json("orphans", "delete", str(second), "--apply")["done"] == 1
    assert office.versions("b") == [True, False]
    assert office.program.json("orphans", "undo", str(second), "--apply")["done"] == 1
    assert office.content("b") == b"BB"


class Aged(Storing):
    """Hands by which everything but the latest version and the first was uploaded some minutes sooner."""

    def versions(self, bucket, key):
        """List, and make older what lies between."""
        latest, *between, first = super().versions(bucket, key)
        older = [replace(one, last_modified=one.last_modified - timedelta(minutes=2)) for one in between]
        return [latest, *older, first]


@pytest.mark.invariant(6)
def test_an_upload_that_was_there_for_long_was_not_hidden_by_a_removal_of_ours(office):
    """Whoever deleted it meant it: it would have been seen before ours."""
    number = hidden(office)
    with office.world() as world, Aged(opening.server(office.settings())) as hands:
        with world.database.use() as connection:
            kept = orphans.evidence(connection, [number])[number]
        assert not Bin(world, hands, lambda: None).uncover(kept.ref, erasure_of(kept.erasing))
    assert office.versions("a") == [True, False, False]


@pytest.mark.invariant(6)
def test_what_was_undone_is_not_undone_again_after_its_history_is_over(office):
    """Whether it came back is known for as long as it could be asked for."""
    first, second = office.find({"a": b"AAA", "b": b"BBB"})
    office.approve(first, second)
    assert office.program.json("orphans", "delete", "--unversioned", office.bucket, "--apply")["done"] == 2
    assert office.program.json("orphans", "undo", str(first), "--apply")["done"] == 1
    office.objects.remove_object(bucket_name=office.bucket, object_name="a")
    office.connection.execute("UPDATE reconciler.history SET at = at - interval '40 days'")
    office.connection.execute("UPDATE reconciler.finding SET closed_at = closed_at - interval '40 days'")
    assert pruning.prune(office.connection, timedelta(days=30), LONG, LONG)["history"] > 0
    assert office.program.json("orphans", "undo", "--all", "--apply")["done"] == 1
    assert office.listed(prefix="a") == []
    office.connection.execute("UPDATE reconciler.finding SET closed_at = closed_at - interval '60 days'")
    pruning.prune(office.connection, timedelta(days=30), LONG, LONG)
    assert "deleted" not in office.states()
    assert office.acts(first) == office.acts(second) == []
