"""What is asked from the outside: of Kafka, the database and MinIO alone, by no code of ours.

`passed` goes along with the committed offsets: for each record below them its outcome must be in the database, or its
dead letter in its topic. The committed offsets are read first, the outcomes after them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field

import confluent_kafka as ck
import psycopg
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from tests.faults.mutants import EARLY, FALSE, LOST, NEVER_AWAY
from tests.faults.plant import PACE_S, PARTITIONS, Plant, key, what

MOST = 5_000  # records that are asked of at once
MATTERS = frozenset({"missing", "orphan", "mismatch", "late", "returned", "poison"})
OUTCOMES = """
SELECT one.key FROM unnest(%(keys)s::text[]) AS one (key)
WHERE EXISTS (SELECT FROM reconciler.history AS h WHERE h.subject = %(bucket)s || '/' || one.key)
   OR EXISTS (SELECT FROM reconciler.look AS l WHERE l.key = one.key)
   OR one.key LIKE 'late/%%' AND EXISTS (SELECT FROM file_versions AS v WHERE v.object_key = one.key)
"""
ROWS = "SELECT object_key, size, status FROM file_versions"
FLAGGED = "SELECT DISTINCT subject FROM reconciler.history WHERE act LIKE 'flagged%'"


@dataclass
class Outside:
    """Watches one plant; `early` are offsets that were passed before their outcome was there."""

    plant: Plant
    early: list[tuple[int, int, str]] = field(default_factory=list)
    buried: set[tuple[int, int]] = field(default_factory=set)
    reached: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(PARTITIONS), 0))
    checks: int = 0
    _read: int = 0

    def watch(self) -> None:
        """Go along with the committed offsets, whenever the servers answer."""
        site = self.plant.site
        settings = {"bootstrap.servers": site.kafka["bootstrap.servers"], "log_level": 0}
        with (
            closing(ck.Consumer({**settings, "group.id": site.kafka["group.id"]})) as asker,
            closing(ck.Consumer({**settings, "group.id": secrets.token_hex(4)})) as reader,
        ):
            while not self.plant.stopping.is_set():
                with suppress(ck.KafkaException, psycopg.Error, MinioException, HTTPError):
                    self.check(asker, reader)
                self.plant.stopping.wait(2 * PACE_S)

    def check(self, asker: ck.Consumer, reader: ck.Consumer) -> None:
        """Ask for the outcomes of what was committed since the last time."""
        topic = self.plant.site.topic
        places = asker.committed([ck.TopicPartition(topic, number) for number in range(PARTITIONS)], timeout=5)
        committed = {place.partition: max(place.offset, 0) for place in places}
        self.plant.committed = committed
        new: list[tuple[int, int, int]] = []
        for partition, offset in committed.items():
            at = self.reached[partition]
            while at < min(offset, self.reached[partition] + MOST) and (partition, at) in self.plant.placed:
                new.append((partition, at, self.plant.placed[partition, at]))
                at += 1
        asked = [one for one in new if what(one[2]) in MATTERS]
        outcomes = self._outcomes(one[2] for one in asked)
        self._read_letters(reader)
        for partition, offset, number in asked:
            is_poison = what(number) == "poison"
            there = (partition, offset) in self.buried if is_poison else key(number) in outcomes
            if not there:
                self.early.append((partition, offset, key(number)))
        for partition, offset, _ in new:
            self.reached[partition] = offset + 1
        self.checks += 1

    def _outcomes(self, numbers: Iterable[int]) -> set[str]:
        keys = [key(number) for number in numbers if what(number) != "poison"]
        if not keys:
            return set()
        with psycopg.connect(self.plant.site.database, connect_timeout=3) as connection:
            given = {"keys": keys, "bucket": self.plant.site.bucket}
            found = {one for (one,) in connection.execute(OUTCOMES, given)}
        return found | {one for one in keys if one.startswith("returned/") and self._is_back(one)}

    def _is_back(self, one: str) -> bool:
        """Tell whether an object is there again: its removal, if it is read after that, comes to nothing."""
        directory, site = self.plant.objects.directory, self.plant.site
        if directory is not None:
            return (directory / one / "xl.meta").exists()
        try:
            site.client.stat_object(bucket_name=site.bucket, object_name=one)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return False
            raise
        return True

    def _read_letters(self, reader: ck.Consumer) -> None:
        """Read the dead letter topic to its present end."""
        place = ck.TopicPartition(f"{self.plant.site.topic}.dead-letter", 0, self._read)
        end = reader.get_watermark_offsets(place, timeout=5)[1]
        if end <= self._read:
            return
        reader.assign([place])
        while self._read < end:
            letters = reader.consume(min(end - self._read, 1000), 5)
            if not letters:
                raise ck.KafkaException(ck.KafkaError(ck.KafkaError._TIMED_OUT))  # noqa: SLF001 - the driver's name
            for letter in letters:
                if letter.error():
                    raise ck.KafkaException(letter.error())
                headers = dict(letter.headers() or [])
                self.buried.add((int(headers["reconciler.partition"]), int(headers["reconciler.offset"])))
                self._read = letter.offset() + 1

    def poison(self) -> set[tuple[int, int]]:
        """Return where poison lies."""
        return {place for place, number in self.plant.placed.items() if what(number) == "poison"}


def truth(plant: Plant) -> set[tuple[str, str]]:
    """Return (key, kind) of what is so, of all that an event was written of: rows and objects as they are."""
    site = plant.site
    objects = {
        str(one.object_name): one.size for one in site.client.list_objects(bucket_name=site.bucket, recursive=True)
    }
    rows = {row: size for row, size, _ in site.sql(ROWS)}
    found = {(one, "missing") for one in rows.keys() - objects.keys()}
    found |= {(one, "orphan") for one in objects.keys() - rows.keys()}
    found |= {(one, "mismatch") for one in rows.keys() & objects.keys() if rows[one] != objects[one]}
    return {(one, kind) for one, kind in found if is_told(plant, one)}


def is_told(plant: Plant, one: str) -> bool:
    """Tell whether an event was written of a key."""
    kind, _, number = one.partition("/")
    return kind == "healthy" or int(number) < plant.limit


def at_any_time(watcher: Outside) -> dict[str, set[object]]:
    """Return what must never be, by how it is called."""
    subjects = {subject.split("/", 1)[1] for (subject,) in watcher.plant.site.sql(FLAGGED)}
    return {
        EARLY: {*watcher.early},
        NEVER_AWAY: {one for one in subjects if one.split("/", 1)[0] not in {"missing", "returned"}},
    }


def at_the_end(watcher: Outside, so: set[tuple[str, str]]) -> dict[str, set[object]]:
    """Return what must not be once all is worked off, by how it is called; `so` is the truth."""
    found = {(one, kind) for one, kind, state in watcher.plant.site.open() if state == "open"}
    flagged = {row for row, _, status in watcher.plant.site.sql(ROWS) if status == "corrupted"}
    return {
        LOST: {*(so - found)},
        FALSE: {*(found - so)},
        "a flag too many or too few": {*(flagged ^ {one for one, kind in so if kind == "missing"})},
        "a dead letter too many or too few": {*(watcher.poison() ^ watcher.buried)},
    }
