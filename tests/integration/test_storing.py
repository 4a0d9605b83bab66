"""What is done to objects, on a real MinIO: copies that are conditional, markers, versions in their order."""

import io

import pytest
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from reconcile.model import ObjectRef, Present
from reconcile.server import Server
from reconcile.storing import Gone, Storing


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
