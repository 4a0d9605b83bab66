"""What a name leads to, and what an answer proves."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.model import Absent, NotAsked, ObjectRef, Present, Unknown
from reconcile.store.heads import NO_NAME, Broken, Reply, path_of, reply_of, side, target_of, unanswered


@pytest.mark.invariant(1)
@pytest.mark.parametrize(
    "key",
    [
        *("", "/", "/a", "//a", "a//b", "a//", ".", "..", "./a", "a/.", "a/./b", "a/..", "../a", "a/../b", "\ud800"),
        *("..\\a", "a\\.\\b", "a/ .. /b", ".\xa0"),
    ],
)
def test_a_name_that_would_lead_elsewhere_is_none(key):
    """What libcurl or MinIO would clean into another name is never sent."""
    assert target_of(ObjectRef("b", key)) is None


@pytest.mark.invariant(1)
@pytest.mark.parametrize("bucket", ["", ".", "..", "a/b", "/", "\ud800"])
def test_a_bucket_that_would_lead_elsewhere_is_none(bucket):
    """Nor is the name of a bucket that would become a part of a path, or none of it."""
    assert path_of(bucket) is None
    assert target_of(ObjectRef(bucket, "a/b")) is None


@pytest.mark.invariant(1)
def test_a_version_that_cannot_be_encoded_is_none():
    """A lone surrogate is no version."""
    assert target_of(ObjectRef("b", "a", "\ud800")) is None


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_name_that_is_sent_is_the_name(key):
    """Whatever is sent leads back to its key, and has no segment that could be cleaned."""
    target = target_of(ObjectRef("b", key, "v&/ ?"))
    if target is None:
        parts = (part.strip() for part in key.replace("\\", "/").split("/"))
        assert not {".", ".."}.isdisjoint(parts) or "" in key.removesuffix("/").split("/")
        return
    path, query = target.split("?")
    assert unquote(path) == f"/b/{key}"
    assert query == "versionId=v%26%2F%20%3F"
    assert target.isascii()


def test_a_key_may_end_in_a_slash_and_have_dots_among_others():
    """What MinIO does hold is asked for."""
    assert [path_of("b", key) for key in ("dir/", "...", "a/.b", "..c")] == ["/b/dir/", "/b/...", "/b/a/.b", "/b/..c"]
    assert [path_of("b", key) for key in ("a\\b.", ". a", "\\")] == ["/b/a%5Cb.", "/b/.%20a", "/b/%5C"]


@given(st.binary())
def test_reading_a_head_is_total(head):
    """Any bytes are a reply that proves something or nothing."""
    reply = reply_of(200, [b"HTTP/1.1 200 OK\r\n", head, b"\r\n"])
    assert isinstance(side(reply, ObjectRef("b", "k")), Present | Unknown)


def test_names_of_headers_have_no_case_and_an_interim_head_is_passed_over():
    """Only the last head counts, and what is named twice is joined."""
    lines = [b"HTTP/1.1 103 Early\r\n", b"ETag: old\r\n", b"\r\n", b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n", b"x-a:2\r\n"]
    lines.append(b"\r\n")
    assert reply_of(200, lines) == Reply(200, {"x-a": "1, 2"})


@pytest.mark.invariant(1)
@pytest.mark.parametrize("lines", [[], [b"HTTP/1.1 404 Not Found\r\n", b"X-Minio-Error-Code: NoSuchKey\r\n"]])
def test_half_a_head_is_no_answer(lines):
    """What broke off may have had more to say."""
    assert isinstance(reply_of(404, lines), Broken)


@pytest.mark.invariant(1)
def test_a_header_holds_no_other_header():
    """What the application wrote into an object's metadata is never taken for MinIO's word."""
    for mark in ("\x0b", "\x0c", "\x1c", "\x85", "\xa0"):
        line = f"x-amz-meta-note: a{mark}x-minio-error-code: NoSuchKey\r\n".encode("latin-1")
        assert "x-minio-error-code" not in reply_of(404, [line, b"\r\n"]).headers


@pytest.mark.invariant(1)
@pytest.mark.parametrize(
    ("status", "headers", "version"),
    [
        (404, {}, ""),
        (404, {"x-minio-error-code": "NoSuchBucket"}, ""),
        (404, {"x-minio-error-code": "NoSuchKey, NoSuchKey"}, ""),
        (404, {"x-amz-delete-marker": "true"}, ""),
        (405, {"x-amz-delete-marker": "true"}, ""),
        (405, {"x-minio-error-code": "MethodNotAllowed"}, "v"),
        (403, {"x-minio-error-code": "NoSuchKey"}, ""),
        (410, {"x-minio-error-code": "NoSuchKey"}, ""),
        (500, {"x-minio-error-code": "NoSuchKey"}, "v"),
        (204, {"etag": "x", "content-length": "0"}, ""),
        (200, {"etag": "x"}, ""),
        (200, {"content-length": "1"}, ""),
        (200, {"etag": "x", "content-length": "-1"}, ""),
    ],
)
def test_what_proves_nothing_is_unknown(status, headers, version):
    """Every near miss of a proof."""
    assert isinstance(side(Reply(status, headers), ObjectRef("b", "k", version)), Unknown)


@pytest.mark.invariant(1)
def test_a_name_that_minio_refuses_is_none():
    """A segment of more than 255 bytes, or a version that is none of MinIO's: known by its code, and no absence."""
    nameless, versionless = ({"x-minio-error-code": code} for code in ("XMinioInvalidObjectName", "InvalidArgument"))
    key, version = ObjectRef("b", "k" * 256), ObjectRef("b", "k", "of another store")
    assert side(Reply(400, nameless), key) == side(Reply(400, versionless), version) == NO_NAME
    for reply in (Reply(400, versionless), Reply(400, {}), Reply(404, nameless)):
        assert side(reply, key) not in {NO_NAME, Absent("XMinioInvalidObjectName")}


@pytest.mark.invariant(1)
def test_one_answer_is_no_outage():
    """A bucket of which anything was answered, or nothing asked, is not probed."""
    first, second = ObjectRef("b", "a"), ObjectRef("b", "b")
    assert unanswered({first: Unknown("late"), second: Absent("NoSuchKey")}) == set()
    assert unanswered({first: Unknown("late"), second: NotAsked()}) == {"b"}
    assert unanswered({first: NO_NAME, second: NotAsked()}) == set()
