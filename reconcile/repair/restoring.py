"""Brings back objects that are missing: from below the delete marker that hides them, or from a backup.

A way is found by looking, and looked for again in the moment of the act. What is done is put down first, so that a run
that dies half-way is known; the status is given back by the reconciler's look, as for any object that returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconcile import acts
from reconcile.acts import Who
from reconcile.model import Absent, Hint, Known, Misconfigured, ObjectRef, ObjectSide, Told, Unavailable
from reconcile.reconciler import reconcile
from reconcile.repair.triage import Named, Outcome, batches
from reconcile.repair.ways import THERE, Bring, NoWay, Unhide, Wanted, Way, brought, claimed, unhidden, unproven
from reconcile.steps import Step
from reconcile.store.storing import Gone, Storing
from reconcile.trial import Trial
from reconcile.world import LiveWorld

RESTORED_TOGETHER = 20  # objects, which are looked at right after they were brought back
DEADLINE_S = 10.0
NOT_TRIED = NoWay("not tried")
BROKE_OFF = NoWay("it broke off; findings show tells whether it was done")


@dataclass
class Ways:
    """Looks for ways, and asks MinIO what it has to."""

    live: LiveWorld
    storing: Storing
    wanted: Wanted

    def look(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, tuple[Known, ObjectSide]]:
        """Look at both sides of each, writing nothing; what is being written meanwhile is left out."""
        trial = Trial(self.live, has_kept=True)
        reconcile(trial, [Hint(ref, named_by="restore") for ref in refs])
        return {one.hint.ref: (one.known, one.side) for one in trial.looked}

    def find(self, seen: Mapping[ObjectRef, tuple[Known, ObjectSide]]) -> dict[ObjectRef, Way]:
        """Return the way of each reference that was looked at."""
        ways = {ref: self._at_once(ref, *one) for ref, one in seen.items()}
        place = self.wanted.place
        asked = {ref: place.of(ref) for ref, way in ways.items() if way is None and place is not None}
        sides = self.live.objects.heads(list(asked.values()), DEADLINE_S) if asked else {}
        for ref, source in asked.items():
            ways[ref] = brought(ref, seen[ref][0], source, sides[source])
        return {
            ref: way or NoWay("no delete marker hides it, and no backup is named (--from)") for ref, way in ways.items()
        }

    def _at_once(self, ref: ObjectRef, known: Known, side: ObjectSide) -> Way | None:
        """Return the way for which no backup has to be looked at; None where one has."""
        if not isinstance(side, Absent):
            return unproven(side)
        if not claimed(ref, known):
            return NoWay("no row claims the object any more", settled=True)
        if ref.s3_version:
            return NoWay("its row names an S3 version that is gone for good, and no copy would be that version")
        if side.delete_marker and not self.wanted.is_named:
            return self._from_below(ref, known, side.delete_marker)
        return None

    def _from_below(self, ref: ObjectRef, known: Known, marker: str) -> Way:
        try:
            listed = self.storing.versions(ref.bucket, ref.key)
        except (Unavailable, Misconfigured) as error:
            return NoWay(self.of_it_alone(ref, error))
        return unhidden(ref, known, marker, listed, self.wanted)

    def of_it_alone(self, ref: ObjectRef, error: Unavailable | Misconfigured) -> str:
        """Say what one object was answered: others may fare better; raises Unavailable where none does."""
        return str(error) if isinstance(error, Misconfigured) else self.live.alone(ref, error)


@dataclass
class Restoring:
    """One run, by one person."""

    ways: Ways
    who: Who

    def plan(self, found: Iterable[Named]) -> Iterator[Outcome]:
        """Look at each, and say what would be done; nothing is written."""
        for batch in batches(found):
            ways = self._ways(batch)
            yield from (_planned(one, ways[one.ref]) for one in batch)

    def apply(self, found: Iterable[Named]) -> Iterator[Outcome]:
        """Bring back what can be, then look at both sides again; an outage ends it once its batch was told of."""
        for batch in batches(found, RESTORED_TOGETHER):
            done, left, outage = self._brought_back(batch)
            became: dict[tuple[ObjectRef, str], str] = {}
            try:
                became = self._looked_again([*done, *(ref for ref, way in left.items() if way == THERE)])
            except Unavailable as error:
                outage = outage or error
            for one in batch:
                if one.ref in done:
                    yield _done(one, done[one.ref], became.get((one.ref, one.row_id)))
                else:
                    yield _left(one, left.get(one.ref, NOT_TRIED), became.get((one.ref, one.row_id)))
            if outage is not None:
                raise outage

    def _ways(self, batch: Sequence[Named]) -> dict[ObjectRef, Way]:
        """Look at both sides of each, writing nothing, and find its way."""
        refs = list(dict.fromkeys(one.ref for one in batch))
        ways = self.ways.find(self.ways.look(refs))
        return {ref: ways.get(ref, NoWay("it is being written; try again")) for ref in refs}

    def _put_down(self, batch: Sequence[Named], ways: Mapping[ObjectRef, Way]) -> None:
        """Put down what is about to be done, of each finding."""
        for one in batch:
            way = ways[one.ref]
            if one.finding and not isinstance(way, NoWay):
                words = "; ".join(filter(None, (f"{way} ({way.beside()})", self.who.why)))
                acts.note_findings(self.ways.live.database, Who(self.who.actor, words), [one.finding], "restore begun")

    def _brought_back(
        self, batch: Sequence[Named]
    ) -> tuple[dict[ObjectRef, Way], dict[ObjectRef, NoWay], Exception | None]:
        """Do what is to be done of each; returns what was done, what was not, and what ended it half-way.

        An object that alone cannot be read or stored, or may not, ends nothing: else what comes behind it would never
        have its turn.
        """
        done: dict[ObjectRef, Way] = {}
        left: dict[ObjectRef, NoWay] = {}
        try:
            ways = self._ways(batch)
            self._put_down(batch, ways)
            for ref, way in ways.items():
                left[ref] = BROKE_OFF
                try:
                    lost = self._bring_back(ref, way)
                except Gone as error:
                    lost = NoWay(str(error))
                except (Unavailable, Misconfigured) as error:
                    lost = NoWay(self.ways.of_it_alone(ref, error))
                del left[ref]
                if lost is None:
                    done[ref] = way
                else:
                    left[ref] = lost
        except (Unavailable, Misconfigured) as error:
            return done, left, error
        return done, left, None

    def _bring_back(self, ref: ObjectRef, way: Way) -> NoWay | None:
        """Go a way; of a marker, which MinIO removes whatever is there, it is looked for once more right before."""
        match way:
            case Unhide(marker):
                now = self.ways.find(self.ways.look([ref])).get(ref)
                if now != way:
                    return now if isinstance(now, NoWay) else NoWay("it changed in the same moment")
                self.ways.storing.remove(ref._replace(s3_version=marker))
            case Bring(source, seen, _, sha256):
                self.ways.storing.bring(source, seen, ref, sha256)
            case NoWay():
                return way
        return None

    def _looked_again(self, refs: Sequence[ObjectRef]) -> dict[tuple[ObjectRef, str], str]:
        """Look at both sides of what is there; the reconciler gives the status back, as to any object that returns."""
        became: dict[tuple[ObjectRef, str], str] = {}

        def hear(steps: Sequence[Step]) -> None:
            became.update({(one.ref, change.row_id): change.act for one in steps for change in one.changes})

        evidence = Told({"named_by": "restore", "restored_by": self.who.actor})
        reconcile(self.ways.live, [Hint(ref, named_by="restore", evidence=evidence) for ref in refs], hear=hear)
        return became


def _left(one: Named, way: NoWay, became: str | None) -> Outcome:
    return Outcome(one, done=False, told=f"{way.why}; {became}" if became else way.why, again=not way.settled)


def _done(one: Named, way: Way, became: str | None) -> Outcome:
    told = f"{way}; {became or 'its next look says what became of it'}"
    return Outcome(one, done=True, told=told, beside=_beside(way))


def _planned(one: Named, way: Way) -> Outcome:
    if isinstance(way, NoWay):
        return Outcome(one, done=False, told=way.why, again=not way.settled)
    return Outcome(one, done=True, told=str(way), beside=way.beside())


def _beside(way: Way) -> str:
    return "" if isinstance(way, NoWay) else way.beside()
