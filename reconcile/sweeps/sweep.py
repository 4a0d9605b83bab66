"""The sweep: every object against every row. What differs is looked at again by reconcile(), and only then kept.

One loop over blocks of both sides, whatever they are read from; after each block the checkpoint. Knows neither how the
listing is read nor where drifts are kept.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import NamedTuple, Protocol

from reconcile.model import Action, Hint, ObjectRef, OutOfOrder, Unavailable
from reconcile.sweeps import belief
from reconcile.sweeps.compare import Block, Blocks, Candidate, agreed, candidates, compare
from reconcile.sweeps.confirm import ROWS, Confirmed
from reconcile.sweeps.looker import Looker

Source = Callable[[str, str | None], Blocks]  # the lines of keys in (lower, upper]
PAGE = 2_000  # findings that are looked at before they are kept
FLUX = 5  # looks at a key that is another drift each time


class Held(Exception):
    """The sweep is not to be believed; the text says why and what to compare."""


class TakenOver(Exception):
    """The range went to somebody else, who did not hear of us in time."""


class Range(NamedTuple):
    """Keys in (lower, upper], compared up to the checkpoint, and what they came to so far."""

    lower: str
    upper: str | None
    checkpoint: str
    totals: Mapping[str, int]


class Keeper(Protocol):
    """Where ranges, checkpoints and drifts are kept: our schema, or for a trial nowhere."""

    def take(self) -> Range | None:
        """Take a range that nobody works at; None if there is none."""
        ...

    def advance(self, part: Range, checkpoint: str, totals: Mapping[str, int], found: Confirmed, *, done: bool) -> bool:
        """Keep what was found and how far the range is, at once; False if the range went to somebody else."""
        ...

    def open_findings(self, lower: str, upper: str | None) -> Sequence[ObjectRef]:
        """Return references with findings of keys in (lower, upper], at most some; all below the last one's key."""
        ...

    def to_see_again(self, margin: timedelta) -> tuple[list[ObjectRef], bool]:
        """Return references that were sighted but once, and whether they were sighted longer ago than the margin."""
        ...

    def seen_again(self, refs: Sequence[ObjectRef], found: Confirmed) -> None:
        """Keep what a second look saw of these, and forget the rest."""
        ...

    def pair(self) -> None:
        """Make an orphan whose key is another form of a row's the lookalike that it is: the row's side found it."""
        ...


class Findings:
    """The third side: references with findings in key order, asked for a page at a time from a key on.

    What is opened meanwhile below the end of a page is not among them: it was looked at just then.
    """

    def __init__(self, ask: Callable[[str], Sequence[ObjectRef]], lower: str) -> None:
        self._ask = ask
        self._lower: str | None = lower
        self._page: deque[ObjectRef] = deque()

    def upto(self, key: str | None) -> Iterator[ObjectRef]:
        """Yield those of keys up to and with this one, None for all that are left, each once."""
        while self._more() and (key is None or self._page[0].key <= key):
            yield self._page.popleft()

    def _more(self) -> bool:
        if not self._page and self._lower is not None:
            self._page.extend(self._ask(self._lower))
            self._lower = self._page[-1].key if self._page else None
        return bool(self._page)


@dataclass
class Sweep:
    """One process's part in a sweep. `tell` is told the totals after each block, `doubt` says why to give up then."""

    looker: Looker
    keeper: Keeper
    objects: Source
    rows: Source
    watched: Callable[[str], bool] = lambda _: True
    tell: Callable[[Mapping[str, int]], None] = lambda _: None
    doubt: Callable[[Mapping[str, int]], str | None] = belief.hopeless

    def run(self) -> None:
        """Compare ranges until nobody has one left to give."""
        while (part := self.keeper.take()) is not None:
            try:
                self.compare(part)
            except TakenOver:
                continue
            except OutOfOrder:  # what came late may belong before the checkpoint: nothing of the range is compared
                self.keeper.advance(part, part.lower, {}, Confirmed(), done=False)
                raise

    def compare(self, part: Range) -> None:
        """Compare one range from its checkpoint on; raises TakenOver if it went to somebody else."""
        totals, at = Counter(part.totals), part.checkpoint
        findings = Findings(lambda lower: self.keeper.open_findings(lower, part.upper), at)

        def keep(found: Confirmed, *, upto: str, done: bool = False) -> None:
            if not self.keeper.advance(part, upto, totals, found, done=done):
                raise TakenOver

        for block in compare(self.objects(at, part.upper), self.rows(at, part.upper)):
            differing = [one for one in candidates(block) if self.watched(one.key)]
            found = self.look(differing, findings.upto(block.upto), partial(keep, upto=at))
            totals.update(found.totals)
            totals.update(sums_of(block, differing, found))
            self.tell(totals)
            keep(found, upto=block.upto)
            at = block.upto
            if why := self.doubt(totals):
                raise Held(why)
        found = self.look([], findings.upto(None), partial(keep, upto=at))
        totals.update(found.totals)
        keep(found, upto=at, done=True)

    def look(
        self, differing: Sequence[Candidate], findings: Iterator[ObjectRef], keep: Callable[[Confirmed], None]
    ) -> Confirmed:
        """Look at what differs in a block and at what is open in it.

        Where one prefix is gone that may be more than memory has room for: whatever does not fit in a page is kept
        before, with the checkpoint where it was.
        """
        hints = [hint for one in differing for hint in hints_of(self.looker.bucket, one)]
        named = {hint.ref for hint in hints}
        others = (Hint(ref, named_by="sweep") for ref in findings if ref not in named)
        before: Counter[str] = Counter()
        while len(page := list(islice(others, PAGE))) == PAGE:
            found = self.looker.look(page)
            before += found.totals
            keep(found)
        found = self.looker.look([*hints, *page])
        found.totals += before
        return found

    def see_again(self, margin: timedelta, waiting: Callable[[int], None]) -> None:
        """Look a second time at what was sighted, not before the margin is over: what passes by itself is no drift."""
        looked: Counter[ObjectRef] = Counter()
        while True:
            refs, ripe = self.keeper.to_see_again(margin)
            if not refs:
                self.keeper.pair()
                return
            if not ripe:
                waiting(len(refs))
                continue
            found = self.looker.look([Hint(ref, named_by="sweep") for ref in refs])
            looked.update(refs)
            flux = {ref for ref in refs if looked[ref] > FLUX}  # another drift at each look: nothing that stays
            found.drifts = [one for one in found.drifts if ObjectRef(one.bucket, one.key, one.s3_version) not in flux]
            if found.unanswered:
                raise Unavailable("minio", f"{len(found.unanswered):,} differences could not be looked at again")
            self.keeper.seen_again(refs, found)


def sums_of(block: Block, differing: Sequence[Candidate], found: Confirmed) -> dict[str, int]:
    """Return what a block adds to the totals, beside what the looks at it told."""
    known = {one.key for one in found.drifts if one.known}
    named = {(one.key, one.s3_version) for one in differing}
    sums = {"objects": block.objects, "rows": block.rows, "agreed": agreed(block), "candidates": len(named)}
    return sums | {"known": sum(key in known for key, _ in named)}


def hints_of(bucket: str, one: Candidate) -> Iterator[Hint]:
    """Yield what a difference names: of an object the latest, and its own version, which a row may say is gone."""
    if one.sighted is None:
        yield Hint(ObjectRef(bucket, one.key, one.s3_version), named_by="sweep" if one.listed else ROWS)
        return
    version, size, etag = one.sighted.s3_version, one.sighted.size, one.sighted.etag or None
    latest = ObjectRef(bucket, one.key)
    yield Hint(latest, Action.CREATED, "sweep", int(size) if size else None, etag, s3_version=version)
    if version:
        yield Hint(latest._replace(s3_version=version), named_by="sweep")
