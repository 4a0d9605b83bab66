"""What is known of dead letters while their topic is read."""

import tracemalloc

import pytest

from consumer.letters.letter import Buried, Origin
from consumer.letters.register import Register
from consumer.stream.events import Record

MANY = 20_000
LITTLE = 2_000_000  # bytes; a set of so many origins takes five times as much


@pytest.fixture
def register():
    """Open a register."""
    with Register() as opened:
        yield opened


def letter(offset: int, at_ms: int = 0) -> Buried:
    """Return a dead letter by its origin."""
    return Buried(Origin("events", 3, offset, at_ms), Record("events", 3, offset, b"{"), "not-json", "")


def test_each_origin_is_first_once_and_a_place_of_several_has_exact_names(register):
    """A letter that was buried twice is one; of a topic that was recreated the same place is another."""
    assert register.first([letter(1), letter(2), letter(1)]) == [letter(1), letter(2)]
    assert register.first([letter(2), letter(1, at_ms=5)]) == [letter(1, at_ms=5)]
    assert register.name(letter(2).origin) == "3:2"
    assert register.name(letter(1).origin) == "events/3:1@0"


def test_of_several_decisions_the_last_counts_whatever_their_order(register):
    """The highest number is the last."""
    register.decide([("a", "replayed", 7), ("a", "discarded", 3), ("b", "replayed", 1)])
    register.decide([("b", "discarded", 9)])
    assert [register.decision(name) for name in ("a", "b", "c")] == ["replayed", "discarded", None]


def test_however_many_letters_there_are_memory_does_not_grow(register):
    """They lie in a file as far as a cache does not hold them."""
    tracemalloc.start()
    try:
        for start in range(0, MANY, 50):
            register.first(letter(offset) for offset in range(start, start + 50))
            register.decide([(f"events/3:{offset} of 0", "replayed", offset) for offset in range(start, start + 50)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < LITTLE
    assert register.first([letter(0), letter(MANY - 1), letter(MANY)]) == [letter(MANY)]
