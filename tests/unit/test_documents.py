"""What the documents name is there: files, tests and their marks, links, commands with their options, make's goals."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.cli import build_parser, parse
from consumer.commands.answer import Exit
from reconcile.config.settings import NEEDED, load

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMED = re.compile(r"`((?:reconcile|consumer|deploy|tests|benchmarks|examples|requirements)/[\w./*-]*)(?:::(\w+))?`")
LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[\w-]*)?\)")
PROVEN = re.compile(r"^\| (\d) \|(.*)$", re.MULTILINE)
COMMAND = re.compile(r"^ *(storage-reconciler .*)$|`(storage-reconciler [^`]*)`", re.MULTILINE)
MAKE = re.compile(r"(?:^ +|`)make ([a-z-]+)", re.MULTILINE)
STATUS = re.compile(r"^### Exit status (\d+)$\n((?:(?!##).*\n)*)", re.MULTILINE)
DEFECT = 1  # Python's own, with a traceback
QUESTIONS = [
    "Why is not everything checked when the service starts?",
    "What if many versions are corrupted?",
    "Can a file be there twice?",
    "How is a corrupted file restored?",
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def functions(file: Path) -> Iterator[ast.FunctionDef]:
    """Yield the functions of a module, and of its classes."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef):
            yield node


def marks(file: Path, name: str) -> set[int]:
    """Return the invariants that a test says it tries to break."""
    [found] = [one for one in functions(file) if one.name == name]
    return {
        int(number)
        for mark in map(ast.unparse, found.decorator_list)
        for number in re.findall(r"invariant\((\d)\)", mark)
    }


@each_page
def test_each_file_and_test_that_is_named_is_there(page):
    """A star stands for some files; a test is a function of its module."""
    for path, test in NAMED.findall(page.read_text("utf-8")):
        assert list(ROOT.glob(path.rstrip("/"))), f"{page.name}: {path}"
        if test:
            assert test in {one.name for one in functions(ROOT / path)}, f"{page.name}: {path}::{test}"


@each_page
def test_each_link_leads_somewhere(page):
    """From where the page lies."""
    for target in LINK.findall(page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@each_page
def test_each_command_line_is_understood(page, capsys):
    """As somebody types it who wants all that it may have; what a sentence names, too."""
    for line, span in COMMAND.findall(page.read_text("utf-8")):
        typed = re.sub(r"[\[\]…]", "", (line or span).partition(" #")[0].partition(" > ")[0])
        try:
            parse(shlex.split(typed)[1:])
        except SystemExit:
            pytest.fail(f"{page.name}: {typed}: {capsys.readouterr().err}")


@each_page
def test_each_configuration_that_is_shown_is_whole_and_valid(page):
    """What a block of TOML holds can be loaded as it stands; its secrets lie in files."""
    for block in re.findall(r"^```toml\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        assert load(tomllib.loads(block), {}, lambda _: "secret", NEEDED).minio.secret_key == "secret", page.name


def test_the_command_lines_are_found():
    """Nobody changes the way they are written unseen."""
    found = [line for page in PAGES for line, _ in COMMAND.findall(page.read_text("utf-8")) if line]
    assert len(found) > 60


@each_page
def test_each_target_of_make_is_there(page):
    """Those that blocks and spans name."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(MAKE.findall(page.read_text("utf-8"))) <= targets


def test_each_exit_status_has_its_section_in_the_runbook():
    """No more and no fewer than code and help know, each with what is not done, what to do, and whether again."""
    sections = dict(STATUS.findall((ROOT / "docs" / "runbook.md").read_text("utf-8")))
    known = [str(int(status)) for status in sorted({*Exit, DEFECT})]
    assert list(sections) == known
    assert re.findall(r"\b\d+\b", build_parser().epilog.partition("Exit status: ")[2]) == known
    for number, section in sections.items():
        said = re.findall(r"^\* \*\*([\w ]+):\*\* \S", section, re.MULTILINE)
        assert said == ["Not done", "To do", "Try again"], f"exit status {number}"


def test_the_questions_that_everybody_asks_are_answered():
    """Those of whoever ran the script that this replaces; each names what to type or what keeps it so."""
    asked = between("docs/runbook.md", "## Questions that everybody asks\n", "\n## ")
    answered = dict(re.findall(r"^### (.+)\n((?:(?!### ).*\n?)*)", asked, re.MULTILINE))
    assert list(answered) == QUESTIONS
    assert [question for question, answer in answered.items() if "`storage-reconciler " not in answer] == []


def test_each_invariant_is_proven_by_tests_that_say_so():
    """Each that the design states has its row, with a test on plain values and one on real servers at the least."""
    stated = re.findall(r"^(\d)\. ", between("docs/design.md", "## What must always hold", "\n## "), re.MULTILINE)
    proven = dict(PROVEN.findall(between("docs/architecture.md", "## Where each invariant is proven", "\nThe stories")))
    assert list(proven) == stated
    for number, row in proven.items():
        cells = [NAMED.findall(cell) for cell in row.split("|")[:2]]
        assert all(cells), f"invariant {number}: a kind of proof lacks"
        for path, test in [one for cell in cells for one in cell]:
            assert int(number) in marks(ROOT / path, test), f"{path}::{test} does not say that it is of {number}"


def between(page: str, first: str, last: str) -> str:
    """Return a part of a page."""
    return (ROOT / page).read_text("utf-8").partition(first)[2].partition(last)[0]
