"""What is brought back from a deletion, and what is not, on real servers: nothing else is ever written over."""

from contextlib import contextmanager

import pytest
from minio.versioningconfig import SUSPENDED

from reconcile import opening
from reconcile.model import ObjectRef
from reconcile.repair import orphans
from reconcile.repair.erase import LOST, undone
from reconcile.repair.trash import Bin
from reconcile.store.storing import Storing
from tests.support.orphans import killed

TRASH = ".storage-reconciler/trash/"


class Overtaken(Storing):
    """Hands with which something happens right after versions were listed, once."""

    after_versions = staticmethod(lambda: None)

    def versions(self, bucket, key):
        """List; then something happens, once."""
        listed = super().versions(bucket, key)
        happens, self.after_versions = self.after_versions, lambda: None
        happens()
        return listed


@contextmanager
def undoing(office, number, act, moment="hold"):
    """Undo one deletion, while something happens right before the object is put back; gives what became of it."""
    settings = office.settings()
    with office.world() as world, Overtaken(opening.server(settings)) as hands:
        with world.database.use() as connection:
            kept = orphans.evidence(connection, [number])[number]
        hold = act if moment == "hold" else lambda: setattr(hands, "after_versions", act)
        yield undone(Bin(world, hands, hold), kept, "", apply=True)


def deleted(office, key):
    """Have an orphan found, approved, deleted; returns its finding's id."""
    [number] = office.find({key: b"AAA"})
    office.approve(number)
    words = ("orphans", "delete", "--unversioned", office.bucket, "--apply")
    assert office.program.json(*words)["done"] == 1
    return number


@pytest.mark.invariant(6)
@pytest.mark.parametrize("has_older", [True, False])
def test_what_is_uploaded_in_the_moment_of_an_undo_is_not_written_over(office, has_older):
    """Where nothing was, and over an older version that had come to light: MinIO itself refuses."""
    if has_older:
        office.keep_versions()
        office.program.environ["RECONCILER_TRASH__ALWAYS"] = "true"
        office.put("a", b"older")
    number = deleted(office, "a")
    with undoing(office, number, lambda: office.put("a", b"NEW")) as outcome:
        assert (outcome.done, outcome.told) == (False, "an object is there by now")
    assert office.content("a") == b"NEW"
    assert "deletion undone" not in office.acts(number)
    office.objects.remove_object(bucket_name=office.bucket, object_name="a")
    assert office.program.json("orphans", "undo", str(number), "--apply")["done"] == 1
    assert office.content("a") == b"AAA"


@pytest.mark.invariant(6)
def test_an_older_version_that_a_row_is_for_is_not_covered(office):
    """By its size the row means what came to light, and not what was removed: neither a run nor an undo covers it."""
    office.keep_versions()
    office.program.environ["RECONCILER_TRASH__ALWAYS"] = "true"
    office.put("a", b"older")
    number = deleted(office, "a")
    office.add_row("a", size=5)
    office.program.environ["RECONCILER_POLICY__ORPHAN_GRACE"] = "15m"
    assert office.program.json("orphans", "delete", "--apply")["left_alone"] == 0
    [act] = office.program.json("orphans", "undo", str(number), "--apply")["acts"]
    assert act["detail"] == "a row names the older version that is there now"
    assert (office.content("a"), office.versions("a")) == (b"older", [False])


@pytest.mark.invariant(6)
@pytest.mark.parametrize("moment", ["hold", "listed", ""])
def test_a_marker_without_an_id_is_not_removed_but_written_over(office, moment):
    """Whoever suspends versioning later: an upload takes such a marker's place, and would go with it."""
    office.keep_versions()
    number = deleted(office, "a")
    office.keep_versions(SUSPENDED)
    office.put("a", b"passing")
    office.objects.remove_object(bucket_name=office.bucket, object_name="a")
    assert office.versions("a") == [True, True, False]
    with undoing(office, number, (lambda: office.put("a", b"NEW")) if moment else (lambda: None), moment) as outcome:
        told = "an object is there by now" if moment else "brought back"
        assert (outcome.done, outcome.told) == (not moment, told)
    assert office.content("a") == (b"NEW" if moment else b"AAA")


@pytest.mark.invariant(6)
def test_an_upload_in_the_moment_of_an_undo_is_no_success_of_it(office):
    """Nor is its marker, which hides nothing any more, of interest."""
    office.keep_versions()
    number = deleted(office, "a")
    with undoing(office, number, lambda: office.put("a", b"NEW")) as outcome:
        assert (outcome.done, outcome.told) == (False, "an object is there by now")
    assert office.content("a") == b"NEW"


@pytest.mark.invariant(6)
def test_a_copy_that_goes_in_the_moment_of_an_undo_is_told(office):
    """It is looked for once more right before."""
    number = deleted(office, "a")
    [copy] = office.listed(prefix=TRASH)
    gone = lambda: office.objects.remove_object(bucket_name=office.bucket, object_name=copy)  # noqa: E731
    with undoing(office, number, gone) as outcome:
        assert (outcome.done, outcome.told) == (False, f"its copy {office.bucket}/{copy} is not there any more")
    assert [key for key in office.listed() if not key.startswith(".")] == []


@pytest.mark.invariant(6)
def test_what_could_not_be_brought_back_is_no_success(office):
    """A row appeared, and the copy is gone: the history says so, and the exit status that it is not over."""
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    killed(office, "removed")
    office.add_row("a")
    [copy] = office.listed(prefix=TRASH)
    office.objects.remove_object(bucket_name=office.bucket, object_name=copy)
    ended = office.program.run("orphans", "delete", "--apply")
    assert (ended.returncode, LOST in " ".join(ended.stdout.split())) == (5, True)
    assert office.acts(number)[-1] == "undo failed"
    assert ObjectRef(office.bucket, "a") in office.missing()
