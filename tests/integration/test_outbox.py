"""Each change of a finding reaches the findings topic: in order per object, at least once, by one process."""

import json
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import pytest

from consumer.duties import outbox as outboxes
from consumer.duties.duty import do_one, let_go
from consumer.duties.outbox import Change
from consumer.kafka.topics import WantedTopic, create_topics
from deploy.local import kafka as kafkas
from reconcile import acts, pruning
from reconcile.database import Database
from reconcile.model import Hint, Misconfigured, ObjectRef, Unavailable
from reconcile.reconciler import reconcile
from tests.support import command, consuming, publishing
from tests.support.publishing import WAITING, published

PAGE = Path(__file__).parents[2] / "docs" / "findings-topic.md"
FINDINGS_HISTORY = "SELECT id FROM reconciler.history WHERE finding_id IS NOT NULL ORDER BY id"
ON = {"RECONCILER_STREAM__PUBLISH_FINDINGS": "true"}


@pytest.fixture
def site(tmp_path, database, minio, kafka, topic):
    """Make an application, and its findings topic."""
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, topic) as made:
        kafkas.create_topic(kafka.bootstrap, f"{topic}.findings", 3)
        yield made


@pytest.fixture
def world(site):
    """Open a world that writes findings."""
    with ExitStack() as exits:
        yield consuming.world(
            site.settings(RECONCILER_FLAGGING="true", RECONCILER_POLICY__MISSING_GRACE="0s"), exits, "w"
        )


@pytest.fixture
def box(site):
    """Open the outbox."""
    return publishing.outbox(site.settings())


def publish(world, box):
    """Take one turn of the duty."""
    do_one(world, box.duty(), lambda *_: True)


def drift(site, world, *keys):
    """Have rows without an object suspected, flagged, and given back."""
    refs = [Hint(ObjectRef(site.bucket, key), named_by="event") for key in keys]
    for key in keys:
        site.row(key)
    reconcile(world, refs)
    reconcile(world, refs)
    for key in keys:
        site.put(key)
    reconcile(world, refs)


def test_until_somebody_publishes_nothing_waits(site, world, box):
    """A change is written as published; once the outbox is on, all changes of findings wait, and none else."""
    drift(site, world, "before")
    assert site.sql(WAITING) == [(0,)]
    publish(world, box)
    drift(site, world, "after")
    assert site.sql(WAITING) == [(3,)]
    [number] = site.sql("SELECT max(id) FROM reconciler.finding")[0]
    with closing(Database(site.database)) as opened:
        acts.note_findings(opened, acts.Who("ann", "seen"), [number])
        acts.tell(opened, acts.Who("ann"), "something", "nothing in particular", {})
    assert site.sql(WAITING) == [(4,)]
    publish(world, box)
    assert site.sql(WAITING) == [(0,)]
    read = published(site, 4)
    assert publishing.acts(read, "after") == ["suspected", "flagged", "given back", "noted"]
    assert publishing.acts(read, "before") == []


def test_changes_of_an_object_come_in_order_with_what_they_were_then(site, world, box):
    """Keyed by the object; what the finding became later does not show in what was told of it before."""
    publish(world, box)
    drift(site, world, *(f"k{number}" for number in range(40)))
    publish(world, box)
    read = published(site, 120)
    assert len(read) == 120
    for number in range(40):
        mine = [change for _, change in read if change.key == f"k{number}"]
        assert [(one.act, one.from_state, one.to_state, one.revision) for one in mine] == [
            ("suspected", None, "suspected", 1),
            ("flagged", "suspected", "open", 2),
            ("given back", "open", "resolved", 3),
        ]
    key, first = read[0]
    assert key == f"{site.bucket}/{first.key}"
    assert (first.kind, first.cause, first.actor) == ("missing", "NoSuchKey", "w")
    assert first.evidence["object"]["seen"] == "absent"


def test_a_publisher_killed_before_it_has_marked_delivers_again(site, world, box):
    """Nothing is lost and the order holds; its lease runs out, and the next takes over."""
    publish(world, box)
    let_go(world, [box.duty()])
    drift(site, world, "a")
    child = [sys.executable, "-m", "tests.support.publishing"]
    ended = subprocess.run(child, env=site.program.environment({}), cwd=command.ROOT, check=False, timeout=60)
    assert ended.returncode == -9
    assert site.sql(WAITING) == [(3,)]
    publish(world, box)
    assert site.sql(WAITING) == [(3,)], "the lease is still the dead one's"
    site.sql("UPDATE reconciler.lease SET until = now() WHERE task = 'duty outbox'")
    publish(world, box)
    assert site.sql(WAITING) == [(0,)]
    assert publishing.acts(published(site, 6), "a") == ["suspected", "flagged", "given back"] * 2


@pytest.fixture
def overtaken(site):
    """Return what lets another publisher take over the lease, and deliver all that waits."""
    with ExitStack() as exits:
        another, its = consuming.world(site.settings(), exits, "another"), publishing.outbox(site.settings())

        def overtake() -> None:
            site.sql("UPDATE reconciler.lease SET until = now() WHERE task = 'duty outbox'")
            publish(another, its)

        yield overtake


def test_a_publisher_that_lost_its_lease_since_it_read_delivers_nothing(site, world, box, overtaken, monkeypatch):
    """It stood still for longer than its lease: what it holds was delivered by the next, and comes once."""
    publish(world, box)
    drift(site, world, "a")
    usual, still = outboxes.letter_of, iter([overtaken])

    def late(row):
        next(still, lambda: None)()
        return usual(row)

    monkeypatch.setattr(outboxes, "letter_of", late)
    publish(world, box)
    assert site.sql(WAITING) == [(0,)]
    assert publishing.acts(published(site, 3), "a") == ["suspected", "flagged", "given back"]


def test_what_comes_too_late_all_the_same_is_known_by_its_id(site, world, box, overtaken):
    """Whoever keeps the last id of each finding has all, once, in order, though some came behind later ones."""
    publish(world, box)
    drift(site, world, "a")
    usual = box.deliver

    def late(letters):
        site.remove("a")
        reconcile(world, [Hint(ObjectRef(site.bucket, "a"), named_by="event")] * 2)
        overtaken()
        usual(letters)

    box.deliver = late
    publish(world, box)
    read = [change for _, change in published(site, 7)]
    assert [one.act for one in read[-3:]] == ["suspected", "flagged", "given back"], (
        "they are behind the next finding's"
    )
    last, kept = {}, []
    for change in read:
        if change.id > last.get(change.finding, 0):
            last[change.finding] = change.id
            kept.append(change.id)
    assert kept == sorted(kept) == [number for (number,) in site.sql(FINDINGS_HISTORY)]


def test_while_the_broker_is_away_changes_wait(site, world, box):
    """Findings are written as ever; nothing is marked, and all is delivered when it is back."""
    publish(world, box)
    away = publishing.outbox(site.settings(RECONCILER_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1"))
    drift(site, world, "a")
    with pytest.raises(Unavailable):
        publish(world, away)
    assert site.sql(WAITING) == [(3,)]
    assert site.program.json("status")["unpublished_changes"] == 3
    publish(world, box)
    assert publishing.acts(published(site, 3), "a") == ["suspected", "flagged", "given back"]


def test_a_topic_that_is_not_there_is_named_and_not_at_once(site, world):
    """One just created may be unknown to the broker for a moment."""
    box = publishing.outbox(site.settings(), "nowhere")
    for _ in range(outboxes.NOT_YET):
        with pytest.raises(Unavailable):
            publish(world, box)
    with pytest.raises(Misconfigured, match="'nowhere' does not exist"):
        publish(world, box)


def test_a_change_that_is_too_large_is_told_without_its_evidence(site, world, box):
    """It does not stay in the way of those behind it."""
    publish(world, box)
    drift(site, world, "a")
    site.sql(
        "UPDATE reconciler.history SET evidence = jsonb_build_object('x', repeat('x', 2000000)) WHERE act = 'flagged'"
    )
    publish(world, box)
    read = published(site, 3)
    assert publishing.acts(read, "a") == ["suspected", "flagged", "given back"]
    [large] = [change for _, change in read if change.act == "flagged"]
    assert "too large" in large.evidence["left_out"]


def test_a_topic_that_takes_little_gets_what_it_takes(site, world, box):
    """A broker that refuses a change has it again without its evidence, behind the others."""
    wanted = WantedTopic(f"{site.topic}.small", 1, 1, {"max.message.bytes": "4000"})
    create_topics(site.kafka, [wanted])
    small = publishing.outbox(site.settings(), f"{site.topic}.small")
    publish(world, small)
    drift(site, world, "a")
    site.sql(
        "UPDATE reconciler.history SET evidence = jsonb_build_object('x', repeat('x', 9000)) WHERE act = 'flagged'"
    )
    publish(world, small)
    assert site.sql(WAITING) == [(0,)]


def test_who_publishes_nothing_turns_it_off_once_nobody_else_does(site, world, box):
    """Not while the lease is held; then changes count as published again, and what waited still waits."""
    publish(world, box)
    drift(site, world, "a")
    with ExitStack() as exits:
        another = consuming.world(site.settings(), exits, "another")
        do_one(another, outboxes.turned_off(), lambda *_: True)
        drift(site, world, "b")
        assert site.sql(WAITING) == [(6,)]
        site.sql("UPDATE reconciler.lease SET until = now() WHERE task = 'duty outbox'")
        do_one(another, outboxes.turned_off(), lambda *_: True)
        drift(site, world, "c")
        assert site.sql(WAITING) == [(6,)]
        site.sql("UPDATE reconciler.lease SET until = now() WHERE task = 'duty outbox'")
    publish(world, box)
    assert publishing.acts(published(site, 6), "c") == []


def test_what_was_never_published_is_kept_as_long_as_all_history(site, world, box):
    """A finding stays until its last change is told, or the history's retention is over; what was pruned is counted."""
    publish(world, box)
    drift(site, world, "a")
    days = site.settings().retention
    site.sql("UPDATE reconciler.finding SET closed_at = now() - interval '100 days'")
    kept = pruning.prune(site.connection, days.history, days.findings, days.sweeps)
    assert (kept, site.sql(WAITING)) == ({}, [(3,)])
    site.sql("UPDATE reconciler.history SET at = now() - interval '100 days'")
    kept = pruning.prune(site.connection, days.history, days.findings, days.sweeps)
    assert kept == {"history": 3, "unpublished": 3, "findings": 1}


def test_the_documented_schema_is_that_of_the_messages():
    """And the example in the documentation is one."""
    text = PAGE.read_text("utf-8")
    schema = json.loads(PAGE.with_suffix(".schema.json").read_text("utf-8"))
    assert schema == msgspec.json.schema(Change)
    example = text.split("```json\n")[1].split("```")[0]
    change = msgspec.json.decode(example, type=Change)
    assert json.loads(msgspec.json.encode(change)).keys() == json.loads(example).keys()
    assert all(f"`{name}`" in text for name in Change.__struct_fields__)
