"""Approved orphans are deleted and come back, by the commands on real servers, in buckets with and without versions."""

import pytest
from minio.commonconfig import ENABLED
from minio.versioningconfig import SUSPENDED, VersioningConfig

TRASH = ".storage-reconciler/trash/"


@pytest.fixture
def consent(office) -> tuple[str, ...]:
    """Return the words that allow it where nothing is conditional."""
    return ("--unversioned", office.bucket, "--apply", "--who", "ann", "--why", "tidied")


@pytest.mark.invariant(6)
def test_without_versions_a_copy_is_kept_and_it_takes_a_consent_of_its_own(office, consent):
    """Only what is approved goes, with who and why; undo brings it back where nothing has taken its place."""
    first, second = office.find({"a b/ü.jpg": b"first", "other": b"other"})
    office.approve(first)
    plan = office.program.json("orphans", "delete")
    assert (plan["planned"], "--unversioned" in plan["acts"][0]["detail"]) == (0, True)
    plan = office.program.json("orphans", "delete", "--unversioned", office.bucket)
    assert (plan["planned"], plan["acts"][0]["detail"]) == (1, f"removed; a copy stays in {office.bucket}")
    assert office.program.json("orphans", "delete", "--apply", status=5)["left_alone"] == 1
    assert office.listed() == ["a b/ü.jpg", "other"]
    assert office.program.json("orphans", "delete", *consent)["done"] == 1
    copy = f"{TRASH}{office.bucket}/{first}/a b/ü.jpg"
    assert office.listed() == [copy, "other"]
    assert (office.state(first), office.state(second)) == ("deleted", "open")
    assert office.acts(first) == ["suspected", "opened", "approved", "not deleted", "deletion begun", "deleted"]
    kept = "SELECT DISTINCT actor, why FROM reconciler.history WHERE act IN ('deletion begun', 'deleted')"
    assert office.connection.execute(kept).fetchall() == [("ann", "tidied")]
    assert office.connection.execute("SELECT key FROM reconciler.look WHERE reason = 'deleted'").fetchall()
    assert office.program.json("orphans", "undo", str(first))["planned"] == 1
    assert office.program.json("orphans", "undo", str(first), "--apply")["done"] == 1
    assert office.content("a b/ü.jpg") == b"first"
    assert (office.state(first), office.acts(first)[-1]) == ("deleted", "deletion undone")
    [again] = office.program.json("orphans", "undo", str(first), "--apply")["acts"]
    assert again["detail"] == "something is there now"


@pytest.mark.invariant(6)
def test_with_versions_a_delete_marker_hides_it_and_is_taken_away(office):
    """Nothing is removed, so it takes no copy and no further consent."""
    office.keep_versions()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    assert office.program.json("orphans", "delete", "--apply")["done"] == 1
    assert (office.listed(), office.versions("a"), office.state(number)) == ([], [True, False], "deleted")
    assert office.program.json("orphans", "undo", "--prefix", "a", "--apply")["done"] == 1
    assert (office.content("a"), office.versions("a")) == (b"AAA", [False])


@pytest.mark.invariant(6)
def test_with_versions_and_a_copy_that_very_version_is_removed_for_good(office):
    """An older version that comes to light is another object, with an approval of its own; undo covers it again."""
    office.keep_versions()
    office.put("a", b"older")
    [number] = office.find({"a": b"newer"})
    office.approve(number)
    office.program.environ["RECONCILER_TRASH__ALWAYS"] = "true"
    assert office.program.json("orphans", "delete", "--apply")["done"] == 1
    assert (office.content("a"), office.versions("a"), office.state(number)) == (b"older", [False], "deleted")
    assert office.program.json("orphans", "undo", str(number), "--apply")["done"] == 1
    assert (office.content("a"), office.versions("a")) == (b"newer", [False, False])
    told = office.program.json("orphans", "undo", str(number), "--apply")
    assert told["acts"][0]["detail"] == "something is there now"


@pytest.mark.invariant(6)
def test_where_versions_are_suspended_a_null_version_is_removed_like_one_without(office, consent):
    """A delete marker would take the null version's place there; so it takes a copy and the consent."""
    [number] = office.find({"a": b"AAA"})
    office.keep_versions()
    office.keep_versions(SUSPENDED)
    office.approve(number)
    assert office.program.json("orphans", "delete", "--apply", status=5)["left_alone"] == 1
    assert office.program.json("orphans", "delete", *consent)["done"] == 1
    assert (office.versions("a"), len(office.listed(prefix=TRASH))) == ([], 1)
    assert office.program.json("orphans", "undo", str(number), "--apply")["done"] == 1
    assert office.content("a") == b"AAA"


@pytest.mark.invariant(6)
@pytest.mark.parametrize("versioned", [True, False])
def test_what_was_written_anew_since_its_approval_stays_and_is_to_be_approved_again(office, consent, versioned):
    """The approval was of another object; it is withdrawn, and the history says why."""
    if versioned:
        office.keep_versions()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    office.put("a", b"BBB")
    told = office.program.json("orphans", "delete", *consent)
    assert (told["left_alone"], "it is not what was approved: ETag was" in told["acts"][0]["detail"]) == (1, True)
    assert (office.content("a"), office.state(number)) == (b"BBB", "open")
    assert office.acts(number)[-2:] == ["approval withdrawn", "not deleted"]


@pytest.mark.invariant(6)
def test_what_a_row_names_by_now_or_is_too_young_stays(office, consent):
    """Both sides are looked at in that moment."""
    named, young = office.find({"a": b"AAA", "b": b"AAA"})
    office.approve(named, young)
    office.add_row("a")
    office.program.environ["RECONCILER_POLICY__ORPHAN_GRACE"] = "1h"
    told = office.program.json("orphans", "delete", *consent)
    assert (told["done"], office.listed()) == (0, ["a", "b"])
    assert (office.state(named), office.state(young)) == ("resolved", "approved")
    assert "written less than 1 h ago" in str(told["acts"])


def test_a_run_has_a_limit_and_takes_the_largest_first_and_there_is_one_at_a_time(office, consent):
    """A second run ends with 7 while another holds the lease."""
    numbers = office.find({f"k{size}": b"x" * size for size in range(1, 6)})
    office.approve(*numbers)
    assert office.program.json("orphans", "delete", "--limit", "2", *consent)["done"] == 2
    assert office.listed(prefix="k") == ["k1", "k2", "k3"]
    office.connection.execute(
        "UPDATE reconciler.lease SET owner = 'another', until = now() + interval '1 hour' WHERE task = 'orphans'"
    )
    assert office.program.run("orphans", "delete", *consent).returncode == 7
    assert office.listed(prefix="k") == ["k1", "k2", "k3"]


@pytest.mark.invariant(6)
def test_a_leftover_goes_as_an_orphan_does_unless_its_row_lives_again(office, consent):
    """Its row says that it should be gone; a row that takes that back claims it."""
    for key in ("a", "b"):
        office.add_row(key)
    office.connection.execute("UPDATE file_versions SET status = 'deleted'")
    first, second = office.find({"a": b"AAA", "b": b"AAA"})
    assert {one["kind"] for one in office.program.json("orphans", "list")} == {"leftover"}
    office.approve(first, second)
    office.connection.execute("UPDATE file_versions SET status = 'active' WHERE object_key = 'b'")
    told = office.program.json("orphans", "delete", *consent)
    assert (told["done"], told["left_alone"]) == (1, 1)
    assert (office.state(first), office.state(second)) == ("deleted", "resolved")
    assert office.listed(prefix="b") == ["b"]


def test_what_is_left_alone_takes_no_place_within_the_limit(office, consent):
    """Else the largest that stay refused would keep all others from ever being deleted; and it is kept but once."""
    large, small = office.find({"large": b"x" * 100, "small": b"x"})
    office.approve(large, small)
    office.connection.execute("UPDATE reconciler.finding SET evidence = evidence - 'approved' WHERE id = %s", [large])
    told = office.program.json("orphans", "delete", "--limit", "1", *consent)
    assert (told["done"], told["left_alone"]) == (1, 1)
    assert (office.state(large), office.state(small)) == ("approved", "deleted")
    for _ in range(2):
        office.program.json("orphans", "delete", *consent)
    assert office.acts(large).count("not deleted") == 1


@pytest.mark.invariant(6)
def test_what_came_back_once_is_not_brought_back_again_with_all_others(office, consent):
    """The application may have deleted it since, as it may any object of its own."""
    first, second = office.find({"a": b"AAA", "b": b"BBB"})
    office.approve(first, second)
    assert office.program.json("orphans", "delete", *consent)["done"] == 2
    assert office.program.json("orphans", "undo", str(first), "--apply")["done"] == 1
    office.objects.remove_object(bucket_name=office.bucket, object_name="a")
    assert office.program.json("orphans", "undo", "--all", "--apply")["done"] == 1
    assert [key for key in office.listed() if not key.startswith(".")] == ["b"]


@pytest.mark.invariant(6)
@pytest.mark.parametrize("versioned", [True, False])
def test_where_a_row_is_committed_after_the_run_its_finding_names_the_undo(office, consent, versioned):
    """And the command that it names brings the object back, and the row's finding to its end."""
    if versioned:
        office.keep_versions()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    assert office.program.json("orphans", "delete", *consent)["done"] == 1
    version = office.add_row("a")
    office.look("a")
    repair = office.program.json("explain", version)["repair"]["notes"]
    undo = f"bring back what was deleted as an orphan: storage-reconciler orphans undo {number}"
    assert undo in repair
    [(missing,)] = office.connection.execute("SELECT id FROM reconciler.finding WHERE kind = 'missing'").fetchall()
    assert undo in office.program.json("findings", "show", str(missing))["repair"]["notes"]
    assert office.program.json("orphans", "undo", str(number), "--apply")["done"] == 1
    assert (office.content("a"), office.state(missing)) == (b"AAA", "resolved")


@pytest.mark.invariant(6)
def test_a_copy_goes_to_a_bucket_of_its_own_and_comes_back_from_there(office, consent):
    """A bucket that keeps trash for others, too: whose object it was is part of the name."""
    elsewhere = f"{office.bucket}-trash"
    office.objects.make_bucket(bucket_name=elsewhere)
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    office.program.environ.update({"RECONCILER_TRASH__BUCKET": elsewhere, "RECONCILER_TRASH__PREFIX": "kept/"})
    told = office.program.json("orphans", "delete", *consent)
    assert told["acts"][0]["detail"] == f"removed; a copy stays in {elsewhere}"
    assert (office.listed(), office.listed(elsewhere)) == ([], [f"kept/{office.bucket}/{number}/a"])
    assert office.program.json("orphans", "undo", str(number), "--apply")["done"] == 1
    assert office.content("a") == b"AAA"


def test_a_copy_that_would_be_an_orphan_itself_is_refused(office, consent):
    """In the very bucket that is watched it lies below our own prefix, or nothing is done."""
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    office.program.environ.update({"RECONCILER_TRASH__BUCKET": office.bucket, "RECONCILER_TRASH__PREFIX": "kept/"})
    ended = office.program.run("orphans", "delete", *consent)
    assert (ended.returncode, "begin trash.prefix with" in ended.stderr) == (2, True)
    assert (office.listed(), office.state(number)) == (["a"], "approved")


@pytest.mark.invariant(6)
@pytest.mark.parametrize("excluded", [True, False])
def test_what_a_versioned_bucket_keeps_no_versions_of_is_not_hidden_but_copied(office, consent, excluded):
    """A delete marker would be none: MinIO removes it for good, such as a key that ends with a slash."""
    office.keep_versions()
    key = "cache/a" if excluded else "folder/"
    if excluded:
        config = VersioningConfig(ENABLED, excluded_prefixes=["cache/"])
        office.objects.set_bucket_versioning(bucket_name=office.bucket, config=config)
    [number] = office.find({key: b"AAA"})
    office.approve(number)
    assert office.program.json("orphans", "delete", "--apply", status=5)["left_alone"] == 1
    assert office.content(key) == b"AAA"
    assert office.program.json("orphans", "delete", *consent)["done"] == 1
    assert office.versions(key) == []
    assert office.program.json("orphans", "undo", str(number), "--apply")["done"] == 1
    assert office.content(key) == b"AAA"
