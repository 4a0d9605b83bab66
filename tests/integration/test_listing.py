"""Listings of a real MinIO: every key, every range, and that no fault makes one shorter."""

import io
import random
import secrets
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from time import monotonic

import pytest
from minio.commonconfig import ENABLED
from minio.deleteobjects import DeleteObject
from minio.versioningconfig import VersioningConfig

from reconcile.model import Misconfigured, Unavailable
from reconcile.sweeps.drift import Entry
from reconcile.sweeps.listing import PROBES, ahead, listed, split
from tests.support import storage
from tests.support.proxy import BUSY, FORBIDDEN, NOT_FOUND, Answer, Cut, Pass, Stall
from tests.support.waiting import until

AAA_MD5 = "e1faffb3e614e6c2fba74296962386b7"
# None lies below another's name, since MinIO would not list it (docs/facts.md, Listing).
SMALL = tuple(sorted(["a", "a-b", "a b/1", "ab/1", "ab/2/", "ab-/1", "ac/1", "b%2B+c", "папка/1", "папка/é", "🗄/📄"]))


def put(objects, bucket, keys):
    """Put small objects; those named like directories are empty."""

    def one(key):
        content = b"" if key.endswith("/") else b"AAA"
        objects.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(content), length=len(content))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, keys))


@pytest.fixture
def small(objects, bucket):
    """Make a bucket with a few keys that lie close to each other."""
    put(objects, bucket, SMALL)
    return bucket


@pytest.fixture
def versioned(objects, bucket):
    """Make a versioned bucket with the few keys, some twice, some deleted, and one null version."""
    put(objects, bucket, ["old"])
    objects.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))
    put(objects, bucket, SMALL)
    put(objects, bucket, SMALL[::2])
    list(objects.remove_objects(bucket_name=bucket, delete_object_list=[DeleteObject(key) for key in SMALL[::3]]))
    return bucket


@pytest.fixture(scope="module")
def large(minio):
    """Make one bucket of 2 345 objects in 30 directories for all tests that change nothing."""
    objects, bucket = storage.client(minio), f"test-{secrets.token_hex(6)}"
    objects.make_bucket(bucket_name=bucket)
    put(objects, bucket, [f"d{number % 30:02d}/s{number // 30 % 3}/{number:05d}" for number in range(2345)])
    return bucket


def keys_of(pages):
    """Return the keys of all pages."""
    return [entry.key for page in pages for entry in page]


def test_an_entry_is_what_minio_holds(objects, bucket, eyes):
    """Size, unquoted ETag, ISO time, no version."""
    put(objects, bucket, ["a"])
    ((entry,),) = listed(eyes, bucket)
    assert entry == Entry("a", 3, AAA_MD5, entry.modified)
    assert entry.modified.endswith("Z")
    assert "T" in entry.modified


def test_an_empty_bucket_has_no_pages(bucket, eyes):
    """Nothing is not a page."""
    assert list(listed(eyes, bucket)) == []
    assert list(listed(eyes, bucket, versions=True)) == []


def test_every_key_comes_as_it_is(objects, bucket, eyes):
    """Spaces, plus, percent, Cyrillic, emoji, controls, 1024 bytes, both forms of é; in the order of bytes."""
    odd = [
        "a b+c%2Fd%",
        "+",
        "%",
        " a ",
        "папка/файл 1.txt",
        "🗄/📄&=?#;:@$,'\"()*!~_-.",
        "x/" * 511 + "xx",
        "tab\tline\nend",
    ]
    odd += ["back\\slash", "dir/", "é", "e\u0301", "...", "<&>", "]]>", "\uffee", "[minio_cache:v2]", "a%20b"]
    put(objects, bucket, odd)
    assert keys_of(listed(eyes, bucket)) == sorted(odd, key=str.encode)
    assert keys_of(listed(eyes, bucket, versions=True)) == sorted(odd)
    for key in odd:
        assert keys_of(listed(eyes, bucket, key)) == [other for other in sorted(odd) if other.startswith(key)]


@pytest.mark.parametrize("versions", [False, True])
def test_many_pages_come_whole(large, eyes, versions):
    """More than two pages, in order, none twice, fetched ahead or not."""
    pages = list(listed(eyes, large, versions=versions))
    assert [len(page) for page in pages] == [1000, 1000, 345]
    keys = keys_of(pages)
    assert len(set(keys)) == 2345
    assert keys == sorted(keys)
    assert keys_of(ahead(listed(eyes, large, versions=versions))) == keys
    assert keys_of(listed(eyes, large, "", keys[500], keys[1700], versions=versions)) == keys[501:1701]
    assert keys_of(listed(eyes, large, "", keys[999], keys[1999], versions=versions)) == keys[1000:2000]


@pytest.mark.parametrize("prefix", ["", "a", "ab", "ab/", "ab/2", "папка/", "nothing", "🗄"])
@pytest.mark.parametrize("versions", [False, True])
def test_every_range_is_the_filtered_whole(small, eyes, prefix, versions):
    """Bounds may be keys, lie between them, before or beyond the prefix, and be no key at all."""
    bounds = ["", *SMALL, "/", "ab/", "ab", "ab\U0010ffff", "b%", "п", "\U0010ffff"]
    for lower in bounds:
        for upper in random.Random(lower).sample([None, *bounds], 6):  # noqa: S311
            wanted = [
                key for key in SMALL if key.startswith(prefix) and key > lower and (upper is None or key <= upper)
            ]
            assert keys_of(listed(eyes, small, prefix, lower, upper, versions=versions)) == wanted, (lower, upper)


def test_a_prefix_is_no_directory(small, eyes):
    """Without a slash at its end its siblings come, too."""
    assert keys_of(listed(eyes, small, "ab")) == ["ab-/1", "ab/1", "ab/2/"]
    assert keys_of(listed(eyes, small, "ab/")) == ["ab/1", "ab/2/"]


def test_versions_come_with_their_names_and_without_markers(objects, versioned, eyes):
    """Each version that has content is an entry; under a delete marker none is the latest; the null version is null."""
    entries = [entry for page in listed(eyes, versioned, versions=True) for entry in page]
    told = objects.list_objects(bucket_name=versioned, recursive=True, include_version=True)
    assert sorted((entry.key, entry.s3_version, entry.latest) for entry in entries) == sorted(
        (one.object_name, one.version_id, one.is_latest == "true") for one in told if not one.is_delete_marker
    )
    assert len(entries) == 1 + len(SMALL) + len(SMALL[::2])
    assert {entry.key for entry in entries if entry.latest} == {"old", *SMALL} - set(SMALL[::3])
    assert [entry.s3_version for entry in entries if entry.key == "old"] == ["null"]


def test_without_versions_only_what_can_be_read_comes(versioned, eyes):
    """What a delete marker hides is not listed, and no version is named."""
    entries = [entry for page in listed(eyes, versioned) for entry in page]
    assert {entry.key for entry in entries} == {"old", *SMALL} - set(SMALL[::3])
    assert {(entry.s3_version, entry.latest) for entry in entries} == {("", True)}


def test_versions_of_one_key_go_over_pages(objects, bucket, eyes):
    """A page may end between two versions of a key; the markers take up room in it and are passed over."""
    objects.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))
    put(objects, bucket, ["a", *["b", "c"] * 510, "d"])
    objects.remove_object(bucket_name=bucket, object_name="b")
    pages = list(listed(eyes, bucket, versions=True))
    assert [len(page) for page in pages] == [999, 23]
    assert keys_of(pages) == ["a", *["b"] * 510, *["c"] * 510, "d"]
    assert len({entry.s3_version for page in pages for entry in page}) == 1022
    assert keys_of(listed(eyes, bucket, "", "b", "c", versions=True)) == ["c"] * 510


def test_a_prefix_that_minio_lists_as_empty_is_refused(small, eyes):
    """A slash at the start would make every row look missing."""
    with pytest.raises(Misconfigured, match="/a"):
        listed(eyes, small, "/a")


def test_a_missing_bucket_is_no_empty_one(eyes):
    """It is told at once."""
    started = monotonic()
    for versions in (False, True):
        with pytest.raises(Misconfigured, match="NoSuchBucket"):
            list(listed(eyes, "no-such-bucket-at-all", versions=versions))
    assert monotonic() - started < 1


@pytest.mark.parametrize("fault", [FORBIDDEN, NOT_FOUND])
def test_a_refusal_is_not_tried_again(small, far_eyes, proxy, fault):
    """403 and 404 stay until a person acts."""
    proxy.set(fault)
    with pytest.raises(Misconfigured):
        list(listed(far_eyes, small))
    assert proxy.requests == 1


@pytest.mark.parametrize("fault", [BUSY, Answer("429 Too Many Requests"), Cut(), Answer("200 OK")])
def test_a_page_that_fails_for_a_while_is_fetched_again(large, far_eyes, proxy, fault):
    """The listing goes on where it was, and nothing is left out or comes twice."""
    pages = listed(far_eyes, large)
    keys = [entry.key for entry in next(pages)]
    proxy.set(fault)
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(keys_of, pages)
        before = proxy.requests
        until(lambda: proxy.requests > before or isinstance(fault, Cut))
        proxy.set(Pass())
        keys += rest.result()
    assert len(keys) == len(set(keys)) == 2345


@pytest.mark.parametrize("fault", [BUSY, Cut(), Stall(), Answer("200 OK")])
def test_a_page_that_fails_for_good_ends_the_listing(large, far_eyes, proxy, fault):
    """It is tried a few times within 10 s, whatever Retry-After says, and then told: a short listing is none."""
    pages = listed(far_eyes, large)
    next(pages)
    proxy.set(fault)
    started = monotonic()
    with pytest.raises(Unavailable):
        next(pages)
    assert monotonic() - started < 12


@pytest.mark.parametrize(("prefix", "wanted"), [("", 4), ("", 30), ("", 50), ("d", 4), ("d07/", 3), ("d07", 3)])
def test_a_bucket_is_split_along_its_directories(large, eyes, prefix, wanted):
    """The ranges are about as many as wanted, together they are the whole, and none is empty."""
    cuts = split(eyes, large, prefix, wanted)
    assert wanted <= len(cuts) + 1 <= 2 * wanted
    ranges = [keys_of(listed(eyes, large, prefix, *bounds)) for bounds in pairwise(["", *cuts, None])]
    assert [key for keys in ranges for key in keys] == keys_of(listed(eyes, large, prefix))
    assert all(ranges)


def test_what_cannot_be_split_is_one_range(objects, bucket, large, eyes):
    """A flat bucket, an empty one, one range wanted."""
    assert split(eyes, bucket, "", 8) == []
    put(objects, bucket, ["a", "b", "c"])
    assert split(eyes, bucket, "", 8) == []
    assert split(eyes, large, "", 1) == []


def test_very_many_directories_are_sampled_from_end_to_end(objects, bucket, far_eyes, proxy):
    """What lies beyond the first page is reached by a jump, not page by page."""
    put(objects, bucket, [f"{number * 59:05d}/x" for number in range(1100)])
    cuts = split(far_eyes, bucket, "", 1001)
    assert cuts[999:] == [f"{number * 59:05d}/" for number in range(1017, 1100)]
    assert proxy.requests == 2


def test_splitting_sends_few_requests(large, far_eyes, proxy):
    """However many ranges are wanted."""
    cuts = split(far_eyes, large, "", 10_000)
    assert proxy.requests <= PROBES
    assert len(cuts) > 30
    assert cuts == sorted(set(cuts))
