"""A restore and what others do in the same moment, on real servers: nobody's object is lost to it."""

from contextlib import ExitStack
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from reconcile.acts import Who
from reconcile.model import ObjectRef, Unavailable
from reconcile.repair.restoring import Restoring, Ways
from reconcile.repair.triage import Named
from reconcile.repair.ways import Place, Wanted
from reconcile.store.storing import Storing
from tests.contract.stages import HOUR, NEVER_A_VERSION, Meanwhile, flag, look, look_again
from tests.support.proxy import BUSY, Pass, Proxy

BACKUP = Wanted(Place("", "backup/"), is_named=True)


@pytest.fixture
def storing(live):
    """Give what changes objects."""
    with Storing(live.server) as made:
        yield made


class Overtaken(Storing):
    """Hands with which something happens right after versions were listed, or an object was brought, once."""

    after_versions = staticmethod(lambda: None)
    after_bring = staticmethod(lambda: None)

    def bring(self, *given, **named):
        """Bring; then something happens, once."""
        done = super().bring(*given, **named)
        happens, self.after_bring = self.after_bring, lambda: None
        happens()
        return done

    def versions(self, bucket, key):
        """List; then something happens, once."""
        listed = super().versions(bucket, key)
        happens, self.after_versions = self.after_versions, lambda: None
        happens()
        return listed


def restored(live, world, storing, ref, wanted=BACKUP):
    """Restore the finding of a reference; return what is told."""
    [(number,)] = live.sql("SELECT id FROM reconciler.finding WHERE closed_at IS NULL AND key = %s", [ref.key])
    run = Restoring(Ways(world, storing, wanted), Who("ann"))
    [outcome] = run.apply([Named(number, ref, f"row of {ref.key}")])
    return outcome.told


def content(live, key):
    """Return an object's bytes."""
    answer = live.client.get_object(bucket_name=live.bucket, object_name=key)
    try:
        return answer.data
    finally:
        answer.close()
        answer.release_conn()


@pytest.fixture
def hidden(live):
    """Keep versions, hide an object, and flag its row."""
    live.make_versioned()
    live.put("k", b"AAA")
    live.remove("k")
    world = live.world()
    [ref] = flag(live, world, "k")
    return world, ref


def test_a_marker_that_is_not_the_latest_any_more_is_left_alone(live, storing, hidden):
    """Somebody uploaded after the look, or uploaded and deleted again: what they did stands."""
    world, ref = hidden
    before = len(storing.versions(live.bucket, "k"))
    told = restored(live, Meanwhile(world, after_heads=lambda: live.put("k", b"BBB")), storing, ref, Wanted(None))
    assert "is not the latest any more" in told
    assert (content(live, "k"), len(storing.versions(live.bucket, "k"))) == (b"BBB", before + 1)
    live.remove("k")
    twice = Meanwhile(world, after_heads=lambda: (live.put("k", b"AAA"), live.remove("k")))
    told = restored(live, twice, storing, ref, Wanted(None, marker=storing.versions(live.bucket, "k")[0].s3_version))
    assert "is not the latest any more" in told
    assert len(storing.versions(live.bucket, "k")) == before + 4


def test_a_way_that_was_found_is_looked_for_again_before_its_marker_is_removed(live, hidden):
    """An upload after the way was found: nothing is removed."""
    world, ref = hidden
    with Overtaken(live.server) as hands:
        hands.after_versions = lambda: live.put("k", b"NEW")
        told = restored(live, world, hands, ref, Wanted(None))
        assert told.startswith("the object is there")
        assert [one.is_marker for one in hands.versions(live.bucket, "k")] == [False, True, False]
    assert content(live, "k") == b"NEW"


@pytest.mark.parametrize("is_late", [True, False])
def test_a_marker_without_an_id_is_not_removed_but_written_over(live, is_late):
    """Of a suspended bucket an upload takes its place, and its id: removing it would be removing the upload."""
    live.make_versioned()
    live.put("k", b"AAA")
    live.make_versioned("Suspended")
    live.remove("k")
    world = live.world()
    [ref] = flag(live, world, "k")
    with Overtaken(live.server) as hands:
        if is_late:
            hands.after_versions = lambda: live.put("k", b"NEW")
        told = restored(live, world, hands, ref, Wanted(None))
    if is_late:
        assert (told, content(live, "k")) == ("an object is there by now", b"NEW")
    else:
        assert told == "copied from below its delete marker, compared by size alone; given back"
        assert (content(live, "k"), live.status("row of k")) == (b"AAA", "active")


def test_a_backup_is_never_put_over_what_came_in_the_same_moment(live, storing):
    """In a bucket without versions, where it would be lost: MinIO itself refuses."""
    world = live.world()
    [ref] = flag(live, world, "k")
    live.put("backup/k", b"AAA")
    told = restored(live, Meanwhile(world, after_heads=lambda: live.put("k", b"BBB")), storing, ref)
    assert (told, content(live, "k")) == ("an object is there by now", b"BBB")
    assert live.status("row of k") == "corrupted"
    live.remove("k")
    assert restored(live, world, storing, ref) == "copied from the backup, compared by size alone; given back"
    assert (content(live, "k"), live.status("row of k")) == (b"AAA", "active")


def test_a_row_that_names_an_s3_version_is_not_helped_by_a_copy(live, storing):
    """The copy would be another version, and the row stay missing."""
    live.make_versioned()
    live.put("k")
    world, ref = live.world(), ObjectRef(live.bucket, "k", NEVER_A_VERSION)
    live.row("k", s3_version=NEVER_A_VERSION)
    look(world, ref)
    live.age(HOUR)
    look_again(world)
    live.put("backup/k")
    told = restored(live, world, storing, ref)
    assert told == "its row names an S3 version that is gone for good, and no copy would be that version"


@pytest.mark.parametrize("moment", ["before", "between"])
def test_an_outage_in_the_middle_tells_what_was_done_and_what_was_not(live, moment):
    """And the next run finds what is there: its status is given back."""
    world = live.world()
    refs = flag(live, world, "a", "b", "c")
    for ref in refs:
        live.put(f"backup/{ref.key}", b"AAA")
    numbers = dict(live.sql("SELECT key, id FROM reconciler.finding"))
    named = [Named(numbers[ref.key], ref, f"row of {ref.key}") for ref in refs]
    place = urlsplit(live.server.endpoint)
    told = {}
    with (
        ExitStack() as outage,
        Proxy(place.hostname, place.port) as between,
        Overtaken(replace(live.server, endpoint=between.url)) as hands,
    ):

        def end():
            between.stop()
            outage.enter_context(live.outage(world, "minio"))

        if moment == "before":
            end()
        hands.after_bring = end
        run = Restoring(Ways(world, hands, BACKUP), Who("ann"))
        with pytest.raises(Unavailable):
            told.update((one.named.ref.key, (one.done, one.told.split(";")[0])) for one in run.apply(named))
    untried = (False, "not tried")
    if moment == "before":
        assert told == dict.fromkeys("abc", untried)
        return
    done = (True, "copied from the backup, compared by size alone")
    assert told == {"a": done, "b": (False, "it broke off"), "c": untried}
    assert live.status("row of a") == "corrupted"
    [first, *_] = Restoring(Ways(world, Storing(live.server), BACKUP), Who("ann")).apply(named)
    assert first.told == "the object is there; given back"


class Trying(Storing):
    """Hands with which something happens right after an object was brought, or was not, once."""

    after_try = staticmethod(lambda: None)

    def bring(self, *given, **named):
        """Try it; then something happens, once."""
        try:
            return super().bring(*given, **named)
        finally:
            happens, self.after_try = self.after_try, lambda: None
            happens()


def test_an_object_that_alone_cannot_be_read_keeps_no_other_from_coming_back(live):
    """A backup whose content is lost on the disk: its bucket answers, so the others have their turn in the same run."""
    world = live.world()
    refs = flag(live, world, "a", "b")
    for ref in refs:
        live.put(f"backup/{ref.key}", b"AAA")
    numbers = dict(live.sql("SELECT key, id FROM reconciler.finding"))
    named = [Named(numbers[ref.key], ref, f"row of {ref.key}") for ref in refs]
    place = urlsplit(live.server.endpoint)
    with (
        Proxy(place.hostname, place.port) as between,
        Trying(replace(live.server, endpoint=between.url)) as hands,
    ):
        between.set(replace(BUSY, method="GET"))
        hands.after_try = lambda: between.set(Pass())
        broken, whole = Restoring(Ways(world, hands, BACKUP), Who("ann")).apply(named)
    assert (broken.done, broken.again, "503" in broken.told) == (False, True, True)
    assert whole.told == "copied from the backup, compared by size alone; given back"
    assert [live.status(f"row of {key}") for key in "ab"] == ["corrupted", "active"]
