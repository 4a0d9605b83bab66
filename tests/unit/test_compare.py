"""compare: set algebra over two ascending sides, whatever the keys and wherever the blocks end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.model import OutOfOrder
from reconcile.sweeps.compare import (
    FLAGGED,
    Facts,
    agreed,
    candidates,
    compare,
    escaped,
    key_of,
    lines_of,
    told,
    unescaped,
)
from reconcile.sweeps.drift import Entry

KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
ODD = st.text(st.sampled_from("ab\x01\t\n\\/é€😀"), min_size=1, max_size=4)
FACTS = Facts(s3_version=False, size=True, etag=False)


def cut(lines, places):
    """Yield the lines in blocks, cut at the places, some of them empty."""
    at = 0
    for place in sorted(places):
        end = min(place, len(lines))
        yield lines[at:end]
        at = end
    yield lines[at:]


def entries(sizes):
    return [Entry(key, size) for key, size in sorted(sizes.items(), key=lambda item: item[0].encode())]


def found(objects, rows, here=(), there=(), facts=FACTS):
    """Compare, and return the keys that differ, with the sums of the blocks."""
    blocks = list(compare(cut(lines_of(objects, facts), here), cut(lines_of(rows, facts), there)))
    assert [block.upto for block in blocks] == sorted({block.upto for block in blocks}, key=str.encode)
    sums = [sum(getattr(block, name) for block in blocks) for name in ("objects", "rows", "agreed")]
    return [one for block in blocks for one in candidates(block)], sums


@given(
    st.dictionaries(KEYS | ODD, st.integers(0, 3)),
    st.dictionaries(KEYS | ODD, st.integers(0, 3)),
    st.lists(st.integers(0, 40)),
    st.lists(st.integers(0, 40)),
)
def test_it_is_set_algebra_wherever_the_blocks_end(objects, rows, here, there):
    """What is on one side alone, or differs, is a candidate; nothing else is."""
    differing, sums = found(entries(objects), entries(rows), here, there)
    assert {one.key for one in differing} == {key for key, _ in objects.items() ^ rows.items()}
    assert {one.key for one in differing if one.sighted} == objects.keys() - rows.keys()
    assert sums == [len(objects), len(rows), len(objects.items() & rows.items())]


@given(KEYS | ODD, KEYS | ODD)
def test_lines_keep_keys_and_their_order(one, other):
    """A line's key is the key, as bytes; escaping is undone."""
    first, second = lines_of([Entry(one, 1), Entry(other, 2)], FACTS)
    assert unescaped(escaped(one)) == one == told(first).key
    assert (key_of(first) < key_of(second)) == (one.encode() < other.encode())


@given(st.lists(ODD, min_size=2, max_size=6), st.booleans(), st.lists(st.integers(0, 6)))
def test_a_side_that_descends_anywhere_is_given_up(keys, of_rows, places):
    """Within a block or between two, on either side; equal keys do not descend."""
    lines = lines_of([Entry(key, 1) for key in keys], FACTS)
    sides = [cut(lines, places), iter([lines_of([Entry("a", 1)], FACTS)])]
    raw = [key.encode() for key in keys]
    if raw == sorted(raw):
        list(compare(*(sides[::-1] if of_rows else sides)))
    else:
        with pytest.raises(OutOfOrder, match="came after"):
            list(compare(*(sides[::-1] if of_rows else sides)))


@pytest.mark.parametrize("place", range(8))
def test_rows_of_one_key_are_compared_together_wherever_the_block_ends(place):
    """Several rows may name one key: all agree, or those that do not are looked at."""
    rows = [Entry("a", 1), Entry("b", 1), Entry("b", 2), Entry("b", 1), Entry("c", 1)]
    differing, _ = found([Entry("a", 1), Entry("b", 1), Entry("c", 1)], rows, [place], [place])
    assert [(one.key, one.sighted) for one in differing] == [("b", None)]


def test_what_a_side_does_not_know_agrees_with_anything():
    """A row without a size, and a listing of keys alone."""
    assert found([Entry("a", 1), Entry("b", 1)], [Entry("a", None), Entry("b", 2)])[0][0].key == "b"
    assert found([Entry("a"), Entry("b")], [Entry("a", 5), Entry("b", 2)])[0] == []


def test_a_row_that_carries_the_flag_is_always_looked_at():
    """Its object may be back; and it claims the object, which is therefore no orphan."""
    (line,) = lines_of([Entry("a", 1)], FACTS)
    (block,) = compare(iter([[line]]), iter([[line + FLAGGED]]))
    assert [(one.key, one.sighted) for one in candidates(block)] == [("a", None)]


def test_versions_are_compared_one_by_one_and_noncurrent_ones_need_no_row():
    """Each row names its own version; a version without a row is a candidate only if it is the latest."""
    facts = Facts(s3_version=True)
    objects = [
        Entry("a", 1, "", "", "v2", latest=True),
        Entry("a", 1, "", "", "v1", latest=False),
        Entry("b", 1, "", "", "v2", latest=True),
        Entry("c", 1, "", "", "v9", latest=False),
        Entry("d", 7, "", "", "v1", latest=False),
    ]
    rows = [
        Entry("a", 1, "", "", "v1"),
        Entry("a", 1, "", "", "v2"),
        Entry("c", 1, "", "", "v1"),
        Entry("d", 1, s3_version="v1"),
    ]
    differing, _ = found(objects, rows, facts=facts)
    assert [(one.key, one.s3_version, bool(one.sighted)) for one in differing] == [
        ("b", "", True),
        ("c", "v1", False),
        ("d", "v1", False),
    ]


def test_what_one_side_does_not_know_is_agreed_upon():
    """A row without a version, size or ETag agrees with an object that has them; another size, or a flag, does not."""
    objects = [b"a\tnull\t1\tx\t", b"b\tnull\t1\tx\t", b"c\tnull\t1\tx\t", b"d\tnull\t1\tx\t", b"e\t\t1\t\t"]
    rows = [b"a\t\t1\tx\t", b"b\t\t\t\t", b"c\t\t2\t\t", b"d\t\t1\tx\t!", b"e\t\t1\t\t"]
    assert sum(agreed(block) for block in compare(iter([objects]), iter([rows]))) == 3
