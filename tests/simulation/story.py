"""Stories: what applications, servers and people do, in which order, told by a seed.

A story is data: its actions one after another, each with how many steps of the processes it lets pass. So any part of
a story is a story, too, which is how one that fails is made short.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from tests.simulation.setting import Setting, setting_of
from tests.simulation.writer import KEYS, Writer

PATTERNS: dict[str | None, tuple[str, ...]] = {None: KEYS, "/a": ("a",), "/b/**": ("b/c",), "c": ("b/c",)}
RESTRAINED = 0.15  # of the stories
MIGRATED = 0.1
SPANS = (20.0, 60.0, 900.0, 20_000.0)


class Action(NamedTuple):
    """One thing that happens, once `delay` steps of whichever process is at work have passed."""

    delay: int
    verb: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return " ".join(["." * self.delay, self.verb, *map(repr, self.args)]).strip()


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
    writer = Writer(random, setting_of(random))
    files = [list(writer.file(number)) for number in range(random.choice((1, 1, 2, 2, 3)))]
    others = [list(writer.trouble()) for _ in range(random.randint(0, 2))]
    work = [list(writer.work()) for _ in range(random.randint(length // 2, length))]
    told = merged(random, [*files, *others, *work])
    actions = tuple(Action(random.choice((0, 0, 1, 2, 3, 5, 8)), verb, tuple(args)) for verb, *args in told)
    return Story(seed, writer.setting, migrated(seed, restrained(seed, actions)))


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


def migrated(seed: int, actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """Have the application lock its table for a while in some stories, and a process stand still at its work."""
    random = Random(f"migrations of {seed}")  # noqa: S311 - no secret
    told = list(actions)
    if random.random() < MIGRATED:
        first, last = sorted(random.sample(range(len(told) + 1), 2))
        told.insert(last, Action(random.choice((0, 2)), "fault", ("table", "", False)))
        told.insert(first, Action(random.choice((0, 1, 3)), "fault", ("table", "", True)))
        told.insert(
            random.randrange(len(told)), Action(random.choice((0, 1, 2, 3)), "wait", (random.choice((5.0, 31.0)),))
        )
    return tuple(told)


def merged(random: Random, lists: list[list[Any]]) -> Iterator[Any]:
    """Yield all items, those of each list in their order."""
    left = [one for one, items in [(iter(items), items) for items in lists] for _ in items]
    random.shuffle(left)
    for one in left:
        yield next(one)
