"""The spool gives back what was written, range by range, and sorts what is not in order."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.model import Misconfigured
from reconcile.sweeps import spool
from reconcile.sweeps.compare import Facts, lines_of, told
from reconcile.sweeps.drift import Entry
from reconcile.sweeps.spool import Spool

KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5)
FACTS = Facts()


def spooled(keys) -> Spool:
    lines = lines_of([Entry(key, 1) for key in sorted(keys, key=str.encode)], FACTS)
    return Spool().write(line + b"\n" for line in lines)


def keys_of(blocks) -> list[str]:
    return [told(line).key for block in blocks for line in block]


def test_it_lies_in_the_directory_that_is_named_and_says_if_that_takes_no_file(tmp_path):
    """The name of the option, the directory and why."""
    gone = tmp_path / "gone"
    with pytest.raises(Misconfigured, match=f"--spool {gone}: takes no file"):
        Spool(gone)
    assert list(tmp_path.iterdir()) == []
    Spool(tmp_path).close()


@given(st.sets(KEYS, max_size=30), KEYS | st.just(""), KEYS | st.none())
def test_a_range_holds_the_keys_above_its_lower_bound_up_to_and_with_its_upper(keys, lower, upper):
    """Ranges are (lower, upper], whatever the keys hold; the bounds need not be among them."""
    one = spooled(keys)
    expected = [
        key
        for key in sorted(keys, key=str.encode)
        if key.encode() > lower.encode() and (upper is None or key.encode() <= upper.encode())
    ]
    assert keys_of(one.blocks(lower, upper)) == expected
    assert one.lines == len(keys)
    one.close()


def test_many_megabytes_are_read_from_any_place(monkeypatch):
    """The place of a key is found without reading all that lies before it."""
    monkeypatch.setattr(spool, "BLOCK_BYTES", 100)
    monkeypatch.setattr(spool, "BLOCK_LINES", 7)
    keys = [f"{number:05}" for number in range(2_000)]
    one = spooled(keys)
    for start in range(0, 2_000, 97):
        assert keys_of(one.blocks(keys[start], keys[min(start + 150, 1_999)])) == keys[start + 1 : start + 151]
    one.close()


@given(st.lists(st.lists(KEYS, max_size=9), max_size=6))
def test_a_listing_in_any_order_comes_out_ascending(pages):
    """Sorted runs on disk are merged; no entry is lost, none is doubled, wherever its pages end."""
    one = spool.brought([[Entry(key, 1) for key in page] for page in pages], FACTS)
    assert keys_of(one.blocks()) == sorted((key for page in pages for key in page), key=str.encode)
    one.close()


def test_runs_beyond_memory_are_merged(monkeypatch):
    """More entries than one run holds."""
    monkeypatch.setattr(spool, "RUN_LINES", 7)
    keys = [f"{number * 37 % 100:02}" for number in range(100)]
    one = spool.brought([[Entry(key, 1) for key in keys]], FACTS)
    assert keys_of(one.blocks()) == sorted(keys)
    one.close()


def test_however_many_runs_there_are_few_files_are_open(monkeypatch):
    """A hundred million lines have a thousand runs, and a process may open a thousand files."""
    monkeypatch.setattr(spool, "RUN_LINES", 2)
    monkeypatch.setattr(spool, "RUNS", 3)
    files: list[IO[bytes]] = []
    most, opening = [0], spool._opened  # noqa: SLF001

    def counted(directory: Path | None) -> IO[bytes]:
        files.append(opening(directory))
        most.append(sum(not one.closed for one in files))
        return files[-1]

    monkeypatch.setattr(spool, "_opened", counted)
    keys = [f"{number * 37 % 100:02}" for number in range(100)]
    one = spool.brought([[Entry(key, 1) for key in keys]], FACTS)
    assert keys_of(one.blocks()) == sorted(keys)
    assert max(most) <= 11, "two of each of four levels, a run of the first, what is merged of them, and what was read"
    one.close()
    assert all(one.closed for one in files)


@pytest.fixture
def opened(tmp_path, monkeypatch) -> list[IO[bytes]]:
    """Tell which files were opened; from the third on the disk is full."""
    files: list[IO[bytes]] = []

    def one(_: Path | None) -> IO[bytes]:
        path = tmp_path / str(len(files)) if len(files) < 2 else Path("/dev/full")
        files.append(path.open("w+b" if len(files) < 2 else "wb"))
        return files[-1]

    monkeypatch.setattr(spool, "_opened", one)
    return files


def test_a_listing_that_breaks_off_leaves_no_file_open(opened):
    """What was written of it is closed at once, and not when somebody happens to collect it."""

    def broken():
        yield [Entry("a")]
        raise Misconfigured("it cannot be read")

    with pytest.raises(Misconfigured, match="cannot be read"):
        spool.brought(broken(), FACTS)
    assert [one.closed for one in opened] == [True]


def test_a_listing_without_room_to_be_sorted_leaves_no_file_open(opened):
    """Neither what was read, nor a run, nor the merged whole."""
    with pytest.raises(Misconfigured, match=spool.NO_ROOM):
        spool.brought([[Entry("b"), Entry("a")]], FACTS)
    assert [one.closed for one in opened] == [True] * 3
