"""A content that was read, and is not what its row says: a mismatch that no look by HEAD can see, and none may end."""

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest

from reconcile.life import Input, step
from reconcile.model import Drift, Hashed, Hint, Kind, ObjectRef, Present, State, Told
from reconcile.reconciler import reconcile
from reconcile.repair.triage import Deed, Named, carried_out, still_drifting
from reconcile.verdict import judge_row
from tests.contract.stages import FLAGGING, GRACE, flag, look, look_again, states

GOOD, ROTTEN = b"good", b"r0tt"
GOOD_SUM, ROTTEN_SUM = sha256(GOOD).hexdigest(), sha256(ROTTEN).hexdigest()


def read(world, ref: ObjectRef, content: bytes, *also: ObjectRef) -> Hashed:
    """Tell the reconciler what was just read of an object, as a scrub does."""
    side = world.heads([ref])[ref]
    assert isinstance(side, Present)
    hashed = Hashed(sha256(content).hexdigest(), side.etag, side.s3_version, side.last_modified)
    hints = [Hint(one, named_by="scrub", evidence=Told({"named_by": "scrub"})) for one in (ref, *also)]
    reconcile(world, hints, lambda *seen: step(*seen, hashed if seen[0] == ref else None))
    return hashed


@pytest.fixture
def world(stage):
    """Start a process that flags."""
    return stage.world(FLAGGING)


@pytest.fixture
def rotten(stage, world):
    """Make a row whose object has its size and other bytes, found by a reading and open; returns its reference."""
    ref = ObjectRef(stage.bucket, "k")
    stage.row("k", size=4, sha256=GOOD_SUM)
    stage.put("k", ROTTEN)
    look(world, ref)
    assert stage.findings() == []
    read(world, ref, ROTTEN)
    assert states(stage) == {"row of k": State.SUSPECTED}
    stage.age(GRACE)
    look_again(world)
    return ref


def test_it_outlives_every_ordinary_look_and_is_never_flagged(stage, world, rotten):
    """Looks and events see an object of the right size; the finding stays open, the row stays as it is."""
    for days in range(3):
        stage.age(timedelta(days=days))
        look_again(world)
        look(world, rotten)
    [found] = stage.findings()
    assert (found.kind, found.state, found.previous_status) == (Kind.MISMATCH, State.OPEN, None)
    assert stage.status("row of k") == "active"
    evidence = stage.evidence("k")
    assert (evidence["row_sha256"], evidence["content_sha256"]) == (GOOD_SUM, ROTTEN_SUM)
    assert stage.history() == ["suspected", "opened"]


def test_it_ends_when_the_object_is_written_anew(stage, world, rotten):
    """Another content is another matter: resolved, and said to be read by the next scrub."""
    stage.put("k", GOOD)
    look(world, rotten)
    assert stage.findings() == []
    assert stage.lines()[-1][1:] == ("resolved", "the object was written anew; scrub will read it")


@pytest.mark.parametrize("corrected", [ROTTEN_SUM, ROTTEN_SUM.upper(), None, "no checksum"])
def test_it_ends_when_the_row_is_corrected(stage, world, rotten, corrected):
    """The row names the content's checksum, or none any more."""
    stage.change("row of k", sha256=corrected)
    look(world, rotten)
    assert (stage.findings(), stage.history()[-1]) == ([], "resolved")


def test_it_ends_when_the_same_object_is_read_well(stage, world, rotten):
    """A reading goes before what was read once, such as after healing."""
    read(world, rotten, GOOD)
    assert (stage.findings(), stage.history()[-1]) == ([], "resolved")


def test_another_wrong_content_is_another_drift(stage, world, rotten):
    """It begins anew, and the finding remembers the later content, so that looks do not end it."""
    stage.put("k", b"w0rs")
    read(world, rotten, b"w0rs")
    assert states(stage) == {"row of k": State.SUSPECTED}
    stage.age(GRACE)
    look_again(world)
    look(world, rotten)
    assert states(stage) == {"row of k": State.OPEN}
    assert stage.history() == ["suspected", "opened", "changed", "opened"]
    read(world, rotten, b"w0rs")
    assert stage.history() == ["suspected", "opened", "changed", "opened"]


def test_a_content_that_is_not_the_one_that_was_read_proves_nothing(stage, world):
    """The object was written anew between the reading and the look: no finding."""
    ref = ObjectRef(stage.bucket, "k")
    stage.row("k", size=4, sha256=GOOD_SUM)
    stage.put("k", ROTTEN)
    hashed = Hashed(ROTTEN_SUM, "another etag")
    reconcile(world, [Hint(ref)], lambda *seen: step(*seen, hashed))
    assert (stage.findings(), stage.looks()) == ([], {})


def test_a_rotten_content_that_was_missing_in_between_is_known_again(stage, world, rotten):
    """Missing goes before; when the very same version is shown again, it is no less rotten than it was."""
    stage.make_versioned()
    stage.put("k", ROTTEN)
    read(world, rotten, ROTTEN)
    stage.remove("k")
    look(world, rotten)
    assert [one.kind for one in stage.findings()] == [Kind.MISSING]
    stage.remove("k", world.heads([rotten])[rotten].delete_marker)
    look(world, rotten)
    assert [(one.kind, one.previous_status) for one in stage.findings()] == [(Kind.MISMATCH, None)]


def test_each_version_is_judged_by_its_own_content(stage, world):
    """Two rows of one key: the older version is rotten, the latest is not."""
    stage.make_versioned()
    old, new = stage.put("k", ROTTEN), stage.put("k", GOOD)
    for name, version in (("old", old), ("new", new)):
        stage.row("k", name, size=4, sha256=GOOD_SUM, s3_version=version)
    older, newer = (ObjectRef(stage.bucket, "k", version) for version in (old, new))
    read(world, older, ROTTEN, newer)
    read(world, newer, GOOD, older)
    look(world, older, newer, ObjectRef(stage.bucket, "k"))
    assert states(stage) == {"old": State.SUSPECTED}


def test_a_person_may_ignore_it_and_nobody_may_approve_its_deletion(stage, world, rotten):
    """It is a finding like others: ignored it stays quiet; no act of its life deletes anything."""
    named = [Named(finding.id, rotten, "row of k") for finding in world.glance([rotten])[rotten].findings]
    [ignored] = carried_out(world, Deed(Input.IGNORE, "known", still_drifting), named)
    assert ignored.done, ignored.told
    look(world, rotten)
    assert states(stage) == {"row of k": State.IGNORED}


def test_what_is_flagged_stays_flagged_over_a_content_that_is_known_to_be_wrong(stage, world):
    """A missing object returns with the content that a scrub read before: mismatch, and no status is given back."""
    [ref] = flag(stage, world, "k")
    stage.change("row of k", sha256=GOOD_SUM, size=4)
    stage.put("k", ROTTEN)
    read(world, ref, ROTTEN)
    assert [(one.kind, one.previous_status) for one in stage.findings()] == [(Kind.MISMATCH, "active")]
    assert stage.status("row of k") == "corrupted"


def test_the_cause_names_both_checksums(stage, world, rotten):
    """Twelve digits each, as long as nothing that a HEAD tells differs, too."""
    known, side = world.glance([rotten])[rotten], world.heads([rotten])[rotten]
    [row], [finding] = known.rows, known.findings
    assert finding.hashed is not None
    cause = f"sha256: row {GOOD_SUM[:12]}, object {ROTTEN_SUM[:12]}"
    assert judge_row(row, finding, side) == Drift(Kind.MISMATCH, cause, finding.hashed)
    assert judge_row(row, finding, replace(side, size=5)) == Drift(Kind.MISMATCH, "size: row 4, object 5")
