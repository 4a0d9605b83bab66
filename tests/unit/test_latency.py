"""The clock's difference out of Date headers, and the latency of samples that stand for many."""

import json
import random

import pytest

from consumer.counting import Counting
from consumer.duties.clock import DRIFT, Ahead, narrowed, told
from consumer.stream.events import DIALECTS, Record
from consumer.stream.latency import COMMITTED, READ, Latency, Sample, stride
from consumer.stream.sheet import decode_all

PLACE = ("t", 0)
OTHER = ("t", 1)


def asked(truth: float, at: float, trip: float) -> Ahead:
    """Return what one answer tells of a server that is so far ahead: a whole second, somewhen between the two."""
    return told(float(int(at + trip / 2 + truth)), at, at + trip)


@pytest.mark.parametrize("truth", [0.0, 0.31, -47.8, 3600.5])
def test_each_answer_narrows_what_is_known_and_never_excludes_the_truth(truth):
    """After forty questions at odd moments it is known to a tenth of a second, or better."""
    chance = random.Random(5)  # noqa: S311
    at, known = 1_000_000.0, None
    for _ in range(40):
        at += chance.uniform(8, 12)
        known = narrowed(known, asked(truth, at, chance.uniform(0.0005, 0.01)))
        assert known.least <= truth <= known.most
    assert known.within < 0.1
    assert abs(known.seconds - truth) < 0.1


def test_one_answer_tells_the_difference_to_half_a_second():
    """As much as a Date header leaves out."""
    known = asked(20.0, 100.25, 0.0)
    assert (known.within, abs(known.seconds - 20.0) <= 0.5) == (0.5, True)


def test_what_is_known_ages():
    """Clocks drift apart between two questions, so that an old bound is worth less."""
    old = Ahead(0.1, 0.2, 0.0)
    wide = narrowed(old, Ahead(-0.5, 0.5, 1000.0))
    assert (wide.least, wide.most) == (0.1 - 1000 * DRIFT, 0.2 + 1000 * DRIFT)


def test_a_clock_that_was_set_is_believed_at_once():
    """What excludes all that was known before takes its place."""
    assert narrowed(Ahead(0.1, 0.2, 0.0), Ahead(59.5, 60.5, 10.0)) == Ahead(59.5, 60.5, 10.0)


class Heard(list):
    """What was observed."""

    def __call__(self, *observed: object) -> None:
        """Hear one."""
        self.append(observed)


def sample(offset: int, happened: float | None = 100.0, place=PLACE, weight: int = 1) -> Sample:
    return Sample(place, offset, "created", happened, weight)


def test_an_event_is_measured_when_it_is_read_and_when_its_offset_is_committed():
    """Each partition on its own, below the next offset only, each sample once, with its weight."""
    heard = Heard()
    latency = Latency(heard)
    latency.read([sample(5, weight=3), sample(8), sample(2, 99.0, OTHER)], 101.0)
    assert heard == [(READ, "created", 1.0, 3), (READ, "created", 1.0, 1), (READ, "created", 2.0, 1)]
    heard.clear()
    latency.committed({PLACE: 8}, 103.5)
    assert heard == [(COMMITTED, "created", 3.5, 3)]
    latency.committed({PLACE: 9}, 104.0)
    latency.committed({PLACE: 9}, 105.0)
    assert heard[1:] == [(COMMITTED, "created", 4.0, 1)]


def test_what_is_read_again_or_by_another_is_not_measured_here():
    """Of a revoked partition, and after an outage, nothing waits any more."""
    heard = Heard()
    latency = Latency(heard)
    latency.read([sample(1), sample(1, place=OTHER)], 101.0)
    latency.forget([PLACE])
    heard.clear()
    latency.committed({PLACE: 2, OTHER: 2}, 102.0)
    assert len(heard) == 1
    latency.read([sample(3)], 103.0)
    latency.clear()
    heard.clear()
    latency.committed({PLACE: 9}, 104.0)
    assert heard == []


def test_what_cannot_be_measured_is_not_guessed():
    """Without MinIO's clock, or without a time of the event's, there is no latency, and that is said."""
    heard = Heard()
    latency = Latency(heard)
    latency.read([sample(1), sample(2, None)], None)
    latency.committed({PLACE: 2}, None)
    assert [seconds for _, _, seconds, _ in heard] == [None, None, None]


def event(number: int, name: str = "s3:ObjectCreated:Put") -> Record:
    told_ = {"eventName": name, "eventTime": f"2025-01-31T12:00:{number % 60:02}.500Z"}
    told_ |= {"s3": {"bucket": {"name": "b"}, "object": {"key": f"k{number}", "size": 1}}}
    return Record("t", number % 4, number, json.dumps({"Records": [told_]}).encode())


@pytest.mark.parametrize("length", [1, 15, 16, 17, 499, 500])
def test_samples_of_a_chunk_stand_for_all_of_it(length):
    """At most sixteen, and their weights add up to the chunk."""
    sheet = decode_all([event(number) for number in range(length)], DIALECTS["minio"], 0.0).hints
    samples = list(sheet.samples(16))
    assert len(samples) <= 16
    assert sum(one.weight for one in samples) == length
    assert samples[0] == Sample(("t", 0), 0, "created", 1738324800.5, stride(length, 16))


def test_samples_tell_the_kind_of_each_event():
    """Removals and what is only worth a look are kinds of their own; a time that is none is none."""
    names = ["s3:ObjectRemoved:Delete", "s3:ObjectCreated:Put", "s3:Something:New"]
    sheet = decode_all([event(at, name) for at, name in enumerate(names)], DIALECTS["minio"], 0.0).hints
    assert [one.kind for one in sheet.samples(16)] == ["removed", "created", "look"]
    broken = event(0)._replace(value=event(0).value.replace(b"2025-01-31T12", b"yesterday"))
    assert [one.happened for one in decode_all([broken], DIALECTS["minio"], 0.0).hints.samples(16)] == [None]


def test_the_histogram_weighs_what_a_sample_stands_for():
    """Buckets hold what is not greater than their end; an event before its own time took none, and is told apart."""
    counting = Counting()
    counting.took("read", "created", 0.05, 7)
    counting.took("read", "created", 2_000.0, 2)
    counting.took("read", "created", -3.0, 4)
    counting.took("read", "created", None, 5)
    counting.took("committed", "created", None, 5)

    def value(name: str, **labels: str) -> float | None:
        return counting.registry.get_sample_value(f"reconciler_{name}", labels)

    of = {"stage": "read", "kind": "created"}
    assert value("event_latency_seconds_bucket", le="0.025", **of) == 4
    assert value("event_latency_seconds_bucket", le="0.05", **of) == 11
    assert value("event_latency_seconds_bucket", le="1800.0", **of) == 11
    assert value("event_latency_seconds_count", **of) == value("event_latency_seconds_bucket", le="+Inf", **of) == 13
    assert value("event_latency_seconds_sum", **of) == pytest.approx(7 * 0.05 + 2 * 2000)
    assert value("event_latency_seconds_count", stage="committed", kind="created") == 0
    assert value("unmeasured_events_total") == 5
    assert value("early_events_total") == 4
