"""What holds of the modules themselves: which are pure, and that a constant has one value."""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("reconcile", "consumer")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(path.read_text("utf-8"))
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
}
PURE = {name for name, module in MODULES.items() if re.search(r"\bPure\b", ast.get_docstring(module) or "")}


def imported(module: ast.Module) -> Iterator[str]:
    """Yield our modules that a module imports, by their whole names."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{one.name}" for one in node.names}
            yield from names & MODULES.keys() or {node.module} & MODULES.keys()


def test_what_calls_itself_pure_is_held_to_it():
    """By the contract of import-linter that forbids drivers, clocks and logs; nothing else is."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = {one["name"].partition(":")[0]: one for one in document["tool"]["importlinter"]["contracts"]}
    assert set(contracts["the core is pure"]["source_modules"]) == PURE


def test_the_core_imports_only_the_core():
    """Else a decision could ask a server by way of another module."""
    assert len(PURE) > 60
    beyond = {(name, other) for name in PURE for other in imported(MODULES[name])}
    assert {pair for pair in beyond if pair[1] not in PURE | set(PACKAGES)} == set()


def test_a_constant_is_set_once():
    """A second one of the same name takes the place of the first, and no tool tells."""
    folders = (*PACKAGES, "benchmarks", "deploy", "examples", "tests")
    twice = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for name, count in Counter(assigned(ast.parse(path.read_text("utf-8")))).items()
        if count > 1
    }
    assert twice == set()


def assigned(module: ast.Module) -> Iterator[str]:
    """Yield the names that a module assigns at its top, as often as it does."""
    for node in module.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names = [one for target in targets for one in (target.elts if isinstance(target, ast.Tuple) else [target])]
        yield from (name.id for name in names if isinstance(name, ast.Name))
