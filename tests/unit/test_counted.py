"""Which groups of findings have a series of their own."""

from __future__ import annotations

from consumer.duties.counted import GROUPS_MOST, OTHERS, Groups

MANY = {f"g{n:03}": 1_000 - n for n in range(GROUPS_MOST + 9)}


def test_the_largest_have_their_own_and_the_rest_are_one():
    """One has no group, so one fewer than there is room for."""
    shown = dict(Groups().shown(MANY))
    assert shown.pop("") == 0
    assert shown.pop(OTHERS) == sum(sorted(MANY.values())[:10])
    assert shown == {group: MANY[group] for group in sorted(MANY)[: GROUPS_MOST - 1]}


def test_a_group_stays_at_0_until_another_needs_its_room():
    """Else its last value would stand for ever; and one that came late would be among the others for ever."""
    groups = Groups()
    assert dict(groups.shown({"a": 3, "b": 2})) == {"": 0, "a": 3, "b": 2}
    assert dict(groups.shown({"b": 2})) == {"": 0, "a": 0, "b": 2}
    full = dict(groups.shown({"b": 2} | MANY))
    assert "a" not in full
    assert (full["b"], full[OTHERS]) == (2, sum(sorted(MANY.values())[:11]))
    later = dict(groups.shown({"b": 2} | dict.fromkeys(MANY, 1) | {"g000": 0, "late": 9_000}))
    assert (later["late"], later["b"]) == (9_000, 2)
    assert "g000" not in later


def test_none_makes_room_that_has_findings():
    """However many more another has: a series does not come and go with the order of the counts."""
    groups = Groups()
    list(groups.shown(MANY))
    shown = dict(groups.shown(MANY | {"huge": 10**6}))
    assert "huge" not in shown
    assert shown[OTHERS] == 10**6 + sum(sorted(MANY.values())[:10])
