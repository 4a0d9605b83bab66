"""What requirements/runtime.txt locks, and how a package's name is compared."""

import re

from packaging.requirements import Requirement

from tests.support.command import ROOT

LOCK = ROOT / "requirements/runtime.txt"


def canonical(name: str) -> str:
    """Return a name as an index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(**elsewhere: str) -> dict[str, str]:
    """Return the version of each package that this machine is to have, or one where markers have other values."""
    lines = [line.removesuffix("\\").strip() for line in LOCK.read_text("utf-8").splitlines() if "==" in line]
    wanted = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate(elsewhere)]
    return {one.name: str(one.specifier).removeprefix("==") for one in wanted}
