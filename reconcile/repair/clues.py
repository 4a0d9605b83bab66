"""Gathers what is known around orphans: rows near by, rows that once were, other spellings, uploads under way.

Reads only. What MinIO does not answer is left out, and told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from reconcile import rows
from reconcile.config.settings import Backup
from reconcile.database import Connection
from reconcile.model import Kind, Misconfigured, Row, Unavailable
from reconcile.repair import orphans
from reconcile.repair.causes import Clues, Suggestion, suggested
from reconcile.repair.orphans import Orphan
from reconcile.store.storing import Storing
from reconcile.sweeps.lookalike import normal_forms
from reconcile.tables.mapping import Mapping as RowMapping
from reconcile.tables.template import is_template

ASKERS = 4  # of MinIO, side by side


@dataclass
class Surroundings:
    """Where clues come from.

    MinIO is asked about the first `most_asked` only (None: about all). `silent` tells why uploads under way are not
    known, once it did not answer, or is not asked any more. `directories` are those that were looked into.
    """

    connection: Connection
    mapping: RowMapping
    storing: Storing
    backup: Backup
    most_asked: int | None = None
    silent: str = ""
    directories: dict[str, str] = field(default_factory=dict)

    def suggestions(self, found: Sequence[Orphan]) -> list[Suggestion]:
        """Return what may have made each."""
        keys = [one.key for one in found]
        known = orphans.rows_known(self.connection, keys)
        spelled = self.spelled(found)
        beside = self._beside(keys)
        uploading = self._uploading(found)
        return [
            suggested(
                Clues(
                    one.key,
                    uploading=(one.bucket, one.key) in uploading,
                    of_leftover=one.cause if one.kind == Kind.LEFTOVER else "",
                    known_row=known.get((one.bucket, one.key), ""),
                    spelled=spelled.get((one.bucket, one.key), ()),
                    is_backup=self.backup.holds(one.bucket, one.key),
                    beside=beside.get(directory(one.key), ""),
                    fits=self._fits(one.key),
                )
            )
            for one in found
        ]

    def spelled(self, found: Iterable[Orphan]) -> dict[tuple[str, str], list[Row]]:
        """Return the rows that name each key in another form, in one statement."""
        forms = {one.key: normal_forms(one.key) for one in found}
        asked = sorted(frozenset().union(*forms.values()))
        named: dict[str, list[Row]] = {}
        for row in rows.lookup(self.connection, self.mapping, asked) if asked else ():
            named.setdefault(row.key, []).append(row)
        return {
            (one.bucket, one.key): rows_there
            for one in found
            if (
                rows_there := [
                    row for form in forms[one.key] for row in named.get(form, ()) if row.bucket == one.bucket
                ]
            )
        }

    def _beside(self, keys: Iterable[str]) -> Mapping[str, str]:
        """Return for each directory of the keys another key in it that a row names."""
        for key in keys:
            place = directory(key)
            if place not in self.directories:
                near = (row.key for row in rows.near(self.connection, self.mapping, key))
                self.directories[place] = next((other for other in near if directory(other) == place), "")
        return self.directories

    def _fits(self, key: str) -> bool:
        composed = is_template(self.mapping.tables.settings.version.key)
        return composed and any(self.mapping.parameters([key]).values())

    def _uploading(self, found: Sequence[Orphan]) -> set[tuple[str, str]]:
        """Return which keys have an upload in parts under way; MinIO tells that of a whole key only."""
        if self.silent:
            return set()
        names = list(dict.fromkeys((one.bucket, one.key) for one in found))[: self.most_asked]
        with ThreadPoolExecutor(ASKERS) as workers:
            asked = [(name, workers.submit(self.storing.uploads, *name)) for name in names]
            try:
                there = {name for name, answer in asked if name[1] in answer.result()}
            except (Unavailable, Misconfigured) as error:
                self.silent = str(error)
                workers.shutdown(cancel_futures=True)
                return set()
        if self.most_asked is not None:
            self.most_asked -= len(names)
            if not self.most_asked:
                self.silent = "they are asked for no more than the first; --cause upload-in-progress asks for all"
        return there


def directory(key: str) -> str:
    """Return what a key has before its last slash."""
    return key.rpartition("/")[0]
