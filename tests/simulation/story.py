"""Stories: what applications, servers and people do, in which order, told by a seed.

A story is data: its actions one after another, each with how many steps of the processes it lets pass. So any part of
a story is a story, too, which is how one that fails is made short.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

KEYS = ("a", "b/c", "ü +%")
FATES = ("told", "told", "told", "told", "late", "late", "lost", "twice")
PATTERNS: dict[str | None, tuple[str, ...]] = {None: KEYS, "/a": ("a",), "/b/**": ("b/c",), "c": ("b/c",)}
RESTRAINED = 0.15  # of the stories
SPANS = (20.0, 60.0, 900.0, 20_000.0)
WAITS = (0.01, 0.03, 0.3, 1.0, 3.0, 12.0, 31.0, 31.0, 31.0, 65.0, 125.0, 900.0, 20_000.0)


class Action(NamedTuple):
    """One thing that happens, once `delay` steps of whichever process is at work have passed."""

    delay: int
    verb: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return " ".join(["." * self.delay, self.verb, *map(repr, self.args)]).strip()


@dataclass(frozen=True)
class Setting:
    """What stays the same through a story; `versions` is no, bucket (rows name none) or rows.

    `brake` is how few are believed, `whole` has sheets held whole, however short they are.
    """

    flagging: bool = True
    versions: str = "no"
    brake: str = ""
    whole: bool = False
    skew_s: float = 0.0  # of MinIO's clock


@dataclass(frozen=True)
class Story:
    """What happens; `seed` is where it came from."""

    seed: int
    setting: Setting
    actions: tuple[Action, ...]

    def __str__(self) -> str:
        told = "\n".join(f"  {action}" for action in self.actions)
        return f"seed {self.seed}: {self.setting}\n{told}"


def story_of(seed: int, length: int = 10) -> Story:
    """Return the story of a seed: what some files go through, mixed with what processes and servers do."""
    random = Random(seed)  # noqa: S311 - no secret
    writer = Writer(random, _setting(random))
    files = [list(writer.file(number)) for number in range(random.choice((1, 1, 2, 2, 3)))]
    others = [list(writer.trouble()) for _ in range(random.randint(0, 2))]
    work = [list(writer.work()) for _ in range(random.randint(length // 2, length))]
    told = merged(random, [*files, *others, *work])
    actions = tuple(Action(random.choice((0, 0, 1, 2, 3, 5, 8)), verb, tuple(args)) for verb, *args in told)
    return Story(seed, writer.setting, restrained(seed, actions))


def restrained(seed: int, actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """Have people set windows and rules in some stories, by a chance of its own: the others stay what they were."""
    random = Random(f"restraints of {seed}")  # noqa: S311 - no secret
    told = list(actions)
    if random.random() < RESTRAINED:
        for _ in range(random.randint(1, 2)):
            effect, pattern = random.choice(("suppress", "ignore")), random.choice([*PATTERNS])
            kind = random.choice((None, "missing", "orphan")) if effect == "ignore" else None
            given = (effect, pattern, kind, random.choice(SPANS))
            told.insert(random.randrange(len(told)), Action(0, "restrain", given))
        if random.random() < 0.5:
            told.insert(random.randrange(len(told)), Action(random.choice((0, 3)), "lift"))
    return tuple(told)


def _setting(random: Random) -> Setting:
    return Setting(
        flagging=random.random() < 0.85,
        versions=random.choice(("no", "no", "bucket", "rows")),
        brake=random.choice(("few", "few", "a share", "half a bucket")) if random.random() < 0.2 else "",
        whole=random.random() < 0.5,
        skew_s=random.choice((0.0, 0.0, -7200.0, 7200.0)),
    )


def merged(random: Random, lists: list[list[Any]]) -> Iterator[Any]:
    """Yield all items, those of each list in their order."""
    left = [one for one, items in [(iter(items), items) for items in lists] for _ in items]
    random.shuffle(left)
    for one in left:
        yield next(one)


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
        yield self.put(key, 5)
        if self.random.random() < 0.5:
            yield ("size", row, 5)

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
        name = self.random.choice(("minio", "postgresql", "kafka", "slow", "hidden", "forbidden", "room"))
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
PERSON = ("ignore", "reopen", "approve", "delete", "purge", "adopt", "release", "withdraw")


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
    (lambda w: [("lie", w.random.choice(KEYS), w.random.choice(("removed", "created")), w.random.choice((3, 5)))], 3),
    (lambda w: [("poison", w.random.randrange(4))], 2),
    (lambda _: [("lane",)], 4),
    (lambda w: [("sweep", w.random.choice((True, False)))], 3),
    (lambda w: [("jump", w.random.choice((-3600.0, -20.0, 20.0, 3600.0)))], 2),
    (lambda w: [("unsure", w.random.choice(("rolled back", "unconfirmed", "uncommitted")))], 3),
)
WORKS = [work for work, _ in WEIGHTS]
SHARES = [share for _, share in WEIGHTS]
