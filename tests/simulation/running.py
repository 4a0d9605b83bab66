"""Runs many stories, on all cores; of those that fail the first is made short."""

import gc
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from multiprocessing import get_context
from traceback import format_exception

import pytest
import structlog

from consumer.stream import loop
from tests.simulation.coverage import counting
from tests.simulation.mutants import MUTANTS
from tests.simulation.needs import NEEDS
from tests.simulation.play import Play
from tests.simulation.shrink import shrunk
from tests.simulation.story import Story, story_of
from tests.simulation.violated import Violated

ALIKE = 24  # characters of what is wrong; a shorter story must fail alike


@dataclass
class Ran:
    """What stories came to; `failed` is the first that did not hold, made short, and why."""

    stories: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failed: str = ""


def run(first: int, last: int, mutant: str = "", *, short: bool = True) -> Ran:
    """Play the stories of seeds, until one does not hold; `mutant` is what is broken in the code meanwhile.

    Of a mutant that few stories can show only those are played.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    ran = Ran()
    with ExitStack() as opened:
        if mutant:
            opened.enter_context(MUTANTS[mutant]())
        opened.enter_context(counting(ran.counts))
        opened.enter_context(pytest.MonkeyPatch.context()).setattr(loop, "CHUNK", 2)  # few events are many
        for story in filter(NEEDS.get(mutant), map(story_of, range(first, last))):
            ran.stories += 1
            if wrong := fault(story, ran.counts):
                ran.failed = told(story, wrong) if short else wrong
                break
    return ran


def settle_memory() -> None:
    """Leave what is loaded out of the collector's rounds, and make these rarer: a story is small."""
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def written(first: int, last: int) -> str:
    """Return what the stories of seeds wrote, as a digest: the same in every process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    digest = sha256()
    for seed in range(first, last):
        play = Play(story_of(seed))
        play.play()
        digest.update(f"{play.servers.tables.history} {sorted(play.counts.items())}".encode())
    return digest.hexdigest()


def fault(story: Story, counts: Counter[str] | None = None) -> str:
    """Play a story; return what was wrong, if anything was: a defect is as wrong as a promise that is not kept."""
    try:
        Play(story, Counter() if counts is None else counts).play()
    except Violated as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the story
        return "".join(format_exception(error))
    return ""


def told(story: Story, wrong: str) -> str:
    """Return a story that fails as a person can read it."""
    short = shrunk(story, lambda one: fault(one)[:ALIKE] == wrong[:ALIKE])
    return f"{fault(short) or wrong}\n{short}"


def run_all(first: int, last: int, mutant: str = "", chunk: int = 500) -> Ran:
    """Play them on all cores, and add up what they came to."""
    every = Ran()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), settle_memory) as pool:
        starts = range(first, last, chunk)
        for ran in pool.map(run, starts, [min(start + chunk, last) for start in starts], [mutant] * len(starts)):
            every.stories += ran.stories
            every.counts += ran.counts
            every.failed = every.failed or ran.failed
            if every.failed:
                pool.shutdown(cancel_futures=True)
                break
    return every


@contextmanager
def run_each(mutants: Iterable[str], stories: int) -> Iterator[Mapping[str, Future[Ran]]]:
    """Play so many stories of each mutant, on all cores; yields what each comes to, as soon as it does."""
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), settle_memory) as pool:
        yield {name: pool.submit(partial(run, short=False), 0, stories, name) for name in mutants}
        pool.shutdown(cancel_futures=True)
