"""Removes objects so that they can come back, and brings them back; nothing else deletes one of the application's.

What may be removed is decided elsewhere (erase.py); here each object is looked at once more in the moment of its
removal. Raises what storing.py and the database raise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile

from reconcile.model import Absent, ObjectRef, ObjectSide, Present
from reconcile.repair.erasing import Erasure, How, changed, facts_of
from reconcile.store.storing import ONE_COPY, Gone, Storing
from reconcile.store.versions import NULL, Stored
from reconcile.verdict import claims, difference, s3_version_of
from reconcile.world import LiveWorld

DEADLINE_S = 10.0
NOTHING = Stored("", is_latest=False, is_marker=False, size=None, etag=None, last_modified=None)
ANEW = "it was written anew in the same moment"
MOMENT = timedelta(minutes=1)  # from the last look to the removal, at most


@dataclass(frozen=True, slots=True)
class Bin:
    """The bucket and its rows, for one owner. `hold` is called before each removal, and raises where none may be.

    What it holds lasts for longer than `MOMENT`, so that nobody else removes anything meanwhile.
    """

    live: LiveWorld
    storing: Storing
    hold: Callable[[], None]

    def head(self, ref: ObjectRef) -> ObjectSide:
        """Look at one object now."""
        return self.live.objects.heads([ref], DEADLINE_S)[ref]

    def claimed(self, ref: ObjectRef, seen: Present) -> str:
        """Return the id of a row that claims the object by now, `''` where none does."""
        [known] = self.live.glance([ref]).values()
        return next((row.row_id for row in known.rows if claims(row, seen)), "")

    def below(self, ref: ObjectRef) -> str:
        """Return the version that comes to light when an object of a versioned bucket is removed, `''` for none."""
        latest, *others = self.storing.versions(ref.bucket, ref.key) or [NOTHING]
        if ref.s3_version not in {"", latest.s3_version} or not others or others[0].is_marker:
            return ""
        return others[0].s3_version

    def take(self, ref: ObjectRef, erasure: Erasure, withdrawn: Callable[[], str] = lambda: "") -> str:
        """Copy an object where that is needed, look once more, remove it; returns `''`, or why it is still there.

        `withdrawn` says why it may not be removed after all, and is asked last: a copy may have taken minutes.

        The copy stays in any case: the removal of a run that stalled may be under way, and it may be the last there is.
        """
        try:
            if erasure.copy and (why := self._copied(ref, erasure, erasure.copy)):
                return why
            self.hold()
            side = self.head(ref)
            if isinstance(side, Absent) and self.is_gone(ref, erasure):
                return ANEW if self.uncover(ref, erasure) else ""
            return self._not_as_seen(ref, side, erasure) or withdrawn() or self._removed(ref, erasure)
        except Gone:
            return ANEW

    def _copied(self, ref: ObjectRef, erasure: Erasure, copy: ObjectRef) -> str:
        side = self.head(copy)
        if not (isinstance(side, Present) and _is_copy(side, erasure.seen)):
            self.storing.copy(erasure.target(ref), erasure.seen, copy)
            side = self.head(copy)
        if isinstance(side, Present) and side.size == erasure.seen.size:
            return ""
        return f"its copy in {copy.bucket} is not there to be read"

    def _not_as_seen(self, ref: ObjectRef, side: ObjectSide, erasure: Erasure) -> str:
        if not isinstance(side, Present):
            return "it is hidden by now" if isinstance(side, Absent) else "it could not be looked at once more"
        if why := changed(facts_of(erasure.seen), side):
            return f"{ANEW}: {why}"
        row = self.claimed(ref, side)
        return f"row {row} names it by now" if row else ""

    def _removed(self, ref: ObjectRef, erasure: Erasure) -> str:
        if erasure.how is not How.MARKER:
            self.storing.remove(erasure.target(ref))
            return ""
        try:
            marker = self.storing.hide(ref)
        except Gone:  # an upload came after the marker: what was approved is hidden, and that is there
            return ""
        below = next((one for one in self.storing.versions(ref.bucket, ref.key) if not one.is_marker), None)
        if below is not None and below.s3_version == s3_version_of(erasure.seen):
            return ""
        self.storing.remove(ref._replace(s3_version=marker))
        return ANEW

    def is_gone(self, ref: ObjectRef, erasure: Erasure) -> bool:
        """Tell whether it is proven that the object is not there any more."""
        return isinstance(self.head(erasure.target(ref)), Absent)

    def uncover(self, ref: ObjectRef, erasure: Erasure) -> bool:
        """Take away a marker that hides an upload from the moment of its removal; tells whether there was one.

        That upload lies between the marker and what was to be hidden, and no other marker does: a run that died had no
        time to look. Beside a marker of ours the latest is the application's own, and so is one over what lay there
        for longer than from a last look to its removal.
        """
        if erasure.how is not How.MARKER:
            return False
        latest, *below = self.storing.versions(ref.bucket, ref.key) or [NOTHING]
        between = list(takewhile(lambda one: one.s3_version != s3_version_of(erasure.seen), below))
        if not latest.is_marker or latest.s3_version == NULL or any(one.is_marker for one in between):
            return False
        if not between or len(between) == len(below) or not _in_one_moment(between[-1], latest):
            return False
        self.hold()
        self.storing.remove(ref._replace(s3_version=latest.s3_version))
        return True

    def is_taken(self, ref: ObjectRef, erasure: Erasure) -> bool:
        """Tell whether an object is there that did not lie below the one that was removed, or that a row is for."""
        side = self.head(ref)
        return isinstance(side, Present) and (not erasure.lay_below(side) or self._is_meant(ref, side, erasure.seen))

    def _is_meant(self, ref: ObjectRef, there: Present, removed: Present) -> bool:
        """Tell whether a row names what is there now, and by its size or ETag not what was removed."""
        [known] = self.live.glance([ref]).values()
        return any(claims(row, there) and not difference(row, there) and difference(row, removed) for row in known.rows)

    def cannot_return(self, ref: ObjectRef, erasure: Erasure) -> str:
        """Say why an object cannot be brought back, `''` where it can; changes nothing."""
        latest = ref._replace(s3_version="")
        for one in dict.fromkeys((ref, latest)):
            match self.head(one):
                case Absent():
                    continue
                case Present() as there if one == latest and erasure.lay_below(there):
                    if self._is_meant(latest, there, erasure.seen):
                        return "a row names the older version that is there now"
                case Present():
                    return "something is there now" if one == ref else "another version is there now"
                case side:
                    return f"nothing could be proven: {getattr(side, 'reason', 'not asked')}"
        return self._below(ref, erasure) if erasure.copy is None else self._no_copy(erasure, erasure.copy)

    def _below(self, ref: ObjectRef, erasure: Erasure) -> str:
        versions = self.storing.versions(ref.bucket, ref.key)
        below = next((one for one in versions if not one.is_marker), None)
        if below is None or below.s3_version != s3_version_of(erasure.seen):
            return "its version is not the one below the delete marker any more"
        return ""

    def _no_copy(self, erasure: Erasure, copy: ObjectRef) -> str:
        side = self.head(copy)
        if isinstance(side, Present) and side.size == erasure.seen.size:
            return ""
        return f"its copy {copy.bucket}/{copy.key} is not there any more"

    def bring_back(self, ref: ObjectRef, erasure: Erasure) -> str:
        """Put an object back where nothing is but what lay below it; returns `''`, or why it was not."""
        if why := self.cannot_return(ref, erasure):
            return why
        self.hold()
        try:
            return (
                self._from_trash(ref, erasure, erasure.copy)
                if erasure.copy is not None
                else self._uncovered(ref, erasure.seen)
            )
        except Gone as gone:
            return str(gone)

    def _from_trash(self, ref: ObjectRef, erasure: Erasure, copy: ObjectRef) -> str:
        side, latest = self.head(copy), ref._replace(s3_version="")
        if not isinstance(side, Present):
            return f"its copy {copy.bucket}/{copy.key} is not there any more"
        if side.size > ONE_COPY:
            return f"it is too large to be put back safely (5 GiB): copy it from {copy.key} by hand"
        there = self.head(latest)
        over = there.etag if isinstance(there, Present) and erasure.lay_below(there) else None
        self.storing.bring(copy, side, latest, over=over)
        return ""

    def _uncovered(self, ref: ObjectRef, seen: Present) -> str:
        for one in self.storing.versions(ref.bucket, ref.key):
            if not one.is_marker:
                return "" if one.s3_version == s3_version_of(seen) else "an object is there by now"
            if one.s3_version == NULL:  # an upload would take its place, and go with it
                self.storing.bring(ref, seen, ref)
                return ""
            self.storing.remove(ref._replace(s3_version=one.s3_version))
        return ""


def _is_copy(there: Present, seen: Present) -> bool:
    """Tell whether a former run made this copy of what is there now; what is refused each night is copied but once."""
    same = (there.size, there.etag) == (seen.size, seen.etag)
    return same and bool(there.last_modified and seen.last_modified and there.last_modified > seen.last_modified)


def _in_one_moment(first: Stored, last: Stored) -> bool:
    """Tell whether two versions came so close together that nobody could have looked between them."""
    if first.last_modified is None or last.last_modified is None:
        return False
    return last.last_modified - first.last_modified <= MOMENT
