"""The lag as it is exported: of each partition its own, and what cannot be had hides nothing else."""

from contextlib import ExitStack, closing

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from consumer.counting import Figure, Leased
from consumer.duties.figures import Reader, Topics, lag_figures
from consumer.kafka import positions
from consumer.kafka.positions import Asker, Lag
from consumer.letters.deadletters import DISCARDED, REPLAYED, decided
from reconcile.database import Database


class Headless(Consumer):
    """A consumer to which the partitions in `silent` have no leader."""

    silent: frozenset[int] = frozenset()

    def get_watermark_offsets(self, partition, **options):
        """Answer as the driver does, also where it finds no leader."""
        if partition.partition in self.silent:
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        return super().get_watermark_offsets(partition, **options)


@pytest.fixture
def told(site):
    """Lend what the topics are told to hold, by name and partition."""

    def read(dead_letters="", decided=0):
        topics = Topics(site.topic, dead_letters or f"{site.topic}.dead-letter", site.kafka)
        with ExitStack() as exits:
            found = Reader(Leased(), topics, (), (), exits).of_topics(decided)
        return {(name, *labels): value for name, value, labels in found}

    return read


def test_the_age_of_the_lag_is_that_of_the_oldest_record_not_committed(site):
    """Each partition's own; one that cannot be had tells no age, and no lag is no age."""
    site.send([site.removed("a")], 0)
    site.send([site.removed("b"), site.removed("c")], 2)
    with Asker(site.topic, site.kafka) as asker:
        lags = asker.lags()
    assert [one.records for one in lags] == [1, 0, 2, 0]
    assert lags[0].oldest_ms <= lags[2].oldest_ms
    told = list(lag_figures([Lag(0, 2, 1_000), Lag(1, 0), Lag(2, 5)], 3_500))
    assert told == [
        Figure("reconciler_lag_records", 2, ("0",)),
        Figure("reconciler_lag_seconds", 2.5, ("0",)),
        Figure("reconciler_lag_records", 0, ("1",)),
        Figure("reconciler_lag_seconds", 0.0, ("1",)),
        Figure("reconciler_lag_records", 5, ("2",)),
    ]


def test_a_partition_without_a_leader_hides_no_other(site, told, monkeypatch):
    """Its own lag is not known; where no partition answers none is, as without a broker."""
    site.send([site.removed("a")], 0)
    site.send([site.removed("b")], 2)
    monkeypatch.setattr(positions, "open_consumer", Headless)
    monkeypatch.setattr(Headless, "silent", frozenset({0, 1}))
    found = told()
    assert {name[1]: value for name, value in found.items() if name[0] == "reconciler_lag_records"} == {"2": 1, "3": 0}
    monkeypatch.setattr(Headless, "silent", frozenset(range(4)))
    assert told() == {}


def test_a_missing_dead_letter_topic_hides_no_lag(site, told):
    """It is another topic, and may be forbidden, too."""
    site.send([site.removed("a")], 0)
    found = told("nowhere")
    assert found["reconciler_lag_records", "0"] == 1
    assert ("reconciler_dead_letters_kept",) not in found


def test_dead_letters_that_are_decided_want_nobody(site, told, connection, kafka):
    """A letter is decided once, however often; what more was decided than is kept was dropped since."""
    name = f"{site.topic}.dead-letter"
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for number in range(3):
        producer.produce(name, str(number), partition=0)
    assert producer.flush(20) == 0
    for subject, act in (("t/0/1", DISCARDED), ("t/0/1", REPLAYED), ("t/0/2", REPLAYED), ("files/k", "opened")):
        connection.execute("INSERT INTO reconciler.history (subject, actor, act) VALUES (%s, 'x', %s)", [subject, act])
    with closing(Database(site.database)) as database, database.use() as own:
        assert decided(own) == 2
    for count, left in ((0, 3), (2, 1), (3, 0), (9, 0)):
        found = told(decided=count)
        assert found["reconciler_dead_letters_kept",] == 3
        assert found["reconciler_dead_letters_undecided",] == left
