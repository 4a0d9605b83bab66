import os
import subprocess
import sys
from collections import Counter
from subprocess import PIPE

import pytest

from tests.simulation.coverage import never
from tests.simulation.mutants import MUTANTS
from tests.simulation.needs import NEEDS
from tests.simulation.running import run, run_all, run_each
from tests.simulation.story import story_of
from tests.support.command import ROOT

LONG = bool(os.environ.get("RECONCILER_TEST_LONG"))
STORIES = 1_000_000 if LONG else 20_000
ENOUGH = 20_000  # stories within which whatever is broken is noticed


@pytest.mark.invariant(8)
@pytest.mark.timeout(4 * 3600 if LONG else 1800)
def test_no_story_breaks_what_must_always_hold(capsys):
    """Over seeded stories every promise holds at each step, and each line of each table was exercised."""
    ran = run_all(0, STORIES)
    assert not ran.failed, ran.failed
    assert ran.stories == STORIES
    with capsys.disabled():
        print(f"\n{ran.stories:,} stories", *table(ran.counts), sep="\n")  # noqa: T201 - the report is a result
    assert never(ran.counts, rare=LONG) == []


@pytest.fixture(scope="module")
def broken(request):
    """Play the stories of all mutants that are asked for, side by side."""
    asked = [one.callspec.params["name"] for one in request.session.items if "broken" in one.fixturenames]
    with run_each(asked, ENOUGH) as ran:
        yield ran


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.timeout(600)
def test_whatever_is_broken_is_noticed(broken, name):
    """With one thing broken in the code, some story does not hold."""
    ran = broken[name].result()
    assert ran.failed, f"{ran.stories} stories held"
    assert not ran.failed.startswith("Traceback"), ran.failed  # it is to do wrong, not to crash


def test_what_a_mutant_needs_is_said_of_a_mutant():
    """A name that none has any more would be passed over."""
    assert NEEDS.keys() <= MUTANTS.keys()


def test_a_story_is_told_by_its_seed():
    """The same seed tells the same story, and another another."""
    assert story_of(7) == story_of(7)
    assert story_of(7) != story_of(8)


def test_a_seed_plays_alike_in_every_process():
    """Whatever order a set has there, and however long somebody waits by chance: the same is written."""
    ask = "from tests.simulation.running import written; print(written(40, 100))"
    said = {
        subprocess.run(
            [sys.executable, "-c", ask], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, check=True, stdout=PIPE
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_a_story_that_fails_is_made_short():
    """What is left of it is no longer than it must be, and tells what a person can follow."""
    ran = run(0, ENOUGH, "1: a time-out is an absence")
    assert "seed" in ran.failed
    assert len(ran.failed.splitlines()) < 14


def table(counts: Counter[str]) -> list[str]:
    """Return the coverage, line by line."""
    return [f"  {count:>12,}  {name}" for name, count in sorted(counts.items()) if ": " in name]
