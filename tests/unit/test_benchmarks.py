"""The benchmarks' own pieces: the names that scripts read, and that the comparison alone is that of a sweep."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import comparing, sweep
from reconcile.sweeps.compare import Facts, lines_of
from reconcile.sweeps.drift import Entry

KEYS = 2_500


@pytest.fixture
def place(tmp_path) -> sweep.Place:
    """Give a place with a listing, and no server."""
    return sweep.Place("postgresql://", "http://localhost:1", "u", "p", KEYS, str(sweep.listing(tmp_path, KEYS)))


def test_the_sweeps_figures_have_the_names_that_scripts_read(place, monkeypatch, capsys):
    """Whatever was measured: a line `RESULT name=value` for each goal."""
    monkeypatch.setattr(sweep, "measured", lambda *_: {"rate": 5.0, "rss_mb": 90.0, "keys_per_s": 7.0})
    table, alone = sweep.tables("")
    sweep.beside_listers(place, 1, table)
    sweep.by_file(place, KEYS, 1, table, alone)
    table.show()
    alone.show()
    names = set(re.findall(r"^RESULT (\S+)=", capsys.readouterr().out, re.MULTILINE))
    assert names >= {"sweep.lister.ratio", "sweep.script.ratio", "sweep.rss_mb", "compare.keys_per_s"}


def test_the_comparison_alone_compares_the_lines_of_a_sweep(place):
    """Keys and sizes, as the mapping of the same benchmark has them: bare keys would be quicker."""
    of_sweep = place.settings().mapping.version
    assert (of_sweep.s3_version, of_sweep.size, of_sweep.etag) == (None, "size", None)
    with closing(comparing.side(Path(place.listing), sweep.SIZE)) as lines:
        [page] = lines.blocks()
    assert page == lines_of([Entry(sweep.key_of(each), sweep.SIZE) for each in range(KEYS)], Facts())
    assert page[0].split(b"\t")[2] == b"10"
    assert sweep.comparison(place)["differing"] == 0
