"""docs/dependencies.md names every package that an installation brings, with the licence that it states."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKED = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements/runtime.txt").read_text("utf-8"), re.MULTILINE)
ROWS = re.findall(r"^\| ([a-z0-9-]+) \| ([^|]+) \|", (ROOT / "docs/dependencies.md").read_text("utf-8"), re.MULTILINE)
LICENCES = {name: licence for name, licence in ROWS if name != "package"}
ELSEWHERE = {"tzdata"}  # of another system, so that it is not installed here


def test_each_locked_package_is_named_once():
    """Nothing comes along unseen, and nothing stays on the page that is gone."""
    assert sorted(name for name, _ in ROWS if name != "package") == sorted(LOCKED)


@pytest.mark.parametrize("name", sorted(set(LOCKED) - ELSEWHERE))
def test_a_licence_is_the_one_that_the_package_states(name):
    """An expression, else a line, else the classifier."""
    told = metadata.metadata(name)
    classified = [one.rpartition(" :: ")[2] for one in told.get_all("Classifier") or [] if one.startswith("License")]
    stated = told.get("License-Expression") or told.get("License") or ""
    assert LICENCES[name] in {stated.strip(), *classified}


def test_what_is_needed_directly_is_justified():
    """Each has a row of four cells: what it is for, and what it would cost to do without."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    direct = {re.split(r"[\[<>=]", one)[0] for one in document["project"]["dependencies"]}
    first = (ROOT / "docs/dependencies.md").read_text("utf-8").partition("## What these bring along")[0]
    rows = {cells[1].strip(): cells[2:] for line in first.splitlines() if len(cells := line.split("|")) == 6}
    assert direct <= set(rows)
    assert all(cell.strip() for name in direct for cell in rows[name][:3])
