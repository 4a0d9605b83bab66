"""What a user's `[kafka]` becomes."""

import pytest

from consumer.kafka.settings import for_producer


@pytest.mark.invariant(2)
@pytest.mark.parametrize("name", ["acks", "request.required.acks"])
def test_a_dead_letter_is_confirmed_by_all_replicas_whatever_is_set(name):
    """Without their answer a delivery report tells nothing, and the offset would pass a letter that may be lost."""
    made = for_producer({"bootstrap.servers": "b", name: "0"})
    assert {key: value for key, value in made.items() if "acks" in key} == {"acks": "all"}
