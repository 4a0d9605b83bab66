"""A range of a topic on a real broker: it is read to its end, or it is said why not."""

import secrets

import pytest
from confluent_kafka.admin import AdminClient

from consumer.kafka.range import RangeReader
from consumer.letters import deadletters
from consumer.letters.register import Register
from deploy.local import kafka as kafkas
from reconcile.model import Unavailable
from tests.support import consuming
from tests.support.waiting import until


def read(reader: RangeReader, ranges) -> list[int]:
    """Read ranges to their end."""
    reader.start(ranges)
    found = []
    until(lambda: (found.extend(one.offset for one in reader.read(0.1, 10)), reader.is_over)[1], 40)
    return found


def test_a_range_ends_where_the_topic_ended_when_it_was_chosen(site):
    """What is written while it is read is no part of it."""
    first = site.send([b"before"] * 5)
    with RangeReader(site.topic, site.kafka) as reader:
        ranges = reader.ranges("earliest")
        site.send([b"meanwhile"] * 5)
        assert read(reader, ranges) == first
        assert read(reader, reader.ranges("earliest", "latest", 0)) == list(range(10))


def test_what_retention_eats_while_it_is_read_is_counted_and_the_rest_is_read(site):
    """Neither an end in mid-range nor a silent gap."""
    site.send([b"x"] * 20)
    with RangeReader(site.topic, site.kafka) as reader:
        ranges = reader.ranges("earliest")
        site.delete_records(0, 12)
        assert read(reader, ranges) == list(range(12, 20))
        assert reader.eaten == {0: 12}
    with RangeReader(site.topic, site.kafka) as reader:
        ranges = reader.ranges("earliest", 18)
        site.delete_records(0, 20)
        assert read(reader, ranges) == []
        assert reader.eaten == {0: 6}


def test_a_topic_that_is_recreated_while_it_is_read_is_not_taken_for_read(site, kafka):
    """What it held is gone, and what it holds now is another range."""
    site.send([b"x"] * 10)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    with RangeReader(site.topic, site.kafka) as reader:
        ranges = reader.ranges(5, partition=0)
        admin.delete_topics([site.topic])[site.topic].result()
        until(lambda: site.topic not in admin.list_topics(timeout=10).topics, 20, "it is gone")
        kafkas.create_topic(kafka.bootstrap, site.topic, 4)
        until(lambda: site.topic in admin.list_topics(timeout=10).topics, 20, "it is there again")
        assert read(reader, ranges) == []
        assert reader.beyond == {0}


@pytest.mark.timeout(60)
def test_a_broker_that_goes_away_ends_the_reading(site, kafka, monkeypatch):
    """The driver would wait for ever, also to be closed; once the broker is back the same range is read to its end."""
    monkeypatch.setattr("consumer.kafka.range.QUIET_S", 0.5)
    wanted = site.send([secrets.token_bytes(10) for _ in range(5)])
    try:
        with RangeReader(site.topic, site.kafka) as reader:
            ranges = reader.ranges("earliest")
            kafka.control.freeze()
            with pytest.raises(Unavailable, match="kafka"):
                read(reader, ranges)
    finally:
        kafka.control.thaw()
    with RangeReader(site.topic, site.kafka) as reader:
        assert read(reader, ranges) == wanted


def test_dead_letters_that_retention_eats_before_they_are_sent_are_not_taken_as_sent(site):
    """Those that are gone are told from those that came; what lies between is not read."""
    bodies = [site.created(f"k{number}") for number in range(6)]
    site.bury([consuming.letter(site, body, offset=number) for number, body in enumerate(bodies)])
    topic = f"{site.topic}.dead-letter"
    with RangeReader(topic, site.kafka) as reader, Register() as register:
        found = list(deadletters.letters(reader, register, deadletters.Wanted()))
    site.delete_records(0, 2, topic)
    with RangeReader(topic, site.kafka) as reader:
        chosen = deadletters.Chosen(reader, [found[0], found[3], found[5]])
        read = []
        until(lambda: (read.extend(chosen.read(0.1, 10)), chosen.is_over)[1], 40)
    assert [(one.offset, one.value) for one in read] == [(3, bodies[3]), (5, bodies[5])]
    assert chosen.came == [found[3], found[5]]
