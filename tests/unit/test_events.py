"""Decoding is total: whatever bytes come, hints or Undecodable."""

import json
from urllib.parse import quote_plus, unquote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.stream.events import (
    DIALECTS,
    Record,
    Sighting,
    decode_minio,
    decode_minio_listen,
    hint_of,
    references,
)
from consumer.stream.sheet import Decoded, decode_all
from reconcile.config import checks
from reconcile.model import Action, Hint, ObjectRef, Undecodable

KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200)


def event(name="s3:ObjectCreated:Put", bucket="files", wire_key="a.txt", **target):
    return {
        "eventTime": "2025-02-06T01:04:31.998Z",
        "eventName": name,
        "userIdentity": {"principalId": "alice"},
        "requestParameters": {"principalId": "alice-parent", "region": "", "sourceIPAddress": "10.0.0.5"},
        "responseElements": {"x-amz-request-id": "182178E8B36AC9DF"},
        "s3": {
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {"key": wire_key, "sequencer": "182178E8B3728CAC", **target},
        },
        "source": {"host": "10.0.0.9", "port": "", "userAgent": "mc"},
    }


def value(*events):
    return json.dumps({"EventName": "…", "Key": "…", "Records": list(events)}).encode()


def decoded(raw, *, versioned=False) -> Decoded:
    return decode_all([Record("events", 3, 42, raw)], decode_minio, 7.0, versioned=versioned)


def only_hint(**said) -> Hint:
    (hint,) = decoded(value(event(**said))).hints
    return hint


def reason(raw) -> str:
    (poison,) = decoded(raw).poison
    return poison.reason


def test_the_configuration_may_name_every_dialect():
    """And no other: the names are written twice, since a rule of the settings knows no decoder."""
    assert tuple(DIALECTS) == checks.DIALECTS


@given(st.binary() | st.text().map(str.encode))
@example(b"[" * 200_000)
@example(b'{"x":' * 200_000)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.invariant(2)
def test_any_bytes_are_hints_or_undecodable(dialect, raw):
    """Nothing else escapes over arbitrary bytes."""
    outcome = decode_all([Record("events", 0, 0, raw)], DIALECTS[dialect], 0.0)
    assert len(outcome.hints) + len(outcome.poison) + outcome.ignored <= 1


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
EVENT_LIKE = st.builds(
    lambda name, at, s3, more: {"eventName": name, "eventTime": at, "s3": s3, **more},
    st.sampled_from(["s3:ObjectCreated:Put", "s3:ObjectRemoved:Delete", "new", ""]) | JSON_VALUES,
    st.datetimes().map(str) | JSON_VALUES,
    st.builds(
        lambda bucket, key, size, version, etag: {
            "bucket": {"name": bucket},
            "object": {"key": key, "size": size, "versionId": version, "eTag": etag},
        },
        st.text() | JSON_VALUES,
        st.text() | KEYS.map(quote_plus) | JSON_VALUES,
        st.integers() | JSON_VALUES,
        st.text() | JSON_VALUES,
        st.text() | JSON_VALUES,
    )
    | JSON_VALUES,
    st.dictionaries(st.sampled_from(["userIdentity", "requestParameters", "responseElements", "source"]), JSON_VALUES),
)


def storable(text: str) -> bool:
    """Tell whether PostgreSQL's text can hold it."""
    return "\0" not in text and text.encode().decode() == text


@given(st.lists(EVENT_LIKE | JSON_VALUES, max_size=3))
@pytest.mark.invariant(2)
def test_what_looks_like_an_event_can_be_stored(events):
    """A hint holds nothing that the database would refuse, and neither does its evidence."""
    for hint in decoded(value(*events)).hints:
        assert hint.ref.bucket
        assert hint.ref.key
        texts = [*hint.ref, hint.etag or "", *(str(fact) for fact in hint.evidence.facts().values())]
        assert all(storable(text) for text in texts)
        assert len(hint.ref.key.encode()) <= 1024
        assert hint.size is None or 0 <= hint.size < 1 << 63


@given(KEYS)
@example("a b/c+d%2F=é\n~")
def test_a_key_survives_the_wire(key):
    """What MinIO encodes, we decode to the same key; the listen stream does not encode at all."""
    (from_topic,) = decode_minio(value(event(wire_key=quote_plus(key, safe=""))))
    assert from_topic.s3.object.key == key
    (from_stream,) = decode_minio_listen(value(event(wire_key=key)))
    assert from_stream.s3.object.key == key


@given(st.text("%+=aAfF029zé\n\r\t _", max_size=12))
@example("a%\n")
@example("=41%zz")
@example("%é%2F")
@example("a%2Fb%252F")
@example("a%2Fb+c")
def test_an_odd_wire_key_is_unquoted_as_the_standard_library_does(wire_key):
    """The quick way parts from unquote_plus nowhere."""
    try:
        expected = unquote_plus(wire_key, errors="strict")
    except UnicodeDecodeError:
        with pytest.raises(Undecodable, match="bad-key"):
            decode_minio(value(event(wire_key=wire_key)))
    else:
        assert decode_minio(value(event(wire_key=wire_key)))[0].s3.object.key == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, "tombstone"),
        (b"", "not-json"),
        (b"{", "not-json"),
        (b'{"Records":[{"eventName":"\xff"}]}', "not-json"),
        (b'{"x":' * 200_000, "not-json"),
        (b"[" * 200_000, "wrong-shape"),
        (b"[]", "wrong-shape"),
        (b"null", "wrong-shape"),
        (b'{"Records":{}}', "wrong-shape"),
        (b'{"Records":[null]}', "wrong-shape"),
        (b'{"Records":[{}]}', "wrong-shape"),
        (b'{"Records":[{"eventName":"s3:ObjectCreated:Put"}]}', "wrong-shape"),
        (b"{}", "no-records"),
        (b'{"Records":null}', "no-records"),
        (b'{"Records":[]}', "no-records"),
        (value(event(wire_key="")), "bad-key"),
        (value(event(wire_key="%ff")), "bad-key"),
        (value(event(wire_key="%00")), "bad-key"),
        (value(event(wire_key="a\0")), "bad-key"),
        (value(event(wire_key="%ED%A0%80")), "bad-key"),
        (value(event(wire_key="x" * 1025)), "bad-key"),
        (value(event(wire_key="é" * 513)), "bad-key"),
        (value(event(wire_key="\ud800")), "not-json"),
        (value(event(bucket="")), "bad-bucket"),
        (value(event(bucket="a\0")), "bad-bucket"),
        (value(event(bucket="b" * 300)), "bad-bucket"),
        (value(event(versionId="\0")), "bad-version"),
        (value(event(versionId="v" * 300)), "bad-version"),
        (value(event(eTag="\0")), "bad-etag"),
        (value(event(size=-1)), "wrong-shape"),
        (value(event(size=1 << 63)), "wrong-shape"),
        (value(event(size=10**30)), "wrong-shape"),
        (value(event(size=True)), "wrong-shape"),
        (value(event(size="7")), "wrong-shape"),
    ],
)
def test_poison_is_named(raw, expected):
    """Each kind of poison has its stable word, and no hint comes of it."""
    assert reason(raw) == expected
    assert not decoded(raw).hints


@pytest.mark.parametrize("verb", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
@pytest.mark.parametrize("prefix", ["s3:", ""])
def test_an_upload_is_created(verb, prefix):
    """An upload tells size and ETag, with the prefix or without; a size left out means 0."""
    full = only_hint(name=f"{prefix}ObjectCreated:{verb}", size=84452, eTag="eb52")
    assert (full.action, full.size, full.etag) == (Action.CREATED, 84452, "eb52")
    empty = only_hint(name=f"{prefix}ObjectCreated:{verb}")
    assert (empty.action, empty.size, empty.etag) == (Action.CREATED, 0, None)


@pytest.mark.parametrize("verb", ["PutTagging", "PutRetention", "PutLegalHold", "DeleteTagging"])
def test_a_change_of_metadata_tells_no_size_of_zero(verb):
    """Without a size it is only a reason to look, since nothing was left out as 0."""
    assert only_hint(name=f"s3:ObjectCreated:{verb}").action is Action.LOOK
    assert only_hint(name=f"s3:ObjectCreated:{verb}", size=3).action is Action.CREATED


@pytest.mark.parametrize(
    "name",
    [
        "s3:ObjectRemoved:Delete",
        "s3:ObjectRemoved:DeleteMarkerCreated",
        "s3:ObjectRemoved:DeleteAllVersions",
        "s3:ObjectRemoved:NoOP",
        "s3:LifecycleDelMarkerExpiration:Delete",
        "s3:LifecycleExpiration:DeleteMarkerCreated",
    ],
)
def test_a_removal_tells_no_size(name):
    """Some removals carry the size of what is gone; it says nothing of what is there."""
    hint = only_hint(name=name, size=5, eTag="x")
    assert (hint.action, hint.size, hint.etag) == (Action.REMOVED, None, None)


@pytest.mark.parametrize(
    "name",
    [
        "s3:ObjectAccessed:Head",
        "s3:Replication:OperationCompletedReplication",
        "s3:ObjectRestore:Completed",
        "s3:ObjectTransition:Complete",
        "s3:Scanner:BigPrefix",
        "s3:BucketRemoved:*",
    ],
)
def test_what_moves_no_object_is_ignored_and_counted(name):
    """Such events give no hint, and their keys are not even looked at."""
    outcome = decoded(value(event(name=name, wire_key="")))
    assert (list(outcome.hints), outcome.poison, outcome.ignored) == ([], [], 1)


def test_an_unknown_event_is_a_reason_to_look():
    """A name from the future is not lost, since a hint proves nothing."""
    assert only_hint(name="s3:ObjectTeleported:Away", size=3).action is Action.LOOK


def test_each_of_several_records_is_a_hint():
    """Other stores send several events in one record."""
    outcome = decoded(value(event(wire_key="a"), event(wire_key="b")))
    assert [hint.ref.key for hint in outcome.hints] == ["a", "b"]


def test_a_record_is_decoded_whole_or_is_poison():
    """One bad event makes the record poison, which hinders no other record."""
    bad = value(event(wire_key="a"), event(wire_key=""))
    records = [Record("t", 0, 0, value(event())), Record("t", 0, 1, bad), Record("t", 0, 2, value(event()))]
    outcome = decode_all(records, decode_minio, 0.0)
    assert [hint.evidence.offset for hint in outcome.hints] == [0, 2]
    assert [poison.record.offset for poison in outcome.poison] == [1]


@pytest.mark.parametrize("line", [b"", b" \n", b'{"Records":null}\n', b'{"Records":[]}'])
def test_a_ping_is_no_event(line):
    """The listen stream sends something each second to show that it lives."""
    assert not decode_minio_listen(line)


def test_the_evidence_tells_who_did_it_and_where_it_is_written():
    """Facts are those of the event and its place in the topic."""
    hint = only_hint(name="s3:ObjectRemoved:Delete", versionId="v1")
    assert hint.evidence.facts() == {
        "event": "s3:ObjectRemoved:Delete",
        "event_time": "2025-02-06T01:04:31.998Z",
        "principal": "alice",
        "source_address": "10.0.0.5",
        "user_agent": "mc",
        "request_id": "182178E8B36AC9DF",
        "sequencer": "182178E8B3728CAC",
        "s3_version": "v1",
        "topic": "events",
        "partition": 3,
        "offset": 42,
    }


def test_the_evidence_of_an_internal_event_names_the_node():
    """An expiry by lifecycle has no request; its source is the node and its own user agent."""
    said = event(name="s3:ObjectRemoved:Delete") | {"userIdentity": {"principalId": ""}, "requestParameters": None}
    said["source"] = {"host": "node1:9000", "port": "", "userAgent": "Internal: [ILM-Expiry]"}
    (hint,) = decoded(value(said)).hints
    facts = hint.evidence.facts()
    assert (facts["source_address"], facts["user_agent"]) == ("node1:9000", "Internal: [ILM-Expiry]")
    assert "principal" not in facts


def test_evidence_off_the_topic_has_no_place():
    """The express lane reads no topic."""
    (heard,) = decode_minio_listen(value(event(wire_key="a+b", size=3)))
    hint = hint_of(Sighting(heard), "listen")
    assert (hint.ref.key, hint.named_by) == ("a+b", "listen")
    assert not {"topic", "partition", "offset"} & set(hint.evidence.facts())
    assert hint.evidence.facts()["size"] == 3


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("2025-02-06T01:04:31.998Z", 1738803871.998),
        ("2025-02-06T02:04:31.998+01:00", 1738803871.998),
        ("2025-02-06T01:04:31", None),
        ("yesterday", None),
        ("", None),
        ("0001-01-01T00:00:00+23:59", -62135683140.0),
    ],
)
def test_the_event_time_is_read_only_if_it_says_its_zone(said, seconds):
    """A time that cannot be read is no time, never an error."""
    (heard,) = decode_minio_listen(value(event() | {"eventTime": said}))
    at = Sighting(heard).event_seconds()
    assert at is None if seconds is None else at == pytest.approx(seconds)


def test_a_version_matters_only_where_rows_name_versions():
    """With versions the event's own and the latest are looked at; without, the latest alone."""
    own, latest = ObjectRef("b", "k", "v"), ObjectRef("b", "k")
    assert references(own, versioned=True) == (own, latest)
    assert references(own, versioned=False) == (latest,)
    assert references(latest, versioned=True) == (latest,)
    raw = value(event(versionId="v", size=3))
    assert [hint.ref.s3_version for hint in decoded(raw, versioned=True).hints] == ["v", ""]
    assert [hint.ref.s3_version for hint in decoded(raw).hints] == [""]
