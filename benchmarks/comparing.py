"""The comparison of a sweep alone: both sides lie on disk as lines, as they do once a listing and the rows are read.

The lines hold what those of a sweep of the same bucket do, sizes among them, since longer lines take longer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from reconcile.sweeps.compare import Facts, candidates, compare
from reconcile.sweeps.drift import Entry
from reconcile.sweeps.listfile import from_file
from reconcile.sweeps.spool import Spool, brought

LABELS = {"keys_per_s": "comparison alone, keys/s of CPU (goal 2 000 000)"}
FACTS = Facts()


def compared(listing: Path, size: int) -> dict[str, float]:
    """Compare a file of keys, each of an object of this size, with rows that say the same."""
    with closing(side(listing, size)) as objects, closing(side(listing, size)) as rows:
        began = time.process_time()
        differing = sum(1 for block in compare(objects.blocks(), rows.blocks()) for _ in candidates(block))
        return {"keys_per_s": objects.lines / (time.process_time() - began), "differing": differing}


def side(listing: Path, size: int) -> Spool:
    """Return the lines of the keys that a file has."""
    return brought(sized(listing, size), FACTS)


def sized(listing: Path, size: int) -> Iterator[list[Entry]]:
    """Yield the pages of a file of keys, with the size that it does not tell."""
    return ([one._replace(size=size) for one in page] for page in from_file(listing))
