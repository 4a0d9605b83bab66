"""What is done to objects, on a real MinIO: copies that are conditional, markers, versions in their order."""

import hashlib
import io
from dataclasses import replace

import pytest
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from reconcile.model import ObjectRef, Present
from reconcile.store.server import Server
from reconcile.store.storing import Gone, Storing


@pytest.fixture
def storing(minio):
    """Give what changes objects."""
    with Storing(Server(minio.url, minio.user, minio.password, minio.region)) as made:
        yield made


@pytest.fixture
def versioned(objects, bucket) -> str:
    """Name a bucket that keeps versions."""
    objects.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))
    return bucket


def put(storing, bucket: str, key: str, content: bytes) -> Present:
    """Put an object."""
    return storing.put(ObjectRef(bucket, key), io.BytesIO(content), len(content), "text/plain")


def test_versions_of_one_key_come_latest_first_with_its_markers(storing, versioned):
    """Keys that only begin alike, or lie below, are none of its versions."""
    first, second = put(storing, versioned, "a", b"1"), put(storing, versioned, "a", b"22")
    put(storing, versioned, "ab", b"other")
    put(storing, versioned, "a/b", b"below")
    marker = storing.hide(ObjectRef(versioned, "a"))
    found = storing.versions(versioned, "a")
    assert [one.s3_version for one in found] == [marker, second.s3_version, first.s3_version]
    assert [(one.is_latest, one.is_marker) for one in found] == [(True, True), (False, False), (False, False)]
    storing.remove(ObjectRef(versioned, "a", marker))
    assert [one.is_latest for one in storing.versions(versioned, "a")] == [True, False]


def test_a_copy_is_of_what_was_seen_or_of_nothing(storing, bucket, objects):
    """An object that was written anew since is not copied."""
    seen = put(storing, bucket, "a", b"old")
    storing.copy(ObjectRef(bucket, "a"), seen, ObjectRef(bucket, "copy"))
    assert objects.get_object(bucket_name=bucket, object_name="copy").data == b"old"
    put(storing, bucket, "a", b"new")
    with pytest.raises(Gone):
        storing.copy(ObjectRef(bucket, "a"), seen, ObjectRef(bucket, "second"))
    assert [one.object_name for one in objects.list_objects(bucket_name=bucket)] == ["a", "copy"]


def test_removing_a_version_leaves_the_others(storing, versioned, objects):
    """Only what the reference names is gone."""
    first, second = put(storing, versioned, "a", b"1"), put(storing, versioned, "a", b"22")
    storing.remove(ObjectRef(versioned, "a", first.s3_version or ""))
    assert [one.s3_version for one in storing.versions(versioned, "a")] == [second.s3_version]
    assert objects.get_object(bucket_name=versioned, object_name="a").data == b"22"


def test_a_content_is_brought_back_with_what_was_stored_beside_it(storing, objects, bucket):
    """Under a free name: its bytes, its media type, what its owner noted; also in parts, also empty."""
    big = b"x" * (6 * 2**20)
    for key, content in (("small", b"AAA"), ("none", b""), ("parts", big)):
        objects.put_object(
            bucket_name=bucket, object_name=f"backup/{key}", data=io.BytesIO(content), length=len(content),
            content_type="image/png", metadata={"note": "hers"}, part_size=5 * 2**20,
        )  # fmt: skip
        seen = storing.read(ObjectRef(bucket, f"backup/{key}"))
        seen.close()
        storing.bring(seen.ref, seen.seen, ObjectRef(bucket, key), hashlib.sha256(content).hexdigest())
        found = objects.stat_object(bucket_name=bucket, object_name=key)
        kept = (found.size, found.etag, found.content_type, found.metadata["x-amz-meta-note"])
        assert kept == (len(content), hashlib.md5(content, usedforsecurity=False).hexdigest(), "image/png", "hers")


@pytest.mark.parametrize("size", [3, 6 * 2**20], ids=["one piece", "many pieces"])
def test_nothing_is_put_over_an_object_nor_where_the_content_is_another(storing, objects, bucket, size):
    """What is there stays, also where it came in the very moment; a wrong checksum, or a change, stores nothing."""
    content = b"A" * size
    objects.put_object(bucket_name=bucket, object_name="backup", data=io.BytesIO(content), length=size)
    objects.put_object(bucket_name=bucket, object_name="there", data=io.BytesIO(b"BBBB"), length=4)
    source = ObjectRef(bucket, "backup")
    seen = storing.read(source)
    seen.close()
    with pytest.raises(Gone, match="there by now"):
        storing.bring(source, seen.seen, ObjectRef(bucket, "there"))
    with pytest.raises(Gone, match="there by now"):
        storing.bring(source, seen.seen, ObjectRef(bucket, "there"), over="0" * 32)
    with pytest.raises(Gone):
        storing.bring(source, seen.seen, ObjectRef(bucket, "free"), over="0" * 32)
    with pytest.raises(Gone, match="sha256: row 000000000000"):
        storing.bring(source, seen.seen, ObjectRef(bucket, "free"), "0" * 64)
    with pytest.raises(Gone, match="not what it was"):
        storing.bring(source, replace(seen.seen, etag="another"), ObjectRef(bucket, "free"))
    assert objects.stat_object(bucket_name=bucket, object_name="there").size == 4
    assert sorted(one.object_name for one in objects.list_objects(bucket_name=bucket)) == ["backup", "there"]
    storing.bring(
        source, seen.seen, ObjectRef(bucket, "there"), over=hashlib.md5(b"BBBB", usedforsecurity=False).hexdigest()
    )
    assert objects.stat_object(bucket_name=bucket, object_name="there").size == size
