"""What is written for a record that never decodes."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.letters.deadletters import subject
from consumer.letters.letter import beginning_of, buried, letter_of
from consumer.stream.events import Poison, Record

RECORD = Record("events", 3, 42, b"\xff{", b"bucket/key", (("traced", b"yes"),), 1738803871998)


def test_a_letter_is_the_record_with_its_reason_and_origin():
    """Key, value and headers are as they were."""
    letter = letter_of(Poison(RECORD, "not-json", "byte 0"))
    assert (letter.key, letter.value, letter.headers[0]) == (b"bucket/key", b"\xff{", ("traced", b"yes"))
    assert dict(letter.headers[1:]) == {
        "reconciler.reason": b"not-json",
        "reconciler.detail": b"byte 0",
        "reconciler.topic": b"events",
        "reconciler.partition": b"3",
        "reconciler.offset": b"42",
        "reconciler.timestamp": b"1738803871998",
    }


def test_what_the_database_cannot_keep_of_headers_is_replaced():
    """Anybody may write into the topic; a decision about such a letter can be kept."""
    odd = letter_of(Poison(RECORD._replace(topic="a\0b"), "not-json", "x\0\ud800"))
    read = buried(Record("events.dead-letter", 0, 9, odd.value, odd.key, odd.headers))
    assert (read.origin.topic, read.detail) == ("a\ufffdb", "x\ufffd?")


def test_a_letter_buried_again_says_where_it_came_from_last():
    """A dead letter that is replayed and fails anew keeps its earlier story, too."""
    first = letter_of(Poison(RECORD, "not-json", ""))
    again = letter_of(Poison(RECORD._replace(topic="events.dead-letter", headers=first.headers), "bad-key", ""))
    said = [value for name, value in again.headers if name == "reconciler.topic"]
    assert said == [b"events", b"events.dead-letter"]


@given(st.none() | st.binary(max_size=100_000), st.none() | st.binary(max_size=5000), st.text(max_size=2000))
def test_the_beginning_of_a_letter_is_small_and_tells_what_is_missing(value, key, detail):
    """However large the record and its headers, a few kilobytes remain, with size and hash of the whole."""
    record = RECORD._replace(value=value, key=key, headers=(("large", b"x" * 10_000),))
    letter = beginning_of(letter_of(Poison(record, "not-json", detail)))
    headers = dict(letter.headers)
    size = len(letter.value) + len(letter.key or b"") + sum(len(name) + len(said) for name, said in letter.headers)
    assert size < 9000
    assert letter.value == (value or b"")[:4096]
    assert headers["reconciler.size"] == str(len(value or b"")).encode()
    assert headers["reconciler.sha256"].decode() == sha256(value or b"").hexdigest()
    assert headers["reconciler.offset"] == b"42"


@pytest.mark.parametrize(
    "forged",
    [("reconciler.size", b"abc"), ("reconciler.size", b"5"), ("reconciler.sha256", b"zz"), ("reconciler.offset", b"")],
    ids=lambda header: f"{header[0]}={header[1].decode()}",
)
def test_a_record_that_brings_our_headers_hides_nothing(forged):
    """Only what was appended is believed, whether the letter is whole or a beginning."""
    letter = letter_of(Poison(RECORD._replace(headers=(forged,)), "not-json", "byte 0"))
    whole, cut = (
        buried(Record("events.dead-letter", 0, 9, one.value, one.key, one.headers, 6))
        for one in (letter, beginning_of(letter))
    )
    assert whole is not None
    assert cut is not None
    assert (whole.origin, whole.reason, whole.whole_bytes, whole.sha256) == (cut.origin, "not-json", None, "")
    assert (str(cut.origin), cut.whole_bytes, whole.record.timestamp_ms) == ("3:42", 2, RECORD.timestamp_ms)


def test_records_of_one_place_are_told_apart_by_their_time():
    """A topic that was recreated counts from 0 again; the same record buried twice is one letter."""
    records = RECORD, RECORD, RECORD._replace(timestamp_ms=RECORD.timestamp_ms + 1)
    letters = [letter_of(Poison(record, "not-json", "")) for record in records]
    first, again, later = (
        buried(Record("events.dead-letter", 0, at, one.value, one.key, one.headers)) for at, one in enumerate(letters)
    )
    assert first is not None
    assert again is not None
    assert later is not None
    assert first.origin == again.origin != later.origin
    assert str(first.origin) == str(later.origin) == "3:42"
    assert subject(first.origin) == subject(again.origin) != subject(later.origin)
    assert first.record[:3] == RECORD[:3]
