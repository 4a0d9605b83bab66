"""The hold against a naive model, and its rules one by one."""

from datetime import UTC, datetime

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumer.stream.events import Record, Sighting
from consumer.stream.hold import Hold, Patience
from consumer.stream.notification import Bucket, Event, Place, Target
from consumer.stream.sheet import Sheet
from reconcile.model import NOTHING_KNOWN, Action, Finding, Hint, Kind, Known, ObjectRef, Row, RowState, State

PARTITIONS = [("events", 0), ("events", 1), ("more", 0)]
TRIES = Patience().tries
SAID = "2025-02-06T00:00:00.000Z"


def row(state) -> Row:
    return Row("1", None, "b", "k", "", 3, None, "completed", state, None, None, None)


FINDING = Finding(1, ObjectRef("b", "k"), "1", Kind.MISSING, State.OPEN, 1, datetime(2025, 2, 6, tzinfo=UTC))
PENDING = Known(rows=(row(RowState.EXPECTS_ABSENCE),))
LIVE = Known(rows=(row(RowState.LIVE),))
FLAGGED = Known(rows=(row(RowState.FLAGGED),))
FOUND = Known(findings=(FINDING,))


def hint(key="k", offset=0, at=0.0, action=Action.CREATED, partition=PARTITIONS[0], said="") -> Hint:
    event = Event("s3:ObjectCreated:Put", Place(Bucket("b"), Target(key)), said)
    return Hint(ObjectRef("b", key), action, "event", 3, None, Sighting(event, *partition, offset, at))


def settled_by_row(*hints) -> dict:
    return dict.fromkeys((hint.ref for hint in hints), NOTHING_KNOWN)


def sheet_of(*hints, at=0.0) -> Sheet:
    """Write created hints as plain events, and all others as they are."""
    sheet = Sheet(at)
    for one in hints:
        record = Record(one.evidence.topic, one.evidence.partition, one.evidence.offset, b"")
        if one.action is Action.CREATED:
            sheet.plain(one.evidence.event, one.size, record)
        else:
            sheet.hint(one, record)
    return sheet


def due_of(hold, now) -> list[Hint]:
    """Take out all that is due, the hints of whole sheets among them."""
    hints, sheets = hold.due_tries(now)
    return hints + [one for sheet in sheets for one in sheet]


def read(hold, *hints, now=0.0) -> list[Hint]:
    """Read one record a hint, glance at all and find nothing: return the late ones."""
    after = {}
    for one in hints:
        after[one.evidence.topic, one.evidence.partition] = one.evidence.offset + 1
    hold.read(after, hints, now)
    return hold.keep(hints, settled_by_row(*hints), now)


class HoldAgainstModel(RuleBasedStateMachine):
    """Any order of reading, settling, lateness, revocation and clearing."""

    def __init__(self) -> None:
        super().__init__()
        self.patience = Patience(held_most=6, held_over=2, whole_least=2)
        self.hold = Hold(self.patience)
        self.now = 0.0
        self.next_offset = {}  # partition -> next offset after the last read
        self.told = {}
        self.held = {}  # reference -> its partition and offset
        self.done = set()
        self.serial = 0

    @rule(
        counts=st.dictionaries(st.sampled_from(PARTITIONS), st.lists(st.integers(0, 2), max_size=3)),
        outcomes=st.lists(st.sampled_from(["settled", "waits", "late"]), min_size=1, max_size=8),
        pause=st.sampled_from([0.0, 0.005, 0.05, 0.3, 1.0]),
        turn=st.sampled_from([0.0, 0.01, 0.5, 3.0]),
        backwards=st.booleans(),
        whole=st.booleans(),
    )
    def turn(self, counts, outcomes, pause, turn, backwards, whole):
        """Read some records of none to two hints each, and glance at them and at what is due."""
        self.now += pause
        new = [made for partition, records in counts.items() for made in self.records(partition, records)]
        self.hold.read(dict(self.next_offset), new, self.now)
        due = due_of(self.hold, self.now)
        assert {one.ref for one in due} <= set(self.held)
        asking = new + due
        read_at = min((one.evidence.read_at for one in asking), default=self.now)
        verdicts = {asked.ref: outcomes[number % len(outcomes)] for number, asked in enumerate(asking)}
        unsettled = [asked for asked in asking if verdicts[asked.ref] != "settled"]
        known = {ref: FOUND if verdict == "late" else NOTHING_KNOWN for ref, verdict in verdicts.items()}
        self.now += turn
        unknown = [
            one for one in unsettled if whole and verdicts[one.ref] == "waits" and one.evidence.read_at == read_at
        ]
        told = [one for one in unsettled if one not in unknown]
        late = self.hold.keep(reversed(told) if backwards else told, known, self.now)
        late += self.hold.keep_whole(sheet_of(*unknown, at=read_at), self.now)
        self.account(asking, unsettled, late, verdicts)

    @rule(
        counts=st.dictionaries(st.sampled_from(PARTITIONS), st.lists(st.integers(0, 2), max_size=3)),
        turn=st.sampled_from([0.0, 0.01, 0.5, 3.0]),
        behind=st.booleans(),
        every=st.integers(1, 3),
    )
    def turn_unseen(self, counts, turn, behind, every):
        """Read some records, of which some are removals, and glance at none that may be held."""
        self.hold.behind = behind
        new = [made for partition, records in counts.items() for made in self.records(partition, records)]
        new = [one._replace(action=Action.REMOVED) if n % every else one for n, one in enumerate(new)]
        self.hold.read(dict(self.next_offset), new, self.now)
        sheet = sheet_of(*new, at=self.now)
        self.now += turn
        asking = self.hold.keep_unseen(sheet, self.now)
        refs = {one.ref for one in asking}
        assert {one.ref for one in new if one.action is Action.REMOVED} <= refs
        self.account(new, [one for one in new if one.ref not in refs], [], {})

    def records(self, partition, hints_of_records):
        """Make the next records of a partition."""
        made = []
        for count in hints_of_records:
            offset = self.next_offset.get(partition, 0)
            self.next_offset[partition] = offset + 1
            for _ in range(count):
                self.serial += 1
                made.append(hint(f"k{self.serial}", offset, self.now, partition=partition, said=SAID))
        return made

    def account(self, asking, unsettled, late, verdicts):
        """Check that each hint is settled, late or held, and over only once."""
        after = {one.ref for one in late}
        assert len(late) == len(after)
        assert {ref for ref, verdict in verdicts.items() if verdict == "late"} <= after
        assert after <= {one.ref for one in unsettled}
        kept = {one.ref for one in unsettled} - after
        for asked in asking:
            assert asked.ref not in self.done
            self.held.pop(asked.ref, None)
            if asked.ref in kept:
                seen = asked.evidence
                self.held[asked.ref] = ((seen.topic, seen.partition), seen.offset)
            else:
                self.done.add(asked.ref)

    @rule()
    def commit(self):
        """Told is what changed, and never passes a held record."""
        told = self.hold.offsets()
        for partition, next_offset in self.next_offset.items():
            held = [offset for where, offset in self.held.values() if where == partition]
            expected = min(held, default=next_offset)
            assert told.pop(partition, self.told.get(partition)) == expected
            self.told[partition] = expected
        assert not told

    @rule(gone=st.sets(st.sampled_from(PARTITIONS)))
    def revoke(self, gone):
        """Drop what is held of revoked partitions, of which we tell nothing any more."""
        self.hold.forget(gone)
        self.forget(gone)

    @precondition(lambda self: self.held)
    @rule()
    def outage(self):
        """Everything is forgotten and read again."""
        self.hold.clear()
        self.forget(PARTITIONS)

    def forget(self, gone):
        """Let the model forget what the hold should."""
        for partition in gone:
            self.next_offset.pop(partition, None)
            self.told.pop(partition, None)
        self.held = {kept: where for kept, where in self.held.items() if where[0] not in gone}

    @rule()
    def wait_for_the_last_try(self):
        """After the last try everything held has come out, and nothing stays behind."""
        self.now += TRIES[-1] + 0.1
        due = due_of(self.hold, self.now)
        assert {one.ref for one in due} == set(self.held)
        late = self.hold.keep(due, settled_by_row(*due), self.now)
        assert late == due
        self.account(due, due, late, dict.fromkeys((one.ref for one in due), "late"))

    @invariant()
    def is_bounded(self):
        """No more is held than there is room for."""
        assert len(self.hold) == len(self.held) <= self.patience.held_most + self.patience.held_over

    @invariant()
    def is_patient_only_while_nothing_is_due(self):
        """Wait for records never longer than a quarter of a second."""
        assert 0 <= self.hold.patience(self.now) <= 0.25


TestHoldAgainstModel = pytest.mark.invariant(2)(HoldAgainstModel.TestCase)


def test_a_held_record_is_glanced_at_five_times_and_then_late():
    """The tries come 20, 100, 400, 1 000 and 2 000 ms after the reading."""
    hold = Hold()
    waiting = hint()
    assert not read(hold, waiting)
    seen = []
    for milliseconds in range(0, 2200, 10):
        now = milliseconds / 1000
        due = due_of(hold, now)
        seen += [now] * len(due)
        if hold.keep(due, settled_by_row(*due), now):
            break
    assert seen == list(TRIES)
    assert not len(hold)


def test_a_slow_turn_skips_tries_but_never_the_last():
    """What was due meanwhile is one try, not several at once."""
    hold = Hold()
    waiting = hint()
    read(hold, waiting)
    assert due_of(hold, 0.5) == [waiting]
    assert not hold.keep([waiting], settled_by_row(waiting), 0.5)
    assert due_of(hold, 0.9) == []
    assert due_of(hold, 1.0) == [waiting]


@pytest.mark.parametrize(("tries", "expected"), [(TRIES, TRIES[2:]), ((0.1, 0.3), (0.3,))])
def test_while_more_records_wait_the_early_tries_are_left_out(tries, expected):
    """They would let go of what is held sooner, and take the time of what waits; the last try is never left out."""
    hold = Hold(Patience(tries=tries))
    hold.behind = True
    assert not read(hold, hint())
    seen = []
    for milliseconds in range(0, 2200, 10):
        now = milliseconds / 1000
        due = due_of(hold, now)
        seen += [now] * len(due)
        if hold.keep(due, settled_by_row(*due), now):
            break
    assert tuple(seen) == expected


def test_patience_ends_with_the_next_try():
    """The loop waits for records no longer than until something is due."""
    hold = Hold()
    assert hold.patience(0.0) == 0.25
    read(hold, hint(at=5.0), now=5.0)
    assert hold.patience(5.005) == pytest.approx(0.015)
    assert hold.patience(6.0) == 0.0


@pytest.mark.parametrize("action", [Action.REMOVED, Action.LOOK])
def test_only_created_events_are_held(action):
    """A removal or a bare look never waits."""
    hold = Hold()
    asked = hint(action=action)
    assert read(hold, asked) == [asked]


@pytest.mark.parametrize(("known", "waits"), [(NOTHING_KNOWN, 1), (PENDING, 1), (LIVE, 0), (FLAGGED, 0), (FOUND, 0)])
def test_only_what_lacks_a_live_row_is_held(known, waits):
    """No row, or a pending one, may be about to be committed; all else is decided now."""
    hold = Hold()
    asked = hint()
    hold.read({PARTITIONS[0]: 1}, [asked], 0.0)
    late = hold.keep([asked], {asked.ref: known}, 0.0)
    assert (len(hold), len(late)) == (waits, 1 - waits)


def test_a_hint_from_elsewhere_is_late_at_once():
    """Only what was read from a topic can be read again, so only that is held."""
    hold = Hold()
    asked = Hint(ObjectRef("b", "k"), Action.CREATED)
    assert hold.keep([asked], settled_by_row(asked), 0.0) == [asked]


def test_beyond_the_bound_nothing_is_held():
    """A full hold makes the rest late at once, and has room again later."""
    hold = Hold(Patience(held_most=1, held_over=1))
    hints = [hint(f"k{offset}", offset) for offset in range(3)]
    assert read(hold, *hints) == hints[2:]
    hold.keep([], {}, 0.0)
    assert len(hold) == 2
    due_of(hold, 0.02)
    hold.keep([], {}, 0.02)
    assert len(hold) == 0


@pytest.mark.parametrize(
    ("server_ahead", "said", "held"),
    [
        (None, "2025-02-06T00:00:00Z", 1),
        (1738800100.0, "2025-02-06T00:01:40.000Z", 1),
        (1738800100.0, "2025-02-06T00:01:38.500Z", 1),
        (1738800100.0, "2025-02-06T00:01:37.900Z", 0),
        (1738800100.0, "2025-02-06T01:00:00Z", 1),
        (1738800100.0, "not a time", 1),
    ],
)
def test_an_event_older_than_the_last_try_is_not_held(server_ahead, said, held):
    """Its age is that by the server's clock when it was read; an unknown age is no age."""
    hold = Hold()
    hold.server_ahead = server_ahead
    read(hold, hint(said=said))
    assert len(hold) == held


def test_an_event_does_not_grow_old_while_it_is_held():
    """Once held it has all its tries."""
    hold = Hold()
    hold.server_ahead = 1738800100.0
    asked = hint(said="2025-02-06T00:01:38.500Z")
    read(hold, asked)
    for now in TRIES[:-1]:
        assert due_of(hold, now) == [asked]
        assert not hold.keep([asked], settled_by_row(asked), now)


@pytest.mark.invariant(2)
def test_offsets_stop_at_the_oldest_held_record_and_catch_up():
    """Records released out of order free their offsets only together with the older ones."""
    hold = Hold()
    hints = [hint(f"k{offset}", offset) for offset in range(10, 14)]
    hold.read({PARTITIONS[0]: 15}, hints, 0.0)
    hold.keep(hints[1:], settled_by_row(*hints), 0.0)
    assert hold.offsets() == {PARTITIONS[0]: 11}
    due = due_of(hold, 0.02)
    hold.keep(due[:1], settled_by_row(*due), 0.02)
    assert hold.offsets() == {}
    due_of(hold, 0.1)
    hold.keep([], {}, 0.1)
    assert hold.offsets() == {PARTITIONS[0]: 15}
    assert hold.offsets() == {}


@pytest.mark.invariant(2)
def test_the_order_of_keeping_does_not_matter():
    """The oldest held record counts, not the one held first."""
    hold = Hold()
    hints = [hint(f"k{offset}", offset) for offset in (7, 5, 6)]
    hold.read({PARTITIONS[0]: 8}, hints, 0.0)
    hold.keep(hints, settled_by_row(*hints), 0.0)
    assert hold.offsets() == {PARTITIONS[0]: 5}


@pytest.mark.invariant(2)
def test_a_turn_may_keep_in_several_parts():
    """The due tries go with the first part; a later part releases nothing."""
    hold = Hold()
    first, second = hint("a", 0), hint("b", 1, at=0.02)
    read(hold, first)
    due = due_of(hold, 0.02)
    hold.read({PARTITIONS[0]: 2}, [second], 0.02)
    assert not hold.keep(due, settled_by_row(first), 0.02)
    assert not hold.keep([second], settled_by_row(second), 0.02)
    assert len(hold) == 2
    assert hold.offsets() == {PARTITIONS[0]: 0}


@pytest.mark.invariant(2)
def test_what_arrives_late_from_a_revoked_partition_is_dropped():
    """It is neither held nor late, and its offset is told no more."""
    hold = Hold()
    mine, theirs = hint("a"), hint("b", partition=PARTITIONS[1])
    hold.read({PARTITIONS[0]: 1, PARTITIONS[1]: 1}, [mine, theirs], 0.0)
    hold.forget([PARTITIONS[1]])
    assert not hold.keep([mine, theirs], settled_by_row(mine, theirs), 0.0)
    assert len(hold) == 1
    assert hold.offsets() == {PARTITIONS[0]: 0}


def test_a_removal_is_remembered_for_ten_seconds():
    """A created event of such a key may be the older of the two."""
    hold = Hold()
    gone = hint("gone", action=Action.REMOVED)
    read(hold, gone, now=100.0)
    assert hold.recently_removed(hint("gone", at=100.0), 100.0)
    assert hold.recently_removed(hint("gone", at=110.0), 110.0)
    assert not hold.recently_removed(hint("gone", at=110.1), 110.1)
    assert not hold.recently_removed(hint("other", at=100.0), 100.0)
    hold.clear()
    assert hold.recently_removed(hint("gone", at=100.0), 100.0)


def test_a_removal_is_remembered_for_as_long_as_an_older_event_is_held():
    """However long a process stands still between the two."""
    hold = Hold()
    created = hint("gone", at=100.0)
    hold.read({PARTITIONS[0]: 1}, [hint("gone", action=Action.REMOVED)], 100.0)
    assert read(hold, created, now=100.0) == []
    later = hint("other", offset=1, at=900.0)
    read(hold, later, now=900.0)
    assert hold.due_tries(900.0) == ([created], [])
    read(hold, later, now=900.0)
    assert hold.recently_removed(created, 900.0)
    hold.due_tries(901.0)
    read(hold, later, now=901.0)
    assert list(hold.removed) == []


def test_a_removal_read_again_is_remembered_anew():
    """The later of two removals counts, and the map stays within its bound."""
    hold = Hold(Patience(removed_most=2))
    gone, other, third = (hint(key, action=Action.REMOVED) for key in ("gone", "other", "third"))
    read(hold, gone, gone, now=0.0)
    read(hold, gone, now=8.0)
    read(hold, other, now=12.0)
    assert hold.recently_removed(gone, 12.0)
    read(hold, third, now=12.0)
    assert not hold.recently_removed(gone, 12.0)
    assert hold.recently_removed(other, 12.0)


def test_a_sheet_is_held_whole_and_made_into_hints_only_when_asked():
    """Its first glance is the third try, and what it leaves is held singly from then on."""
    hold = Hold(Patience(whole_least=1))
    hold.behind = True
    hints = [hint(f"k{offset}", offset, said=SAID) for offset in range(3)]
    hold.read({PARTITIONS[0]: 3}, [], 0.0)
    assert not hold.keep_unseen(sheet_of(*hints), 0.0)
    assert (len(hold), hold.offsets()) == (3, {PARTITIONS[0]: 0})
    assert hold.due_tries(0.24) == ([], [])
    _, [sheet] = hold.due_tries(0.25)
    assert not hold.keep([sheet[1]], settled_by_row(sheet[1]), 0.25)
    assert (len(hold), hold.offsets()) == (1, {PARTITIONS[0]: 1})


@pytest.mark.parametrize(("least", "whole"), [(2, True), (3, False)])
def test_of_what_a_glance_left_unknown_no_hint_is_made_unless_it_is_little(least, whole):
    """It is held as one sheet; a few are held singly, so that they are glanced at together with others."""
    hold = Hold(Patience(whole_least=least))
    hints = [hint(f"k{offset}", offset, said=SAID) for offset in range(3)]
    sheet = sheet_of(*hints)
    hold.read({PARTITIONS[0]: 3}, [], 0.0)
    unknown, others = sheet.apart([0, 2])
    assert (len(unknown), others) == (2, [])
    assert not hold.keep_whole(unknown, 0.0)
    assert (len(hold), hold.offsets()) == (2, {PARTITIONS[0]: 0})
    singly, sheets = hold.due_tries(0.02)
    assert (len(singly), len(sheets)) == ((0, 1) if whole else (2, 0))


def test_what_is_made_already_is_not_set_apart():
    """A removal has its hint; it is told with what is known of it."""
    hints = [hint("a", 0, said=SAID), hint("b", 1, action=Action.REMOVED), hint("c", 2, said=SAID)]
    unknown, others = sheet_of(*hints).apart([0, 1])
    assert ([one.ref.key for one in unknown], others) == (["a"], [1])


@pytest.mark.parametrize(
    ("said", "held"), [((SAID, "2025-02-05T23:00:00.000Z"), 1), ((SAID, "not a time"), 2), ((SAID, SAID), 2)]
)
def test_a_sheet_with_an_old_event_is_held_event_by_event(said, held):
    """One that happened long ago does not keep the others from being held, nor is it held with them."""
    hold = Hold(Patience(whole_least=1))
    hold.server_ahead = 1738800000.0
    hints = [hint(f"k{offset}", offset, said=words) for offset, words in enumerate(said)]
    hold.read({PARTITIONS[0]: 2}, [], 0.0)
    late = hold.keep_unseen(sheet_of(*hints), 0.0)
    assert (len(hold), len(late)) == (held, 2 - held)


@pytest.mark.invariant(2)
def test_of_a_held_sheet_what_was_revoked_is_dropped():
    """The rest of it stays held, and its offsets stay uncommitted."""
    hold = Hold(Patience(whole_least=1))
    mine, theirs = hint("a", 4, said=SAID), hint("b", 5, partition=PARTITIONS[1], said=SAID)
    hold.read({PARTITIONS[0]: 5, PARTITIONS[1]: 6}, [], 0.0)
    hold.keep_unseen(sheet_of(mine, theirs), 0.0)
    hold.forget([PARTITIONS[1]])
    assert (len(hold), hold.offsets()) == (1, {PARTITIONS[0]: 4})
    hold.read({PARTITIONS[0]: 6}, [], 0.0)
    assert not hold.keep_unseen(sheet_of(hint("c", 9, partition=PARTITIONS[1], said=SAID)), 0.0)
    assert len(hold) == 1


@pytest.mark.invariant(2)
def test_offsets_that_begin_anew_are_told_anew():
    """Of a topic that was recreated less is read than was told of the old one, and that is committed all the same."""
    hold = Hold()
    read(hold, hint(offset=1000))
    hold.read({PARTITIONS[0]: 2000}, (), 3.0)
    assert hold.offsets() == {PARTITIONS[0]: 1000}
    hold.read({PARTITIONS[0]: 10}, (), 3.0)
    assert hold.offsets() == {PARTITIONS[0]: 10}
    hold.read({PARTITIONS[0]: 11}, (), 3.0)
    assert hold.offsets() == {PARTITIONS[0]: 11}
