"""Writes what happens in a story: what files go through, what goes wrong, what processes and people do."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.simulation.setting import Setting

KEYS = ("a", "b/c", "ü +%")
FATES = ("told", "told", "told", "told", "late", "late", "lost", "twice")
LIES = (("removed", 0), ("created", 3), ("created", 5))
TROUBLES = ("minio", "postgresql", "kafka", "slow", "forbidden", "room", "hidden", "unordered", "doubled", "outdated")
WAITS = (0.01, 0.03, 0.3, 1.0, 3.0, 12.0, 31.0, 31.0, 31.0, 65.0, 125.0, 900.0, 20_000.0)


@dataclass
class Writer:
    """Writes what happens, from a source of randomness."""

    random: Random
    setting: Setting
    rows: list[str] = field(default_factory=list)

    def file(self, number: int) -> Iterator[tuple[Any, ...]]:
        """Yield what one file goes through, from its upload on."""
        key, row = self.random.choice(KEYS), f"r{number}"
        self.rows.append(row)
        uploads = (*UPLOADS, Writer.given_up) if self.setting.brake == "few" else UPLOADS
        yield from self.random.choice(uploads)(self, key, row)
        for _ in range(self.random.randint(0, 3)):
            if self.random.random() < 0.6:
                yield from self.pause()
            yield from self.random.choice(FATES_OF_FILES)(self, key, row)

    def pause(self) -> Iterator[tuple[Any, ...]]:
        """Leave time for what is drifting to be found, and perhaps a person to act on it."""
        for seconds in (0.0, self.random.choice((3.0, 31.0)), self.random.choice((31.0, 125.0))):
            yield ("wait", seconds)
            yield ("turn", self.random.randrange(2))
        if self.random.random() < 0.4:
            yield from act(self)

    def put(self, key: str, size: int = 3) -> tuple[Any, ...]:
        """Put an object, whose event may go astray."""
        return ("put", key, size, self.random.choice(FATES))

    def remove(self, key: str) -> tuple[Any, ...]:
        """Remove one."""
        return ("remove", key, self.random.choice(FATES))

    def recommended(self, key: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Upload, then commit the row."""
        yield self.put(key)
        yield ("row", row, key, 3, "active")

    def wrong(self, key: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Commit the row, then upload."""
        yield ("row", row, key, 3, "active")
        yield self.put(key)

    def pending(self, key: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Commit a pending row, upload, and make it live, if nothing crashes."""
        yield ("row", row, key, 3, "pending")
        yield self.put(key)
        if self.random.random() < 0.7:
            yield ("status", row, "active")

    def rolled_back(self, key: str, _: str) -> Iterator[tuple[Any, ...]]:
        """Upload; the row is never committed."""
        yield self.put(key)

    def removed_first(self, key: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Upload and remove, which is read before the row is committed all the same."""
        yield self.put(key)
        yield self.remove(key)
        yield from (("turn", 0), ("turn", 1))
        yield ("row", row, key, 3, "active")
        yield ("wait", self.random.choice((0.3, 12.0)))
        yield from (("turn", 0), ("turn", 1))

    def never(self, key: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Commit a row whose upload never comes."""
        yield ("row", row, key, 3, "active")

    def shared(self, key: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Two rows name one object."""
        yield self.put(key)
        yield ("row", row, key, 3, "active")
        yield ("row", f"{row}x", key, self.random.choice((3, 5)), "active")

    def others(self, key: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Commit a row that somebody else has flagged."""
        yield ("row", row, key, 3, "corrupted")
        if self.random.random() < 0.5:
            yield self.put(key)

    def given_up(self, key: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Have rows that others flagged taken over and purged, one after another."""
        for name in (row, f"{row}x"):
            yield ("row", name, key, 3, "corrupted")
        for act in ("adopt", "adopt", "purge", "purge"):
            yield ("person", act, 0)

    def lost(self, key: str, _: str) -> Iterator[tuple[Any, ...]]:
        """Remove the object by hand."""
        yield self.remove(key)

    def back(self, key: str, _: str) -> Iterator[tuple[Any, ...]]:
        """Remove the object and put it back."""
        yield self.remove(key)
        yield self.put(key)

    def overwritten(self, key: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Overwrite the object, and perhaps correct the row."""
        verb, size = self.random.choice((("put", 5), ("put", 5), ("rewrite", 3)))
        yield (verb, key, size, self.random.choice(FATES))
        if self.random.random() < 0.5:
            yield self.random.choice((("size", row, 5), ("corrected", row)))

    def deleted(self, key: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Delete the file, in either order, or forget the object."""
        ways = [[("soft", row), self.remove(key)], [self.remove(key), ("soft", row)], [("soft", row)]]
        ways += [[("drop", row), self.remove(key)], [("drop", row)], [("status", row, "deleted"), self.remove(key)]]
        yield from self.random.choice(ways)

    def revived(self, key: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Take a soft deletion back, too late or not."""
        yield ("soft", row)
        yield self.remove(key)
        yield ("soft", row)

    def renamed(self, _: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Let the row name another key."""
        yield ("rekey", row, self.random.choice(KEYS))

    def changed(self, _: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Set a status of the application's own."""
        yield ("status", row, self.random.choice(("active", "archived", "pending", "corrupted")))

    def unversioned(self, key: str, _: str) -> Iterator[tuple[Any, ...]]:
        """Remove a version: the latest, or the one before it."""
        yield ("unversion", key, self.random.choice((-1, -1, -2)), self.random.choice(FATES))

    def held(self, _: str, row: str) -> Iterator[tuple[Any, ...]]:
        """Hold the row in a transaction, or refuse its change."""
        verb = self.random.choice(("lock", "refuse"))
        yield (verb, row, True)
        yield (verb, row, False)

    def trouble(self) -> Iterator[tuple[Any, ...]]:
        """Yield what goes wrong, and later its end."""
        name = self.random.choice(TROUBLES)
        key = self.random.choice(KEYS)
        yield ("fault", name, key, True)
        if self.random.random() < 0.85:
            yield ("fault", name, key, False)

    def work(self) -> Iterator[tuple[Any, ...]]:
        """Yield what a process does next, or what happens to it."""
        [write] = self.random.choices(WORKS, SHARES)
        yield from write(self)


UPLOADS = (
    Writer.recommended,
    Writer.recommended,
    Writer.recommended,
    Writer.wrong,
    Writer.pending,
    Writer.rolled_back,
    Writer.removed_first,
    Writer.never,
    Writer.shared,
    Writer.others,
)
FATES_OF_FILES = (
    Writer.lost,
    Writer.lost,
    Writer.back,
    Writer.back,
    Writer.overwritten,
    Writer.deleted,
    Writer.revived,
    Writer.renamed,
    Writer.changed,
    Writer.unversioned,
    Writer.held,
)


def beat(writer: Writer) -> Iterator[tuple[Any, ...]]:
    """Let time pass, and a consumer take a turn."""
    yield ("wait", writer.random.choice(WAITS))
    yield ("turn", writer.random.randrange(2))


def act(writer: Writer) -> Iterator[tuple[Any, ...]]:
    """Let a person do something with a finding, and perhaps the next thing later."""
    first = writer.random.choice(PERSON)
    yield ("person", first, writer.random.randrange(4))
    yield from beat(writer)
    if first in NEXT:
        yield ("person", writer.random.choice(NEXT[first]), 0)


NEXT = {"ignore": ("reopen",), "approve": ("delete", "delete", "withdraw"), "adopt": ("purge",)}
PERSON = ("ignore", "approve", "approve", "purge", "adopt", "release")
WEIGHTS: tuple[tuple[Callable[[Writer], Iterable[tuple[Any, ...]]], int], ...] = (
    (beat, 45),
    (lambda w: [("turn", w.random.randrange(2))], 14),
    (act, 10),
    (lambda w: [("kill", w.random.randrange(2))], 4),
    (lambda w: [("give", w.random.randrange(2), w.random.randrange(2))], 4),
    (lambda w: [("deliver", w.random.randrange(4))], 6),
    (lambda w: [("lie", w.random.choice(KEYS), *w.random.choice(LIES), w.random.randrange(4))], 3),
    (lambda w: [("poison", w.random.randrange(4))], 2),
    (lambda _: [("lane",)], 4),
    (lambda w: [("sweep", w.random.choice((True, False)))], 3),
    (lambda w: [("jump", w.random.choice((-3600.0, -20.0, 20.0, 3600.0)))], 2),
    (lambda w: [("unsure", w.random.choice(("rolled back", "unconfirmed", "uncommitted")))], 3),
)
WORKS = [work for work, _ in WEIGHTS]
SHARES = [share for _, share in WEIGHTS]
