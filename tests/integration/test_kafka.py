"""The durable lane on a real broker: nothing is lost, and nothing is committed that was not worked off."""

import secrets
from contextlib import closing
from hashlib import sha256
from time import monotonic
from typing import ClassVar

import pytest
from confluent_kafka import Consumer, Message, Producer

from consumer.kafka import clients
from consumer.kafka import member as members_of
from consumer.kafka import topic as topics
from consumer.kafka.positions import group_offsets
from consumer.kafka.topic import Batch, Topic
from consumer.kafka.topics import WantedTopic, create_topics, missing_topics
from consumer.stream.events import Poison, Record
from reconcile.model import Misconfigured, Unavailable
from tests.support.waiting import until

PROTOCOLS = {
    "classic": {"session.timeout.ms": 6000, "heartbeat.interval.ms": 300},
    "cooperative": {
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 300,
        "partition.assignment.strategy": "cooperative-sticky",
    },
    "consumer": {"group.protocol": "consumer"},
}


each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
eager_or_not = pytest.mark.parametrize(
    "protocol", [PROTOCOLS["classic"], PROTOCOLS["cooperative"]], ids=["all", "some"]
)


@pytest.fixture
def settings(kafka) -> dict:
    """Give a user's [kafka] with a group of the test's own."""
    return {
        "bootstrap.servers": kafka.bootstrap,
        "group.id": f"group-{secrets.token_hex(4)}",
        "message.timeout.ms": 3000,
        "topic.metadata.propagation.max.ms": 1000,
        "reconnect.backoff.max.ms": 500,
        "log_level": 0,
        **PROTOCOLS["classic"],
    }


@pytest.fixture
def stream(topic, settings) -> str:
    """Make a topic of four partitions and its dead letter topic."""
    create_topics(settings, [WantedTopic(f"{topic}.dead-letter", 1)])
    return topic


@pytest.fixture
def members(stream, settings):
    """Return what joins the group; all leave at the end."""
    joined = []

    def join(**more) -> Topic:
        kept = settings if "group.protocol" not in more else without_classic(settings)
        joined.append(Topic(stream, {**kept, **more}))
        return joined[-1]

    yield join
    for member in joined:
        member.close()


def without_classic(settings) -> dict:
    """Drop what the newer protocol rejects."""
    return {name: value for name, value in settings.items() if name not in PROTOCOLS["classic"]}


class Worker:
    """Works off what it read only in its next turn, so that every rebalance meets unfinished work."""

    def __init__(self, member) -> None:
        self.member = member
        self.unfinished = Batch([], {}, frozenset())
        self.done = set()

    def turn(self) -> None:
        """Read, then finish what was read before, less what was revoked."""
        batch = self.member.poll(0.05)
        left = [record for record in self.unfinished.records if (record.topic, record.partition) not in batch.revoked]
        self.done |= {(record.partition, record.offset) for record in left}
        offsets = self.unfinished.next_offsets.items()
        self.member.commit({place: offset for place, offset in offsets if place not in batch.revoked})
        self.unfinished = batch


def write(settings, topic, count, start=0) -> set:
    """Write records to four partitions in turn, and return where they went."""
    producer = Producer({"bootstrap.servers": settings["bootstrap.servers"]})
    places = set()
    for number in range(start, start + count):
        producer.produce(
            topic,
            b"%d" % number,
            partition=number % 4,
            on_delivery=lambda _, message: places.add((message.partition(), message.offset())),
        )
    producer.flush(20)
    assert len(places) == count
    return places


def places_of(batch) -> set:
    return {(record.partition, record.offset) for record in batch.records}


def read_all(member, wanted, *, commit=False) -> set:
    """Poll until all wanted records have come, and return all that came."""
    seen = set()

    def step() -> bool:
        batch = member.poll(0.1)
        seen.update(places_of(batch))
        if commit:
            member.commit(batch.next_offsets)
        return wanted <= seen

    until(step, 30, f"all records, of which {len(wanted - seen)} are missing")
    return seen


def committed(stream, settings) -> dict:
    return {at.partition: at.committed or 0 for at in group_offsets(stream, settings)}


@each_protocol
@pytest.mark.invariant(2)
def test_what_is_committed_is_not_read_again_and_all_else_is(members, stream, settings, protocol):
    """A member that ends without a commit leaves its records to the next, one that committed does not."""
    first = write(settings, stream, 400)
    before = members(**protocol)
    assert read_all(before, first, commit=True) == first
    second = write(settings, stream, 400)
    assert read_all(before, second) == second
    before.close()
    after = members(**protocol)
    assert read_all(after, second, commit=True) == second
    assert committed(stream, settings) == dict.fromkeys(range(4), 200)


@each_protocol
@pytest.mark.invariant(2)
def test_a_rebalance_in_mid_batch_loses_nothing_and_commits_nothing_past(members, stream, settings, protocol):
    """What one member has read but not worked off when partitions move is read by the other."""
    wanted = write(settings, stream, 2000)
    workers = [Worker(members(**protocol))]

    def all_done() -> bool:
        if len(workers) == 1 and len(workers[0].done) > 300:
            workers.append(Worker(members(**protocol)))
        for worker in workers:
            worker.turn()
        done = set().union(*(worker.done for worker in workers))
        for partition, offset in committed(stream, settings).items():
            assert {(partition, below) for below in range(offset)} <= done
        return wanted <= done and len(workers) == 2

    until(all_done, 40, "everything worked off by the two")


@each_protocol
@pytest.mark.invariant(2)
def test_held_records_of_a_revoked_partition_are_read_by_the_next_owner(members, stream, settings, protocol):
    """Nothing was committed, so the newcomer reads its share from the beginning, and the first one is told of it."""
    wanted = write(settings, stream, 200)
    first = members(**protocol)
    assert read_all(first, wanted) == wanted
    second = members(**protocol)
    revoked, seen = set(), set()

    def moved() -> bool:
        revoked.update(partition for _, partition in first.poll(0.05).revoked)
        seen.update(places_of(second.poll(0.05)))
        return {place for place in wanted if place[0] in {partition for partition, _ in seen}} == seen and len(seen) > 0

    until(moved, 30, "the newcomer's share")
    assert {partition for partition, _ in seen} <= revoked


@pytest.mark.invariant(2)
def test_the_offsets_of_a_lost_partition_are_let_go(members, stream, settings):
    """A member that has lost its partitions commits nothing for them, and does not fail of it."""
    wanted = write(settings, stream, 40)
    first = members()
    batch = None

    def everything() -> bool:
        nonlocal batch
        brought = first.poll(0.1)
        batch = brought if brought.records else batch
        return batch is not None

    until(everything)
    second = members()
    until(lambda: (first.poll(0.05).revoked, second.poll(0.05))[0], 30, "a rebalance")
    second_saw = read_or_own(first, second, wanted)
    first.commit({(stream, partition): 10 for partition in range(4)})
    assert all(offset in (0, 10) for offset in committed(stream, settings).values())
    assert second_saw


def read_or_own(first, second, wanted) -> set:
    """Poll both until the second reads."""
    seen = set()
    until(lambda: (first.poll(0.05), seen.update(places_of(second.poll(0.05))), seen)[-1], 30, "the second reads")
    return seen & wanted


@pytest.mark.invariant(2)
def test_poison_is_confirmed_in_the_dead_letter_topic_with_its_origin(members, stream, settings):
    """Key, value and headers are as they were; beside them stands why, and where from."""
    record = Record(stream, 3, 42, b"\xff{", b"bucket/key", (("traced", b"yes"), ("empty", None)), 1738803871998)
    tombstone = Record(stream, 0, 7, None)
    member = members()
    member.bury([Poison(record, "not-json", "unexpected end"), Poison(tombstone, "tombstone", "")])
    member.commit({})
    first, second = letters(settings, stream, 2)
    assert (first.key(), first.value()) == (b"bucket/key", b"\xff{")
    assert first.headers() == [
        ("traced", b"yes"),
        ("empty", None),
        ("reconciler.reason", b"not-json"),
        ("reconciler.detail", b"unexpected end"),
        ("reconciler.topic", stream.encode()),
        ("reconciler.partition", b"3"),
        ("reconciler.offset", b"42"),
        ("reconciler.timestamp", b"1738803871998"),
    ]
    assert (second.key(), second.value()) == (None, None)


@pytest.mark.parametrize("who", ["driver", "broker"])
def test_poison_too_large_leaves_its_hash_origin_and_beginning(topic, settings, who):
    """Whoever refuses it, the driver or the broker, the partition goes on."""
    limit = {"max.message.bytes": "10000"} if who == "broker" else {}
    create_topics(settings, [WantedTopic(f"{topic}.dead-letter", 1, config=limit)])
    more = {"message.max.bytes": 10000} if who == "driver" else {}
    value = secrets.token_bytes(20000)
    with closing(Topic(topic, {**settings, **more})) as member:
        member.bury(
            [Poison(Record(topic, 1, 2, value, b"k"), "not-json", ""), Poison(Record(topic, 1, 3, b"{"), "a", "")]
        )
        member.commit({})
    by_offset = {dict(letter.headers())["reconciler.offset"]: letter for letter in letters(settings, topic, 2)}
    assert by_offset[b"3"].value() == b"{"
    large = by_offset[b"2"]
    assert (large.key(), large.value()) == (b"k", value[:4096])
    headers = dict(large.headers())
    assert (headers["reconciler.size"], headers["reconciler.partition"]) == (b"20000", b"1")
    assert headers["reconciler.sha256"].decode() == sha256(value).hexdigest()


@pytest.mark.invariant(2)
def test_no_offset_passes_a_dead_letter_that_is_not_confirmed(topic, settings):
    """An empty queue proves nothing: a compacted topic refuses what has no key, and the queue is empty all the same."""
    create_topics(settings, [WantedTopic(f"{topic}.dead-letter", 1, config={"cleanup.policy": "compact"})])
    write(settings, topic, 1)
    with closing(Topic(topic, settings)) as member:
        [record] = until(lambda: member.poll(0.1).records, 30, "the record")
        member.bury([Poison(record, "not-json", "")])
        with pytest.raises(Unavailable, match="kafka"):
            member.commit({(topic, record.partition): record.offset + 1})
        assert not any(committed(topic, settings).values())


def test_dead_letters_are_on_their_way_before_the_turn_ends(kafka, members, stream, settings):
    """Burying waits for nobody, not even for a broker that stands still; the commit alone does."""
    poison = [Poison(Record(stream, 0, number, b"{", b"k"), "not-json", "") for number in range(3)]
    member = members()
    member.bury(poison[:1])
    member.commit({})
    kafka.control.freeze()
    try:
        member.bury(poison[1:])
    finally:
        kafka.control.thaw()
    assert len(letters(settings, stream, 3)) == 3
    member.commit({})
    assert len(letters(settings, stream, 3)) == 3


@pytest.mark.invariant(2)
def test_after_a_restart_of_the_broker_reading_goes_on_from_what_is_committed(kafka, members, stream, settings):
    """The outage is told, waited out in the group, and everything not committed is read again."""
    first = write(settings, stream, 100)
    member = members()
    read_all(member, first, commit=True)
    second = write(settings, stream, 100)
    read_all(member, second)
    bystander = members(**{"group.id": f"other-{stream}"})
    read_all(bystander, first)
    kafka.control.stop()
    try:
        outage = until(lambda: outage_of(member), 30, "the outage to be told")
        begun = monotonic()
        member.wait_out(outage, lambda: monotonic() > begun + 1)
        bystander.bury([Poison(Record(stream, 0, 0, b"{"), "not-json", "")])
        with pytest.raises(Unavailable):
            bystander.commit({})
        begun = monotonic()
        bystander.close()
        assert monotonic() - begun < 10, "a member leaves within seconds, also while no broker answers"
    finally:
        kafka.control.start()
    member.wait_out(outage, lambda: False)
    third = write(settings, stream, 100)
    assert read_all(member, second | third, commit=True) == second | third
    assert committed(stream, settings) == dict.fromkeys(range(4), 75)


@pytest.mark.invariant(2)
def test_a_commit_that_is_not_answered_is_an_outage_and_all_is_read_again(
    kafka, members, stream, settings, monkeypatch
):
    """The driver may never answer it: nothing waits for that, and whether it was carried out is asked anew."""
    member = members()
    first = write(settings, stream, 100)
    read_all(member, first)
    monkeypatch.setattr(members_of, "COMMIT_SECONDS", 1.0)
    kafka.control.freeze()
    try:
        with pytest.raises(Unavailable, match="TIMED_OUT") as raised:
            member.commit(dict.fromkeys([(stream, n) for n in range(4)], 25))
    finally:
        kafka.control.thaw()
    monkeypatch.undo()
    member.wait_out(raised.value, lambda: False)
    second = write(settings, stream, 100)
    assert read_all(member, first | second, commit=True) == first | second
    assert committed(stream, settings) == dict.fromkeys(range(4), 50)


class Losing(Consumer):
    """A driver that loses the commits of a broker's restart, and never says so."""

    loses = True
    made = 0

    def __init__(self, *settings, **more) -> None:
        super().__init__(*settings, **more)
        Losing.made += 1

    def commit(self, **more) -> None:
        """Commit, unless it is lost."""
        if not self.loses:
            super().commit(**more)


@pytest.mark.invariant(2)
def test_a_commit_that_the_driver_loses_is_made_with_the_next(members, stream, settings, monkeypatch):
    """What the group holds is what is believed, so that it stays owed."""
    monkeypatch.setattr(clients, "Consumer", Losing)
    member = members()
    read_all(member, write(settings, stream, 100))
    member.commit({(stream, 0): 25})
    assert committed(stream, settings)[0] == 0
    monkeypatch.setattr(Losing, "loses", False)
    member.commit({(stream, 1): 25})
    assert committed(stream, settings) == {0: 25, 1: 25, 2: 0, 3: 0}


def test_a_commit_that_is_never_taken_is_an_outage(members, stream, settings, monkeypatch):
    """Else a group that refuses each commit would look well."""
    monkeypatch.setattr(clients, "Consumer", Losing)
    monkeypatch.setattr(topics, "OWED_SECONDS", 0.3)
    member = members()
    read_all(member, write(settings, stream, 100))

    def refused() -> str:
        try:
            member.commit({(stream, 0): 25})
        except Unavailable as outage:
            return str(outage)
        return ""

    assert "has not taken a commit for 0.3 s: without a word" in until(refused, 10, "the outage to be told")


@pytest.mark.invariant(2)
def test_a_driver_that_owes_an_answer_for_long_is_left_for_a_new_one(members, stream, settings, monkeypatch):
    """Since it would end no rebalance any more: it is an outage, after which all that was not committed comes again."""
    monkeypatch.setattr(clients, "Consumer", Losing)
    monkeypatch.setattr(Losing, "made", 0)
    monkeypatch.setattr(members_of, "ANSWER_SECONDS", 0.5)
    member = members()
    first = write(settings, stream, 100)
    read_all(member, first)
    member.commit({(stream, 0): 25})
    outage = until(lambda: outage_of(member), 10, "the outage to be told")
    assert "has not answered a commit" in str(outage)
    monkeypatch.setattr(Losing, "loses", False)
    member.wait_out(outage, lambda: False)
    assert read_all(member, first, commit=True) == first
    assert Losing.made == 2
    assert committed(stream, settings) == dict.fromkeys(range(4), 25)


class Noting(Consumer):
    """A driver that notes what it is told to do."""

    calls: ClassVar[list[str]] = []

    def poll(self, *patience) -> Message | None:
        """Poll, and note it."""
        Noting.calls.append("poll")
        return super().poll(*patience)

    def close(self) -> None:
        """Close, and note it."""
        Noting.calls.append("close")
        super().close()


def test_what_the_group_decided_is_heard_before_it_is_left(members, monkeypatch):
    """A driver that hears two decisions while it closes may stand still for ever; and it is closed once."""
    monkeypatch.setattr(clients, "Consumer", Noting)
    monkeypatch.setattr(Noting, "calls", [])
    member = members()
    member.close()
    member.close()
    assert Noting.calls[0] == "poll"
    assert Noting.calls[-1] == "close"
    assert Noting.calls.count("close") == 1


def stopping_after(seconds):
    """Return what tells to stop when so many seconds have passed."""
    end = monotonic() + seconds
    return lambda: monotonic() > end


def outage_of(member) -> Unavailable | None:
    """Poll once, and return what is unavailable."""
    try:
        member.poll(0.25)
    except Unavailable as outage:
        return outage
    return None


@pytest.mark.parametrize("meets", ["reading", "waiting"])
@pytest.mark.invariant(2)
def test_a_member_that_was_fenced_joins_anew(members, stream, settings, meets):
    """The driver gives up for good and says so once, be it to who reads or to who waits for another server."""
    wanted = write(settings, stream, 100)
    first = members(**{"group.instance.id": "one"})
    assert read_all(first, wanted) == wanted
    second = members(**{"group.instance.id": "one"})
    until(lambda: (second.poll(0.05), second.assigned() == 4)[1], 30, "the other has its place")
    if meets == "waiting":
        first.wait_out(Unavailable("database", "gone"), stopping_after(30), stopping_after(2))
    again = set()

    def read_again() -> bool:
        try:
            again.update(places_of(first.poll(0.1)))
        except Unavailable as outage:
            first.wait_out(outage, stopping_after(30))
        return wanted <= again

    until(read_again, 20, "what was not committed, once more")


@each_protocol
@pytest.mark.invariant(2)
def test_an_outage_elsewhere_is_waited_out_in_the_group(members, stream, settings, protocol):
    """However long the database is away, the member keeps its partitions, then reads what it had not committed."""
    wanted = write(settings, stream, 100)
    member = members(**protocol, **{"max.poll.interval.ms": 6000})
    read_all(member, wanted)
    begun = monotonic()
    member.wait_out(Unavailable("database", "gone"), lambda: False, lambda: monotonic() > begun + 6.1)
    revoked = set()

    def again() -> bool:
        batch = member.poll(0.1)
        revoked.update(batch.revoked)
        wanted.difference_update(places_of(batch))
        return not wanted

    until(again, 20, "everything once more")
    assert not revoked


@eager_or_not
@pytest.mark.invariant(2)
def test_partitions_that_come_during_an_outage_wait_too(members, stream, settings, protocol):
    """What is assigned meanwhile is paused as well, and read from what is committed."""
    wanted = write(settings, stream, 100)
    first, second = members(**protocol), members(**protocol)
    owners = {}

    def shared() -> bool:
        for name, member in (("first", first), ("second", second)):
            owners.setdefault(name, set()).update(partition for partition, _ in places_of(member.poll(0.05)))
        return bool(owners["first"] and owners["second"])

    until(shared, 30, "both read")
    until(lambda: (second.close(), True)[1])
    begun = monotonic()
    first.wait_out(Unavailable("database", "gone"), lambda: False, lambda: monotonic() > begun + 2)
    assert read_all(first, wanted) == wanted


def test_a_stop_ends_the_waiting(members, stream):
    """A service that is told to stop does not sit an outage out."""
    member = members()
    begun = monotonic()
    member.wait_out(Unavailable("database", "gone"), lambda: monotonic() > begun + 0.3, lambda: False)
    assert monotonic() - begun < 2


def test_the_lag_is_known_without_asking(members, stream, settings):
    """It counts from what is committed to the high watermark."""
    wanted = write(settings, stream, 100)
    member = members()
    read_all(member, wanted)
    assert sum(member.lag().values()) == 100
    member.commit({(stream, 0): 25, (stream, 1): 20})
    assert member.lag() == {(stream, 0): 0, (stream, 1): 5, (stream, 2): 25, (stream, 3): 25}
    assert [(at.committed, at.low_watermark, at.high_watermark) for at in group_offsets(stream, settings)] == [
        (25, 0, 25),
        (20, 0, 25),
        (None, 0, 25),
        (None, 0, 25),
    ]


@pytest.mark.parametrize("missing", ["events", "dead letters"])
def test_a_missing_topic_is_named_with_the_way_out(topic, settings, missing):
    """A driver would wait for it without a word."""
    name = f"no-{topic}" if missing == "events" else topic
    with closing(Topic(name, settings)) as member, pytest.raises(Misconfigured) as raised:
        member.poll(0.1)
    (fault,) = raised.value.faults
    assert (name if missing == "events" else f"{topic}.dead-letter") in fault
    assert "init --only kafka" in fault


def test_a_broker_that_is_not_there_is_unavailable(settings):
    """At the first poll already, so that the service can say so."""
    nowhere = {**settings, "bootstrap.servers": "127.0.0.1:1"}
    with closing(Topic("any", nowhere)) as member, pytest.raises(Unavailable, match="kafka"):
        member.poll(0.1)
    with pytest.raises(Unavailable, match="kafka"):
        group_offsets("any", nowhere)
    with pytest.raises(Unavailable, match="kafka"):
        missing_topics(nowhere, [])


def test_a_setting_that_the_driver_does_not_know_is_refused(settings):
    """It is named."""
    with pytest.raises(Misconfigured, match=r"no\.such"):
        Topic("any", {**settings, "no.such": 1})


def test_topics_are_planned_and_then_created_once(topic, settings):
    """What exists is no part of the plan, and what came to be meanwhile is as good."""
    there, other = WantedTopic(topic), WantedTopic(f"{topic}.other", 2, config={"retention.ms": "-1"})
    plan = missing_topics(settings, [there, other])
    assert plan == [other]
    create_topics(settings, plan)
    create_topics(settings, plan)
    until(lambda: not missing_topics(settings, [there, other]), what="the new topic to be seen")
    assert len(group_offsets(other.name, settings)) == 2


def letters(settings, stream, count) -> list:
    """Read the dead letter topic."""
    consumer = Consumer({**settings, "group.id": secrets.token_hex(4), "auto.offset.reset": "earliest"})
    consumer.subscribe([f"{stream}.dead-letter"])
    read = []
    with closing(consumer):
        until(lambda: (read.extend(consumer.consume(count, 0.1)), len(read) >= count)[1], 30, "the dead letters")
    assert len(read) == count
    return read
