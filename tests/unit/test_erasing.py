"""In which way an approved object goes, and by what it is known again; what mc is told; what a name suggests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.config.settings import Trash
from reconcile.model import ObjectRef, Present
from reconcile.repair import mc
from reconcile.repair.causes import Cause, Clues, suggested
from reconcile.repair.erasing import Erasure, How, changed, copy_of, erasure, erasure_of, facts_of
from reconcile.repair.orphans import Orphan

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
REF = ObjectRef("b", "k")
PLAIN = Present(3, "e", None, NOW)
VERSION = Present(3, "e", "v1", NOW)
COPY = ObjectRef("b", ".storage-reconciler/trash/b/7/k")
ALWAYS = Trash(always=True)
ORPHAN = Orphan(1, "open", "orphan", "b", "k", "", 3, "e", None, NOW, "", NOW, NOW, None, None, ())


@pytest.mark.invariant(6)
@pytest.mark.parametrize(
    ("ref", "seen", "versioning", "trash", "expected"),
    [
        (REF, VERSION, "Enabled", Trash(), Erasure(How.MARKER, "", VERSION)),
        (REF, PLAIN, "Enabled", Trash(), Erasure(How.MARKER, "", PLAIN)),
        (REF, VERSION, "Enabled", ALWAYS, Erasure(How.VERSION, "v1", VERSION, COPY)),
        (REF, PLAIN, "Enabled", ALWAYS, Erasure(How.OBJECT, "null", PLAIN, COPY)),
        (REF._replace(s3_version="v1"), VERSION, "Enabled", Trash(), Erasure(How.VERSION, "v1", VERSION, COPY)),
        (REF, VERSION, "Suspended", Trash(), Erasure(How.VERSION, "v1", VERSION, COPY)),
        (REF, PLAIN, "Suspended", Trash(), Erasure(How.OBJECT, "null", PLAIN, COPY)),
        (REF, PLAIN, "Off", Trash(), Erasure(How.OBJECT, "", PLAIN, COPY)),
        (REF, PLAIN, "Off", Trash(bucket="t", prefix="p/"), Erasure(How.OBJECT, "", PLAIN, ObjectRef("t", "p/b/7/k"))),
    ],
)
def test_what_its_bucket_could_not_bring_back_leaves_a_copy(ref, seen, versioning, trash, expected):
    """Only a delete marker needs none; what MinIO cannot do conditionally is told apart."""
    way = erasure(ref, seen, versioning, trash, 7)
    assert way == expected
    assert erasure_of(way.facts()) == way
    target = way.target(ref)
    assert target == (ref if way.how is How.MARKER else ref._replace(s3_version=way.s3_version))


@pytest.mark.invariant(6)
@pytest.mark.parametrize(
    "now",
    [
        replace(VERSION, size=4),
        replace(VERSION, etag="f"),
        PLAIN,
        replace(VERSION, last_modified=NOW + timedelta(seconds=1)),
    ],
)
def test_an_object_is_another_if_anything_by_which_it_is_known_differs(now):
    """Also where times come back from the evidence as text; what was not known then does not count."""
    kept = {**facts_of(VERSION), "modified": NOW.isoformat()}
    assert changed(kept, VERSION) == ""
    assert changed(kept, now) != ""
    assert changed({}, now) == ""


@pytest.mark.invariant(6)
@pytest.mark.parametrize(
    ("version", "below", "there", "lay"),
    [
        ("v1", "v0", replace(VERSION, s3_version="v0"), True),
        ("v1", "v0", replace(VERSION, s3_version="v2"), False),
        ("v1", "null", PLAIN, True),
        ("v1", "", replace(VERSION, s3_version="v0", last_modified=NOW - timedelta(days=1)), False),
        ("v1", None, replace(VERSION, s3_version="v0", last_modified=NOW - timedelta(seconds=1)), True),
        ("v1", None, replace(VERSION, s3_version="v2"), False),
        ("v1", None, replace(VERSION, s3_version="v2", last_modified=None), False),
        ("v1", "v1", VERSION, False),
        ("", "", PLAIN, False),
    ],
)
def test_what_lay_below_is_known_by_its_version(version, below, there, lay):
    """What is written in the same second is another object; without that version only what is older lay below."""
    way = Erasure(How.VERSION, version, VERSION, COPY, below)
    assert way.lay_below(there) is lay
    assert erasure_of(way.facts()).lay_below(there) is lay


def test_a_copy_of_a_long_key_has_a_short_name():
    """Its place and its own key would be more than S3 allows; the finding's id keeps it apart."""
    copies = {copy_of(ObjectRef("b", key * 1000), Trash(), 7).key for key in "ab"}
    assert len(copies) == 2
    assert all(len(key.encode()) <= 1024 for key in copies)
    assert copy_of(REF, Trash(), 7) != copy_of(REF, Trash(), 8)


def test_mc_removes_the_version_that_was_seen():
    """The reference's own version goes before it; without versions there is none to name."""
    *_, plain, seen, named = mc.lines(
        [ORPHAN, ORPHAN._replace(stored_version="v2"), ORPHAN._replace(s3_version="v1", stored_version="v2")], "m"
    )
    assert (plain, seen, named) == ("mc rm m/b/k", "mc rm --version-id v2 m/b/k", "mc rm --version-id v1 m/b/k")


@given(st.text())
def test_a_word_is_quoted_to_one_line_that_can_be_printed(word):
    """Nothing of it reaches a terminal or a shell."""
    assert mc.quoted(word.encode(errors="ignore").decode()).isprintable()


@pytest.mark.parametrize(
    ("clues", "cause"),
    [
        (Clues("a/photo.jpg"), Cause.UNKNOWN),
        (Clues("goldfish/folder.jpg"), Cause.UNKNOWN),
        (Clues("a/photo.jpg.bak"), Cause.BACKUP),
        (Clues("Backups/2024/photo.jpg"), Cause.BACKUP),
        (Clues("x/photo.jpg", is_backup=True), Cause.BACKUP),
        (Clues("a/photo.jpg", fits=True), Cause.ROLLBACK),
        (Clues("a/photo.jpg", beside="a/other.jpg"), Cause.ROLLBACK),
        (Clues("old/photo.jpg", beside="old/other.jpg"), Cause.BACKUP),
        (Clues("old/photo.jpg", known_row="r"), Cause.ROW_DELETED),
        (Clues("old/photo.jpg", of_leftover="row r expects absence"), Cause.ROW_DELETED),
        (Clues("old/photo.jpg", known_row="r", uploading=True), Cause.UPLOADING),
    ],
)
def test_what_a_server_says_goes_before_what_a_name_looks_like(clues, cause):
    """A word counts only if it stands alone in the name."""
    assert suggested(clues).cause is cause
