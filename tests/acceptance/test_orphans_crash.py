"""A deletion that is overtaken or killed at each of its steps, on real servers: nothing unapproved is ever gone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from reconcile import opening
from reconcile.model import ObjectRef, Unavailable
from reconcile.repair.erase import IN_THE_MIDST, NOT_NOTED, Erasing
from reconcile.repair.trash import Bin
from reconcile.repair.triage import Named, Outcome
from tests.support.orphans import Office, hidden, killed
from tests.support.proxy import BUSY, Pass, Proxy

both = pytest.mark.parametrize("versioned", [True, False], ids=["versioned", "unversioned"])


@dataclass
class Meanwhile:
    """Hands with which something happens right after a copy, or right before or after a removal."""

    storing: Any
    after_copy: Callable[[], object] = lambda: None
    before_removal: Callable[[], object] = lambda: None
    after_removal: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storing, name)

    def copy(self, *given: Any) -> Any:
        """Copy; then something happens, once."""
        done = self.storing.copy(*given)
        happens, self.after_copy = self.after_copy, lambda: None
        happens()
        return done

    def remove(self, ref: ObjectRef) -> None:
        """Remove; before or after that something happens, once."""
        self._begin()
        self.storing.remove(ref)
        happens, self.after_removal = self.after_removal, lambda: None
        happens()

    def hide(self, ref: ObjectRef) -> str:
        """Put a marker; before or after that something happens, once."""
        self._begin()
        marker = self.storing.hide(ref)
        happens, self.after_removal = self.after_removal, lambda: None
        happens()
        return str(marker)

    def _begin(self) -> None:
        happens, self.before_removal = self.before_removal, lambda: None
        happens()


def nothing() -> None:
    """Let nothing happen."""


@contextmanager
def deleting(
    office: Office, number: int, key: str, hold: Callable[[], object] = nothing, **then: Any
) -> Iterator[Outcome]:
    """Delete one approved orphan, while something happens; gives what became of it."""
    settings = office.settings()
    with office.world() as world, opening.storing(settings) as storing:
        hands: Any = Meanwhile(storing, **then)
        happens = [hold]

        def held() -> None:
            happens.pop()() if happens else None

        run = Erasing(Bin(world, hands, held), settings.policy.orphan_grace, settings.trash, frozenset([office.bucket]))
        [outcome] = run.erased([Named(number, ObjectRef(office.bucket, key))])
        yield outcome


@pytest.mark.invariant(6)
@both
@pytest.mark.parametrize("moment", ["after_copy", "hold", "before_removal", "after_removal"])
def test_a_row_that_is_committed_meanwhile_has_its_object(office, versioned, moment):
    """Before the removal it is not removed, after it it is brought back at once; either is in the history."""
    if versioned:
        office.keep_versions()
        office.program.environ["RECONCILER_TRASH__ALWAYS"] = str(moment == "after_copy").lower()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    with deleting(office, number, "a", **{moment: lambda: office.add_row("a")}) as outcome:
        assert not outcome.done
        assert ("names it by now" if moment in {"after_copy", "hold"} else "it was brought back") in outcome.told
    assert office.content("a") == b"AAA"
    assert {"not deleted", "deletion undone"} & set(office.acts(number))
    office.look("a")
    assert office.states() == {"resolved": 1}


@pytest.mark.invariant(6)
@both
@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("after_copy", ("orphans", "approve", "--withdraw")),
        ("before_removal", ("findings", "reopen")),
        ("after_removal", ("orphans", "approve", "--withdraw")),
    ],
)
def test_an_approval_that_is_withdrawn_meanwhile_holds_no_longer(office, versioned, moment, words):
    """Before the removal it is left, in its very moment it is brought back; who withdraws is told that it had begun."""
    if versioned:
        office.keep_versions()
        office.program.environ["RECONCILER_TRASH__ALWAYS"] = str(moment == "after_copy").lower()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)

    def withdraw() -> None:
        """Take it back, and see what is told of that."""
        told = office.program.json(*words, str(number), "--apply")
        assert (told["done"], "its deletion had begun" in told["acts"][0]["detail"]) == (1, True)

    with deleting(office, number, "a", **{moment: withdraw}) as outcome:
        assert (outcome.done, "its approval was withdrawn" in outcome.told) == (False, True)
    assert ("it was brought back" in outcome.told) is (moment in {"before_removal", "after_removal"})
    assert (office.content("a"), office.state(number)) == (b"AAA", "open")


@pytest.mark.invariant(6)
def test_what_is_gone_is_told_where_the_database_goes_away_in_the_midst(office):
    """Nobody has to guess what became of which; the next run notes it, and does the rest."""
    numbers = office.find({"a": b"AAA", "b": b"BBB"})
    office.approve(*numbers)
    settings = office.settings()

    def held() -> None:
        if "a" not in office.listed():
            raise Unavailable("postgresql", "it is away")

    with office.world() as world, opening.storing(settings) as storing:
        run = Erasing(
            Bin(world, storing, held), settings.policy.orphan_grace, settings.trash, frozenset([office.bucket])
        )
        outcomes = run.erased([Named(n, ObjectRef(office.bucket, key)) for n, key in zip(numbers, "ab", strict=True)])
        assert [next(outcomes).told for _ in numbers] == [NOT_NOTED, IN_THE_MIDST]
        with pytest.raises(Unavailable):
            next(outcomes)
    assert office.states() == {"approved": 2}
    office.program.json("orphans", "delete", "--unversioned", office.bucket, "--apply")
    assert (office.states(), {"a", "b"} & {*office.listed()}) == ({"deleted": 2}, set())


@pytest.mark.invariant(6)
def test_an_approval_that_is_withdrawn_and_given_anew_meanwhile_is_for_another_deletion(office):
    """What is approved now was looked at now; the next run begins with that."""
    [number] = office.find({"a": b"AAA"})
    office.approve(number)

    def anew() -> None:
        """Take it back, and give it again."""
        office.program.json("orphans", "approve", str(number), "--withdraw", "--apply")
        office.approve(number)

    with deleting(office, number, "a", after_copy=anew) as outcome:
        assert (outcome.done, outcome.told) == (False, "its approval was withdrawn and given anew")
    assert (office.content("a"), office.state(number)) == (b"AAA", "approved")


@pytest.mark.invariant(6)
@pytest.mark.parametrize(("versioned", "moment"), [(True, "after_copy"), (True, "before_removal"), (False, "hold")])
def test_what_is_written_anew_meanwhile_is_not_touched(office, versioned, moment):
    """In a versioned bucket not even in the very moment of the removal; elsewhere until right before it."""
    if versioned:
        office.keep_versions()
        office.program.environ["RECONCILER_TRASH__ALWAYS"] = str(moment == "after_copy").lower()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    with deleting(office, number, "a", **{moment: lambda: office.put("a", b"NEW")}) as outcome:
        assert (outcome.done, "written anew" in outcome.told) == (False, True)
    assert office.content("a") == b"NEW"
    assert office.state(number) == "approved"


@pytest.mark.invariant(6)
def test_a_row_gets_the_version_that_was_removed_and_not_an_older_one_that_came_to_light(office):
    """What lay below is not what the row was committed for; it stays below."""
    office.keep_versions()
    office.program.environ["RECONCILER_TRASH__ALWAYS"] = "true"
    office.put("a", b"older")
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    with deleting(office, number, "a", after_removal=lambda: office.add_row("a")) as outcome:
        assert (outcome.done, "it was brought back" in outcome.told) == (False, True)
    assert (office.content("a"), office.versions("a")) == (b"AAA", [False, False])
    office.look("a")
    assert office.states() == {"resolved": 1}


@pytest.mark.invariant(6)
@both
def test_a_consumer_that_hears_of_the_removal_first_sees_a_deletion(office, versioned):
    """The end is kept by whoever looks first; the run tells of it as its own."""
    if versioned:
        office.keep_versions()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    with deleting(office, number, "a", after_removal=lambda: office.look("a")) as outcome:
        assert outcome.done, outcome.told
    assert (office.state(number), office.acts(number).count("deleted")) == ("deleted", 1)


@pytest.mark.invariant(6)
@both
@pytest.mark.parametrize(
    ("point", "next_comes"), [("begun", "a look"), ("copied", "a run"), ("removed", "a run"), ("removed", "a look")]
)
def test_killed_at_each_step_only_what_is_approved_is_gone_and_it_comes_to_the_end(
    office, versioned, point, next_comes
):
    """What is kept tells the next one: a run deletes it, a look knows an absence for what it is."""
    if versioned:
        office.keep_versions()
        office.program.environ["RECONCILER_TRASH__ALWAYS"] = str(point == "copied").lower()
    first, second, other = office.find({"a": b"AAA", "b": b"BB", "c": b"C"})
    office.approve(first, second)
    killed(office, point)
    there = [key for key in office.listed() if not key.startswith(".")]
    assert there == (["b", "c"] if point == "removed" else ["a", "b", "c"])
    assert office.states() == {"approved": 2, "open": 1}
    assert office.acts(first)[-1] == "deletion begun"
    if next_comes == "a look":
        office.look("a", "b", "c")
        assert office.state(first) == ("deleted" if point == "removed" else "approved")
    told = office.program.json("orphans", "delete", "--unversioned", office.bucket, "--apply")
    assert told["done"] == (1 if (point, next_comes) == ("removed", "a look") else 2)
    assert office.states() == {"deleted": 2, "open": 1}
    assert office.acts(first).count("deleted") == 1
    assert [key for key in office.listed() if not key.startswith(".")] == ["c"]
    assert office.program.json("orphans", "undo", str(first), str(second), "--apply")["done"] == 2
    assert [office.content(key) for key in ("a", "b", "c")] == [b"AAA", b"BB", b"C"]
    assert office.state(other) == "open"


@both
def test_what_a_killed_run_removed_is_brought_back_by_undo_and_not_deleted_again(office, versioned):
    """Its approval is withdrawn with it."""
    if versioned:
        office.keep_versions()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    killed(office, "removed")
    assert office.program.json("orphans", "undo", str(number), "--apply")["done"] == 1
    assert (office.content("a"), office.state(number)) == (b"AAA", "open")
    assert office.program.json("orphans", "delete", "--unversioned", office.bucket, "--apply")["done"] == 0


@both
def test_a_row_that_appeared_after_a_kill_gets_its_object_from_the_next_run(office, versioned):
    """The next run reads the rows of what the former one had removed."""
    if versioned:
        office.keep_versions()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    killed(office, "removed")
    office.add_row("a")
    told = office.program.json("orphans", "delete", "--apply")
    assert "it was brought back" in told["acts"][0]["detail"]
    assert office.content("a") == b"AAA"


@pytest.mark.invariant(6)
@both
def test_a_row_that_appears_after_a_look_saw_the_end_gets_its_object_from_the_next_run(office, versioned):
    """Whoever noted the deletion: within the grace each run reads the rows of it once more, and of each only once."""
    if versioned:
        office.keep_versions()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    killed(office, "removed")
    office.look("a")
    assert office.state(number) == "deleted"
    office.add_row("a")
    office.program.environ["RECONCILER_POLICY__ORPHAN_GRACE"] = "15m"
    told = office.program.json("orphans", "delete", "--apply")
    assert "it was brought back" in told["acts"][0]["detail"]
    assert (office.content("a"), office.acts(number)[-1]) == (b"AAA", "deletion undone")
    office.objects.remove_object(bucket_name=office.bucket, object_name="a")
    assert office.program.json("orphans", "delete", "--apply")["left_alone"] == 0


@pytest.mark.invariant(6)
@pytest.mark.parametrize("has_row", [True, False])
@pytest.mark.parametrize("seen_first", [True, False], ids=["a look", "a run"])
def test_an_upload_that_a_killed_run_hid_comes_to_light(office, has_row, seen_first):
    """It came between the last look and the marker; no one approved its deletion."""
    hidden(office)
    if has_row:
        office.add_row("a")
    if seen_first:
        office.look("a")
    office.program.environ["RECONCILER_POLICY__ORPHAN_GRACE"] = "15m"
    told = office.program.json("orphans", "delete", "--apply")
    assert (told["done"], told["left_alone"]) == (0, 1)
    assert (office.content("a"), office.versions("a")) == (b"NEW", [False, False])


@pytest.mark.invariant(6)
def test_what_the_application_deleted_later_under_the_same_key_stays_deleted(office):
    """Its upload and its marker came after ours: no run takes that marker for one that hid an upload."""
    office.keep_versions()
    [number] = office.find({"a": b"AAA"})
    office.approve(number)
    assert office.program.json("orphans", "delete", "--apply")["done"] == 1
    office.put("a", b"NEW")
    office.objects.remove_object(bucket_name=office.bucket, object_name="a")
    office.program.environ["RECONCILER_POLICY__ORPHAN_GRACE"] = "15m"
    assert office.program.json("orphans", "delete", "--apply")["left_alone"] == 0
    assert office.versions("a") == [True, False, True, False]


@both
def test_an_object_that_alone_cannot_be_removed_keeps_no_other_from_its_turn(office, versioned):
    """Its bucket answers: it is told, stays approved, and the run goes on; the next one begins it again."""
    if versioned:
        office.keep_versions()
    first, second = office.find({"a": b"AAA", "b": b"BB"})
    office.approve(first, second)
    settings = office.settings()
    place = urlsplit(settings.minio.endpoint)
    with Proxy(place.hostname, place.port) as between:
        there = replace(settings, minio=replace(settings.minio, endpoint=between.url))
        with office.world() as world, opening.storing(there) as storing:
            faults = [BUSY]
            bin_ = Bin(world, storing, lambda: between.set(faults.pop() if faults else Pass()))
            run = Erasing(bin_, settings.policy.orphan_grace, settings.trash, frozenset([office.bucket]))
            both_of = [Named(number, ObjectRef(office.bucket, key)) for number, key in ((first, "a"), (second, "b"))]
            outcomes = run.erased(both_of)
            silent = next(outcomes)
            between.set(Pass())
            [gone] = outcomes
    assert (silent.done, silent.again, gone.done) == (False, True, True)
    assert (office.state(first), office.state(second)) == ("approved", "deleted")
    assert "not deleted" in office.acts(first)
